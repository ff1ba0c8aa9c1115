"""Checks of arguments: each returns the value in one form, or raises an error that says what to do.

Inside a JAX transformation a number is traced, and its value is not known; then its shape and its
dtype are checked and its value is not.
"""

import inspect
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from .errors import InvalidType, InvalidValue

MANY = 10**6  # an upper limit beyond this is named only to those who exceed it
Scalar = float | int | Float[Array, ""]


def number(name: str, value) -> Scalar:
    """`value` as one finite real number: a float, or a scalar JAX array, which stays as it is.

    **Raises:** `InvalidType` for `None`, text, booleans, functions, complex numbers and arrays of
    more than one number; `InvalidValue` for NaN and the infinities.
    """
    if value is None:
        raise InvalidType(
            f"`{name}` is required, got None; pass a number, for example {name}=0.01."
        )
    if isinstance(value, str | bytes):
        raise InvalidType(f"`{name}` must be a number, got the text {value!r}; remove the quotes.")
    if callable(value):
        raise InvalidType(
            f"`{name}` must be a number, got a schedule; pass a constant, and wrap the optimizer "
            "in dynopt.Schedule."
        )
    try:
        dtype, shape = jnp.result_type(value), jnp.shape(value)
    except TypeError:
        raise InvalidType(f"`{name}` must be a number, got {value!r}; pass a float.") from None
    if shape != ():
        raise InvalidType(
            f"`{name}` must be one number, got shape {shape}; for many values make the optimizers "
            "under equinox.filter_vmap, and run them with dynopt.sweep."
        )
    if not (jnp.issubdtype(dtype, jnp.floating) or jnp.issubdtype(dtype, jnp.integer)):
        raise InvalidType(f"`{name}` must be a real number, got {value!r}; pass a float.")
    if isinstance(value, Tracer):
        return value.astype(float) if jnp.issubdtype(dtype, jnp.integer) else value
    try:
        is_finite = np.isfinite(float(value))
    except OverflowError:
        is_finite, value = False, math.inf if value > 0 else -math.inf
    if not is_finite:
        raise InvalidValue(
            f"`{name}` must be finite, got {float(value)}; pass a number such as 0.01."
        )
    if isinstance(value, jax.Array) and jnp.issubdtype(dtype, jnp.floating):
        return value
    return float(value)


TRACING_FAULTS = (
    (jax.errors.TracerArrayConversionError, "uses numpy on {}", "use jax.numpy instead"),
    (jax.errors.TracerBoolConversionError, "branches on {}", "use jax.numpy.where for `if`"),
    (
        jax.errors.TracerIntegerConversionError,
        "counts or indexes by {}",
        "use jax arrays and jax.lax",
    ),
    (
        jax.errors.NonConcreteBooleanIndexError,
        "selects entries by a traced mask",
        "use jax.numpy.where",
    ),
    (
        jax.errors.ConcretizationTypeError,
        "turns {} into a Python number",
        "use jax.numpy, which keeps it",
    ),
)


def tracing_fault(error: Exception, value: str = "a traced value") -> tuple[str, str] | None:
    """What a function of the user does with a `value` that JAX cannot trace, and the remedy.

    Returns None for an error with another cause.
    """
    for kind, fault, remedy in TRACING_FAULTS:
        if isinstance(error, kind):
            return fault.format(value), remedy
    return None


def is_concrete(tree: Any) -> bool:
    """Whether the values of all numbers in a PyTree are known, because none of them is traced."""
    return not any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(tree))


def must_be_concrete(analysis: str, *values: Any) -> None:
    """**Raises:** `InvalidValue` if a number among the `values` is traced."""
    if not is_concrete(values):
        raise InvalidValue(
            f"{analysis} needs numbers, got values inside a jax transformation; call it outside of "
            "jax.jit, jax.grad and jax.vmap."
        )


