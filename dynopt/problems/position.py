"""Positions: floats of one dtype in a PyTree, and arrays of whole numbers beside them."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import PyTree

from ..errors import InvalidType, InvalidValue
from .arrays import is_discrete, is_plain, number_array, real_array


class Completed(eqx.Module):
    """A loss of whole positions as a function of their floats alone.

    - `loss`: called as `loss(x)`, or with data as `loss(x, data)`.
    - `constants`: the arrays of whole numbers, in a PyTree with None in place of each float.
    - `num_positions`: how many positions the loss takes before the data.
    """

    loss: Callable
    constants: PyTree
    num_positions: int = eqx.field(static=True, default=1)

    def __call__(self, *arguments):
        positions, data = arguments[: self.num_positions], arguments[self.num_positions :]
        return self.loss(*(eqx.combine(x, self.constants) for x in positions), *data)


def as_position(x0: Any, own: PyTree = None, name: str = "x0") -> tuple[PyTree, PyTree]:
    """The floats of a position, all of one dtype, and its constants; each with None for the other.

    - `own`: the start of the problem, which tells what the constants are. Without it they are the
      arrays of whole numbers and booleans in a PyTree.
    - `name`: what messages call the position.

    **Raises:** `InvalidValue` and `InvalidType` if it holds anything else, floats of several
    dtypes, or no floats.
    """
    if x0 is None or isinstance(x0, str | bytes):
        raise InvalidType(f"`{name}` must be numbers, got {x0!r}; pass for example [1.0, 2.0].")
    is_like_own = own is not None and jax.tree.structure(x0) == jax.tree.structure(own)
    is_leaf = None if is_like_own else _is_list_of_numbers
    leaves, structure = jax.tree_util.tree_flatten_with_path(x0, is_leaf=is_leaf)
    if is_plain(x0) or [path for path, _ in leaves] == [()]:
        return _nonempty(real_array(name, x0)), None
    leaves = {_name(path, name): leaf for path, leaf in leaves}
    arrays = {
        key: (number_array if _is_array(leaf) else real_array)(key, leaf)
        for key, leaf in leaves.items()
    }
    if own is None:
        constant = {key for key, array in arrays.items() if is_discrete(array)}
    else:
        of_own, _ = jax.tree_util.tree_flatten_with_path(own)
        constant = {_name(path, name) for path, leaf in of_own if is_discrete(leaf)}
    floats = {key: array for key, array in arrays.items() if key not in constant}
    if arrays and not floats:
        raise InvalidValue(
            f"`{name}` holds no floats, and arrays of whole numbers in a PyTree are constants; "
            "pass floats, such as jax.numpy.array([1.0, 2.0])."
        )
    dtype = _common_dtype({k: v for k, v in floats.items() if _has_float_dtype(leaves[k])})
    floats = {key: _in_dtype(key, array, dtype) for key, array in floats.items()}
    constants = [_known(key, arrays[key]) if key in constant else None for key in arrays]
    return (
        _nonempty(jax.tree.unflatten(structure, map(floats.get, arrays))),
        jax.tree.unflatten(structure, constants),
    )


def must_be_the_constants(given: PyTree, own: PyTree, name: str) -> None:
    """**Raises:** `InvalidValue` if the constants of a start are not those of a problem."""
    of_own = {_name(path): leaf for path, leaf in jax.tree_util.tree_flatten_with_path(own)[0]}
    for path, leaf in jax.tree_util.tree_flatten_with_path(given)[0]:
        expected = of_own[_name(path)]  # a batch of starts may have it once or for each start
        is_same = leaf.shape[leaf.ndim - expected.ndim :] == expected.shape
        if not (is_same and np.all(leaf == expected)):
            raise InvalidValue(
                f"`{_name(path)}` differs from that of {name}, whose whole numbers beside floats "
                "are constants; put None in its place, or make another dynopt.Problem."
            )


def with_constants(x: PyTree, constants: PyTree, axes: tuple[int, ...]) -> PyTree:
    """Positions with leading `axes`, their constants filled in as far as there are any."""
    if not jax.tree.leaves(constants):
        return x
    filled = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (*axes, *leaf.shape)), constants)
    return eqx.combine(x, filled)


def _name(path: Any, name: str = "x0") -> str:
    return name + jax.tree_util.keystr(path)


def _known(name: str, leaf: Any) -> Any:
    """The value of a constant, which may have a tangent, as in `jax.grad(..., allow_int=True)`.

    **Raises:** `InvalidValue` if it is traced otherwise.
    """
    while isinstance(leaf, Tracer) and hasattr(leaf, "primal"):
        leaf = leaf.primal
    if isinstance(leaf, Tracer):
        raise InvalidValue(
            f"`{name}` is traced, but whole numbers beside floats are constants, which must be "
            "known; make the dynopt.Problem with them outside of jax.jit and jax.vmap, and put "
            "None in their place in an `x0`."
        )
    return leaf


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, np.ndarray | jax.Array)


def _has_float_dtype(leaf: Any) -> bool:
    """Whether a leaf has chosen its dtype, as no number and no list of numbers of Python has."""
    return isinstance(leaf, np.ndarray | np.generic | jax.Array) and not is_discrete(leaf)


def _is_list_of_numbers(value: Any) -> bool:
    return (
        type(value) is list
        and bool(value)
        and all(isinstance(v, int | float | np.generic) or _is_list_of_numbers(v) for v in value)
    )


def _common_dtype(arrays: dict[str, Any]) -> Any:
    """The dtype of floats that have chosen one; float64 if none has.

    **Raises:** `InvalidValue` if they have chosen several.
    """
    for name, array in arrays.items():
        first_name, first = next(iter(arrays.items()))
        if jnp.result_type(array) != jnp.result_type(first):
            raise InvalidValue(
                f"`{first_name}` is in {first.dtype} and `{name}` in {array.dtype}, but a position "
                "has one dtype; convert all leaves to one."
            )
    return next((array.dtype for array in arrays.values()), np.dtype(float))


def _in_dtype(name: str, array: Any, dtype: Any) -> Any:
    if array.dtype == dtype:
        return array
    with np.errstate(over="ignore"):
        return real_array(name, array.astype(dtype))


def _nonempty(x0: PyTree) -> PyTree:
    if not jax.tree.leaves(x0) or any(np.size(leaf) == 0 for leaf in jax.tree.leaves(x0)):
        raise InvalidValue("`x0` is empty; pass at least one number.")
    return x0
