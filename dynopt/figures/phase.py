"""The phase plane: position against velocity, where a heavy ball swings."""

from functools import partial

import numpy as np
from matplotlib.axes import Axes

from ..analysis import Gap
from ..checks import whole
from ..errors import InvalidValue
from ..runs.trajectory import Status
from .drawing import legends, runs
from .drawing.axes import linear_view, mark_exit, mark_plainly
from .drawing.captions import called, claim, conditions, dotted
from .drawing.picture import Panel, Picture, drawn, several
from .drawing.style import ground, ink, mixed
from .drawing.words import counted, ending, listed, names, number, subscript

LOST = (Status.diverged, Status.nonfinite)  # what the window is not made for


def draw(
    results: Gap | list[Gap],
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
    gaps = moving(results, coordinate)
    return drawn(
        partial(paint, coordinate=coordinate),
        partial(describe, coordinate=coordinate),
        gaps,
        ax,
        style,
    )


def describe(results: Gap | list[Gap], coordinate: int = 0) -> str:
    """The picture in one sentence with its numbers."""
    gaps = moving(results, coordinate)
    said = []
    for gap, _, name, _ in runs.cast(gaps):
        map, flow = (_velocity(run, coordinate) for run in (gap.map, gap.flow))
        turned = (
            f"turns back {counted(_turns(map), 'time')}, its flow {counted(_turns(flow), 'time')}"
        )
        said.append(f"{name} {turned}, fastest at {number(np.abs(map).max(initial=0))}")
    i = subscript(coordinate + 1)
    what = f"Position x{i} against velocity p{i} on {called(gaps[0])}"
    return f"{what}, map (dots) and flow (lines): {'; '.join(said)}."


def moving(results: Gap | list[Gap], coordinate: int = 0) -> list[Gap]:
    """The results that have a velocity."""
    gaps = several(results, Gap, "analysis.gap")
    dim = gaps[0].problem.dim
    if whole("coordinate", coordinate, least=0) >= dim:
        raise InvalidValue(
            f"`coordinate` is {coordinate} but there are only {dim}; pass a number from 0 to {dim - 1}."
        )
    found = [gap for gap in gaps if hasattr(gap.map.y, "p")]
    if not found:
        without = (
            f"{listed(names([g.optimizer for g in gaps]))} {'have' if len(gaps) > 1 else 'has'}"
        )
        raise InvalidValue(
            f"a phase plane shows velocities, which {without} not; pass a gap of Momentum."
        )
    return found


def paint(ax: Axes, gaps: list[Gap], coordinate: int = 0) -> Panel:
    """Draw in the axes, and say what stands around them."""
    plane, people = runs.Coordinates(("x", coordinate), ("p", coordinate)), runs.cast(gaps)
    ax.axhline(0, color=mixed(ink(), ground(), 0.5), linewidth=0.8, zorder=1, gid="rest")
    healthy = [
        runs.at(run, plane) for gap in gaps for run in (gap.flow, gap.map) if run.status not in LOST
    ]
    starts = [[v[:1] for v in runs.at(gap.map, plane)] for gap in gaps]
    ax.set_xlim(linear_view([x for x, _ in healthy + starts]))
    ax.set_ylim(linear_view([p for _, p in healthy + starts]))
    for each in people:
        for line in runs.orbit(ax, each, plane):
            mark_exit(ax, line, each.look.color)
    marks = runs.mark_starts(ax, np.concatenate([np.stack(start, 1) for start in starts]))
    mark_plainly(ax.xaxis)
    mark_plainly(ax.yaxis)
    ax.set_xlabel(f"position x{subscript(coordinate + 1)}")
    ax.set_ylabel(f"velocity p{subscript(coordinate + 1)} = x{subscript(coordinate + 1)}′")
    return Panel(
        title=_title(gaps, coordinate),
        names=runs.handles(people),
        keys=[*legends.map_and_flow(), *marks],
        caption=conditions(gaps) + dotted(gaps, runs.counts(gaps), runs.MOST),
    )


def _velocity(run, coordinate: int) -> np.ndarray:
    return np.asarray(run.y.p, float)[run.finite, coordinate]


def _turns(p: np.ndarray) -> int:
    """How often the velocity changes sign."""
    signs = np.sign(p[p != 0])
    return int((signs[1:] != signs[:-1]).sum())


def _title(gaps: list[Gap], coordinate: int) -> str:
    """How often map and flow turn back."""
    along, said = f" along x{subscript(coordinate + 1)}", []
    for gap, _, name, _ in runs.cast(gaps):
        if ending(gap.map) or ending(gap.flow):
            continue
        map, flow = (_turns(_velocity(run, coordinate)) for run in (gap.map, gap.flow))
        times = "as often" if map == flow else counted(flow, "time")
        if map == flow == 0:
            said.append(f"{name} never turns back{along}, nor does its flow")
        else:
            said.append(f"{name} turns back {counted(map, 'time')}{along}, its flow {times}")
    return claim(gaps, "; ".join(said))