def accepts(function: Callable, *arguments: Any) -> bool:
    """Whether a function can be called with these arguments, as far as is known."""
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError:
        return False
    except ValueError:  # some functions in C have no signature; they take something
        return bool(arguments)
    return True


def concrete_value(value: Scalar) -> float | None:
    """The Python float, or None if `value` is traced.

    A comparison of JAX arrays inside `jax.jit` would be traced even if their values are known.
    """
    return None if isinstance(value, Tracer) else float(value)


def positive(name: str, value) -> Scalar:
    """`value` as a number greater than 0."""
    value = number(name, value)
    concrete = concrete_value(value)
    is_rate = name == "learning_rate" or name.startswith("factors")
    if concrete == 0:
        reason = ": nothing would move" if is_rate or name == "h" else ""
        raise InvalidValue(f"`{name}` is 0{reason}; use a positive number, for example 0.01.")
    if concrete is not None and concrete < 0:
        reason, remedy = (
            (", which climbs the loss", ", or negate the loss") if is_rate else ("", "")
        )
        raise InvalidValue(f"`{name}` is {concrete:g}{reason}; use a positive number{remedy}.")
    return value


def nonnegative(name: str, value) -> Scalar:
    """`value` as a number of at least 0."""
    value = number(name, value)
    concrete = concrete_value(value)
    if concrete is not None and concrete < 0:
        raise InvalidValue(
            f"`{name}` is {concrete:g}, which is outside [0, inf); use 0 or a small positive "
            "number."
        )
    return value


def decay_rate(name: str, value) -> Scalar:
    """`value` as the fraction of a running mean that one step keeps: a number in [0, 1)."""
    value = number(name, value)
    concrete = concrete_value(value)
    if concrete is not None and not 0 <= concrete < 1:
        reason = "; 1 never forgets" if concrete == 1 else ""
        raise InvalidValue(
            f"`{name}` is {concrete:g}, which is outside [0, 1){reason}; use a number such as 0.9."
        )
    return value


def fraction(name: str, value) -> Scalar:
    """`value` as the weight of one part of a mixture: a number in [0, 1]."""
    value = number(name, value)
    concrete = concrete_value(value)
    if concrete is not None and not 0 <= concrete <= 1:
        raise InvalidValue(
            f"`{name}` is {concrete:g}, which is outside [0, 1]; use a number such as 0.9."
        )
    return value


def boolean(name: str, value) -> bool:
    """`value` as True or False."""
    if not isinstance(value, bool | np.bool_):
        raise InvalidType(f"`{name}` must be True or False, got {value!r}.")
    return bool(value)


def whole_number(
    name: str, value, *, least: int, most: int | None = None, like: int | None = None
) -> int:
    """`value` as a whole number from `least` to `most`, in any numeric type: 1000, 1e3 or numpy's.

    Error messages give `like` as an example.

    **Raises:** `InvalidType` for booleans, text, arrays and traced values; `InvalidValue` for
    fractions and for numbers that are too small or too large.
    """
    example = least if like is None else like
    if isinstance(value, Tracer):
        raise InvalidType(
            f"`{name}` must be a known whole number, got a traced value, as inside jax.jit and "
            f"dynopt.grid; pass for example {name}={example}."
        )
    if isinstance(value, bool | np.bool_ | str | bytes) or np.ndim(value) != 0:
        raise InvalidType(
            f"`{name}` must be a whole number, got {value!r}; pass for example {name}={example}."
        )
    try:
        integer = int(value)
        is_whole = integer == value
    except (TypeError, ValueError, OverflowError):
        integer, is_whole = least, False
    is_too_large = most is not None and integer > most
    if is_whole and integer >= least and not is_too_large:
        return integer
    if most is not None and most < MANY:
        allowed = f"from {least} to {most}"
    elif is_whole and is_too_large:
        allowed = f"of at most {most}"
    else:
        allowed = f"of at least {least}"
    raise InvalidValue(
        f"`{name}` must be a whole number {allowed}, got {value!r}; pass {name}={example}, say."
    )
