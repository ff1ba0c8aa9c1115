"""Gradient surgery: something is done to the gradient before the optimizer sees it."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from ...errors import InvalidValue
from ..base import AbstractOptimizer, replace_fields
from ..gradient import BatchGradient
from .base import AbstractWrapper, function_name, must_be_wrappable
from .transforms import applied, as_transformation, wanted


class WithGradient(AbstractWrapper):
    """Surgery hands a page another field than ∇f: the gradient clipped, centred, penalised, or noisy.

    The map, for the step Φ of the page inside:

        xₖ₊₁ = Φ(xₖ) with T(∇f(x), x, k) wherever it asks for a gradient

    The flow, for the velocity F of the page inside:

        x′ = F(x) with T(∇f(x), x), or with `mean` for T where T changes from step to step

    The clock: that of the page; where T is smooth the gap closes as its own does.
    Energy: none is known; T(∇f) is the gradient of nothing, as a rule.
    Elsewhere: in optax, a chain that begins with the transformation.
    - `optimizer`: any page. - `transform`: T, a function of the gradient, of (g, x), or of (g, x, k), PyTrees like the
      position, so that each layer can be treated by itself; or an optax transformation that remembers nothing.
    - `mean`: what the flow has in place of a T(g, x, k).

    **Raises:** `InvalidValue` for optax transformations with a memory: they are maps of their own, see `Optax`.

    >>> from dynopt import SGD
    >>> WithGradient(SGD(0.1), optax.clip_by_global_norm(1.0))
    WithGradient(SGD(learning_rate=0.1), transform=clip_by_global_norm)

    Source: R. Pascanu, T. Mikolov and Y. Bengio, "On the difficulty of training recurrent neural networks" (2013),
    algorithm 1, for clipping; `optax.chain`.
    """

    optimizer: AbstractOptimizer
    transform: Callable | optax.GradientTransformation
    mean: Callable | optax.GradientTransformation | None
    unravel: Callable | None = eqx.field(static=True)

    def __init__(self, optimizer, transform, mean=None):
        must_be_wrappable(optimizer)
        if wanted("transform", transform) == 3 and mean is None:
            raise InvalidValue(
                f"`transform` {function_name(transform)} changes from step to step, and a flow has no steps; "
                "pass what the flow sees instead, such as mean=lambda g: g."
            )
        if mean is not None and wanted("mean", mean) == 3:
            raise InvalidValue(
                f"`mean` {function_name(mean)} takes a step number, and a flow has none; pass one of (g, x)."
            )
        self.optimizer, self.transform, self.mean, self.unravel = optimizer, transform, mean, None

    def for_leaves(self, x0):
        return replace_fields(
            super().for_leaves(x0), unravel=ravel_pytree(jax.tree.map(jnp.zeros_like, x0))[1]
        )

    def init(self, x, grad):
        return self.optimizer.init(x, self.mean_gradient(grad))

    def init_flow(self, x, grad, order=1):
        return self.optimizer.init_flow(x, self.mean_gradient(grad), order)

    def wrap_step(self, step, t, y, grad):
        return step(
            t, y, self._through("transform", grad, jnp.round(jnp.asarray(t) / self.h).astype(int))
        )

    def vector_field(self, t, y, grad):
        return self.optimizer.vector_field(t, y, self.mean_gradient(grad))

    def mean_gradient(self, grad):
        return self._through("mean" if self.mean else "transform", grad)

    def _through(self, name, grad, k=None):
        """Every gradient that is taken, changed."""
        transform, tree = getattr(self, name), self.unravel or (lambda x: x)
        grad = grad if isinstance(grad, BatchGradient) else BatchGradient(grad)
        return grad.transformed(
            lambda g, x: ravel_pytree(applied(name, transform, tree(g), tree(x), k))[0].reshape(
                x.shape
            )
        )

    def optax(self):
        return optax.chain(
            as_transformation(self.transform, self.optimizer.evaluations), self.optimizer.optax()
        )
