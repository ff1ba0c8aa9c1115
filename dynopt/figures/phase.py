"""The phase plane: position against velocity, in which a heavy ball oscillates."""

from functools import partial

import numpy as np
from matplotlib.axes import Axes

from ..analysis import Comparison
from ..checks import whole_number
from ..errors import InvalidValue
from ..runs.status import Status
from ..runs.trajectory import Trajectory
from .drawing import legends, runs
from .drawing.axes import linear_limits, mark_exit, set_linear_ticks
from .drawing.captions import claim, conditions, dot_sentences, failures, problem_name
from .drawing.picture import Panel, Picture, draw_picture
from .drawing.results import result_list
from .drawing.style import background, ink, mix_colors
from .drawing.words import (
    count_noun,
    failure,
    format_number,
    join_words,
    run_names,
    subscript,
)

UNBOUNDED = (Status.diverged, Status.nonfinite)  # runs that the window does not have to hold


def draw(
    results: Comparison | list[Comparison],
    *,
    coordinate: int = 0,
    ax: Axes | None = None,
    style: str = "notebook",
) -> Picture | Axes:
    """One coordinate of position and velocity, (xᵢ, pᵢ): dots are the map, a line is the flow.

    - `results`: one or several results of `analysis.compare` on one problem. Those of optimizers
      without a velocity are left out.
    - `coordinate`: the index of the coordinate, from 0.
    - `ax`: axes to draw in, instead of a new `Picture`.
    - `style`: "notebook", "paper" or "slides".

    **Raises:** `InvalidValue` if no result has a velocity, or there is no such coordinate.
    """
    comparisons = with_velocity(results, coordinate)
    paint_one = partial(paint, coordinate=coordinate)
    describe_one = partial(describe, coordinate=coordinate)
    return draw_picture(paint_one, describe_one, comparisons, ax, style)


def describe(results: Comparison | list[Comparison], coordinate: int = 0) -> str:
    """The picture in one sentence with its numbers."""
    comparisons = with_velocity(results, coordinate)
    parts = []
    for comparison, _, name, _ in runs.entries(comparisons):
        map, flow = (_velocity(run, coordinate) for run in (comparison.map, comparison.flow))
        fastest = format_number(np.abs(map).max(initial=0))
        parts.append(
            f"for {name} its sign changes {count_noun(_sign_changes(map), 'time')}, along the flow "
            f"{count_noun(_sign_changes(flow), 'time')}, and it reaches {fastest}"
        )
    lost = failures(comparisons)
    parts += [lost] if lost else []
    i = subscript(coordinate + 1)
    return (
        f"The picture shows position x{i} against velocity p{i} on {problem_name(comparisons[0])}, "
        f"map (dots) and flow (lines); of the velocity: {'; '.join(parts)}."
    )


def with_velocity(results: Comparison | list[Comparison], coordinate: int = 0) -> list[Comparison]:
    """The results that have a velocity.

    **Raises:** `InvalidValue` if none has, or there is no such coordinate.
    """
    comparisons = result_list(results, Comparison, "analysis.compare")
    dim = comparisons[0].problem.dim
    if whole_number("coordinate", coordinate, least=0) >= dim:
        raise InvalidValue(
            f"`coordinate` is {coordinate} but there are only {dim}; pass a number from 0 to "
            f"{dim - 1}."
        )
    moving = [comparison for comparison in comparisons if hasattr(comparison.map.y, "p")]
    if not moving:
        names = join_words(run_names([comparison.optimizer for comparison in comparisons]))
        have = "do" if len(comparisons) > 1 else "does"
        raise InvalidValue(
            f"a phase plane shows velocities, which {names} {have} not have; pass a comparison of "
            "Momentum."
        )
    return moving


def paint(ax: Axes, comparisons: list[Comparison], coordinate: int = 0) -> Panel:
    """Draw into `ax`; return title, legend entries and caption."""
    plane = runs.Coordinates(("x", coordinate), ("p", coordinate))
    axis = mix_colors(ink(), background(), 0.5)
    ax.axhline(0, color=axis, linewidth=0.8, zorder=1, gid="rest")
    bounded = [
        runs.view_points(run, plane)
        for comparison in comparisons
        for run in (comparison.flow, comparison.map)
        if run.status not in UNBOUNDED
    ]
    starts = [
        [values[:1] for values in runs.view_points(comparison.map, plane)]
        for comparison in comparisons
    ]
    ax.set_xlim(linear_limits([x for x, _ in bounded + starts]))
    ax.set_ylim(linear_limits([p for _, p in bounded + starts]))
    entries = runs.entries(comparisons)
    for entry in entries:
        for line in runs.draw_paths(ax, entry, plane):
            mark_exit(ax, line, entry.look.color)
    marks = runs.mark_starts(ax, np.concatenate([np.stack(start, 1) for start in starts]))
    set_linear_ticks(ax.xaxis)
    set_linear_ticks(ax.yaxis)
    i = subscript(coordinate + 1)
    ax.set_xlabel(f"position x{i}")
    ax.set_ylabel(f"velocity p{i} = x{i}′")
    dots = dot_sentences(comparisons, runs.dot_counts(comparisons), runs.MAX_DOTS)
    return Panel(
        title=_title(comparisons, coordinate),
        handles=runs.legend_handles(entries),
        keys=[*legends.map_and_flow(), *marks],
        caption=[*conditions(comparisons), *dots],
    )


def _velocity(run: Trajectory, coordinate: int) -> np.ndarray:
    return np.asarray(run.y.p, float)[run.finite, coordinate]


def _sign_changes(p: np.ndarray) -> int:
    """How often the velocity changes its sign."""
    signs = np.sign(p[p != 0])
    return int((signs[1:] != signs[:-1]).sum())


def _title(comparisons: list[Comparison], coordinate: int) -> str:
    """How often the velocity changes its sign, along the map and along the flow."""
    velocity, parts = f"the velocity p{subscript(coordinate + 1)}", []
    for comparison, _, name, _ in runs.entries(comparisons):
        if failure(comparison.map) or failure(comparison.flow):
            continue
        map, flow = (
            _sign_changes(_velocity(run, coordinate)) for run in (comparison.map, comparison.flow)
        )
        if map == flow == 0:
            parts.append(f"{velocity} of {name} never changes sign, nor does that of its flow")
            continue
        times = "as often" if map == flow else count_noun(flow, "time")
        parts.append(
            f"{velocity} of {name} changes sign {count_noun(map, 'time')}, that of its flow {times}"
        )
    return claim(comparisons, "; ".join(parts))
