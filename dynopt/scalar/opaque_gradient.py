"""The gradient of an unknown loss: a program that asks for it serves every loss."""

import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array

from ..errors import InvalidValue

gradient_p = Primitive("gradient")
entry_p = Primitive("entry")  # one number of a gradient, in programs of scalars


def opaque_gradient(x: Array) -> Array:
    """The gradient ∇f(x) of a loss f that a traced program leaves open; it has the shape of `x`.

    An optimizer that is traced with it is one program for all losses. It is differentiable to any
    order, in both modes: its k-th derivative along v₁, ..., vₖ is left open as well, as the
    operation gradient(x, v₁, ..., vₖ) = Dᵏ∇f(x)[v₁, ..., vₖ], which is symmetric in every argument
    but x. `jax.vmap` writes it out, once for each point. The field of a game has no symmetric
    derivative: for it, forward mode alone is right.

    - `x`: the position, an array of any shape.

    **Raises:** `InvalidValue` if it is evaluated: it has a place in a program, and no value.

    >>> import jax.numpy as jnp
    >>> from dynopt import Momentum
    >>> from dynopt.scalar import trace
    >>> momentum, x = Momentum(0.01), jnp.zeros(2)
    >>> y = momentum.init(x, lambda x: x)
    >>> trace(lambda y: momentum.step(0.0, y, opaque_gradient), y).num_gradients
    1
    """
    return gradient_p.bind(x)


def _derivative(primals, tangents):
    x, *directions = primals
    dx, *turns = tangents
    value = gradient_p.bind(*primals)
    terms = [gradient_p.bind(x, *directions, dx)] if type(dx) is not ad.Zero else []
    terms += [
        gradient_p.bind(x, *directions[:i], turn, *directions[i + 1 :])
        for i, turn in enumerate(turns)
        if type(turn) is not ad.Zero
    ]
    return value, sum(terms[1:], terms[0])


def _transpose(cotangent, x, *directions):
    """The derivatives of a gradient are symmetric, so each is its own transpose."""
    i = [ad.is_undefined_primal(direction) for direction in directions].index(True)
    if type(cotangent) is not ad.Zero:
        cotangent = gradient_p.bind(x, *directions[:i], cotangent, *directions[i + 1 :])
    return [None, *(cotangent if j == i else None for j in range(len(directions)))]


def _batch(arguments, axes):
    (size,) = {
        argument.shape[axis]
        for argument, axis in zip(arguments, axes, strict=True)
        if axis is not None
    }
    points = [
        [
            argument if axis is None else jnp.take(argument, i, axis)
            for argument, axis in zip(arguments, axes, strict=True)
        ]
        for i in range(size)
    ]
    return jnp.stack([gradient_p.bind(*point) for point in points]), 0


def _has_no_value(*_, **__):
    raise InvalidValue(
        "an opaque gradient has no value, because its loss is not known; pass the function that "
        "asks for it to dynopt.scalar.trace, or give it the gradient of a loss."
    )


gradient_p.def_abstract_eval(lambda x, *_: x)
gradient_p.def_impl(_has_no_value)
ad.primitive_jvps[gradient_p] = _derivative
ad.primitive_transposes[gradient_p] = _transpose
batching.primitive_batchers[gradient_p] = _batch
mlir.register_lowering(gradient_p, _has_no_value)
