"""Optimistic gradient descent: the gradient to come is guessed from the two before it."""

from typing import NamedTuple

import optax
from jaxtyping import Array

from ..checks import Scalar, concrete_value, nonnegative, positive
from ..errors import InvalidValue
from .base import AbstractOptimizer


class OptimisticState(NamedTuple):
    x: Array
    m: Array


class Optimistic(AbstractOptimizer[OptimisticState]):
    """Optimistic gradient descent steps along a guess of the gradient that is to come.

    The map (η = `learning_rate`, α = `alpha`, β = `beta`, g = ∇f(xₖ)), from m₀ = ∇f(x₀); so mₖ is
    the gradient of the step before:

        xₖ₊₁ = xₖ - η ((α + β) g - β mₖ)
        mₖ₊₁ = g

    The flow, from m(0) = ∇f(x(0)), where τ is the learning rate; it is in x alone as τ → 0:

        x′ = -((α + β) g - β m)
        τ m′ = g - m

    The time step: one step takes the time h = η, and as made τ = h. The map is exactly the explicit
    Euler step of the flow. `with_time_step` keeps τ, so that a finer map has mₖ₊₁ = (1 - h/τ) mₖ
    + (h/τ) g; its global error is O(h). With the memory as short as a step, `Memoryless` is often
    wanted: for α = β = 1 its flow is x′ = F = -∇f(x), and its modified flow F + (h/2) DF F, as that
    of `Extragradient` at half the cost. On the game min over a, max over b of s a b the map
    converges if s h < 1/√3; on a loss it is stable for curvatures up to 2/((α + 2β) η).

    Lyapunov function: f + (β τ/2) |m|², which falls along the flow at the rate α |g|² + β |g - m|².

    Elsewhere: `optax.optimistic_gradient_descent` keeps the gradient of the step before, with the
    same first step.

    Arguments:

    - `learning_rate`: η, the time per step; positive.
    - `alpha`: α, the weight of the gradient; positive, 1 by default.
    - `beta`: β, the weight of its change since the step before; at least 0, 1 by default.

    >>> Optimistic(0.1)
    Optimistic(learning_rate=0.1, alpha=1, beta=1)

    Source: C. Daskalakis, A. Ilyas, V. Syrgkanis and H. Zeng, "Training GANs with optimism" (2018);
    `optax.optimistic_gradient_descent`.
    """

    h: Scalar
    tau: Scalar
    alpha: Scalar
    beta: Scalar

    def __init__(self, learning_rate, alpha=1.0, beta=1.0):
        self.h = self.tau = positive("learning_rate", learning_rate)
        self.alpha, self.beta = positive("alpha", alpha), nonnegative("beta", beta)

    learning_rate = property(lambda self: self.h)

    def init(self, x, grad):
        return OptimisticState(x, grad(x))

    def step(self, t, y, grad):
        x, m = y
        g = grad(x)
        x = x - self.h * ((self.alpha + self.beta) * g - self.beta * m)
        kept = 1 - self.h / self.tau
        m = kept * m + (1 - kept) * g
        return OptimisticState(x, m)

    def vector_field(self, t, y, grad):
        x, m = y
        g = grad(x)
        dx = self.beta * m - (self.alpha + self.beta) * g
        dm = (g - m) / self.tau
        return OptimisticState(dx, dm)

    def optax(self):
        h, tau = concrete_value(self.h), concrete_value(self.tau)
        if h is not None and tau is not None and h != tau:
            raise InvalidValue(
                f"optax knows this method with the memory time `tau` = {tau:g} equal to the time "
                f"step only, got h = {h:g}; use dynopt.Optimistic({h:g})."
            )
        return optax.optimistic_gradient_descent(self.learning_rate, self.alpha, self.beta)

    def lyapunov(self, t, y, loss):
        return loss(y.x) + self.beta * self.tau / 2 * (y.m**2).sum()
