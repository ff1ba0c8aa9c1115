"""The claim above a picture and the numbers below it."""

from collections.abc import Sequence

import numpy as np

from ..analysis import Gap, LocalError, Order
from .views import every
from .words import counted, listed, names, number, ordinal, outcome, plain, point, setting


def claim(results: Sequence[Gap | LocalError], said: str) -> str:
    """The claim, after whatever went wrong; the problem's name if there is neither."""
    text = "; ".join(filter(None, [failures(results), said])) or called(results[0])
    return plain(text[:1].upper() + text[1:])


def failures(results: Sequence[Gap | LocalError]) -> str:
    """As in "SGD diverged at step 37"; empty if every run reached its end."""
    named = zip(results, names([r.optimizer for r in results]), strict=True)
    return "; ".join(filter(None, (outcome(name, r.map, getattr(r, "flow", None)) for r, name in named)))


def conditions(results: Sequence[Gap | LocalError]) -> list[str]:
    """Where from, who, how long, in which dtype, and how exactly."""
    first = results[0]
    settings = "; ".join(setting(r.optimizer) for r in results)
    steps = sorted({len(r.map.t) - 1 for r in results})
    each = " each" * (len(results) > 1 and len(steps) == 1)
    long = listed([counted(n, "step") for n in steps]) + each
    dtypes = listed(sorted({str(r.map.t.dtype) for r in results}))
    return [
        f"{plain(called(first))} from {point(first.map.y.x[0])}.",
        f"{settings}.",
        f"{long}, {dtypes}.",
        solved(results),
    ]


def solved(results: Sequence[Gap | LocalError]) -> str:
    """By what the flow was solved, and how far that can be trusted."""
    stats = [r.flow.stats for r in results if isinstance(r, Gap)]
    used = sorted({f"{s['solver']} (rtol {number(float(s['rtol']))})" for s in stats})
    by = f" by {listed(used)}" if used else ""
    error = own_error(results)
    return f"The flow{by} errs by at most {number(error)}." if np.isfinite(error) else f"The flow{by}."


def own_error(results: Sequence[Gap | LocalError]) -> float:
    """The largest error of the solver itself, over all runs; NaN if it is not known."""
    return largest(np.concatenate([np.asarray(r.solver_error, float) for r in results]))


def largest(values) -> float:
    """The largest finite one, NaN if there is none."""
    values = np.asarray(values, float)
    return float(values[np.isfinite(values)].max(initial=-np.inf)) if np.isfinite(values).any() else np.nan


def dotted(results: Sequence[Gap | LocalError], counts: Sequence[int], most: int, where: str = "") -> list[str]:
    """Which iterates have a dot, of runs with so many, if not all."""
    strides = [every(count, most) for count in counts]
    named = list(zip(strides, names([r.optimizer for r in results]), strict=True))
    said = []
    for stride in sorted(set(strides) - {1}):
        whose = "" if len(set(strides)) == 1 else f" of {listed([name for s, name in named if s == stride])}"
        said.append(f"Every {ordinal(stride)} iterate{whose} has a dot{where}.")
    return said


def called(result: Gap | LocalError | Order) -> str:
    """The problem's name, cut if it is very long."""
    name = result.problem.name or "a nameless problem"
    return name if len(name) <= 40 else name[:39] + "…"
