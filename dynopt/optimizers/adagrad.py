"""AdaGrad: divide the gradient by the root of the sum of all its squares so far."""

from typing import NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array

from ..checks import Scalar, concrete_value, nonnegative, positive
from .base import AbstractOptimizer, Regularity, safe_divide


class AdaGradState(NamedTuple):
    x: Array
    s: Array


class AdaGrad(AbstractOptimizer[AdaGradState]):
    """AdaGrad takes steps that shorten in each coordinate as the squares of its gradients add up.

    The map (η = `learning_rate`, S₀ = `initial_accumulator_value`, ε = `eps`, g = ∇f(xₖ)), memory first:

        Sₖ₊₁ = Sₖ + g²
        xₖ₊₁ = xₖ - η g / √(Sₖ₊₁ + ε)

    The flow, for s = η² S (so s(0) = η² S₀, and e = η² ε):

        s′ = g²
        x′ = -g / √(s + e)

    The clock: one step takes the time h = η²: a step is η long while √S grows like √k, so distance goes as η √k. With
    s(0) = η² S₀ > 0 and e held fixed the gap closes like h, once h ≪ s(0)/g². Over coarser clocks, and wherever
    s(0) = 0 (`initial_accumulator_value=0`), the first step is η long at every η and the gap closes like √h = η.
    Energy: f + 2 Σ √(s + e), the same for ever, on every loss and in every dimension. So no coordinate's s grows
    without bound while f is bounded below.
    Elsewhere: ε stands inside the root, as in optax; PyTorch puts it outside and starts from S₀ = 0. With ε = 0 a
    constant gradient moves the flow from s(0) = 0 by 2√t, the map by η Σ k^(-1/2).
    - `learning_rate`: η, the root of the time per step. - `initial_accumulator_value`, `eps`: S₀, ε ≥ 0, as g².
    >>> AdaGrad(0.1)
    AdaGrad(learning_rate=0.1, initial_accumulator_value=0.1, eps=1e-07)

    Source: J. Duchi, E. Hazan and Y. Singer, "Adaptive subgradient methods for online learning and stochastic
    optimization", JMLR 12 (2011), figure 1; `optax.adagrad`.
    """

    h: Scalar
    s0: Scalar
    floor: Scalar

    def __init__(self, learning_rate, initial_accumulator_value=0.1, eps=1e-7):
        self.h = positive("learning_rate", learning_rate) ** 2
        self.s0 = self.h * nonnegative("initial_accumulator_value", initial_accumulator_value)
        self.floor = self.h * nonnegative("eps", eps)

    learning_rate = property(lambda self: self.h**0.5)
    initial_accumulator_value = property(lambda self: self.s0 / self.h)
    eps = property(lambda self: self.floor / self.h)
    regularity = property(
        lambda self: (
            Regularity(order=0.5, initial_layer=True)
            if concrete_value(self.s0) == 0
            else Regularity()
        )
    )

    def init(self, x, grad):
        return AdaGradState(x, jnp.full_like(x, self.s0))

    def step(self, t, y, grad):
        x, s = y
        g = grad(x)
        s = s + self.h * g**2
        x = x - self.h * safe_divide(g, jnp.sqrt(s + self.floor))
        return AdaGradState(x, s)

    def vector_field(self, t, y, grad):
        x, s = y
        g = grad(x)
        ds = g**2
        dx = -safe_divide(g, jnp.sqrt(s + self.floor))
        return AdaGradState(dx, ds)

    def optax(self):
        return optax.adagrad(self.learning_rate, self.initial_accumulator_value, self.eps)

    def lyapunov(self, t, y, loss):
        return loss(y.x) + 2 * jnp.sum(jnp.sqrt(y.s + self.floor))
