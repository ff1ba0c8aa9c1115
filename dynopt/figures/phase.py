"""The phase plane: position against velocity, in which a heavy ball oscillates."""

import re
from functools import partial

import numpy as np
from matplotlib.axes import Axes

from ..analysis import Comparison
from ..checks import whole_number
from ..errors import InvalidValue
from ..runs.trajectory import Trajectory
from .drawing import runs
from .drawing.axes import linear_limits, set_linear_ticks
from .drawing.captions import claim, coordinate_names, failures, problem_name, summary
from .drawing.frames import Paint, draw_frames
from .drawing.measure import stroke
from .drawing.notes import Line, write_note
from .drawing.picture import Panel, Picture
from .drawing.results import result_list
from .drawing.runs import Coordinates, Entry
from .drawing.style import background, in_style, ink, mix_colors
from .drawing.ties import draw_tied, tie_keys, tied
from .drawing.words import (
    count_noun,
    facts,
    failure,
    format_number,
    join_words,
    run_names,
)
from .plane.window import points_in_view

PAD = 0.09  # of the size of the paths, on each side of the frame


@in_style
def draw(
    results: Comparison | list[Comparison],
    *,
    coordinate: int = 0,
    title: str | None = None,
    ax: Axes | None = None,
    style: str = "notebook",
) -> Picture | Axes:
    """One coordinate of position and velocity, (xᵢ, pᵢ), each optimizer in a frame of its own.

    Coloured dots on a thread are the map, a line in ink is the flow, and ties join the two at equal
    times. The longest is bold and carries its extent in the position and in the velocity, which
    have different units. Where map and flow are too near to be told apart, their distance is drawn
    magnified, and the frame says by how much. A run turns back where it crosses the line p = 0.

    - `results`: one or several results of `analysis.compare` on one problem. Those of optimizers
      without a velocity are left out.
    - `coordinate`: the index of the coordinate, from 0.
    - `title`: a title in place of the claim.
    - `ax`: axes to draw one result in, instead of a new `Picture`.
    - `style`: "notebook", "paper" or "slides".

    **Raises:** `InvalidValue` if no result has a velocity, there is no such coordinate, or one `ax`
    is given for several results.
    """
    comparisons = with_velocity(results, coordinate)
    paints = frames(comparisons, coordinate)
    return draw_frames(
        paints,
        title or _title(comparisons, coordinate),
        describe(comparisons, coordinate),
        summary(comparisons),
        ax,
        style,
    )


def describe(results: Comparison | list[Comparison], coordinate: int = 0) -> str:
    """The picture in one sentence with its numbers."""
    comparisons = with_velocity(results, coordinate)
    parts = []
    for comparison, _, name, _ in runs.entries(comparisons):
        map, flow = (_velocity(run, coordinate) for run in (comparison.map, comparison.curve))
        fastest = format_number(np.abs(map).max(initial=0))
        parts.append(
            f"{name} {_turns(map)}, its flow {_turns(flow)}, and its velocity reaches {fastest}"
        )
    lost = failures(comparisons)
    parts += [lost] if lost else []
    x, p = _letters(comparisons[0], coordinate)
    return (
        f"The picture shows position {x} against velocity {p} on {problem_name(comparisons[0])}, "
        f"map (dots) and flow (lines), with ties at equal times: {'; '.join(parts)}."
    )


def frames(comparisons: list[Comparison], coordinate: int = 0) -> list[Paint]:
    """What paints each optimizer into a frame, given the axes and the ratio of its sides."""
    return [partial(_paint_frame, entry, coordinate) for entry in runs.entries(comparisons)]


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


def _paint_frame(entry: Entry, coordinate: int, ax: Axes, ratio: float) -> Panel:
    """Draw map and flow of one optimizer into `ax`."""
    comparison, color, name, key = entry
    plane = Coordinates(("x", coordinate), ("p", coordinate))
    name_of_x, name_of_p = _letters(comparison, coordinate)
    points = tied(comparison, plane, one_unit=False)
    for axis, values in zip("xy", points_in_view(comparison, points).T, strict=True):
        ax.set(**{f"{axis}lim": linear_limits([values], PAD)})
    ax.axhline(0, color=mix_colors(ink(), background(), 0.5), lw=stroke(0.8), zorder=1, gid="rest")

    def extent(k: int) -> str:
        """How far apart map and flow are in position and velocity."""
        both = comparison.map, comparison.flow
        map, flow = (np.stack(runs.view_points(run, plane), 1)[k] for run in both)
        x, p = (format_number(distance, 2) for distance in np.abs(map - flow))
        return f"{x} in {name_of_x}, {p} in {name_of_p}"

    draw_tied(ax, points, entry, extent)
    runs.mark_starts(ax, points.map[:1])
    if not comparison.map.status and len(points.map) and len(points.curve):
        map, flow = (_velocity(r, coordinate) for r in (comparison.map, comparison.curve))
        lines = [
            Line(f"map {_turns(map)}", color, f"note map {key}"),
            Line(f"flow {_turns(flow)}", ink(), f"note flow {key}"),
        ]
        write_note(ax, lines, [points.curve, points.map])
    set_linear_ticks(ax.xaxis)
    set_linear_ticks(ax.yaxis)
    ax.set_xlabel(f"position {name_of_x}")
    ax.set_ylabel("velocity " + " = ".join(dict.fromkeys([name_of_p, f"{name_of_x}′"])))
    lost = failures([comparison]).removeprefix(name).strip()
    time_step = f"h\xa0=\xa0{format_number(float(comparison.optimizer.h))}"
    fact = facts(comparison.optimizer, time_step, lost)
    return Panel("", keys=tie_keys(points), name=name, color=color, fact=fact)


def _letters(comparison: Comparison, coordinate: int) -> tuple[str, str]:
    """The names of a coordinate of position and velocity: x₁ and p₁, or θ and θ′ of a leaf."""
    name = coordinate_names(comparison.problem)[coordinate]
    return name, f"p{name[1:]}" if re.fullmatch("x[₀-₉]+", name) else f"{name}′"


def _velocity(run: Trajectory, coordinate: int) -> np.ndarray:
    return np.asarray(run.y.p, float)[run.finite, coordinate]


def _turns(p: np.ndarray) -> str:
    """How often the velocity changes its sign, as in "turns back 3 times"."""
    signs = np.sign(p[p != 0])
    changes = int((signs[1:] != signs[:-1]).sum())
    return f"turns back {count_noun(changes, 'time')}" if changes else "never turns back"


def _title(comparisons: list[Comparison], coordinate: int) -> str:
    """How often the map turns back, and how often its flow does."""
    parts = []
    for comparison, _, name, _ in runs.entries(comparisons):
        if failure(comparison.map) or failure(comparison.flow):
            continue
        map, flow = (
            _turns(_velocity(run, coordinate)) for run in (comparison.map, comparison.curve)
        )
        same = ", as its flow does" if "never" not in map else ", nor does its flow"
        its = f", its flow {flow.removeprefix('turns back ').replace(' turns back', '')}"
        parts.append(f"{name} {map}{same if map == flow else its}")
    where = f"along {_letters(comparisons[0], coordinate)[0]} " * bool(parts)
    return claim(comparisons, where + "; ".join(parts))
