"""The picture of notebook 14: where the runs of an optimizer end that begin at several places.

>>> from dynopt import SGD, problems
>>> runs = measure(SGD(0.1), problems.quadratic([1.0, 2.0]), 100, [[1.0, 0.0], [0.0, 1.0]])
>>> print(f"{runs.apart:.1e}, {0.9**100:.1e}")  # both runs end near the minimizer
2.7e-05, 2.7e-05
"""

from functools import partial
from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from ..analysis import Comparison, compare
from ..errors import InvalidType, InvalidValue
from ..figures.drawing import legends, runs
from ..figures.drawing.captions import problem_name, summary
from ..figures.drawing.frames import draw_frames
from ..figures.drawing.measure import on_paper, stroke
from ..figures.drawing.picture import Panel, Picture
from ..figures.drawing.results import must_share_problem
from ..figures.drawing.runs import Entry
from ..figures.drawing.style import background, in_style, ink, mix_colors
from ..figures.drawing.ties import apart, dot_distance
from ..figures.drawing.words import (
    capitalize,
    count_noun,
    facts,
    format_number,
    join_words,
    literal,
)
from ..figures.plane.landscape import draw_landscape
from ..figures.plane.window import Limits, around
from ..optimizers import AbstractOptimizer
from ..problems import Problem

TOGETHER = 1e-2  # runs that end nearer to one another than this end at one place
RATIO = 1.0  # of the sides of a frame


class Ends(eqx.Module):
    """Runs of one optimizer on one problem from several starts.

    - `comparisons`: the results of `analysis.compare`, one for each start.
    - `ends`: where the maps end, shape `(starts, 2)`.
    - `apart`: the largest distance between two of them.
    """

    comparisons: tuple[Comparison, ...]

    @property
    def optimizer(self) -> AbstractOptimizer:
        return self.comparisons[0].optimizer

    @property
    def problem(self) -> Problem:
        return self.comparisons[0].problem

    @property
    def ends(self) -> Float[np.ndarray, "n 2"]:
        return np.stack([np.asarray(one.map.y.x, float)[-1] for one in self.comparisons])

    @property
    def apart(self) -> float:
        return float(np.linalg.norm(self.ends[:, None] - self.ends, axis=-1).max())

    def __repr__(self) -> str:
        count = count_noun(len(self.comparisons), "run")
        return f"Ends({count} of {self.optimizer} on {self.problem.name}, {self.apart:.3g} apart)"


def measure(optimizer: AbstractOptimizer, problem: Problem, steps: int, starts: Any) -> Ends:
    """Run map and flow from each of the starts.

    - `starts`: positions, shape `(n, 2)`.

    **Raises:** `InvalidValue` if the problem has other than two coordinates, or there is no start;
    and as `analysis.compare` does.
    """
    if problem.dim != 2:
        raise InvalidValue(
            f"runs from several starts are drawn in a plane, but {problem.name} has "
            f"{count_noun(problem.dim, 'coordinate')}; pass for example dynopt.problems.booth()."
        )
    if not len(starts):
        raise InvalidValue("`starts` is empty; pass for example [[1.0, 0.0], [0.0, 1.0]].")
    return Ends(tuple(compare(optimizer, problem, steps, x0=start) for start in starts))


@in_style
def draw(
    results: Ends | list[Ends],
    *,
    curve: Any = None,
    name: str = "curve",
    title: str | None = None,
    ax: Axes | None = None,
    style: str = "notebook",
) -> Picture | Axes:
    """Paths over the contours of the loss from several starts, each optimizer in its own frame.

    Coloured dots on a thread are maps, lines in ink are flows. A ring is a start, a large dot the
    end of a map, and a star a minimizer. The head of a frame says how far the ends are apart.

    - `results`: one or several results of `measure` on one problem.
    - `curve`: points of a curve to draw below the paths, shape `(n, 2)`; `name`: its name.
    - `title`: a title in place of the claim.
    - `ax`: axes to draw one result in, instead of a new `Picture`.
    - `style`: "notebook", "paper" or "slides".

    **Raises:** `InvalidType` for anything else; `InvalidValue` for several problems, or if one `ax`
    is given for several results.
    """
    results = _checked(results)
    points = np.zeros((0, 2)) if curve is None else np.asarray(curve, float)
    every_run = [one for result in results for one in result.comparisons]
    paths = [np.asarray(run.y.x, float) for one in every_run for run in (one.map, one.curve)]
    limits = around(np.concatenate([*paths, points]), RATIO)
    paints = [partial(_paint_frame, entry, points, name, limits) for entry in runs.entries(results)]
    starts = count_noun(len(results[0].comparisons), "start")
    conditions = summary(every_run[:1])[0].partition("), ")[2]
    first = f"On {literal(problem_name(every_run[0]))} from {starts}, {conditions}"
    return draw_frames(
        paints, title or _title(results), describe(results), [first], ax, style, ratio=RATIO
    )


