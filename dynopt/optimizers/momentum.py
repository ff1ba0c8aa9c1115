"""Heavy ball: the gradient changes a velocity, and the velocity moves the position."""

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

    The map (η = `learning_rate`, μ = `momentum`, h = √η) updates the velocity first, and then the
    position with the new velocity:

        pₖ₊₁ = μ pₖ - h ∇f(xₖ)
        xₖ₊₁ = xₖ + h pₖ₊₁

    The flow (friction a = (1-μ)/h) starts from p(0) = 0; together x″ + a x′ + ∇f(x) = 0:

        p′ = -a p - ∇f(x)
        x′ = p

    The time step: one step takes the time h = √η, and μ = 1 - a h. With a held fixed the global
    error is O(h). The velocity belongs to the middle of a step: pₖ₊₁ = (xₖ₊₁ - xₖ)/h is the central
    difference about t = (k + ½) h.

    Lyapunov function: the mechanical energy f(x) + |p|²/2, which friction drains along the flow at
    the rate a |p|².

    Elsewhere: `optax.sgd(η, momentum=μ)` and PyTorch store the trace -p/h, without dampening. A
    method that stores the running mean m ← μ m + (1-μ) g and steps by -η m is the heavy ball with
    the learning rate η (1-μ). If μ is held fixed while η → 0, the friction grows like 1/h, and the
    limit is instead the gradient flow, sped up by the factor 1/(1-μ).

    Arguments:

    - `learning_rate`: η, in units of time squared; positive.
    - `momentum`: μ in [0, 1); 0.9 by default.

    >>> Momentum(0.01)
    Momentum(learning_rate=0.01, momentum=0.9)

    Source: B. T. Polyak, "Some methods of speeding up the convergence of iteration methods", USSR
    Comput. Math. Math. Phys. 4(5) (1964); `optax.sgd`.
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
