"""A bound of theory: the loss above its minimum over time, compared with what it cannot exceed."""

from collections.abc import Callable

import numpy as np

from ..analysis import Comparison
from ..errors import InvalidType, InvalidValue
from ..runs.trajectory import Trajectory

Bound = Callable[[np.ndarray], np.ndarray]


def evaluate(bound: Bound, t: np.ndarray) -> np.ndarray:
    """The bound at each of the times `t`.

    **Raises:** `InvalidType` if it does not give one number for each time; `InvalidValue` if a
    number is not positive.
    """
    try:
        values = np.broadcast_to(np.asarray(bound(t), float), t.shape)
    except (TypeError, ValueError):
        raise InvalidType(
            f"`bound` must give a number for each time, got {bound(t)!r} for {t.size}; pass lambda "
            "t: 2 / t**2, say."
        ) from None
    if not (values > 0).all():
        raise InvalidValue(
            f"a bound must be positive, got {values.min():.4g}; pass lambda t: 2 / t**2, say."
        )
    return values


def above_minimum(run: Trajectory, minimum: float) -> tuple[np.ndarray, np.ndarray]:
    """The times and f(x) - f* along the finite beginning of a run, from the first step on."""
    with np.errstate(over="ignore"):
        values = np.asarray(run.loss, float)[run.finite] - minimum
    return np.asarray(run.t, float)[run.finite][1:], values[1:]


def largest_fractions(comparison: Comparison, bound: Bound) -> tuple[float, float]:
    """The largest fraction of the bound that the loss reaches: along the flow, and along the map.

    A run that fails counts as infinity. The problem must know its minimum.
    """
    fractions = []
    for run in (comparison.flow, comparison.map):
        t, values = above_minimum(run, comparison.problem.minimum or 0.0)
        limit = evaluate(bound, t)
        fractions.append(
            float((values / limit).max(initial=0.0)) if run.finite.all() else float("inf")
        )
    return fractions[0], fractions[1]
