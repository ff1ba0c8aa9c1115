"""The claim above a picture and the numbers below it."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...runs.trajectory import Trajectory
from .axes import every
from .runs import leading
from .words import counted, failure_sentence, listed, names, number, ordinal, plain, point, setting


def claim(results: Sequence[Any], said: str) -> str:
    """The claim, after whatever went wrong; the problem's name if there is neither."""
    text = "; ".join(filter(None, [failures(results), said])) or called(results[0])
    return plain(text[:1].upper() + text[1:])


def failures(results: Sequence[Any]) -> str:
    """As in "SGD diverged at step 37"; empty if every run reached its end."""
    named = zip(results, names([r.optimizer for r in results]), strict=True)
    return "; ".join(filter(None, (failure_sentence(name, *_runs(r)) for r, name in named)))


def _runs(result: Any) -> tuple[Trajectory | None, Trajectory | None]:
    """Its map and its flow, as far as they were run."""
    return getattr(result, "map", None), getattr(result, "flow", None)


def conditions(results: Sequence[Any]) -> list[str]:
    """Where from, who, how long, in which dtype, and how exactly."""
    first, whole = results[0], [leading(r) for r in results]
    settings = "; ".join(setting(r.optimizer) for r in results)
    steps = sorted(
        {round(float(run.t[-1] / r.optimizer.h)) for run, r in zip(whole, results, strict=True)}
    )
    each = " each" * (len(results) > 1 and len(steps) == 1)
    long = listed([counted(n, "step") for n in steps]) + each
    dtypes = listed(sorted({str(run.t.dtype) for run in whole}))
    said = [
        f"{plain(called(first))} from {point(whole[0].y.x[0])}.",
        f"{settings}.",
        f"{long}, {dtypes}.",
    ]
    return [*said, *filter(None, [solved(results)])]


def solved(results: Sequence[Any]) -> str:
    """By what the flow was solved, and how far that can be trusted, as far as there is one."""
    stats = [flow.stats for _, flow in map(_runs, results) if flow is not None]
    used = sorted({f"{s['solver']} (rtol {number(float(s['rtol']))})" for s in stats})
    by = f" by {listed(used)}" if used else ""
    error = own_error(results)
    return (
        f"The flow{by} errs by at most {number(error)}."
        if np.isfinite(error)
        else f"The flow{by}." * bool(by)
    )


def own_error(results: Sequence[Any]) -> float:
    """The largest error of the solver itself, over all runs; NaN if it is not known."""
    return largest(np.concatenate([solver_errors(r) for r in results]))


def solver_errors(result: Any) -> np.ndarray:
    """The solver's own error along a run, up to where its map failed: beyond, nobody would measure anything."""
    own, run = (
        np.atleast_1d(np.asarray(getattr(result, "solver_error", np.nan), float)),
        _runs(result)[0],
    )
    failed = -1 if run is None or own.size == 1 else int(run.stats["first_bad_step"])
    return own if failed < 0 else own[:failed]


def largest(values) -> float:
    """The largest finite one, NaN if there is none."""
    values = np.asarray(values, float)
    return (
        float(values[np.isfinite(values)].max(initial=-np.inf))
        if np.isfinite(values).any()
        else np.nan
    )


def dotted(results: Sequence[Any], counts: Sequence[int], most: int, where: str = "") -> list[str]:
    """Which iterates have a dot, of runs with so many, if not all."""
    strides = [every(count, most) for count in counts]
    named = list(zip(strides, names([r.optimizer for r in results]), strict=True))
    said = []
    for stride in sorted(set(strides) - {1}):
        whose = (
            ""
            if len(set(strides)) == 1
            else f" of {listed([name for s, name in named if s == stride])}"
        )
        said.append(f"Every {ordinal(stride)} iterate{whose} has a dot{where}.")
    return said


def called(result: Any) -> str:
    """The problem's name, cut if it is very long."""
    name = result.problem.name or "a nameless problem"
    return name if len(name) <= 40 else name[:39] + "…"
