"""What lies under the paths: contours of the loss, starts, minimizers, and arrows at exits."""

from collections.abc import Callable
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from ...analysis import Comparison
from ..drawing import runs
from ..drawing.axes import mark_exit, set_linear_ticks
from ..drawing.style import background, ink
from . import contours
from .projection import Plane
from .window import SLIT, Limits, aspect_of, limits_of, minimizers, starts, widen


def draw_on_contours(
    ax: Axes,
    comparisons: list[Comparison],
    draw_lines: Callable[[list[float]], list[Line2D]],
    scale: bool,
    fill: float | None,
    near: bool = False,
    plane: Plane | None = None,
) -> tuple[list[Line2D], float | None]:
    """Draw lines between contours, starts and minimizers; mark where a line leaves the frame.

    - `draw_lines`: draws the lines and returns them; it is told the losses of the contours.
    - `scale`: whether a scale of the loss is drawn next to the frame.
    - `fill`: the height over the width of the frame, to which the window is widened.
    - `near`, `plane`: as for `window.limits_of`.

    Returns the legend entries of the marks, and the height of the frame over its width, where the
    data fix it.
    """
    limits = widen(limits_of(comparisons, near, plane), fill)
    ax.set(xlim=limits[0], ylim=limits[1])
    lines = draw_lines(contours.paint(ax, comparisons[0], scale, plane))
    marks = runs.mark_starts(ax, starts(comparisons, plane))
    marks += _mark_minimizers(ax, comparisons[0], limits, plane)
    ax.set(xlim=limits[0], ylim=limits[1])
    aspect = aspect_of(limits)
    equal_scales = SLIT < aspect < 1 / SLIT
    if equal_scales:
        ax.set_aspect("equal", adjustable="box", anchor="W")
    for line in lines:
        mark_exit(ax, line, str(line.get_color()))
    set_linear_ticks(ax.xaxis)
    set_linear_ticks(ax.yaxis)
    xlabel, ylabel = ("position x₁", "position x₂") if plane is None else plane.labels
    ax.set_xlabel(xlabel)
    ax.set_ylabel(",\n".join(ylabel.rsplit(", ", 1)))  # the frame may be too low for one line
    return marks, aspect if equal_scales else None


def _mark_minimizers(
    ax: Axes, comparison: Comparison, limits: Limits, plane: Plane | None
) -> list[Line2D]:
    """A star at each minimizer; returns its legend entry if one of them lies in the window."""
    points = minimizers(comparison, plane)
    if not len(points):
        return []
    size = 2.6 * mpl.rcParams["lines.markersize"]
    style: dict[str, Any] = {
        "marker": "*", "markersize": size, "markerfacecolor": background(),
        "markeredgecolor": ink(), "markeredgewidth": 0.08 * size, "linestyle": "none",
    }  # fmt: skip
    x, y = points.T
    (left, right), (bottom, top) = limits
    stars = ax.plot(x, y, **style, zorder=5, gid="minimizer", label="minimizer")
    return stars if ((left <= x) & (x <= right) & (bottom <= y) & (y <= top)).any() else []
