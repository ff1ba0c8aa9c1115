"""The phase plane: position against velocity, where a heavy ball swings."""

from functools import partial

import numpy as np
from matplotlib.axes import Axes

from ..analysis import Comparison
from ..checks import whole_number
from ..errors import InvalidValue
from ..runs.trajectory import Status
from .drawing import legends, runs
from .drawing.axes import linear_view, mark_exit, mark_plainly
from .drawing.captions import called, claim, conditions, dotted
from .drawing.picture import Panel, Picture, drawn, several
from .drawing.style import ground, ink, mixed
from .drawing.words import counted, failure, listed, names, number, subscript

LOST = (Status.diverged, Status.nonfinite)  # what the window is not made for


def draw(
    results: Comparison | list[Comparison],
    *,
    coordinate: int = 0,
    ax: Axes | None = None,
    style: str = "notebook",
) -> Picture | Axes:
    """One coordinate of position and velocity, (xᵢ, pᵢ): dots are the map, a line is the flow.

    - `results`: one or several `analysis.gap` of one problem; those without a velocity are left out.
    - `coordinate`: which, from 0. - `ax`: axes to draw in, instead of a new `Picture`. - `style`: "notebook", "paper"
      or "slides".

    **Raises:** `InvalidValue` if no result has a velocity, or there is no such coordinate.
    """
    comparisons = moving(results, coordinate)
    return drawn(
        partial(paint, coordinate=coordinate),
        partial(describe, coordinate=coordinate),
        comparisons,
        ax,
        style,
    )


def describe(results: Comparison | list[Comparison], coordinate: int = 0) -> str:
    """The picture in one sentence with its numbers."""
    comparisons = moving(results, coordinate)
    said = []
    for comparison, _, name, _ in runs.entries(comparisons):
        map, flow = (_velocity(run, coordinate) for run in (comparison.map, comparison.flow))
        turned = (
            f"turns back {counted(_turns(map), 'time')}, its flow {counted(_turns(flow), 'time')}"
        )
        said.append(f"{name} {turned}, fastest at {number(np.abs(map).max(initial=0))}")
    i = subscript(coordinate + 1)
    what = f"Position x{i} against velocity p{i} on {called(comparisons[0])}"
    return f"{what}, map (dots) and flow (lines): {'; '.join(said)}."


def moving(results: Comparison | list[Comparison], coordinate: int = 0) -> list[Comparison]:
    """The results that have a velocity."""
    comparisons = several(results, Comparison, "analysis.gap")
    dim = comparisons[0].problem.dim
    if whole_number("coordinate", coordinate, least=0) >= dim:
        raise InvalidValue(
            f"`coordinate` is {coordinate} but there are only {dim}; pass a number from 0 to {dim - 1}."
        )
    found = [comparison for comparison in comparisons if hasattr(comparison.map.y, "p")]
    if not found:
        without = f"{listed(names([g.optimizer for g in comparisons]))} {'have' if len(comparisons) > 1 else 'has'}"
        raise InvalidValue(
            f"a phase plane shows velocities, which {without} not; pass a gap of Momentum."
        )
    return found


def paint(ax: Axes, comparisons: list[Comparison], coordinate: int = 0) -> Panel:
    """Draw in the axes, and say what stands around them."""
    plane, entries = (
        runs.Coordinates(("x", coordinate), ("p", coordinate)),
        runs.entries(comparisons),
    )
    ax.axhline(0, color=mixed(ink(), ground(), 0.5), linewidth=0.8, zorder=1, gid="rest")
    healthy = [
        runs.at(run, plane)
        for comparison in comparisons
        for run in (comparison.flow, comparison.map)
        if run.status not in LOST
    ]
    starts = [[v[:1] for v in runs.at(comparison.map, plane)] for comparison in comparisons]
    ax.set_xlim(linear_view([x for x, _ in healthy + starts]))
    ax.set_ylim(linear_view([p for _, p in healthy + starts]))
    for each in entries:
        for line in runs.orbit(ax, each, plane):
            mark_exit(ax, line, each.look.color)
    marks = runs.mark_starts(ax, np.concatenate([np.stack(start, 1) for start in starts]))
    mark_plainly(ax.xaxis)
    mark_plainly(ax.yaxis)
    ax.set_xlabel(f"position x{subscript(coordinate + 1)}")
    ax.set_ylabel(f"velocity p{subscript(coordinate + 1)} = x{subscript(coordinate + 1)}′")
    return Panel(
        title=_title(comparisons, coordinate),
        names=runs.handles(entries),
        keys=[*legends.map_and_flow(), *marks],
        caption=conditions(comparisons) + dotted(comparisons, runs.counts(comparisons), runs.MOST),
    )


def _velocity(run, coordinate: int) -> np.ndarray:
    return np.asarray(run.y.p, float)[run.finite, coordinate]


def _turns(p: np.ndarray) -> int:
    """How often the velocity changes sign."""
    signs = np.sign(p[p != 0])
    return int((signs[1:] != signs[:-1]).sum())


def _title(comparisons: list[Comparison], coordinate: int) -> str:
    """How often map and flow turn back."""
    along, said = f" along x{subscript(coordinate + 1)}", []
    for comparison, _, name, _ in runs.entries(comparisons):
        if failure(comparison.map) or failure(comparison.flow):
            continue
        map, flow = (
            _turns(_velocity(run, coordinate)) for run in (comparison.map, comparison.flow)
        )
        times = "as often" if map == flow else counted(flow, "time")
        if map == flow == 0:
            said.append(f"{name} never turns back{along}, nor does its flow")
        else:
            said.append(f"{name} turns back {counted(map, 'time')}{along}, its flow {times}")
    return claim(comparisons, "; ".join(said))
