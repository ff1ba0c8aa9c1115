"""Heavy ball: the gradient pushes a velocity, the velocity moves the position."""

from typing import NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array

from ..checks import Scalar, decay_rate, positive
from .base import AbstractOptimizer


class MomentumState(NamedTuple):
    x: Array
    p: Array


class Momentum(AbstractOptimizer[MomentumState]):
    """Heavy-ball momentum is a mass that rolls downhill against friction.

    The map (η = `learning_rate`, μ = `momentum`, h = √η), velocity first, then the position with the new velocity:

        pₖ₊₁ = μ pₖ - h ∇f(xₖ)
        xₖ₊₁ = xₖ + h pₖ₊₁

    The flow (friction a = (1-μ)/h), with p(0) = 0; together x″ + a x′ + ∇f(x) = 0:

        p′ = -a p - ∇f(x)
        x′ = p

    The clock: one step takes the time h = √η, and μ = 1 - a h. With a held fixed the gap closes like h. The velocity
    is natural at half steps: pₖ₊₁ = (xₖ₊₁ - xₖ)/h is a central difference about t = (k + ½) h.

    Energy: f(x) + |p|²/2, which friction drains along the flow at the rate a |p|².

    Elsewhere: `optax.sgd(η, momentum=μ)` and PyTorch carry the trace -p/h, undamped; an average (1-μ) g + μ m is the
    same map with η (1-μ) for η. If μ is held fixed while η → 0, friction grows like 1/h and the limit is instead the
    gradient flow, sped up by 1/(1-μ).

    - `learning_rate`: η, time squared, positive. - `momentum`: μ in [0, 1), default 0.9.

    >>> Momentum(0.01)
    Momentum(learning_rate=0.01, momentum=0.9)

    Source: B. T. Polyak, "Some methods of speeding up the convergence of iteration methods", USSR Comput. Math. Math.
    Phys. 4(5) (1964); `optax.sgd`.
    """

    h: Scalar
    friction: Scalar

    def __init__(self, learning_rate, momentum=0.9):
        self.h = positive("learning_rate", learning_rate) ** 0.5
        self.friction = (1 - decay_rate("momentum", momentum)) / self.h

    learning_rate = property(lambda self: self.h**2)
    momentum = property(lambda self: 1 - self.friction * self.h)

    def init(self, x, grad):
        return MomentumState(x, jnp.zeros_like(x))

    def step(self, t, y, grad):
        x, p = y
        p = p + self.h * (-self.friction * p - grad(x))
        x = x + self.h * p
        return MomentumState(x, p)

    def vector_field(self, t, y, grad):
        x, p = y
        dp = -self.friction * p - grad(x)
        dx = p
        return MomentumState(dx, dp)

    def optax(self):
        return optax.sgd(self.learning_rate, momentum=self.momentum)

    def lyapunov(self, t, y, loss):
        return loss(y.x) + jnp.sum(y.p**2) / 2
