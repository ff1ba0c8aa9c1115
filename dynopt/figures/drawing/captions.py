"""The title above a picture, which is its claim, and the sentences of the caption below it."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...runs.trajectory import Trajectory
from .axes import dot_stride
from .runs import leading_run
from .words import (
    capitalize,
    count_noun,
    failure_sentence,
    format_number,
    format_point,
    join_words,
    literal,
    ordinal,
    run_names,
    setting,
)


def claim(results: Sequence[Any], sentence: str) -> str:
    """The sentence, after all failures of runs; the name of the problem if there is neither."""
    text = "; ".join(filter(None, [failures(results), sentence])) or problem_name(results[0])
    return literal(capitalize(text))


def failures(results: Sequence[Any]) -> str:
    """The runs that failed, as in "SGD diverged at step 37"; empty if none did."""
    named = zip(results, run_names([r.optimizer for r in results]), strict=True)
    return "; ".join(filter(None, (failure_sentence(name, *_runs(r)) for r, name in named)))


def _runs(result: Any) -> tuple[Trajectory | None, Trajectory | None]:
    """The map and the flow of a result; None for what it does not have."""
    return getattr(result, "map", None), getattr(result, "flow", None)


def conditions(results: Sequence[Any]) -> list[str]:
    """Problem, start, optimizers, number of steps, dtype and solver, as sentences."""
    runs = [leading_run(result) for result in results]
    counts = {round(float(run.t[-1] / r.optimizer.h)) for run, r in zip(runs, results, strict=True)}
    steps = join_words([count_noun(n, "step") for n in sorted(counts)])
    each = " each" * (len(results) > 1 and len(counts) == 1)
    dtypes = join_words(sorted({str(run.t.dtype) for run in runs}))
    settings = "; ".join(setting(result.optimizer) for result in results)
    return [
        f"The runs start at x\xa0=\xa0{starts(results)} on {literal(problem_name(results[0]))} and "
        f"take {steps}{each}, in {dtypes}: {settings}.",
        *solver_sentence(results),
    ]


def summary(results: Sequence[Any]) -> list[str]:
    """Problem, start, number of steps, dtype and error of the flow, in one line."""
    runs = [leading_run(result) for result in results]
    counts = {round(float(run.t[-1] / r.optimizer.h)) for run, r in zip(runs, results, strict=True)}
    steps = join_words([count_noun(n, "step") for n in sorted(counts)])
    dtypes = join_words(sorted({str(run.t.dtype) for run in runs}))
    error = largest_solver_error(results)
    solved = f"; the flow is solved to {format_number(error, 1)}" if np.isfinite(error) else ""
    name = literal(problem_name(results[0]))
    return [f"On {name} from {starts(results)}, {steps} in {dtypes}{solved}."]


def starts(results: Sequence[Any]) -> str:
    """The points where the runs start, each once."""
    points = [format_point(np.asarray(leading_run(r).y.x[0], float)) for r in results]
    return join_words(list(dict.fromkeys(points)))


def solver_sentence(results: Sequence[Any], subject: str = "the flow") -> list[str]:
    """Solver, tolerance and error estimate of the flow; empty if no flow was solved."""
    stats = [flow.stats for _, flow in map(_runs, results) if flow is not None]
    solvers = sorted({f"{s['solver']} (rtol {format_number(float(s['rtol']))})" for s in stats})
    error = largest_solver_error(results)
    parts = [f"is solved by {join_words(solvers)}"] if solvers else []
    parts += [f"has an error of at most {format_number(error)}"] if np.isfinite(error) else []
    return [f"{capitalize(subject)} {' and '.join(parts)}."] if parts else []


def largest_solver_error(results: Sequence[Any]) -> float:
    """The largest error of the solver itself, over all runs; NaN if it is not known."""
    return largest_finite(np.concatenate([solver_errors(result) for result in results]))


def solver_errors(result: Any) -> np.ndarray:
    """The error of the solver along a run; if the map failed, up to that step only."""
    errors = np.atleast_1d(np.asarray(getattr(result, "solver_error", np.nan), float))
    run, _ = _runs(result)
    bad_step = -1 if run is None or errors.size == 1 else int(run.stats["first_bad_step"])
    return errors if bad_step < 0 else errors[:bad_step]


def largest_finite(values: Any) -> float:
    """The largest of the finite values; NaN if there is none."""
    finite = np.asarray(values, float)
    finite = finite[np.isfinite(finite)]
    return float(finite.max()) if finite.size else np.nan


def dot_sentences(
    results: Sequence[Any], counts: Sequence[int], most: int, where: str = ""
) -> list[str]:
    """Which iterates have a dot, if not all of them.

    - `counts`: the number of iterates of each result.
    - `most`: the largest number of dots along one run.
    - `where`: the end of each sentence, such as " on paths".
    """
    strides = [dot_stride(count, most) for count in counts]
    named = list(zip(strides, run_names([r.optimizer for r in results]), strict=True))
    sentences = []
    for stride in sorted(set(strides) - {1}):
        names = join_words([name for s, name in named if s == stride])
        of = f" of {names}" * (len(set(strides)) > 1)
        sentences.append(f"Every {ordinal(stride)} iterate{of} has a dot{where}.")
    return sentences


def problem_name(result: Any) -> str:
    """The name of the problem, cut if it is very long."""
    name = result.problem.name or "a nameless problem"
    return name if len(name) <= 40 else name[:39] + "…"
