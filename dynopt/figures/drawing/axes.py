"""What part of the data a picture shows: limits, thinned dots, and where a line leaves the frame."""

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

from .measure import frame, size_of, width
from .style import ground
from .words import number

Array = np.ndarray | jax.Array
ARROW = Path(
    [(0, -1), (0, 1), (-0.55, 0.35), (0, 1), (0.55, 0.35)]
)  # up, and to the left and the right of its tip
LARGEST = 1e300  # matplotlib's ticks overflow beyond


def every(points: int, most: int) -> int:
    """Which dots to draw, each or every 2nd, 5th, 10th, ..., so that at most so many are seen after the first.

    >>> [every(n, 50) for n in (51, 120, 1001)]
    [1, 5, 20]
    """
    strides = (m * 10**e for e in range(12) for m in (1, 2, 5))
    return next(stride for stride in strides if points - 1 <= most * stride)


def finite(values: Iterable[Array]) -> np.ndarray:
    """All finite numbers among them, in one row, cut off where matplotlib would overflow."""
    row = np.concatenate([np.ravel(np.asarray(v, float)) for v in values] or [np.empty(0)])
    return np.clip(row[np.isfinite(row)], -LARGEST, LARGEST)


def linear_view(values: Iterable[Array], margin: float = 0.06) -> tuple[float, float]:
    """Limits around the finite values."""
    row = finite(values)
    low, high = (row.min(), row.max()) if row.size else (0.0, 1.0)
    room = margin * (high - low) or 0.5 * max(abs(low), 1e-3)
    return float(low - room), float(high + room)


def log_view(
    values: Iterable[Array], decades: float = 16, margin: float = 0.04
) -> tuple[float, float] | None:
    """Limits around the positive values, of at most so many decades below the largest; None if there are none."""
    row = finite(values)
    row = row[row > 1e-300]
    if not row.size:
        return None
    low, high = np.log10(row.min()), np.log10(row.max())
    low = max(low, high - decades)
    room = margin * (high - low) + 0.1
    return float(10 ** (low - room)), float(10 ** min(high + room, 300.5))


def mark_decades(axis: Axis) -> None:
    """Ticks of a logarithmic axis: 1, 2, 5 and plain numbers where there is room for them, else powers of ten."""
    low, high = axis.get_view_interval()
    decades = np.log10(high / low)
    if decades < 3.3:
        axis.set_major_locator(
            LogLocator(
                subs=(1, 1.5, 2, 3, 5, 7)
                if decades < 0.9
                else (1, 2, 5)
                if decades < 2.2
                else (1, 3)
            )
        )
        axis.set_major_formatter(lambda value, _: number(value))
    axis.set_minor_locator(NullLocator())


def mark_plainly(axis: Axis) -> None:
    """Ticks of a linear axis: very large and very small numbers as words have them, not as a factor in a corner."""
    low, high = axis.get_view_interval()
    most = max(abs(low), abs(high))
    if not 1e-3 <= most < 1e5 and abs(high - low) > most / 20:
        axis.set_major_formatter(lambda value, _: number(value))
    if isinstance(axis, XAxis):
        _thin_out(axis, low, high)


def _thin_out(axis: XAxis, low: float, high: float) -> None:
    """Fewer ticks, if their numbers would touch."""
    ticks = [
        tick for tick in axis.get_major_locator().tick_values(low, high) if low <= tick <= high
    ]
    size = size_of("xtick.labelsize")
    widths = [
        width(said, size) + 1.2 * size for said in axis.get_major_formatter().format_ticks(ticks)
    ]
    room = int(frame(axis.axes).width / max(widths, default=size))
    if len(ticks) > room:
        axis.set_major_locator(MaxNLocator(max(room - 1, 1), steps=[1, 2, 2.5, 5, 10]))


def mark_exit(ax: Axes, line: Line2D, color: str) -> None:
    """An arrow on the frame where a line first leaves it; the line's data stay as they are."""
    path = np.asarray(
        getattr(line, "seen", line.get_xydata)(), float
    )  # a smooth line bends outside between its points
    with np.errstate(all="ignore"):
        corners = ax.transScale.transform(
            np.array([(ax.get_xlim()[i], ax.get_ylim()[i]) for i in (0, 1)])
        )
        points = ax.transScale.transform(np.clip(path, -LARGEST, LARGEST))
        share = (points - corners[0]) / (corners[1] - corners[0])
    share = share[np.isfinite(share).all(1)]
    inside = ((share > -1e-9) & (share < 1 + 1e-9)).all(1)
    leaving = np.flatnonzero(inside[:-1] & ~inside[1:])
    if not leaving.size:
        return
    a, b = share[leaving[0]], share[leaving[0] + 1]
    with np.errstate(all="ignore"):
        reach = np.where(b > 1, (1 - a) / (b - a), np.where(b < 0, a / (a - b), np.inf))
    side = int(np.argmin(reach))
    x, y = np.clip(a + reach[side] * (b - a), 0, 1)
    turn = {(0, True): -90, (0, False): 90, (1, True): 0, (1, False): 180}[side, bool(b[side] > 1)]
    size = 2.4 * line.get_markersize()
    ax.plot(
        [x], [y], marker=MarkerStyle(ARROW).rotated(deg=turn), markersize=size, color=color, markerfacecolor="none",
        markeredgewidth=0.16 * size, path_effects=[withStroke(linewidth=0.4 * size, foreground=ground())],
        linestyle="none", transform=ax.transAxes, clip_on=False, zorder=6, gid=f"exit {line.get_gid()}",
    )  # fmt: skip
