"""The paths: where map and flow go in the plane."""

from collections.abc import Callable
from functools import partial
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from ..analysis import Gap
from ..errors import InvalidValue
from . import contours, legends, runs
from .captions import called, claim, conditions, dotted, largest
from .picture import Panel, Picture, drawn, several
from .style import ground, ink
from .views import LARGEST, linear_view, mark_exit, mark_plainly
from .words import ending, listed, number, point

WALL = 0.62  # the frame's height over its width on a slide
SLIT = 0.3  # a frame narrower than this shows nothing; then the two axes have scales of their own
CLOSE = 0.015  # of the window's diagonal: about the size of a dot
PLANE = [("x", 0), ("x", 1)]
Window = tuple[tuple[float, float], tuple[float, float]]


def draw(results: Gap | list[Gap], *, ax: Axes | None = None, style: str = "notebook") -> Picture | Axes:
    """Paths of map and flow over the contours of the loss: dots are the map, a line is the flow.

    Contours lie at round heights above the minimum, evenly in the logarithm; stars are minimizers. The window is the
    problem's own, or fits the paths; an arrow on the frame shows where a path leaves it.

    - `results`: one or several `analysis.gap` of one problem in two coordinates. - `ax`: axes to draw in, instead of a
      new `Picture`. - `style`: "notebook", "paper" or "slides" (where the window is widened to fill the wall).

    **Raises:** `InvalidValue` if the problem has other than two coordinates, or the results are of several problems.
    """
    fill = WALL if ax is None and style == "slides" else None
    return drawn(partial(paint, scale=ax is None, fill=fill), describe, in_the_plane(results), ax, style)


def describe(results: Gap | list[Gap]) -> str:
    """The picture in one sentence with its numbers."""
    gaps = in_the_plane(results)
    said = []
    for gap, _, name, _ in runs.cast(gaps):
        last = np.stack(runs.at(gap.map, PLANE), 1)[-1:]
        where = f"ends at {point(last[0])}" if len(last) else "has no finite start"
        said.append(f"{name} {ending(gap.map) or f'{where}, at most {number(largest(gap.error))} from its flow'}")
    start = point(np.asarray(gaps[0].map.y.x[0], float))
    what = f"Contours of {called(gaps[0])} with the paths of map (dots) and flow (lines) from {start}"
    return f"{what}: {'; '.join(said)}."


def in_the_plane(results: Gap | list[Gap]) -> list[Gap]:
    gaps = several(results, Gap, "analysis.gap")
    dim = gaps[0].problem.dim
    if dim != 2:
        raise InvalidValue(
            f"paths are drawn in a plane but {called(gaps[0])} has {dim} coordinate{'s' * (dim > 1)}; draw loss, gap, "
            "local_error, order or phase, which work in any dimension."
        )
    return gaps


def paint(ax: Axes, gaps: list[Gap], scale: bool = False, fill: float | None = None) -> Panel:
    """Draw in the axes, and say what stands around them.

    With a `scale` of the loss beside the frame; and with the view widened to a frame whose height over its width is
    `fill`.
    """
    people = runs.cast(gaps)
    marks, shape = on_contours(
        ax, gaps, lambda: [line for each in people for line in runs.orbit(ax, each, PLANE)], scale, fill
    )
    return Panel(
        title=title(gaps),
        names=runs.handles(people),
        keys=[*legends.map_and_flow(), *marks],
        caption=conditions(gaps) + dotted(gaps, runs.counts(gaps), runs.MOST),
        shape=shape,
    )


def on_contours(
    ax: Axes, gaps: list[Gap], lines: Callable[[], list[Line2D]], scale: bool, fill: float | None, near: bool = False
) -> tuple[list[Line2D], float | None]:
    """The plane in which `lines` draws, with contours, starts, minimizers and exits; `near` as for `window`.

    Returns the keys of what it has marked, and the frame's height over its width, where the data fix it.
    """
    across, up = _widened(window(gaps, near), fill)
    ax.set_xlim(across)
    ax.set_ylim(up)
    contours.paint(ax, gaps[0], scale)
    there = lines()
    marks = runs.mark_starts(ax, np.stack([np.asarray(g.map.y.x[0], float) for g in gaps]))
    marks += _minimizers(ax, gaps[0], (across, up))
    ax.set_xlim(across)
    ax.set_ylim(up)
    shape = _shape((across, up))
    even = SLIT < shape < 1 / SLIT
    if even:
        ax.set_aspect("equal", adjustable="box", anchor="W")
    for line in there:
        mark_exit(ax, line, str(line.get_color()))
    mark_plainly(ax.xaxis)
    mark_plainly(ax.yaxis)
    ax.set_xlabel("position x₁")
    ax.set_ylabel("position x₂")
    return marks, shape if even else None


