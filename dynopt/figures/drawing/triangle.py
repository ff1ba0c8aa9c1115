"""The slope triangle of a plot with logarithmic axes."""

from collections.abc import Iterator
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes

from ...analysis import Order
from .style import muted
from .words import format_number


def draw_triangle(ax: Axes, members: list[Order], orders: list[Order]) -> None:
    """One triangle with the slope that all `members` expect.

    It lies beneath one of their curves, where it has most room from the curves of all `orders`.
    """
    with np.errstate(all="ignore"):
        curves = np.concatenate([np.log(np.stack([o.h, o.error], 1)) for o in orders])
    low, high = np.log(np.stack([ax.get_xlim(), ax.get_ylim()], 1))
    curves = (curves[np.isfinite(curves).all(1)] - low) / (high - low)
    best, best_distance = (), -np.inf
    for order in members:
        for left, right, bottom, drop in _candidates(order, high[1] - low[1]):
            top = bottom + order.expected * (right - left)
            middle = (left + right) / 2
            corners = np.array([(left, bottom), (right, bottom), (right, top), (middle, bottom)])
            points = (corners - low) / (high - low)
            numbers = points[[1]] + (0.06, 0), points[[3]] - (0, 0.06)  # next to the two sides
            points = np.concatenate([points, *numbers])
            if not np.isfinite(points).all() or points.min() < 0.02 or points.max() > 0.98:
                continue
            distance = np.linalg.norm(curves[:, None] - points, axis=-1).min() - drop / 4
            if distance > best_distance + 1e-12:
                best, best_distance = (left, right, bottom, top), distance
    if best:
        left, right, bottom, top = np.exp(best)
        _draw(ax, left, right, bottom, top, members[0].expected)


def _candidates(order: Order, height: float) -> Iterator[tuple[float, float, float, float]]:
    """Left, right and bottom of triangles beneath each pair of neighbours, all in logarithms.

    The last number is the distance below the curve, as a fraction of the height of the frame.
    """
    h, error = np.log(order.h), np.log(np.where(order.error > 0, order.error, np.nan))
    for i in range(len(h) - 1):
        for drop in (0.1, 0.16, 0.22):
            yield h[i + 1], h[i], error[i + 1] - drop * height, drop


def _draw(ax: Axes, left: float, right: float, bottom: float, top: float, slope: float) -> None:
    x, y = [left, right, right, left], [bottom, bottom, top, bottom]
    thin = 0.55 * mpl.rcParams["lines.linewidth"]
    ax.plot(x, y, color=muted(), linewidth=thin, gid=f"triangle {format_number(slope)}")
    style: dict[str, Any] = {
        "fontsize": 0.85 * mpl.rcParams["font.size"],
        "color": muted(),
        "textcoords": "offset points",
    }
    rise = {0.5: "½", 1.5: "1½"}.get(slope, format_number(slope))
    half_way_up, half_way_along = np.sqrt(bottom) * np.sqrt(top), np.sqrt(left * right)
    ax.annotate(
        rise, (right, half_way_up), xytext=(4, 0), va="center", ha="left", gid="rise", **style
    )
    ax.annotate(
        "1", (half_way_along, bottom), xytext=(0, -3), va="top", ha="center", gid="run", **style
    )
