"""The slope triangle of a logarithmic plot."""

from collections.abc import Iterator
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes

from ...analysis import Order
from .style import quiet
from .words import number


def draw(ax: Axes, those: list[Order], orders: list[Order]) -> None:
    """One triangle of the slope that `those` expect, beneath one of their curves, clear of those of all `orders`."""
    with np.errstate(all="ignore"):
        curves = np.concatenate([np.log(np.stack([o.h, o.error], 1)) for o in orders])
    low, high = np.log(np.stack([ax.get_xlim(), ax.get_ylim()], 1))
    curves = (curves[np.isfinite(curves).all(1)] - low) / (high - low)
    best, room = (), -np.inf
    for order in those:
        for a, b, base, down in _candidates(order, high[1] - low[1]):
            rise = base + order.expected * (b - a)
            corners = np.array([(a, base), (b, base), (b, rise), ((a + b) / 2, base)])
            share = (corners - low) / (high - low)
            share = np.concatenate(
                [share, share[[1]] + (0.06, 0), share[[3]] - (0, 0.06)]
            )  # the figures at its sides
            if not np.isfinite(share).all() or share.min() < 0.02 or share.max() > 0.98:
                continue
            clear = np.linalg.norm(curves[:, None] - share, axis=-1).min() - down / 4
            if clear > room + 1e-12:
                best, room = (a, b, base, rise), clear
    if best:
        left, right, bottom, top = np.exp(best)
        _write(ax, left, right, bottom, top, those[0].expected)


def _candidates(order: Order, extent: float) -> Iterator[tuple[float, float, float, float]]:
    """Beneath each pair of neighbours, at three distances (shares of the height)."""
    h, error = np.log(order.h), np.log(np.where(order.error > 0, order.error, np.nan))
    for i in range(len(h) - 1):
        for down in (0.1, 0.16, 0.22):
            yield h[i + 1], h[i], error[i + 1] - down * extent, down


def _write(ax: Axes, left: float, right: float, bottom: float, top: float, slope: float) -> None:
    corners = [left, right, right, left], [bottom, bottom, top, bottom]
    ax.plot(
        *corners,
        color=quiet(),
        linewidth=0.55 * mpl.rcParams["lines.linewidth"],
        gid=f"triangle {number(slope)}",
    )
    words: dict[str, Any] = {
        "fontsize": 0.85 * mpl.rcParams["font.size"],
        "color": quiet(),
        "textcoords": "offset points",
    }
    rise = {0.5: "½", 1.5: "1½"}.get(slope, number(slope))
    ax.annotate(
        rise,
        (right, np.sqrt(bottom) * np.sqrt(top)),
        xytext=(4, 0),
        va="center",
        ha="left",
        gid="rise",
        **words,
    )
    ax.annotate(
        "1",
        (np.sqrt(left * right), bottom),
        xytext=(0, -3),
        va="top",
        ha="center",
        gid="run",
        **words,
    )
