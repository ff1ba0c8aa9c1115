"""Sharpness-aware minimisation: the gradient is taken a short distance uphill."""

import equinox as eqx
import jax.numpy as jnp

from ...checks import Scalar, boolean, nonnegative
from ..averages import safe_divide, safe_sqrt
from ..base import AbstractOptimizer
from ..gradient import BatchGradient
from .base import AbstractWrapper, must_be_wrappable


class SAM(AbstractWrapper):
    """Sharpness-aware minimisation takes the gradient uphill, where it grows fast in sharp valleys.

    The map, for the step Φ of the inner optimizer:

        xₖ₊₁ = Φ(xₖ) with ∇f(x + ρ ∇f(x)/|∇f(x)|) wherever it asks for a gradient

    The flow, for the vector field F of the inner optimizer; ρ is a length of the loss and stays as
    it is when h → 0. Around gradient descent it descends f + ρ |∇f|, up to O(ρ²):

        x′ = F(x) with ∇f(x + ρ ∇f(x)/|∇f(x)|)

    The time step: it is that of the inner optimizer, and the global error has the same order. Where
    the gradient is 0, it is asked for there. Near a minimizer the distance ρ does not shrink, so
    that the map keeps oscillating about it; the oscillations grow at the curvatures at which those
    of the inner optimizer do.

    No Lyapunov function is known.

    Elsewhere: `optax.contrib.sam`. With `normalize=False` the gradient is asked for at x + ρ ∇f(x),
    as in much of the theory; then gradient descent is stable up to the curvature λ with
    λ (1 + ρ λ) = 2/η, which is below 2/η.

    Arguments:

    - `optimizer`: the inner optimizer.
    - `rho`: ρ, the distance uphill, at least 0.
    - `normalize`: whether the gradient is divided by its norm; True by default.

    **Raises:** `InvalidValue` if ρ is negative.

    >>> from dynopt import SGD
    >>> SAM(SGD(0.1), 0.05)
    SAM(SGD(learning_rate=0.1), rho=0.05, normalize=True)

    Source: P. Foret et al., "Sharpness-aware minimization for efficiently improving generalization"
    (2021); M. Andriushchenko and N. Flammarion, "Towards understanding sharpness-aware
    minimization" (2022), for the form without the norm.
    """

    optimizer: AbstractOptimizer
    rho: Scalar
    normalize: bool = eqx.field(static=True)

    def __init__(self, optimizer, rho, normalize=True):
        must_be_wrappable(optimizer)
        self.optimizer, self.rho = optimizer, nonnegative("rho", rho)
        self.normalize = boolean("normalize", normalize)

    evaluations = property(lambda self: 2 * self.optimizer.evaluations)

    def init(self, x, grad):
        return self.optimizer.init(x, self._uphill(grad))

    def init_flow(self, x, grad, order=1):
        return self.optimizer.init_flow(x, self._uphill(grad), order)

    def wrap_step(self, step, t, y, grad):
        return step(t, y, self._uphill(grad))

    def vector_field(self, t, y, grad):
        return self.optimizer.vector_field(t, y, self._uphill(grad))

    def _uphill(self, grad):
        """The gradient that the inner optimizer sees."""

        def move(x):
            g = grad(x)
            return x + self.rho * (safe_divide(g, _norm(g)) if self.normalize else g)

        grad = grad if isinstance(grad, BatchGradient) else BatchGradient(grad)
        return grad.taken_at(move)


def _norm(g):
    return safe_sqrt(jnp.sum(g**2))
