"""What lies under the paths: the window, contours of the loss, starts and minimizers, and where a path leaves."""

from collections.abc import Callable
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from ...analysis import Comparison
from ..drawing import runs
from ..drawing.axes import mark_exit, mark_plainly
from ..drawing.style import ground, ink
from . import contours
from .projection import Plane
from .window import SLIT, Window, minimizers, shape_of, starts, widened, window


def on_contours(
    ax: Axes,
    comparisons: list[Comparison],
    lines: Callable[[list[float]], list[Line2D]],
    scale: bool,
    fill: float | None,
    near: bool = False,
    plane: Plane | None = None,
) -> tuple[list[Line2D], float | None]:
    """The plane in which `lines` draws, with contours, starts, minimizers and exits; `near` as for `window`.

    `lines` is told at which losses there are contours. Returns the keys of what it has marked, and the frame's height
    over its width, where the data fix it.
    """
    across, up = widened(window(comparisons, near, plane), fill)
    ax.set_xlim(across)
    ax.set_ylim(up)
    there = lines(contours.paint(ax, comparisons[0], scale, plane))
    marks = runs.mark_starts(ax, starts(comparisons, plane))
    marks += _minimizers(ax, comparisons[0], (across, up), plane)
    ax.set_xlim(across)
    ax.set_ylim(up)
    shape = shape_of((across, up))
    even = SLIT < shape < 1 / SLIT
    if even:
        ax.set_aspect("equal", adjustable="box", anchor="W")
    for line in there:
        mark_exit(ax, line, str(line.get_color()))
    mark_plainly(ax.xaxis)
    mark_plainly(ax.yaxis)
    xlabel, ylabel = ("position x₁", "position x₂") if plane is None else plane.labels
    ax.set_xlabel(xlabel)
    ax.set_ylabel(",\n".join(ylabel.rsplit(", ", 1)))  # the frame may be low
    return marks, shape if even else None


def _minimizers(
    ax: Axes, comparison: Comparison, window: Window, plane: Plane | None
) -> list[Line2D]:
    """A star at each, or where it is seen in the plane. Returns its key, if one of them is."""
    points = minimizers(comparison, plane)
    if not len(points):
        return []
    size = 2.6 * mpl.rcParams["lines.markersize"]
    style: dict[str, Any] = {
        "marker": "*",
        "markersize": size,
        "markerfacecolor": ground(),
        "markeredgecolor": ink(),
        "linestyle": "none",
    }
    x, y = points.T
    (left, right), (bottom, top) = window
    stars = ax.plot(
        x, y, **style, markeredgewidth=0.08 * size, zorder=5, gid="minimizer", label="minimizer"
    )
    return stars if ((left <= x) & (x <= right) & (bottom <= y) & (y <= top)).any() else []
