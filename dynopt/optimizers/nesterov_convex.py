"""Nesterov's method for convex losses: a momentum that grows as k/(k+3), a friction that fades as 3/t."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from ..checks import Scalar, positive
from .base import AbstractOptimizer, Regularity, safe_divide


class NesterovConvexState(NamedTuple):
    x: Array
    p: Array


class NesterovConvex(AbstractOptimizer[NesterovConvexState]):
    """Nesterov's method for convex losses lets friction fade as 3/t, and so comes down as fast as 1/t².

    The map (η = `learning_rate`, h = √η, g = ∇f(xₖ), μₖ = (k-1)/(k+2) with μ₀ p₀ = 0), velocity first:

        pₖ₊₁ = μₖ pₖ - h g
        xₖ₊₁ = xₖ + h (μₖ₊₁ pₖ₊₁ - h g)

    The flow, with p(0) = 0; together x″ + (3/t) x′ + ∇f(x) = 0:

        p′ = -(3/t) p - ∇f(x)
        x′ = p

    At t = 0 the quotient p/t is 0/0; its limit p′ makes the flow start with p′ = -∇f/4.
    The clock: one step takes the time h = √η, and μₖ = 1 - 3h/(t+2h) at t = k h. The gap closes like h.
    On f = λx²/2 the flow is x = 2 x₀ J₁(√λ t)/(√λ t), with J₁ of Bessel. On every convex f, f - f* is at
    most 2 |x₀ - x*|²/t² along the flow, and for η ≤ 1/L along the map, at xₖ - h μₖ pₖ with h (k+1) for t.

    Energy: f + |p|²/2, drained by friction at the rate (3/t) |p|². If the minimizer x* is known there is a sharper one,
    t² (f - f*) + 2 |x + (t/2) p - x*|², which never rises for convex f.

    Elsewhere: here x is the look-ahead point. `optax.sgd` with a scheduled momentum uses one μ where there are two,
    μₖ and μₖ₊₁.

    - `learning_rate`: η, time squared, positive.

    >>> NesterovConvex(0.01)
    NesterovConvex(learning_rate=0.01)

    Source: W. Su, S. Boyd and E. Candès, "A differential equation for modeling Nesterov's accelerated gradient method:
    theory and insights", JMLR 17(153) (2016), equations (1) and (3), section 3.2 and theorem 3.
    """

    h: Scalar

    def __init__(self, learning_rate):
        self.h = positive("learning_rate", learning_rate) ** 0.5

    learning_rate = property(lambda self: self.h**2)
    regularity = property(  # the k-th step is O(1/k) off at every clock
        lambda self: Regularity(initial_layer=True, singular_start=True)
    )

    def init(self, x, grad):
        return NesterovConvexState(x, jnp.zeros_like(x))

    def step(self, t, y, grad):
        x, p = y
        g = grad(x)
        p = (1 - safe_divide(3 * self.h, t + 2 * self.h)) * p - self.h * g
        x = x + self.h * ((1 - safe_divide(3 * self.h, t + 3 * self.h)) * p - self.h * g)
        return NesterovConvexState(x, p)

    def vector_field(self, t, y, grad):
        x, p = y
        g = grad(x)
        dp = jnp.where(jnp.asarray(t) > 0, -3 * safe_divide(p, jnp.asarray(t, x.dtype)) - g, -g / 4)
        dx = p
        return NesterovConvexState(dx, dp)

    def optax(self):
        """With the trace T = -μₖ pₖ/h: T ← μₖ₊₁ (T + g), then x ← x - η (g + T)."""

        def update(updates, state: Any, params=None):
            k, trace = state
            trace = jax.tree.map(
                lambda u, g: (k / (k + 3)).astype(g.dtype) * (u + g), trace, updates
            )
            return jax.tree.map(lambda u, g: -self.learning_rate * (g + u), trace, updates), (
                k + 1,
                trace,
            )

        return optax.GradientTransformation(
            lambda params: (jnp.array(0), jax.tree.map(jnp.zeros_like, params)), update
        )

    def lyapunov(self, t, y, loss):
        return loss(y.x) + jnp.sum(y.p**2) / 2
