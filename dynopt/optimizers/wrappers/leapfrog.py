"""Leapfrog: the heavy ball's equation, followed by the method that physics uses for it."""

import jax.numpy as jnp

from ...errors import InvalidType
from ..momentum import Momentum
from .base import AbstractWrapper


class Leapfrog(AbstractWrapper):
    """Leapfrog moves the heavy ball by half a kick, a drift and half a kick, with exact friction.

    The map (a = `friction` of the inner optimizer, d = e^(-a h/2)):

        p = d pₖ - (h/2) ∇f(xₖ)
        xₖ₊₁ = xₖ + h p
        pₖ₊₁ = d (p - (h/2) ∇f(xₖ₊₁))

    The flow is that of the heavy ball, with the friction a; together x″ + a x′ + ∇f(x) = 0:

        p′ = -a p - ∇f(x)
        x′ = p

    The time step: it is that of the inner optimizer, h = √η. The step is symmetric in time but for
    the friction, which it takes exactly, so that the global error is O(h²). The map is stable on a
    quadratic up to the curvature 4/η at every friction; the map of `Momentum` is stable up to
    (2+2μ)/η. One step takes two gradients, of which the second is the first of the next step.

    Lyapunov function: the mechanical energy f(x) + |p|²/2, which friction drains along the flow at
    the rate a |p|².

    Elsewhere: the velocity Verlet method of molecular dynamics; in Langevin dynamics a splitting
    whose outer parts are the friction (OBABO). The map of `Momentum` is the symplectic method of
    Euler, of order 1.

    Arguments:

    - `optimizer`: a `Momentum`.

    **Raises:** `InvalidType` if `optimizer` is no `Momentum`.

    >>> from dynopt import Momentum
    >>> Leapfrog(Momentum(0.01))
    Leapfrog(Momentum(learning_rate=0.01, momentum=0.9))

    Source: E. Hairer, C. Lubich and G. Wanner, "Geometric numerical integration illustrated by the
    Störmer-Verlet method", Acta Numerica (2003).
    """

    optimizer: Momentum

    def __init__(self, optimizer):
        if not isinstance(optimizer, Momentum):
            raise InvalidType(
                f"`optimizer` must be a heavy ball, got {optimizer!r}; pass for example "
                "dynopt.Momentum(0.01)."
            )
        self.optimizer = optimizer

    regularity = property(lambda self: self.optimizer.regularity._replace(order=2.0))
    evaluations = property(lambda self: 2)

    def wrap_step(self, step, t, y, grad):
        x, p = y
        h, damping = self.h, jnp.exp(-self.optimizer.friction * self.h / 2)
        p = damping * p - h / 2 * grad(x)
        x = x + h * p
        p = damping * (p - h / 2 * grad(x))
        return type(y)(x, p)

    def vector_field(self, t, y, grad):
        return self.optimizer.vector_field(t, y, grad)

    def lyapunov(self, t, y, loss):
        return self.optimizer.lyapunov(t, y, loss)
