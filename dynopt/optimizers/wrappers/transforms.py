"""What may change a gradient: a function of it, of the position and of the step, or an optax transformation."""

import inspect
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from ...checks import tracing_fault
from ...errors import InvalidType, InvalidValue
from .base import function_name


def wanted(name: str, transform: Any) -> int:
    """How many of g, x, k a transform takes.

    **Raises:** `InvalidType` for what is no transform.
    """
    if isinstance(transform, optax.GradientTransformation):
        return 2
    remedy = "pass a function of g, of (g, x) or of (g, x, k), or an optax transformation"
    if not callable(transform):
        raise InvalidType(f"`{name}` must change a gradient, got {transform!r}; {remedy}.")
    for count in (1, 2, 3):
        try:
            inspect.signature(transform).bind(*range(count))
        except TypeError:
            continue
        except ValueError:  # it does not say
            return 1
        return count
    raise InvalidType(f"`{name}` {function_name(transform)} takes other arguments; {remedy}.")


def applied(name: str, transform: Any, g: Any, x: Any, k: Any) -> Any:
    """T(g, x, k).

    **Raises:** `InvalidValue` if the transform remembers, or returns what is not like a gradient; `InvalidType` if it
    branches on a value.
    """
    try:
        changed = _changed(name, transform, g, x, k)
    except Exception as error:
        if (known := tracing_fault(error)) is None:
            raise
        raise InvalidType(f"`{name}` {function_name(transform)} {known[0]}; {known[1]}.") from error
    if not _alike(changed, g):
        raise InvalidValue(
            f"`{name}` {function_name(transform)} returned {eqx.tree_pformat(changed, width=10**6)} for a gradient "
            f"{eqx.tree_pformat(g, width=10**6)}; return one like it."
        )
    return changed


def _changed(name: str, transform: Any, g: Any, x: Any, k: Any) -> Any:
    if not isinstance(transform, optax.GradientTransformation):
        return transform(*(g, x, k)[: wanted(name, transform)])
    state = transform.init(x)
    if jax.tree.leaves(state):
        raise InvalidValue(
            f"`{name}` {function_name(transform)} remembers, so it changes more than the gradient; "
            "make it a page: dynopt.Optax(lambda h: optax.chain(..., optax.sgd(h)), h)."
        )
    return transform.update(g, state, x)[0]


def _alike(a: Any, b: Any) -> bool:
    """Whether two trees have the same structure, and real numbers in the same shapes."""
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=False)
    return jax.tree.structure(a) == jax.tree.structure(b) and all(
        not isinstance(p, str)
        and jnp.shape(p) == jnp.shape(q)
        and jnp.issubdtype(jnp.result_type(p), jnp.floating)
        for p, q in pairs
    )


def as_transformation(transform: Any, every: int) -> Any:
    """The transform as optax takes it, whose step is over after so many calls."""
    if isinstance(transform, optax.GradientTransformation):
        return transform

    def update(updates, state: Any, params=None):
        return applied("transform", transform, updates, params, state // every), state + 1

    return optax.GradientTransformation(lambda params: jnp.asarray(0), update)