def describe(results: Ends | list[Ends]) -> str:
    """The picture in one sentence with its numbers."""
    results = _checked(results)
    parts = [f"those of {entry.name} {_where(entry.result)}" for entry in runs.entries(results)]
    starts = count_noun(len(results[0].comparisons), "start")
    return (
        "The picture shows the paths of maps (dots) and flows (lines) over contours of "
        f"{problem_name(results[0].comparisons[0])} from {starts}: {'; '.join(parts)}."
    )


def _where(result: Ends) -> str:
    if result.apart < TOGETHER:
        return "all end at one place"
    return f"end up to {format_number(result.apart)} apart"


def _title(results: list[Ends]) -> str:
    first, *others = [(entry.name, _where(entry.result)) for entry in runs.entries(results)]
    parts = [f"the runs of {' '.join(first)}", *(f"those of {' '.join(one)}" for one in others)]
    return literal(capitalize(join_words(parts)))


def _paint_frame(
    entry: Entry, curve: np.ndarray, name: str, limits: Limits, ax: Axes, ratio: float
) -> Panel:
    """Draw the runs of one optimizer into `ax`."""
    color, key = entry.color, entry.key
    (left, right), (bottom, top) = limits
    half = max(right - left, (top - bottom) / ratio) / 2
    middle, level = (left + right) / 2, (bottom + top) / 2
    view = (middle - half, middle + half), (level - ratio * half, level + ratio * half)
    comparisons = entry.result.comparisons
    draw_landscape(ax, comparisons[0], view)  # with the first start
    keys = []
    if len(curve):
        band: dict[str, Any] = {
            "color": mix_colors(ink(), background(), 0.72),
            "linewidth": stroke(6.0),
        }
        ax.plot(*curve.T, **band, zorder=2, solid_capstyle="round", gid="curve")
        keys.append(legends.key(name, **band))
    for i, one in enumerate(comparisons):
        flow, map = (np.asarray(run.y.x, float) for run in (one.curve, one.map))
        ax.plot(*flow.T, color=ink(), zorder=3, linewidth=stroke(0.8), gid=f"flow {key} {i}")
        (dots,) = ax.plot(
            *map.T, "o-", color=color, zorder=4, gid=f"map {key} {i}", linewidth=stroke(0.4),
            markersize=stroke(3.2),
        )  # fmt: skip
        dots.set_markevery(list(apart(on_paper(ax, map), dot_distance())))
    starts = [np.asarray(one.map.y.x, float)[0] for one in comparisons]
    runs.mark_starts(ax, np.reshape(starts[1:], (-1, 2)))
    ax.plot(
        *entry.result.ends.T, "o", color=color, markersize=stroke(8.0), zorder=5.5,
        markeredgecolor=background(), markeredgewidth=stroke(1.0), gid=f"ends {key}",
    )  # fmt: skip
    ax.set(xlim=view[0], ylim=view[1])
    fact = facts(entry.result.optimizer, _where(entry.result))
    keys.append(legends.key("end of a map", marker="o", linestyle="none", markersize=stroke(8.0)))
    return Panel("", keys=[*legends.run_keys(), *keys], name=entry.name, color=color, fact=fact)


def _checked(results: Any) -> list[Ends]:
    many = list(results) if isinstance(results, list | tuple) else [results]
    if not many or not all(isinstance(one, Ends) for one in many):
        raise InvalidType(
            f"`results` must come from course.ends.measure, got {results!r}; pass one result or a "
            "list of them."
        )
    must_share_problem(many)
    return many
