"""AdaGrad: divide the gradient by the root of the sum of all its squares so far."""

from typing import NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array

from ..checks import Scalar, concrete_value, nonnegative, positive
from .averages import safe_divide, safe_sqrt
from .base import AbstractOptimizer, Regularity


class AdaGradState(NamedTuple):
    x: Array
    s: Array


class AdaGrad(AbstractOptimizer[AdaGradState]):
    """AdaGrad shortens its steps in each coordinate as the squares of the gradients add up.

    The map (η = `learning_rate`, S₀ = `initial_accumulator_value`, ε = `eps`, g = ∇f(xₖ)) updates
    the memory first:

        Sₖ₊₁ = Sₖ + g²
        xₖ₊₁ = xₖ - η g / √(Sₖ₊₁ + ε)

    The flow, for the rescaled sum s = η² S, which starts from s(0) = η² S₀, and e = η² ε:

        s′ = g²
        x′ = -g / √(s + e)

    The time step: one step takes the time h = η²: the steps are about η long while √S grows like
    √k, so the distance grows like η √k. With s(0) = η² S₀ > 0 and e held fixed the global error is
    O(h) once h ≪ s(0)/g². With longer time steps, and wherever s(0) = 0
    (`initial_accumulator_value=0`), the first step has the length η = √h, whatever the gradient is,
    and the global error is O(√h) = O(η).

    Conserved quantity: f + 2 Σ √(s + e) is constant along the flow, for every loss and in every
    dimension. Therefore no coordinate of s grows without bound while f is bounded below.

    Elsewhere: ε stands inside the root, as in optax; PyTorch puts it outside and starts from
    S₀ = 0. With ε = 0 and a constant gradient, the flow from s(0) = 0 moves by 2√t, and the map by
    η Σ k^(-1/2).

    Arguments:

    - `learning_rate`: η, in units of the root of time; positive.
    - `initial_accumulator_value`: S₀ ≥ 0, in units of the gradient squared; 0.1 by default.
    - `eps`: ε ≥ 0, in units of the gradient squared; 1e-7 by default.

    >>> AdaGrad(0.1)
    AdaGrad(learning_rate=0.1, initial_accumulator_value=0.1, eps=1e-07)

    Source: J. Duchi, E. Hazan and Y. Singer, "Adaptive subgradient methods for online learning and
    stochastic optimization", JMLR 12 (2011), figure 1; `optax.adagrad`.
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

    @property
    def regularity(self):
        if concrete_value(self.s0) == 0:
            return Regularity(order=0.5, initial_layer=True)
        return Regularity()

    def init(self, x, grad):
        return AdaGradState(x, jnp.full_like(x, self.s0))

    def step(self, t, y, grad):
        x, s = y
        g = grad(x)
        s = s + self.h * g**2
        x = x - self.h * safe_divide(g, safe_sqrt(s + self.floor))
        return AdaGradState(x, s)

    def vector_field(self, t, y, grad):
        x, s = y
        g = grad(x)
        ds = g**2
        dx = -safe_divide(g, safe_sqrt(s + self.floor))
        return AdaGradState(dx, ds)

    def optax(self):
        return optax.adagrad(self.learning_rate, self.initial_accumulator_value, self.eps)

    def lyapunov(self, t, y, loss):
        return loss(y.x) + 2 * jnp.sum(safe_sqrt(y.s + self.floor))
