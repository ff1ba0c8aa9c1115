"""Gradient surgery: the gradient is changed before the optimizer uses it."""

from collections.abc import Callable
from functools import partial as bind

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from ...checks import is_concrete
from ...errors import InvalidValue
from ..base import AbstractOptimizer, replace_fields
from ..gradient import BatchGradient
from .base import AbstractWrapper, function_name, must_be_wrappable
from .transforms import apply_transform, argument_count, as_transformation, must_repeat


class WithGradient(AbstractWrapper):
    """Gradient surgery gives the inner optimizer a changed gradient, such as a clipped one.

    The gradient may be clipped, centred, penalised or made noisy.

    The map, for the step Φ of the inner optimizer:

        xₖ₊₁ = Φ(xₖ) with T(∇f(x), x, k) wherever it asks for a gradient

    The flow, for the vector field F of the inner optimizer:

        x′ = F(x) with T(∇f(x), x), or with `mean` for T where T changes from step to step

    The time step: it is that of the inner optimizer; if T is smooth, the global error has the same
    order.

    No Lyapunov function is known; in general T(∇f) is not the gradient of any function.

    Elsewhere: in optax this is a chain that begins with the transformation.

    Arguments:

    - `optimizer`: the inner optimizer.
    - `transform`: T, a function of the gradient, of (g, x), or of (g, x, k); or an optax
      transformation without a state. g and x are PyTrees like the position, so that each layer can
      be treated by itself.
    - `mean`: the function that the flow uses instead of a T(g, x, k); None by default.

    **Raises:** `InvalidValue` for an optax transformation with a state, which is a map of its own,
    see `Optax`; for a T(g, x, k) without a `mean`; for a T that does not return something like a
    gradient, or that is another function at each call, as with numpy's random numbers.
    `InvalidType` for anything else that is no such function, or that JAX cannot trace.

    >>> from dynopt import SGD
    >>> WithGradient(SGD(0.1), optax.clip_by_global_norm(1.0))
    WithGradient(SGD(learning_rate=0.1), transform=clip_by_global_norm)

    Source: R. Pascanu, T. Mikolov and Y. Bengio, "On the difficulty of training recurrent neural
    networks" (2013), algorithm 1, for clipping; `optax.chain`.
    """

    optimizer: AbstractOptimizer
    transform: Callable | optax.GradientTransformation
    mean: Callable | optax.GradientTransformation | None
    unravel: Callable | None = eqx.field(static=True)

    def __init__(self, optimizer, transform, mean=None):
        must_be_wrappable(optimizer)
        if argument_count("transform", transform) == 3 and mean is None:
            raise InvalidValue(
                f"`transform` {function_name(transform)} changes from step to step, and a flow has "
                "no steps; pass the function that the flow uses instead, such as mean=lambda g: g."
            )
        if mean is not None and argument_count("mean", mean) == 3:
            raise InvalidValue(
                f"`mean` {function_name(mean)} takes a step number, and a flow has none; pass a "
                "function of (g, x)."
            )
        self.optimizer, self.transform, self.mean, self.unravel = optimizer, transform, mean, None

    @property
    def regularity(self):
        regularity = self.optimizer.regularity
        return regularity if self.mean is None else regularity._replace(mean_flow=True)

    def for_leaves(self, x0):
        for name in ("transform", "mean") if is_concrete((self, x0)) else ():
            if (transform := getattr(self, name)) is not None:
                must_repeat(name, transform, bind(apply_transform, name, transform), x0, x0, 0)
        return replace_fields(
            super().for_leaves(x0), unravel=ravel_pytree(jax.tree.map(jnp.zeros_like, x0))[1]
        )

    def init(self, x, grad):
        return self.optimizer.init(x, self.mean_gradient(grad))

    def init_flow(self, x, grad, order=1):
        return self.optimizer.init_flow(x, self.mean_gradient(grad), order)

    def wrap_step(self, step, t, y, grad):
        k = jnp.round(jnp.asarray(t) / self.h).astype(int)
        return step(t, y, self._transformed_gradient("transform", grad, k))

    def vector_field(self, t, y, grad):
        return self.optimizer.vector_field(t, y, self.mean_gradient(grad))

    def mean_gradient(self, grad):
        """The gradient that the vector field uses."""
        return self._transformed_gradient("mean" if self.mean else "transform", grad)

    def _transformed_gradient(self, name, grad, k=None):
        transform, unravel = getattr(self, name), self.unravel or (lambda x: x)

        def transformed(g, x):
            tree = apply_transform(name, transform, unravel(g), unravel(x), k)
            return ravel_pytree(tree)[0].reshape(x.shape)

        grad = grad if isinstance(grad, BatchGradient) else BatchGradient(grad)
        return grad.transformed(transformed)

    def optax(self):
        first = as_transformation(self.transform, self.optimizer.evaluations)
        return optax.chain(first, self.optimizer.optax())
