"""Nesterov's method for convex losses: a momentum of k/(k+3), which is a friction of 3/t."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from ..checks import Scalar, positive
from .averages import safe_divide
from .base import AbstractOptimizer, Regularity


class NesterovConvexState(NamedTuple):
    x: Array
    p: Array


class NesterovConvex(AbstractOptimizer[NesterovConvexState]):
    """Nesterov's method for convex losses has a friction of 3/t, so that the loss falls like 1/t².

    The map (η = `learning_rate`, h = √η, g = ∇f(xₖ), μₖ = (k-1)/(k+2) with μ₀ p₀ = 0) updates the
    velocity first:

        pₖ₊₁ = μₖ pₖ - h g
        xₖ₊₁ = xₖ + h (μₖ₊₁ pₖ₊₁ - h g)

    The flow starts from p(0) = 0; together x″ + (3/t) x′ + ∇f(x) = 0:

        p′ = -(3/t) p - ∇f(x)
        x′ = p

    At t = 0 the quotient p/t is 0/0. Its limit is p′(0), so the flow starts with p′ = -∇f/4.

    The time step: one step takes the time h = √η, and μₖ = 1 - 3h/(t+2h) at t = k h. The global
    error is O(h). On f = λx²/2 the flow is x = 2 x₀ J₁(√λ t)/(√λ t), with the Bessel function J₁.
    On every convex f with minimum f* at x*, f - f* is at most 2 |x₀ - x*|²/t² along the flow, and
    for η ≤ 1/L, where L is the largest curvature, also along the map: at the points xₖ - h μₖ pₖ,
    with h (k+1) for t.

    Lyapunov function: the mechanical energy f + |p|²/2, which friction drains at the rate
    (3/t) |p|². If the minimizer x* is known there is a sharper one, which never rises for convex f:
    t² (f - f*) + 2 |x + (t/2) p - x*|².

    Elsewhere: here x is the look-ahead point. `optax.sgd` with a scheduled momentum uses one μ
    where the map above has two, μₖ and μₖ₊₁.

    Arguments:

    - `learning_rate`: η, in units of time squared; positive.

    >>> NesterovConvex(0.01)
    NesterovConvex(learning_rate=0.01)

    Source: W. Su, S. Boyd and E. Candès, "A differential equation for modeling Nesterov's
    accelerated gradient method: theory and insights", JMLR 17(153) (2016), equations (1) and (3),
    section 3.2 and theorem 3.
    """

    h: Scalar

    def __init__(self, learning_rate):
        self.h = positive("learning_rate", learning_rate) ** 0.5

    learning_rate = property(lambda self: self.h**2)
    regularity = property(  # the k-th step has a relative error of O(1/k), whatever h is
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

        def init(params):
            return jnp.array(0), jax.tree.map(jnp.zeros_like, params)

        def update(updates, state: Any, params=None):
            k, trace = state
            mu = k / (k + 3)
            trace = jax.tree.map(lambda T, g: mu.astype(g.dtype) * (T + g), trace, updates)
            updates = jax.tree.map(lambda T, g: -self.learning_rate * (g + T), trace, updates)
            return updates, (k + 1, trace)

        return optax.GradientTransformation(init, update)

    def lyapunov(self, t, y, loss):
        return loss(y.x) + jnp.sum(y.p**2) / 2
