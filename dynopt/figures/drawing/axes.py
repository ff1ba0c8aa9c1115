"""What part of the data a picture shows: limits, ticks, dots, and lines that leave the frame."""

from collections.abc import Iterable

import jax
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis, XAxis
from matplotlib.lines import Line2D
from matplotlib.markers import MarkerStyle
from matplotlib.path import Path
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from .measure import font_size, frame_box, text_width
from .style import background
from .words import format_number

Array = np.ndarray | jax.Array
LARGEST = 1e300  # the ticks of matplotlib overflow beyond
# An arrow that points up: the shaft, then the left and the right half of the head.
ARROW = Path([(0, -1), (0, 1), (-0.55, 0.35), (0, 1), (0.55, 0.35)])


def dot_stride(points: int, most: int) -> int:
    """The stride at which dots are drawn: 1, 2, 5, 10, ...

    After the first dot there are at most `most` others.

    >>> [dot_stride(n, 50) for n in (51, 120, 1001)]
    [1, 5, 20]
    """
    strides = (m * 10**e for e in range(12) for m in (1, 2, 5))
    return next(stride for stride in strides if points - 1 <= most * stride)


def finite_values(values: Iterable[Array]) -> np.ndarray:
    """All finite numbers of some arrays, in one row, clipped where matplotlib would overflow."""
    row = np.concatenate([np.ravel(np.asarray(v, float)) for v in values] or [np.empty(0)])
    return np.clip(row[np.isfinite(row)], -LARGEST, LARGEST)


def linear_limits(values: Iterable[Array], margin: float = 0.06) -> tuple[float, float]:
    """Limits of a linear axis around the finite values."""
    row = finite_values(values)
    low, high = (row.min(), row.max()) if row.size else (0.0, 1.0)
    pad = margin * (high - low) or 0.5 * max(abs(low), 1e-3)
    return float(low - pad), float(high + pad)


def log_limits(
    values: Iterable[Array], decades: float = 16, margin: float = 0.04
) -> tuple[float, float] | None:
    """Limits of a logarithmic axis around the positive values; None if there are none.

    Values more than `decades` below the largest are left out.
    """
    row = finite_values(values)
    row = row[row > 1e-300]
    if not row.size:
        return None
    low, high = np.log10(row.min()), np.log10(row.max())
    low = max(low, high - decades)
    pad = margin * (high - low) + 0.1
    return float(10 ** (low - pad)), float(10 ** min(high + pad, 300.5))


def set_log_ticks(axis: Axis) -> None:
    """Ticks of a logarithmic axis: plain numbers on a short axis, else powers of ten."""
    low, high = axis.get_view_interval()
    decades = np.log10(high / low)
    if decades < 3.3:
        fine, medium, coarse = (1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1, 3)
        digits = fine if decades < 0.9 else medium if decades < 2.2 else coarse
        axis.set_major_locator(LogLocator(subs=digits))
        axis.set_major_formatter(lambda value, _: format_number(value))
    axis.set_minor_locator(NullLocator())


def set_linear_ticks(axis: Axis) -> None:
    """Ticks of a linear axis: very large and very small numbers are written out at each tick."""
    low, high = axis.get_view_interval()
    most = max(abs(low), abs(high))
    if not 1e-3 <= most < 1e5 and abs(high - low) > most / 20:
        axis.set_major_formatter(lambda value, _: format_number(value))
    if isinstance(axis, XAxis):
        _thin_out(axis, low, high)


def _thin_out(axis: XAxis, low: float, high: float) -> None:
    """Fewer ticks, if their numbers would touch."""
    ticks = [
        tick for tick in axis.get_major_locator().tick_values(low, high) if low <= tick <= high
    ]
    size = font_size("xtick.labelsize")
    labels = axis.get_major_formatter().format_ticks(ticks)
    widths = [text_width(label, size) + 1.2 * size for label in labels]
    most = int(frame_box(axis.axes).width / max(widths, default=size))
    if len(ticks) > most:
        axis.set_major_locator(MaxNLocator(max(most - 1, 1), steps=[1, 2, 2.5, 5, 10]))


def mark_exit(ax: Axes, line: Line2D, color: str) -> None:
    """An arrow on the frame where a line first leaves it; the data of the line stay as they are."""
    path = np.asarray(getattr(line, "stroke_points", line.get_xydata)(), float)
    with np.errstate(all="ignore"):
        corners = np.array([(ax.get_xlim()[i], ax.get_ylim()[i]) for i in (0, 1)])
        corners = ax.transScale.transform(corners)
        points = ax.transScale.transform(np.clip(path, -LARGEST, LARGEST))
        points = (points - corners[0]) / (corners[1] - corners[0])  # in fractions of the frame
    points = points[np.isfinite(points).all(1)]
    inside = ((points > -1e-9) & (points < 1 + 1e-9)).all(1)
    leaving = np.flatnonzero(inside[:-1] & ~inside[1:])
    if not leaving.size:
        return
    a, b = points[leaving[0]], points[leaving[0] + 1]
    with np.errstate(all="ignore"):
        reach = np.where(b > 1, (1 - a) / (b - a), np.where(b < 0, a / (a - b), np.inf))
    side = int(np.argmin(reach))
    x, y = np.clip(a + reach[side] * (b - a), 0, 1)
    turn = {(0, True): -90, (0, False): 90, (1, True): 0, (1, False): 180}[side, bool(b[side] > 1)]
    size = 2.4 * line.get_markersize()
    ax.plot(
        [x], [y], marker=MarkerStyle(ARROW).rotated(deg=turn), markersize=size, color=color,
        markerfacecolor="none", markeredgewidth=0.16 * size, linestyle="none",
        path_effects=[withStroke(linewidth=0.4 * size, foreground=background())],
        transform=ax.transAxes, clip_on=False, zorder=6, gid=f"exit {line.get_gid()}",
    )  # fmt: skip
