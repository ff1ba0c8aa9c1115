"""The Lyapunov function: how it falls along map and flow, and where a map raises it."""

from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from ..analysis import Lyapunov
from ..runs.trajectory import Trajectory
from .drawing import descent, legends, runs
from .drawing.captions import claim, largest_finite, problem_name
from .drawing.descent import Descent
from .drawing.picture import Panel, Picture, draw_picture
from .drawing.results import result_list
from .drawing.style import background, ink
from .drawing.words import count_noun, failure, format_number, join_words, literal

MAX_DOTS = 50  # along one run


class Course(NamedTuple):
    """The Lyapunov function along one run.

    - `name`: the name of the optimizer.
    - `heights`: the finite values, above the minimum of the loss if that is known.
    - `rises`: the size of the rise since the point before, at each point of the run.
    """

    name: str
    run: Trajectory
    heights: np.ndarray
    rises: np.ndarray

    @property
    def number(self) -> int:
        """How often the function rises."""
        return int((self.rises > 0).sum())

    @property
    def largest(self) -> float:
        """The largest rise."""
        return largest_finite(self.rises)


def draw(
    results: Lyapunov | list[Lyapunov], *, ax: Axes | None = None, style: str = "notebook"
) -> Picture | Axes:
    """The Lyapunov function E over time: dots are the map, a line is the flow, crosses are rises.

    Where the minimum f* of the loss is known, the picture shows E - f* on a logarithmic axis,
    because E is never below f, and so never below f*. Otherwise it shows E, on a logarithmic axis
    only if E is positive and falls a hundredfold. A run that fails is drawn to its last finite
    point.

    - `results`: one or several results of `analysis.lyapunov` on one problem.
    - `ax`: axes to draw in, instead of a new `Picture`.
    - `style`: "notebook", "paper" or "slides".

    **Raises:** `InvalidValue` if the results are of several problems.
    """
    return draw_picture(paint, describe, _result_list(results), ax, style)


def describe(results: Lyapunov | list[Lyapunov]) -> str:
    """The picture in one sentence with its numbers."""
    results = _result_list(results)
    parts = []
    for pair in _courses(results):
        for course in pair:
            end = f"ends at {format_number(course.heights[-1])}" if course.heights.size else ""
            ending = failure(course.run) or end or "has no finite value"
            rises = f"rises {count_noun(course.number, 'time')}" if course.number else "never rises"
            size = f" by at most {format_number(course.largest)}" if course.number else ""
            parts.append(
                f"along the {course.run.kind} of {course.name} it {ending} and {rises}{size}"
            )
    above = " above the minimum" * (results[0].problem.minimum is not None)
    return (
        f"The picture shows the Lyapunov function{above} on {problem_name(results[0])} along map "
        f"(dots) and flow (lines): {'; '.join(parts)}."
    )


def paint(ax: Axes, results: list[Lyapunov]) -> Panel:
    """Draw into `ax`; return title, legend entries and caption."""
    courses = _courses(results)
    descents = [
        Descent(
            result.optimizer,
            result.problem,
            result.map,
            result.flow,
            {course.run.kind: course.heights for course in pair},
        )
        for result, pair in zip(results, courses, strict=True)
    ]
    ylabels = "Lyapunov function  E(t, y)", "Lyapunov function  E − f*"
    title = _title(results, courses)
    panel = descent.paint(ax, descents, "Lyapunov function", ylabels, title, MAX_DOTS)
    lines = {line.get_gid(): line for line in ax.lines}
    for (_, _, _, key), pair in zip(runs.entries(results), courses, strict=True):
        for course in pair:
            _mark_rises(ax, lines[f"{course.run.kind} {key}"], course)
    rises = any(course.number for pair in courses for course in pair)
    panel.keys = [*panel.keys, *[legends.key("a rise", **_cross_style())] * rises]
    panel.caption = [*panel.caption, *_rise_sentences(courses)]
    return panel


def _result_list(results: Lyapunov | list[Lyapunov]) -> list[Lyapunov]:
    return result_list(results, Lyapunov, "analysis.lyapunov", "map_value")


