"""The title above a picture, which is its claim, and the sentences of the caption below it."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from unicodedata import lookup

import jax
import numpy as np

from ...runs.trajectory import Trajectory
from .runs import leading_run
from .words import (
    capitalize,
    count_noun,
    failure_sentence,
    format_number,
    format_point,
    join_words,
    literal,
    run_names,
    subscript,
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


class Height(NamedTuple):
    """What a picture says of the number in `Trajectory.loss`.

    - `word`: one word, as in "no finite loss".
    - `noun`: with its article, as in "the loss above the minimum".
    - `symbol`: as in f - f*.
    - `label`: that of an axis.
    """

    word: str
    noun: str
    symbol: str
    label: str


def height_of(problem: Any) -> Height:
    """What pictures call the loss of a problem above its minimum, or what they show of a field."""
    symbol = problem.symbol.replace(", ", ",\xa0")
    if not problem.owns_field:
        if problem.minimum is None:
            return Height("loss", "the loss", symbol, f"loss  {symbol}")
        above = f"{symbol}\xa0−\xa0{symbol}*"
        return Height("loss", "the loss above the minimum", above, f"loss above minimum  {above}")
    nouns = {"|g|": "norm of the field", "ℓ(x,\xa0x)": "value of the held loss"}
    if symbol not in nouns:
        return Height(symbol, symbol, symbol, symbol)
    noun = nouns[symbol]
    return Height(symbol, f"the {noun}, {symbol},", symbol, f"{noun}  {symbol}")


def contour_sentence(problem: Any) -> list[str]:
    """What contours show, for the caption; nothing for a loss."""
    sentence = f"The contours are those of {height_of(problem).symbol}."
    return [sentence] if problem.owns_field else []


def landscape_name(result: Any) -> str:
    """The problem as that of which contours are drawn, as in "|g| on bilinear"."""
    name = problem_name(result)
    return f"{result.problem.symbol} on {name}" if result.problem.owns_field else name


def coordinate_names(problem: Any) -> list[str]:
    """The coordinates of a position as axes call them: x₁, x₂, ..., or the leaves of a PyTree.

    Greek letters are written as such.

    >>> from dynopt import problems
    >>> coordinate_names(problems.booth()), coordinate_names(problems.bilinear())
    (['x₁', 'x₂'], ['a', 'b'])
    """
    names = []
    for path, leaf in jax.tree_util.tree_leaves_with_path(problem.x0):
        stem = _greek(jax.tree_util.keystr(path, simple=True, separator=".")) if path else "x"
        is_number = bool(path) and np.size(leaf) == 1
        names += [stem] if is_number else [stem + subscript(i + 1) for i in range(np.size(leaf))]
    return [literal(name) for name in names]


def _greek(name: str) -> str:
    try:
        return lookup(f"GREEK SMALL LETTER {name.upper()}")
    except KeyError:
        return name


def problem_name(result: Any) -> str:
    """The name of the problem, cut if it is very long."""
    name = result.problem.name or "a nameless problem"
    return name if len(name) <= 40 else name[:39] + "…"
