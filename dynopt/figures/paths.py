"""The paths: where map and flow go in the plane, or how they look when they are projected on one."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from ..analysis import Comparison
from ..errors import InvalidValue
from .drawing import legends, runs
from .drawing.captions import called, claim, conditions, dotted, largest
from .drawing.picture import Panel, Picture, drawn, several
from .drawing.style import ground
from .drawing.words import failure, listed, number, point
from .plane.landscape import on_contours
from .plane.projection import Plane, plane_of
from .plane.residual import Residual, missed, named, residuals, sentences, within
from .plane.window import PLANE, just_seen

WALL = 0.62  # the frame's height over its width on a slide
HIGH = 0.7  # the same, beside the longer words of a projection


def draw(
    results: Comparison | list[Comparison],
    *,
    plane: Any = None,
    origin: Any = None,
    ax: Axes | None = None,
    style: str = "notebook",
) -> Picture | Axes:
    """Paths of map and flow over the contours of the loss: dots are the map, a line is the flow.

    Contours lie at round heights above the minimum, evenly in the logarithm; stars are minimizers. The window is the
    problem's own, or fits the paths; an arrow on the frame shows where a path leaves it.

    In more than two coordinates the paths are projected on a plane, by default that of their two principal directions,
    and the contours are the loss in it. The caption says how much of the variance the plane explains, how far the paths
    lie off it, and by how much the contours miss their losses.

    - `results`: one or several `analysis.gap` of one problem. - `plane`: two directions that span another plane, each
      shaped like the position, or as one vector; they are made orthonormal, the first as it is. - `origin`: a position
      through which the plane goes, by default the mean of the paths. - `ax`: axes to draw in, instead of a new
      `Picture`. - `style`: "notebook", "paper" or "slides" (where the window is widened to fill the wall).

    **Raises:** `InvalidValue` if the problem has one coordinate only, the results are of several problems, or `plane`
    and `origin` do not fit.
    """
    comparisons = several(results, Comparison, "analysis.gap")
    seen = _plane(comparisons, plane, origin)
    found, wall = unseen(comparisons, seen), WALL if seen is None else HIGH
    fill = wall if ax is None and style == "slides" else None
    painted = partial(paint, scale=ax is None, fill=fill, plane=seen, found=found)
    return drawn(painted, partial(_described, plane=seen, found=found), comparisons, ax, style)


def describe(
    results: Comparison | list[Comparison], *, plane: Any = None, origin: Any = None
) -> str:
    """The picture in one sentence with its numbers."""
    comparisons = several(results, Comparison, "analysis.gap")
    seen = _plane(comparisons, plane, origin)
    return _described(comparisons, seen, unseen(comparisons, seen))


def _described(comparisons: list[Comparison], plane: Plane | None, found: list[Residual]) -> str:
    if plane is not None:
        return _projected(comparisons, plane, found)
    said = []
    for comparison, _, name, _ in runs.entries(comparisons):
        last = np.stack(runs.at(comparison.map, PLANE), 1)[-1:]
        where = f"ends at {point(last[0])}" if len(last) else "has no finite start"
        said.append(
            f"{name} {failure(comparison.map) or f'{where}, at most {number(largest(comparison.error))} from its flow'}"
        )
    start = point(np.asarray(comparisons[0].map.y.x[0], float))
    what = f"Contours of {called(comparisons[0])} with the paths of map (dots) and flow (lines) from {start}"
    return f"{what}: {'; '.join(said)}."


def _projected(comparisons: list[Comparison], plane: Plane, found: list[Residual]) -> str:
    said = []
    for comparison, own in zip(comparisons, found, strict=True):
        where, away = (
            "has no finite start",
            f"at most {number(largest(comparison.error))} from its flow",
        )
        if len(own.loss):
            where = f"ends at a loss of {number(own.loss[-1])} over {number(own.under[-1])} in the plane"
        if not within(found):
            away += f" and {number(own.distance)} off the plane"
        said.append(f"{own.name} {failure(comparison.map) or f'{where}, {away}'}")
    start = point(np.asarray(comparisons[0].map.y.x[0], float))
    differ = (
        "are the losses of the paths"
        if within(found)
        else f"differ from the losses of the paths{missed(found)}"
    )
    what = f"Paths of map (dots) and flow (lines) on {called(comparisons[0])} from {start}, projected on the plane"
    return f"{what} {named(plane)}; {'; '.join(said)}; the contours {differ}."


def _plane(comparisons: list[Comparison], plane: Any = None, origin: Any = None) -> Plane | None:
    """In which the runs are seen; None for that of their own two coordinates."""
    if comparisons[0].problem.dim == 1:
        raise InvalidValue(
            f"paths are drawn in a plane but {called(comparisons[0])} has 1 coordinate; draw loss, gap, local_error, order or "
            "phase, which work in any dimension."
        )
    return plane_of(comparisons, plane, origin)


def unseen(comparisons: list[Comparison], plane: Plane | None) -> list[Residual]:
    """What the plane does not show of each run; nothing if it is that of their own two coordinates."""
    return [] if plane is None else residuals(comparisons, plane)


def paint(
    ax: Axes,
    comparisons: list[Comparison],
    scale: bool = False,
    fill: float | None = None,
    plane: Plane | None = None,
    found: Sequence[Residual] = (),
) -> Panel:
    """Draw in the axes, and say what stands around them.

    With a `scale` of the loss beside the frame; with the view widened to a frame whose height over its width is `fill`;
    projected on a `plane` in which so much is `found` missing.
    """
    entries, hollow = runs.entries(comparisons), []

    def lines(levels: list[float]) -> list[Line2D]:
        drawn = []
        for i in sorted(
            range(len(comparisons)),
            key=lambda i: _bulk(comparisons[i], plane or PLANE),
            reverse=True,
        ):
            drawn += runs.orbit(ax, entries[i], plane or PLANE)
            hollow.extend(_hollow(ax, drawn[-1], found[i].far_off(levels)) if found else [])
        return drawn

    marks, shape = on_contours(ax, comparisons, lines, scale, fill, plane=plane)
    seen = [] if plane is None else sentences(comparisons[0], plane, found, bool(hollow))
    key = [legends.key("off its contour", marker="o", linestyle="none", markerfacecolor=ground())]
    return Panel(
        title=title(comparisons, plane),
        names=runs.handles(entries),
        keys=[*legends.map_and_flow(), *(key if hollow else []), *marks],
        caption=[
            *conditions(comparisons),
            *seen,
            *dotted(comparisons, runs.counts(comparisons), runs.MOST),
        ],
        shape=shape,
    )


def _bulk(comparison: Comparison, view: runs.View) -> tuple[int, float]:
    """How much a run would cover: its dots, and the length of their way. What covers least is drawn last."""
    return int(comparison.map.finite.sum()), float(
        np.hypot(*np.diff(runs.at(comparison.map, view))).sum()
    )


def _hollow(ax: Axes, dots: Line2D, which: np.ndarray) -> list[Line2D]:
    """Rings instead of these dots, where there are dots at all: the contours under them are not their losses."""
    every = np.arange(len(which)) % int(str(dots.get_markevery())) == 0
    if not (which & every).any():
        return []
    look = {
        "marker": dots.get_marker(),
        "color": dots.get_color(),
        "linestyle": "none",
        "zorder": 4.1,
    }
    x, y = np.asarray(dots.get_xydata())[which & every].T
    return ax.plot(
        x, y, **look, markerfacecolor=ground(), markeredgewidth=1.0, gid=f"off {dots.get_gid()}"
    )


def title(comparisons: list[Comparison], plane: Plane | None = None) -> str:
    """Which maps keep so near to their flows that the eye sees no difference, and which stray."""
    seen = just_seen(comparisons, plane=plane)
    apart = {
        name: largest(g.error)
        for g, _, name, _ in runs.entries(comparisons)
        if not failure(g.map) and not failure(g.flow)
    }
    near, far = (
        {n: d for n, d in apart.items() if (d <= seen) == close} for close in (True, False)
    )
    said = []
    if near:
        keep, whose = ("keeps", "its flow") if len(near) == 1 else ("keep", "their flows")
        said.append(
            f"{listed(list(near))} {keep} within {number(max(near.values()), 2)} of {whose}"
        )
    if far:
        farthest = max(far, key=lambda name: far[name])
        stray, whose = (
            ("strays", " from its flow") if len(far) == 1 else ("stray", " from their flows")
        )
        by = number(far[farthest], 2) + (f" ({farthest})" if len(far) > 1 else "")
        said.append(f"{listed(list(far))} {stray}{'' if near else whose} by up to {by}")
    return claim(comparisons, "; ".join(said))
