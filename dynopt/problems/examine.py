"""What a `Problem` finds out about its loss, or about the field that it owns, when it is made."""

import reprlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from ..checks import tracing_fault
from ..errors import ProblemError
from .field import AbstractField, FirstOrderField, own_field
from .over_data import MeanLoss, must_be_mean
from .probe import Findings, field_is_derivable, findings, first_order, warn_of
from .program import is_same_program, may_hide_derivatives, precision, trace_loss


def examine(loss: Callable, x0: PyTree, name: str) -> tuple[Callable, float, Findings]:
    """The loss, the machine epsilon with which it is computed, and what numbers tell of it.

    The loss that comes back refuses to be differentiated twice where JAX would do that wrongly.

    **Raises:** `ProblemError` as `Problem` does.

    **Warns:** if the gradient of a loss is not the derivative of its value.
    """
    own = own_field(loss)
    if own is not None:
        return _examine_field(loss, own, x0, name)
    program = trace_loss(loss, x0, name)
    epsilon = precision(program)
    if isinstance(loss, MeanLoss):
        must_be_mean(loss, x0, name, epsilon)
    found = findings(loss, x0, program, epsilon)
    warn_of(found, loss, name)
    return loss if found.derivable else first_order(loss, name), epsilon, found


def _examine_field(
    loss: Callable, own: AbstractField, x0: PyTree, name: str
) -> tuple[Callable, float, Findings]:
    epsilon, hides = 0.0, False
    for label, term in own.terms(name).items():
        whole = MeanLoss(term, loss.data) if isinstance(loss, MeanLoss) else term
        is_field = term is getattr(own, "function", None)
        program = _trace_field(whole, x0, name) if is_field else trace_loss(whole, x0, label)
        epsilon = max(epsilon, precision(program))
        hides |= may_hide_derivatives(program)
        if isinstance(whole, MeanLoss):
            must_be_mean(whole, x0, label, precision(program))
    trace_loss(loss, x0, name, differentiate=False)
    is_derivable = not hides or field_is_derivable(loss, x0, epsilon)
    if not is_derivable:
        refusing = FirstOrderField(own, name)
        loss = MeanLoss(refusing, loss.data) if isinstance(loss, MeanLoss) else refusing
    return loss, epsilon, Findings(derivable=is_derivable, conservative=False)


def _trace_field(function: Callable, x0: PyTree, name: str) -> Any:
    """The program of a field, which is traced twice.

    **Raises:** `ProblemError` if it is no field, or another one each time.
    """
    wanted = jax.tree.structure(x0), [jnp.shape(leaf) for leaf in jax.tree.leaves(x0)]

    def evaluate(x):
        g = function(x)
        given = jax.tree.structure(g), [jnp.shape(leaf) for leaf in jax.tree.leaves(g)]
        if given != wanted:
            raise ProblemError(
                f"the field of {name} must have the structure and the shapes of the position, "
                f"{_shapes(x0)}, but returned {_shapes(g)}; return one number for each coordinate."
            )
        return g

    try:
        program, again = jax.make_jaxpr(evaluate)(x0), jax.make_jaxpr(evaluate)(x0)
    except Exception as error:
        if fault := tracing_fault(error):
            raise ProblemError(f"the field of {name} {fault[0]}; {fault[1]}.") from error
        if not isinstance(error, ProblemError):
            error.add_note(f"while evaluating the field of {name}")
        raise
    if not is_same_program(program, again):
        raise ProblemError(
            f"the field of {name} is another function each time it is traced, as with numpy's "
            "random numbers; draw the numbers once outside of it, or use jax.random with a fixed "
            "key."
        )
    return program


def _shapes(tree: Any) -> str:
    return reprlib.repr(jax.tree.map(jnp.shape, tree))
