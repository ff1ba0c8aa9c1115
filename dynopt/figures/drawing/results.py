"""The results that a figure is given: checked once, before anything is drawn."""

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from matplotlib.axes import Axes

from ...errors import InvalidType, InvalidValue
from ...runs.trajectory import Trajectory
from .words import join_words

Result = TypeVar("Result")


def result_list(
    results: Any,
    kind: type[Result],
    function: str,
    measured: str = "error",
    *,
    one_problem: bool = True,
) -> list[Result]:
    """The results as a list, all of one kind and, by default, of one problem.

    - `results`: one result, or a list of them.
    - `function`: the name of the function that makes results of this kind, for messages.
    - `measured`: an array of the result that has one axis, unless it holds a batch; "" for results
      that hold no batch.
    - `one_problem`: whether results of several problems are refused.

    **Raises:** `InvalidType` for another kind; `InvalidValue` for an empty list, a batch, or
    several problems.
    """
    many = list(results) if isinstance(results, list | tuple) else [results]
    if not many:
        raise InvalidValue(f"`results` is empty; pass one or more results of {function}.")
    for result in many:
        if not isinstance(result, kind):
            raise InvalidType(
                f"`results` must come from {function}, got {type(result).__name__}; pass one "
                "result or a list of them."
            )
        if measured and getattr(result, measured).ndim != 1:
            raise InvalidValue(
                "`results` holds a batch; pass one of its members, "
                "jax.tree.map(lambda a: a[0], batch)."
            )
    if one_problem:
        must_share_problem(many)
    return many


def one_result(result: Any, kind: type[Result], function: str) -> Result:
    """The one result, given alone or in a list.

    **Raises:** `InvalidType` for another kind; `InvalidValue` for several results.
    """
    many = result if isinstance(result, list | tuple) else [result]
    if len(many) != 1:
        raise InvalidValue(
            f"`results` holds {len(many)} results; pass one result of {function}, and draw one "
            "picture for each."
        )
    if not isinstance(many[0], kind):
        raise InvalidType(
            f"`results` must come from {function}, got {type(many[0]).__name__}; pass one result."
        )
    return many[0]


def must_share_problem(results: Sequence[Any]) -> None:
    """**Raises:** `InvalidValue` if the results are of several problems.

    Problems of one name are several if their losses differ at one start.
    """
    problems = sorted({f"{r.problem.name} in {r.problem.dim} coordinates" for r in results})
    if len(problems) > 1:
        raise InvalidValue(
            f"the results are of several problems, {join_words(problems)}; draw one picture for "
            "each."
        )
    losses: dict[bytes, float] = {}  # at each start
    for run in (r.map for r in results if isinstance(getattr(r, "map", None), Trajectory)):
        start, loss = np.asarray(run.y.x[0]), float(run.loss[0])
        if not np.isclose(losses.setdefault(start.tobytes(), loss), loss, equal_nan=True):
            raise InvalidValue(
                f"the results are of several problems that are named {results[0].problem.name}; "
                "draw one picture for each, or give them a `name`."
            )


def must_be_axes(ax: Any) -> None:
    """**Raises:** `InvalidType` if `ax` is given and is something else than axes."""
    if ax is not None and not isinstance(ax, Axes):
        raise InvalidType(
            f"`ax` must be a matplotlib Axes, got {ax!r}; pass for example figure.add_subplot()."
        )
    if ax is not None and ax.name != "rectilinear":
        raise InvalidType(
            f"`ax` must have two straight axes, but its projection is {ax.name!r}; pass for "
            "example figure.add_subplot()."
        )
