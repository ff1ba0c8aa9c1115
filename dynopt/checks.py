"""What a hyperparameter may be. Values hidden inside a jax transformation are checked for shape and kind only."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from .errors import InvalidType, InvalidValue

MANY = 10**6  # a limit so far away is told to those only who exceed it
Scalar = float | int | Float[Array, ""]


def number(name: str, value) -> Scalar:
    """`value` as one finite real number: a float, or a scalar jax array left as it is.

    **Raises:** `InvalidType` for `None`, text, booleans, callables, complex numbers and arrays of more than one
    number; `InvalidValue` for NaN and the infinities.
    """
    if value is None:
        raise InvalidType(
            f"`{name}` is required, got None; pass a number, for example {name}=0.01."
        )
    if isinstance(value, str | bytes):
        raise InvalidType(f"`{name}` must be a number, got the text {value!r}; remove the quotes.")
    if callable(value):
        raise InvalidType(
            f"`{name}` must be a number, got a schedule; pass a constant, and wrap the page in dynopt.Schedule."
        )
    try:
        kind, shape = jnp.result_type(value), jnp.shape(value)
    except TypeError:
        raise InvalidType(f"`{name}` must be a number, got {value!r}; pass a float.") from None
    if shape != ():
        raise InvalidType(
            f"`{name}` must be one number, got shape {shape}; for many values make pages under equinox.filter_vmap, "
            "and run them with dynopt.sweep."
        )
    if not (jnp.issubdtype(kind, jnp.floating) or jnp.issubdtype(kind, jnp.integer)):
        raise InvalidType(f"`{name}` must be a real number, got {value!r}; pass a float.")
    if isinstance(value, Tracer):
        return value.astype(float) if jnp.issubdtype(kind, jnp.integer) else value
    try:
        finite = np.isfinite(float(value))
    except OverflowError:
        finite, value = False, math.inf if value > 0 else -math.inf
    if not finite:
        raise InvalidValue(
            f"`{name}` must be finite, got {float(value)}; pass a number such as 0.01."
        )
    return (
        value
        if isinstance(value, jax.Array) and jnp.issubdtype(kind, jnp.floating)
        else float(value)
    )


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
    """What a user's function does with a `value` that JAX cannot trace, and the remedy; None for any other error."""
    said = (
        (fault.format(value), remedy)
        for kind, fault, remedy in TRACING_FAULTS
        if isinstance(error, kind)
    )
    return next(said, None)


def is_concrete(tree: Any) -> bool:
    """Whether all numbers in a tree can be looked at: none is hidden inside a jax transformation."""
    return not any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(tree))


def concrete_value(value: Scalar) -> float | None:
    """The number as Python has it, or None if it is hidden; inside `jit` comparing jax arrays would hide any."""
    return None if isinstance(value, Tracer) else float(value)


def positive(name: str, value) -> Scalar:
    value = number(name, value)
    plain = concrete_value(value)
    if plain == 0:
        why = (
            ": nothing would move"
            if name in ("learning_rate", "h") or name.startswith("factors")
            else ""
        )
        raise InvalidValue(f"`{name}` is 0{why}; use a positive number, for example 0.01.")
    if plain is not None and plain < 0:
        rate = name == "learning_rate" or name.startswith("factors")
        why, remedy = (", which climbs the loss", ", or negate the loss") if rate else ("", "")
        raise InvalidValue(f"`{name}` is {plain:g}{why}; use a positive number{remedy}.")
    return value


def nonnegative(name: str, value) -> Scalar:
    value = number(name, value)
    plain = concrete_value(value)
    if plain is not None and plain < 0:
        raise InvalidValue(
            f"`{name}` is {plain:g}, which is outside [0, inf); use 0 or a small positive number."
        )
    return value


def decay_rate(name: str, value) -> Scalar:
    """A share of the past that is kept at each step: a number in [0, 1)."""
    value = number(name, value)
    plain = concrete_value(value)
    if plain is not None and not 0 <= plain < 1:
        why = "; 1 never forgets" if plain == 1 else ""
        raise InvalidValue(
            f"`{name}` is {plain:g}, which is outside [0, 1){why}; use a number such as 0.9."
        )
    return value


def fraction(name: str, value) -> Scalar:
    """A share of a mixture: a number in [0, 1]."""
    value = number(name, value)
    plain = concrete_value(value)
    if plain is not None and not 0 <= plain <= 1:
        raise InvalidValue(
            f"`{name}` is {plain:g}, which is outside [0, 1]; use a number such as 0.9."
        )
    return value


def boolean(name: str, value) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise InvalidType(f"`{name}` must be True or False, got {value!r}.")
    return bool(value)


def whole_number(name: str, value, *, least: int, most: int | None = None, like: int | None = None) -> int:
    """`value` as a whole number: 1000, 1e3 or numpy's, but no booleans, text or fractions; one is `like` this."""
    like = least if like is None else like
    if isinstance(value, bool | np.bool_ | str | bytes) or np.ndim(value) != 0:
        raise InvalidType(
            f"`{name}` must be a whole number, got {value!r}; pass for example {name}={like}."
        )
    try:
        number = int(value)
        exact = number == value
    except (TypeError, ValueError, OverflowError):
        number, exact = least, False
    if not exact or number < least or (most is not None and number > most):
        beyond = most is not None and exact and number > most
        range = f"of at most {most}" if beyond else f"of at least {least}"
        range = f"from {least} to {most}" if most is not None and most < MANY else range
        raise InvalidValue(
            f"`{name}` must be a whole number {range}, got {value!r}; pass {name}={like}, say."
        )
    return number
