"""Nesterov momentum: a heavy ball that takes the gradient where its velocity is about to lead."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array

from ..checks import Scalar, decay_rate, positive
from .base import AbstractOptimizer


class NesterovState(NamedTuple):
    x: Array
    p: Array


class Nesterov(AbstractOptimizer[NesterovState]):
    """Nesterov momentum is a heavy ball that takes its gradient at the look-ahead point.

    The map (η = `learning_rate`, μ = `momentum`, h = √η, g = ∇f(xₖ)) updates the velocity first:

        pₖ₊₁ = μ pₖ - h g
        xₖ₊₁ = xₖ + h (μ pₖ₊₁ - h g)

    The flow (friction a = (1-μ)/h) is that of the heavy ball, from p(0) = 0; together x″ + a
    x′ + ∇f(x) = 0:

        p′ = -a p - ∇f(x)
        x′ = p

    The time step: one step takes the time h = √η, and μ = 1 - a h. With a held fixed the global
    error is O(h). The two methods differ at the next order: in the modified flow of this one, which
    is `Modified(Nesterov(...))`, the curvature acts as a second friction,

        (1+μ)/2 x″ + (1-μ)/h x′ + μ h ∇²f x′ + ∇f = O(h²)      from x′(0) = -h (½ + μ) ∇f(x₀);

    that of the heavy ball has no term with ∇²f. If all curvatures are at least λ, `strongly_convex`
    takes the friction a = 2√λ/(1+√λ h), so that μ = (1-√λ h)/(1+√λ h). If no such λ is known, see
    `NesterovConvex`.

    Lyapunov function: the mechanical energy f(x) + |p|²/2, which friction drains along the flow at
    the rate a |p|².

    Elsewhere: here, as in optax and PyTorch, x is the look-ahead point, where the gradient is
    taken; the other sequence of the literature is x - h μ p. The trace in optax is -p/h.

    Arguments:

    - `learning_rate`: η, in units of time squared; positive.
    - `momentum`: μ in [0, 1); 0.9 by default.

    >>> Nesterov(0.01)
    Nesterov(learning_rate=0.01, momentum=0.9)
    >>> Nesterov.strongly_convex(0.01, 1.0)
    Nesterov(learning_rate=0.01, momentum=0.818181818182)

    Source: Y. Nesterov, "Introductory lectures on convex optimization" (2004), scheme 2.2.11;
    `optax.sgd`.
    """

    h: Scalar
    friction: Scalar

    def __init__(self, learning_rate, momentum=0.9):
        self.h = positive("learning_rate", learning_rate) ** 0.5
        self.friction = (1 - decay_rate("momentum", momentum)) / self.h

    @classmethod
    def strongly_convex(cls, learning_rate, curvature):
        """Nesterov momentum for losses whose curvatures are at least `curvature` everywhere."""
        root: Any = (
            positive("learning_rate", learning_rate) * positive("curvature", curvature)
        ) ** 0.5
        return cls(learning_rate, (1 - root) / (1 + root))

    learning_rate = property(lambda self: self.h**2)
    momentum = property(lambda self: 1 - self.friction * self.h)

    def init(self, x, grad):
        return NesterovState(x, jnp.zeros_like(x))

    def step(self, t, y, grad):
        x, p = y
        g = grad(x)
        p = p + self.h * (-self.friction * p - g)
        x = x + self.h * (self.momentum * p - self.h * g)
        return NesterovState(x, p)

    def vector_field(self, t, y, grad):
        x, p = y
        g = grad(x)
        dp = -self.friction * p - g
        dx = p
        return NesterovState(dx, dp)

    def optax(self):
        return optax.sgd(self.learning_rate, momentum=self.momentum, nesterov=True)

    def lyapunov(self, t, y, loss):
        return loss(y.x) + jnp.sum(y.p**2) / 2
