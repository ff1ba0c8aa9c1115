"""Consensus optimization: a field that is no gradient gets one that is, the slope of its size."""

import jax
import jax.numpy as jnp

from ...checks import Scalar, nonnegative
from ..base import AbstractOptimizer
from ..gradient import BatchGradient
from .base import AbstractWrapper, must_be_wrappable


class Consensus(AbstractWrapper):
    """Consensus optimization adds to a field the gradient of half its squared size, ∇|g|²/2 = Jᵀg.

    The map, for the step Φ of the inner optimizer, a field g with the Jacobian J, and γ = `gamma`:

        xₖ₊₁ = Φ(xₖ) with g(x) + γ J(x)ᵀ g(x) wherever it asks for a gradient

    The flow, for the vector field F of the inner optimizer; γ stays as it is when h → 0:

        y′ = F(y) with g(x) + γ J(x)ᵀ g(x)

    The time step: it is that of the inner optimizer, and the global error has the same order. An
    equilibrium of g remains one, and γ acts as friction: on the game min over a, max over b of
    s a b the eigenvalues of the flow are -γ s² ± i s in place of ± i s. Other points may become
    equilibria, where -1/γ is an eigenvalue of J.

    Lyapunov function: on a loss f, that of the inner optimizer for f + γ |∇f|²/2, whose gradient is
    followed. None is known for other fields.

    Elsewhere: no transformation of optax does this, because it asks for a derivative of the
    gradient. A product with Jᵀ costs about as much as a gradient, and `evaluations` counts it as
    one. An `Accumulated` inside takes each part of the data with its own J, and the mean of their
    products is not the product of their means; put it outside.

    Arguments:

    - `optimizer`: the inner optimizer.
    - `gamma`: γ, at least 0, in units of time.

    **Raises:** `InvalidValue` if γ is negative.

    >>> from dynopt import SGD, iterate, problems
    >>> game = problems.bilinear()
    >>> size = iterate(Consensus(SGD(0.1), 1.0), game, 20).loss  # |g|, which is |x| here
    >>> print(f"{size[1] / size[0]:.4f}, {((1 - 0.1) ** 2 + 0.1**2) ** 0.5:.4f}")
    0.9055, 0.9055

    Source: L. Mescheder, S. Nowozin and A. Geiger, "The numerics of GANs" (2017).
    """

    optimizer: AbstractOptimizer
    gamma: Scalar

    def __init__(self, optimizer, gamma):
        must_be_wrappable(optimizer)
        self.optimizer, self.gamma = optimizer, nonnegative("gamma", gamma)

    evaluations = property(lambda self: 2 * self.optimizer.evaluations)

    def init(self, x, grad):
        return self.optimizer.init(x, self._penalized(grad))

    def init_flow(self, x, grad, order=1):
        return self.optimizer.init_flow(x, self._penalized(grad), order)

    def wrap_step(self, step, t, y, grad):
        return step(t, y, self._penalized(grad))

    def vector_field(self, t, y, grad):
        return self.optimizer.vector_field(t, y, self._penalized(grad))

    def lyapunov(self, t, y, loss):
        def penalized(x):
            return loss(x) + self.gamma / 2 * jnp.sum(jax.grad(loss)(x) ** 2)

        return self.optimizer.lyapunov(t, y, penalized)

    def _penalized(self, grad):
        """The field that the inner optimizer sees, over all data or over one part."""

        def penalized(field, x):
            g, pull_back = jax.vjp(field, x)
            return g + self.gamma * pull_back(g)[0]

        part, loss = getattr(grad, "part", None), getattr(grad, "loss", None)
        return BatchGradient(
            lambda x: penalized(grad, x),
            part and (lambda x, i, k: penalized(lambda x: part(x, i, k), x)),
            additive=False,
            loss=loss and (lambda x: loss(x) + self.gamma / 2 * jnp.sum(grad(x) ** 2)),
        )
