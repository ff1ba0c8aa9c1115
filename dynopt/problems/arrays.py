"""Which numbers a problem takes: finite ones, copied on entry, that nobody can write to afterwards."""

import reprlib
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from ..errors import InvalidType, InvalidValue


def reals(name: str, value: Any) -> Any:
    """`value` as an array of finite floats: a copy that nobody can write to, or a traced array as it is.

    **Raises:** `InvalidType` for text, booleans, complex numbers and ragged lists; `InvalidValue` for NaN and infinity.
    """
    array = _array(name, value)
    if jnp.issubdtype(array.dtype, jnp.integer):
        array = array.astype(float)
    return _frozen(name, array, value)


def numbers(name: str, value: Any) -> Any:
    """The same, but whole numbers and booleans, such as labels and masks, stay what they are."""
    array = _array(name, value)
    discrete = jnp.issubdtype(array.dtype, jnp.integer) or array.dtype == bool
    if not discrete:
        return _frozen(name, array, value)
    if not isinstance(array, Tracer):
        array.flags.writeable = False
    return array


def is_plain(value: Any) -> bool:
    """Lists and tuples of Python's own numbers are arrays; a named tuple or a list of arrays is a tree."""
    if type(value) in (list, tuple):
        return all(map(is_plain, value))
    return value is None or isinstance(value, str | int | float | complex | np.generic)


def _array(name: str, value: Any) -> Any:
    try:
        array: Any = value if isinstance(value, Tracer) else np.array(value)
    except (TypeError, ValueError):
        raise InvalidType(
            f"`{name}` must be one array of numbers, got {reprlib.repr(value)}; pass floats."
        ) from None
    return (
        array.astype(float) if array.dtype == np.longdouble and array.dtype.itemsize > 8 else array
    )


def _frozen(name: str, array: Any, value: Any) -> Any:
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise InvalidType(
            f"`{name}` must hold real numbers, got {array.dtype} in {reprlib.repr(value)}; pass floats."
        )
    if isinstance(array, Tracer):
        return array
    finite = np.isfinite(array)
    if not finite.all():
        where = tuple(int(i) for i in np.argwhere(~finite)[0])
        place = f" at coordinate {where[0] if len(where) == 1 else where}" if where else ""
        raise InvalidValue(f"`{name}` is {array[where]}{place}; pass finite numbers.")
    array.flags.writeable = False
    return array
