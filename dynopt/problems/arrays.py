"""Arrays of a problem: finite numbers, copied on entry, that nobody can change afterwards."""

import reprlib
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from ..errors import InvalidType, InvalidValue


def real_array(name: str, value: Any) -> Any:
    """`value` as a read-only copy in finite floats; a traced array stays as it is.

    **Raises:** `InvalidType` for text, booleans, complex numbers and ragged lists; `InvalidValue`
    for NaN, infinity and masked entries.
    """
    array = _to_array(name, value)
    if is_discrete(array) and array.dtype != bool:
        array = array.astype(float)
    return _checked_floats(name, array, value)


def number_array(name: str, value: Any) -> Any:
    """Like `real_array`, but whole numbers and booleans (labels, masks) keep their dtype."""
    array = _to_array(name, value)
    if not is_discrete(array):
        return _checked_floats(name, array, value)
    if not isinstance(array, Tracer):
        array.flags.writeable = False
    return array


def complex_array(name: str, value: Any) -> Any:
    """Like `real_array`, but complex numbers stay complex."""
    array = _to_array(name, value)
    if not jnp.issubdtype(array.dtype, jnp.complexfloating):
        return real_array(name, value)
    return real_array(name, array.real) + 1j * real_array(name, array.imag)


def is_discrete(array: Any) -> bool:
    """Whether an array holds whole numbers or booleans."""
    return jnp.issubdtype(array.dtype, jnp.integer) or array.dtype == bool


def is_plain(value: Any) -> bool:
    """Whether `value` is one array: a Python number, or a list or tuple of such values.

    A named tuple or a list of arrays is a PyTree.
    """
    if type(value) in (list, tuple):
        return all(map(is_plain, value))
    return value is None or isinstance(value, str | int | float | complex | np.generic)


def _to_array(name: str, value: Any) -> Any:
    if np.ma.is_masked(value):
        raise InvalidValue(
            f"`{name}` has masked entries; fill them, for example with `.filled(0.0)`."
        )
    try:
        array: Any = value if isinstance(value, Tracer) else np.array(value)
    except (TypeError, ValueError):
        raise InvalidType(
            f"`{name}` must be one array of numbers, got {reprlib.repr(value)}; pass floats."
        ) from None
    is_longer_than_double = array.dtype == np.longdouble and array.dtype.itemsize > 8
    return array.astype(float) if is_longer_than_double else array


def _checked_floats(name: str, array: Any, value: Any) -> Any:
    if callable(value):
        raise InvalidType(
            f"`{name}` must hold real numbers, got a function, as models have in them; pass the "
            "first result of arrays, rest = eqx.partition(model, eqx.is_array), and call "
            "eqx.combine(arrays, rest) in the loss."
        )
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise InvalidType(
            f"`{name}` must hold real numbers, got {array.dtype} in {reprlib.repr(value)}; pass "
            "floats."
        )
    if isinstance(array, Tracer):
        return array
    is_finite = np.isfinite(array)
    if not is_finite.all():
        index = tuple(int(i) for i in np.argwhere(~is_finite)[0])
        place = f" at coordinate {index[0] if len(index) == 1 else index}" if index else ""
        raise InvalidValue(f"`{name}` is {array[index]}{place}; pass finite numbers.")
    array.flags.writeable = False
    return array
