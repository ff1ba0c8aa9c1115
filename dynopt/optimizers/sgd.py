"""Gradient descent: step downhill in proportion to the slope."""

from typing import NamedTuple

import optax
from jaxtyping import Array

from ..checks import Scalar, positive
from .base import AbstractOptimizer


class SGDState(NamedTuple):
    x: Array


class SGD(AbstractOptimizer[SGDState]):
    """Gradient descent is Euler's method applied to the gradient flow.

    The map (η = `learning_rate`):

        xₖ₊₁ = xₖ - η ∇f(xₖ)

    The flow:

        x′ = -∇f(x)

    The time step: one step takes the time h = η, so xₖ belongs to the time t = k h. The map is
    exactly the explicit Euler step of the flow. The error of one step is, to leading order,
    (h²/2) |x″| = (h²/2) |∇²f ∇f|, and the global error over a fixed time is O(h).

    Lyapunov function: the loss f itself, with d/dt f = -|∇f|² along the flow. On a quadratic, one
    step changes it by -h Σ (1 - hλ/2) gᵢ², where gᵢ is the gradient along the eigenvector of the
    curvature λ. So the map lowers it from every start if hλ < 2 for every λ, and raises it along an
    eigenvector with hλ > 2.

    Elsewhere: the S stands for stochastic; here, as in `optax.sgd`, the gradient is the one that
    the problem gives. `Minibatch` and `Noisy` make it random.

    Arguments:

    - `learning_rate`: η, the time per step; positive.

    >>> SGD(0.1)
    SGD(learning_rate=0.1)

    Source: A. Cauchy, "Méthode générale pour la résolution des systèmes d'équations simultanées",
    Comptes rendus 25 (1847); `optax.sgd`.
    """

    h: Scalar

    def __init__(self, learning_rate):
        self.h = positive("learning_rate", learning_rate)

    learning_rate = property(lambda self: self.h)

    def init(self, x, grad):
        return SGDState(x)

    def step(self, t, y, grad):
        (x,) = y
        x = x - self.h * grad(x)
        return SGDState(x)

    def vector_field(self, t, y, grad):
        (x,) = y
        dx = -grad(x)
        return SGDState(dx)

    def optax(self):
        return optax.sgd(self.learning_rate)

    def lyapunov(self, t, y, loss):
        return loss(y.x)
