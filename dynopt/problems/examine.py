"""What a `Problem` finds out about its loss, or about the field that it owns, when it is made."""

from collections.abc import Callable

from jaxtyping import PyTree

from .field import AbstractField, FirstOrderField, own_field
from .over_data import MeanLoss, must_be_mean
from .probe import (
    Findings,
    closes_over_traced_values,
    field_is_derivable,
    findings,
    first_order,
    warn_of,
)
from .program import may_hide_derivatives, precision, trace_field, trace_loss


def examine(loss: Callable, x0: PyTree, name: str) -> tuple[Callable, float, Findings]:
    """The loss, the machine epsilon with which it is computed, and what numbers tell of it.

    The loss that comes back refuses to be differentiated twice where JAX would do that wrongly.

    **Raises:** `ProblemError` as `Problem` does.

    **Warns:** if the gradient of a loss is not the derivative of its value.
    """
    own = own_field(loss)
    if own is not None:
        return _examine_field(loss, own, x0, name)
    program = trace_loss(loss, x0, f"the loss of {name}")
    epsilon = precision(program)
    if isinstance(loss, MeanLoss):
        must_be_mean(loss, x0, f"the loss of {name}", epsilon)
    found = findings(loss, x0, program, epsilon)
    warn_of(found, loss, name)
    return loss if found.derivable else first_order(loss, name), epsilon, found


def _examine_field(
    loss: Callable, own: AbstractField, x0: PyTree, name: str
) -> tuple[Callable, float, Findings]:
    inner = own.inner if isinstance(own, FirstOrderField) else own

    def whole(function: Callable) -> Callable:
        return MeanLoss(function, loss.data) if isinstance(loss, MeanLoss) else function

    epsilon, hides, is_known = 0.0, False, True
    for subject, term in own.terms(name).items():
        term_over_data = whole(term)
        is_field = term is getattr(inner, "function", None)
        program = (trace_field if is_field else trace_loss)(term_over_data, x0, subject)
        epsilon = max(epsilon, precision(program))
        if may_hide_derivatives(program):
            hides, is_known = True, is_known and not closes_over_traced_values(loss, program)
        if isinstance(term_over_data, MeanLoss):
            must_be_mean(term_over_data, x0, subject, precision(program))
    if shown := getattr(inner, "shown", None):
        trace_loss(whole(shown), x0, f"what is shown of {name}", differentiate=False)
    is_derivable = not hides or (is_known and field_is_derivable(loss, x0, epsilon))
    if not is_derivable:
        loss = whole(FirstOrderField(own, name))
    return loss, epsilon, Findings(derivable=is_derivable, conservative=False)