def window(gaps: list[Gap], near: bool = False) -> Window:
    """The problem's own, if the starts lie in it; else what holds the flows, and the maps that did not fail.

    With `near` that and nothing else, wherever minimizers lie.
    """
    starts = np.stack([np.asarray(g.map.y.x[0], float) for g in gaps])
    own = gaps[0].problem.window
    if (
        not near
        and own is not None
        and all(((low <= x) & (x <= high)).all() for x, (low, high) in zip(starts.T, own, strict=True))
    ):
        return own
    seen = [starts, *(np.stack(runs.at(r, PLANE), 1) for g in gaps for r in (g.map, g.flow) if not ending(r))]
    points = np.clip(np.concatenate(seen), -LARGEST, LARGEST)
    if not near and gaps[0].problem.minimizers is not None:  # the nearest: far ones would only shrink the picture
        apart = np.linalg.norm(gaps[0].problem.minimizers - points[-1], axis=1)
        points = np.concatenate([points, gaps[0].problem.minimizers[[np.argmin(apart)]]])
    (left, right), (bottom, top) = (linear_view([x], margin=0.12) for x in points.T)
    least = 0.4 * max(right - left, top - bottom) / 2  # a path along one axis would be seen through a slit
    x, y = (left + right) / 2, (bottom + top) / 2
    across, up = max((right - left) / 2, least), max((top - bottom) / 2, least)
    return (x - across, x + across), (y - up, y + up)


def _widened(window: Window, fill: float | None) -> Window:
    """The window, made wider or higher until it has the shape of the frame; the middle stays."""
    shape, ((left, right), (bottom, top)) = _shape(window), window
    if fill is None or not SLIT < shape < 1 / SLIT:
        return window
    across, up = (
        max((top - bottom) / fill - (right - left), 0) / 2,
        max((right - left) * fill - (top - bottom), 0) / 2,
    )
    return (left - across, right + across), (bottom - up, top + up)


def _shape(window: Window) -> float:
    (left, right), (bottom, top) = window
    return (top - bottom) / (right - left)


def _minimizers(ax: Axes, gap: Gap, window: Window) -> list[Line2D]:
    """A star at each. Returns its key, if one of them is seen."""
    if gap.problem.minimizers is None:
        return []
    size = 2.6 * mpl.rcParams["lines.markersize"]
    style: dict[str, Any] = {
        "marker": "*",
        "markersize": size,
        "markerfacecolor": ground(),
        "markeredgecolor": ink(),
        "linestyle": "none",
    }
    x, y = np.asarray(gap.problem.minimizers, float).T
    (left, right), (bottom, top) = window
    stars = ax.plot(x, y, **style, markeredgewidth=0.08 * size, zorder=5, gid="minimizer", label="minimizer")
    return stars if ((left <= x) & (x <= right) & (bottom <= y) & (y <= top)).any() else []


def just_seen(gaps: list[Gap], near: bool = False) -> float:
    """The least distance that the eye sees in the window."""
    (left, right), (bottom, top) = window(gaps, near)
    return CLOSE * float(np.hypot(right - left, top - bottom))


def title(gaps: list[Gap]) -> str:
    """Which maps keep so near to their flows that the eye sees no difference, and which stray."""
    seen = just_seen(gaps)
    apart = {name: largest(g.error) for g, _, name, _ in runs.cast(gaps) if not ending(g.map) and not ending(g.flow)}
    near, far = ({n: d for n, d in apart.items() if (d <= seen) == close} for close in (True, False))
    said = []
    if near:
        keep, whose = ("keeps", "its flow") if len(near) == 1 else ("keep", "their flows")
        said.append(f"{listed(list(near))} {keep} within {number(max(near.values()), 2)} of {whose}")
    if far:
        farthest = max(far, key=lambda name: far[name])
        stray, whose = ("strays", " from its flow") if len(far) == 1 else ("stray", " from their flows")
        by = number(far[farthest], 2) + (f" ({farthest})" if len(far) > 1 else "")
        said.append(f"{listed(list(far))} {stray}{'' if near else whose} by up to {by}")
    return claim(gaps, "; ".join(said))
