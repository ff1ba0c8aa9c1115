"""A page that holds many: arrays where a page has numbers, as `equinox.filter_vmap` makes them."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from ..checks import is_concrete
from ..errors import InvalidType
from ..optimizers import AbstractOptimizer


def is_key(leaf: Any) -> bool:
    """Whether it is an array of typed random keys."""
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def many(optimizer: AbstractOptimizer) -> PyTree:
    """Which leaves hold a value for each member: numbers of shape `(batch)` in place of `()`, and keys.

    Arrays inside a function of the user's, such as a mask in a transform, are its own affair, alike for all members.
    """

    def are_keys(leaf: Any) -> bool:
        return is_key(leaf) and leaf.ndim > 0

    def below(value: Any) -> Any:
        return (
            are_keys
            if callable(value)
            else are_keys(value) or (eqx.is_inexact_array(value) and value.ndim > 0)
        )

    return jax.tree.map(below, optimizer, is_leaf=callable)


def must_be_single(optimizer: AbstractOptimizer) -> None:
    """**Raises:** `InvalidType` if the page holds many."""
    for leaf in jax.tree.leaves(eqx.filter(optimizer, many(optimizer))):
        raise InvalidType(
            f"`optimizer` holds {' x '.join(map(str, leaf.shape))} pages in one; run them all with dynopt.sweep, or "
            "one by one under equinox.filter_vmap."
        )


def make_batch(make: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    """`make(**arguments)` for every element of the arrays among the arguments."""

    def is_batch(leaf: Any) -> bool:
        return eqx.is_array(leaf) and leaf.ndim > 0

    def make_one(arguments: dict[str, Any]) -> Any:
        return make(**arguments)

    make_all, arrays = make_one, filter(is_batch, jax.tree.leaves(arguments))
    for _ in range(max((array.ndim for array in arrays), default=0)):
        make_all = eqx.filter_vmap(make_all, in_axes=lambda leaf: 0 if is_batch(leaf) else None)
    return make_all(arguments)


def must_be_buildable(optimizer: AbstractOptimizer) -> None:
    """Let the constructor see the members that have the least and the most of each hyperparameter.

    Inside `equinox.filter_vmap`, where the page was made, it could not look at their values.

    **Raises:** what the constructor raises.
    """
    if not is_concrete(optimizer) or not jax.tree.leaves(eqx.filter(optimizer, many(optimizer))):
        return
    with jax.ensure_compile_time_eval():
        given = optimizer.hyperparameters()
    for value in given.values():
        if isinstance(value, AbstractOptimizer):
            must_be_buildable(value)
    arrays = {
        name: np.asarray(value) for name, value in given.items() if eqx.is_inexact_array(value)
    }
    shape = np.broadcast_shapes(*(array.shape for array in arrays.values()))
    for varied in arrays.values():
        spread = np.broadcast_to(varied, shape).ravel()
        for i in {int(np.argmin(spread)), int(np.argmax(spread))}:
            one = {
                name: _plain(np.broadcast_to(array, shape).ravel()[i])
                for name, array in arrays.items()
            }
            type(optimizer)(**(given | one))


def _plain(number: np.floating) -> float:
    """A hyperparameter as it was typed; times hold 1 - h/tau to an ulp only, so that 0 may come back below 0."""
    noise = 8 * float(jnp.finfo(number.dtype).eps)
    return 0.0 if -noise < number < 0 else float(number)
