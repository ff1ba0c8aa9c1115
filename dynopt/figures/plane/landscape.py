"""What lies under the paths: contours of the loss, starts and minimizers."""

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes

from ...analysis import Comparison
from ...problems import Problem
from ..drawing import runs
from ..drawing.axes import set_linear_ticks
from ..drawing.captions import coordinate_names
from ..drawing.measure import font_size, frame_box, wrap_text
from ..drawing.style import background, ink
from . import contours
from .projection import Plane
from .window import Limits, minimizers, starts


def draw_landscape(
    ax: Axes, comparison: Comparison, limits: Limits, plane: Plane | None = None
) -> list[float]:
    """Draw contours, the start and minimizers within these limits, with equal scales.

    Returns the losses at which there is a contour.
    """
    set_limits(ax, limits)
    levels = contours.paint(ax, comparison, plane)
    mark_places(ax, comparison, limits, plane)
    return levels


def set_limits(ax: Axes, limits: Limits) -> None:
    """Linear axes within these limits, with equal scales."""
    ax.set(xscale="linear", yscale="linear", xlim=limits[0], ylim=limits[1])
    ax.set_aspect("equal", adjustable="box", anchor="W")


def mark_places(
    ax: Axes, comparison: Comparison, limits: Limits, plane: Plane | None = None
) -> None:
    """Mark the start and the minimizers, and label the axes."""
    runs.mark_starts(ax, starts([comparison], plane))
    _mark_minimizers(ax, minimizers(comparison, plane), limits)
    ax.set(xlim=limits[0], ylim=limits[1])
    set_linear_ticks(ax.xaxis)
    set_linear_ticks(ax.yaxis)
    xlabel, ylabel = position_labels(comparison.problem) if plane is None else plane.labels
    size = font_size("axes.labelsize")
    ax.set_xlabel(wrap_text(xlabel, frame_box(ax).width, size))
    ax.set_ylabel(wrap_text(ylabel, frame_box(ax).height, size))


def position_labels(problem: Problem) -> tuple[str, str]:
    """The labels of two axes that are the two coordinates of a position."""
    first, second = (f"position {name}" for name in coordinate_names(problem))
    return first, second


def _mark_minimizers(ax: Axes, points: np.ndarray, limits: Limits) -> None:
    """A star at each minimizer in the window."""
    (left, right), (bottom, top) = limits
    x, y = points.T
    inside = (left <= x) & (x <= right) & (bottom <= y) & (y <= top)
    size = 2.2 * mpl.rcParams["lines.markersize"]
    style: dict[str, Any] = {
        "marker": "*", "markersize": size, "markerfacecolor": background(),
        "markeredgecolor": ink(), "markeredgewidth": 0.09 * size, "linestyle": "none",
    }  # fmt: skip
    if inside.any():
        ax.plot(x[inside], y[inside], **style, zorder=2.9, gid="minimizer")
