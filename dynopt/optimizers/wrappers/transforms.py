"""Functions that change a gradient: of g, (g, x) or (g, x, k), or transformations of optax."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from ...checks import accepts, tracing_fault
from ...errors import InvalidType, InvalidValue
from ...problems.program import is_same_program
from .base import function_name


def argument_count(name: str, transform: Any) -> int:
    """How many of the arguments g, x, k a transform takes.

    **Raises:** `InvalidType` if it is no transform.
    """
    if isinstance(transform, optax.GradientTransformation):
        return 2
    remedy = "pass a function of g, of (g, x) or of (g, x, k), or an optax transformation"
    if not callable(transform):
        raise InvalidType(f"`{name}` must change a gradient, got {transform!r}; {remedy}.")
    for count in (1, 2, 3):
        if accepts(transform, *range(count)):
            return count
    raise InvalidType(f"`{name}` {function_name(transform)} takes other arguments; {remedy}.")


def must_repeat(name: str, function: Any, call: Callable, *arguments: Any) -> None:
    """Trace `call(*arguments)` twice, where `call` calls `function`, the argument called `name`.

    **Raises:** `InvalidValue` if the two programs differ, as with random numbers of numpy; what
    tracing raises is passed on.
    """
    program, again = (jax.make_jaxpr(lambda *a: call(*a))(*arguments) for _ in range(2))
    if not is_same_program(program, again):
        raise InvalidValue(
            f"`{name}` {function_name(function)} is another function each time it is traced, as "
            "with numpy's random numbers or a counter inside it; draw the numbers once outside of "
            "it, or use jax.random with a fixed key."
        )


def apply_transform(name: str, transform: Any, g: Any, x: Any, k: Any) -> Any:
    """T(g, x, k), in the dtype of g.

    **Raises:** `InvalidValue` if the transform has a state, or returns something that is not like
    a gradient; `InvalidType` if JAX cannot trace it.
    """
    try:
        transformed = _apply(name, transform, g, x, k)
    except Exception as error:
        if (fault := tracing_fault(error)) is None:
            raise
        raise InvalidType(f"`{name}` {function_name(transform)} {fault[0]}; {fault[1]}.") from error
    if not _is_like(transformed, g):
        raise InvalidValue(
            f"`{name}` {function_name(transform)} returned "
            f"{eqx.tree_pformat(transformed, width=10**6)} for a gradient "
            f"{eqx.tree_pformat(g, width=10**6)}; return one like it."
        )
    return jax.tree.map(lambda new, old: jnp.asarray(new, old.dtype), transformed, g)


def _apply(name: str, transform: Any, g: Any, x: Any, k: Any) -> Any:
    if not isinstance(transform, optax.GradientTransformation):
        return transform(*(g, x, k)[: argument_count(name, transform)])
    state = transform.init(x)
    if jax.tree.leaves(state):
        raise InvalidValue(
            f"`{name}` {function_name(transform)} has a state, so it changes more than the "
            "gradient; make it an optimizer: dynopt.Optax(lambda h: optax.chain(..., "
            "optax.sgd(h)), h)."
        )
    return transform.update(g, state, x)[0]


def _is_like(a: Any, b: Any) -> bool:
    """Whether `a` has the structure and the shapes of `b`, and real numbers in all its leaves."""
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=False)
    return jax.tree.structure(a) == jax.tree.structure(b) and all(
        not isinstance(p, str)
        and jnp.shape(p) == jnp.shape(q)
        and jnp.issubdtype(jnp.result_type(p), jnp.floating)
        for p, q in pairs
    )


def as_transformation(transform: Any, calls_per_step: int) -> Any:
    """The transform as a transformation of optax, which is called so many times in each step."""
    if isinstance(transform, optax.GradientTransformation):
        return transform

    def init(params):
        return jnp.asarray(0)

    def update(updates, state: Any, params=None):
        k = state // calls_per_step
        return apply_transform("transform", transform, updates, params, k), state + 1

    return optax.GradientTransformation(init, update)