def _courses(results: list[Lyapunov]) -> list[tuple[Course, Course]]:
    """The Lyapunov function along the map and along the flow of each result."""
    pairs = []
    for result, _, name, _ in runs.entries(results):
        map_heights, flow_heights = (
            descent.finite_heights(run, values, result.problem.minimum)
            for run, values in ((result.map, result.map_value), (result.flow, result.flow_value))
        )
        map_rises = np.asarray(result.map_rises)[result.map.finite]
        flow_rises = np.asarray(result.flow_rises)[result.flow.finite]
        on_map = Course(name, result.map, map_heights, map_rises)
        pairs.append((on_map, Course(name, result.flow, flow_heights, flow_rises)))
    return pairs


def _cross_style() -> dict[str, Any]:
    size = 0.8 * mpl.rcParams["lines.markersize"]
    halo = [withStroke(linewidth=0.55 * size, foreground=background())]
    return {
        "marker": "x", "linestyle": "none", "color": ink(), "markersize": size,
        "markeredgewidth": 0.28 * size, "path_effects": halo,
    }  # fmt: skip


def _mark_rises(ax: Axes, line: Line2D, course: Course) -> None:
    """A cross at each point to which the function has risen, and a line from the point before."""
    x, y = (np.asarray(values, float) for values in line.get_data())
    risen = np.flatnonzero(course.rises > 0)
    if risen.size:
        before, after = (np.stack([x[i], y[i]], 1) for i in (risen - 1, risen))
        thin, gid = 0.6 * mpl.rcParams["lines.linewidth"], line.get_gid()
        style: dict[str, Any] = {"colors": [line.get_color()], "linewidths": thin, "zorder": 3.5}
        segments = list(np.stack([before, after], 1))
        ax.add_collection(LineCollection(segments, **style, gid=f"way {gid}"), False)
        ax.plot(x[risen], y[risen], zorder=6, gid=f"rise {gid}", **_cross_style())


def _title(results: list[Lyapunov], courses: list[tuple[Course, Course]]) -> str:
    """Which maps raise the function, how often and by how much; and what the flows do."""
    map_rises, flow_rises = ([c for c in kind if c.number] for kind in zip(*courses, strict=True))
    finished = [pair for pair in courses if not any(failure(course.run) for course in pair)]
    sentences = [_rise_claim(rising) for rising in (map_rises, flow_rises) if rising]
    if map_rises and not flow_rises and finished:
        sentences.append("its flow never does" if len(results) == 1 else "no flow does")
    if not sentences and len(finished) == 1:
        ((course, _),) = finished
        if course.heights.size:
            start, end = (format_number(course.heights[i]) for i in (0, -1))
            sentences.append(
                f"the Lyapunov function of {course.name} falls from {start} to {end} without a rise"
            )
    elif not sentences and finished:
        sentences.append("no Lyapunov function ever rises")
    return claim(results, "; ".join(sentences))


def _rise_claim(rising: list[Course]) -> str:
    """As in "the map of SGD raises its Lyapunov function 2 times in 40 steps, by at most 0.3"."""
    worst = max(rising, key=lambda course: course.largest)
    most, kind = format_number(worst.largest, 2), worst.run.kind
    steps = {len(course.heights) - 1 for course in rising}
    within = f" in {count_noun(steps.pop(), 'step')}" if len(steps) == 1 else ""
    if len(rising) == 1:
        often = f"raises its Lyapunov function {count_noun(worst.number, 'time')}"
        return f"the {kind} of {worst.name} {often}{within}, by at most {most}"
    names = join_words([course.name for course in rising])
    counts = join_words([str(course.number) for course in rising])
    often = f"raise their Lyapunov functions {counts} times"
    return f"the {kind}s of {names} {often}{within}, by at most {most} ({worst.name})"


def _rise_sentences(courses: list[tuple[Course, Course]]) -> list[str]:
    """What a cross is, and how often and by how much each function rises."""
    parts = [
        f"{count_noun(course.number, 'time')} by at most {format_number(course.largest)} along the "
        f"{course.run.kind} of {course.name}"
        for kind in zip(*courses, strict=True)
        for course in kind
        if course.number
    ]
    sentence = f"A cross marks each rise since the point before: {'; '.join(parts)}."
    return [literal(sentence)] * bool(parts)
