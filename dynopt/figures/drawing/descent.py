"""Heights over the steps: how far a loss lies above its minimum, and the axis that shows it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes

from ...errors import InvalidValue
from ...runs.trajectory import Trajectory
from .axes import linear_limits, log_limits, set_linear_ticks, set_log_ticks
from .measure import on_paper, stroke
from .ties import apart, dot_distance

HEADROOM = 1e3  # times the start: so much is visible above it of a run that climbs or fails
DECADES = 12.0  # of a logarithmic axis, at most


class HeightAxis(NamedTuple):
    """A vertical axis, which frames share: whether it is logarithmic, and its limits."""

    is_log: bool
    low: float
    high: float

    def set_up(self, ax: Axes) -> None:
        """Scale, limits and ticks of the vertical axis of `ax`."""
        ax.set_ylim(self.low, self.high)  # first, or a scale fits itself to what is drawn
        ax.set_yscale("log", nonpositive="mask") if self.is_log else ax.set_yscale("linear")
        (set_log_ticks if self.is_log else set_linear_ticks)(ax.yaxis)

    def shows(self, values: np.ndarray) -> np.ndarray:
        """Which of the values the axis can show, be it outside of its limits."""
        return values > 0 if self.is_log else np.ones(len(values), bool)


def height_axis(
    shown: Sequence[np.ndarray], failed: Sequence[np.ndarray], above_minimum: bool
) -> HeightAxis:
    """The axis that holds the values of the runs `shown`, and the beginning of those that failed.

    It is logarithmic if the values are heights `above_minimum`, or if they are positive and fall
    a hundredfold. It ends three decades above the highest start, if a run goes there.
    """
    starts = [values[:1] for values in failed]
    first = max((float(run[0]) for run in [*shown, *failed] if run.size), default=0.0)
    values = np.concatenate([np.empty(0), *shown, *starts])
    values = np.minimum(values, HEADROOM * first) if first > 0 else values
    positive = values[values > 0]
    wide = positive.size == values.size > 0 and positive.max() > 100 * positive.min()
    if above_minimum or wide:
        low, high = log_limits([positive], DECADES) or (0.1, 10.0)
        return HeightAxis(True, low, min(max(high, HEADROOM * first * bool(failed)), 1e300))
    low, high = linear_limits([values])
    return HeightAxis(False, low, high + (high - low) * bool(failed))


def finite_heights(run: Trajectory, values, minimum: float | None) -> np.ndarray:
    """The values along the finite beginning of a run, above the minimum if that is known.

    **Raises:** `InvalidValue` if they fall below the minimum by more than round-off and more than a
    thousandth of the way that they fall.
    """
    values = np.asarray(values, float)[run.finite]
    if minimum is None or not values.size:
        return values
    with np.errstate(over="ignore", invalid="ignore"):
        heights = values - minimum
        round_off = np.finfo(run.loss.dtype).eps + 1e-5 * (np.abs(values) + abs(minimum))
        tolerance = round_off + 1e-3 * (values[0] - values)
    if (heights < -tolerance).any():
        raise InvalidValue(
            f"`minimum` of {run.problem.name} is {minimum:.6g}, but a run reaches "
            f"{values.min():.6g}; make the problem with the right `minimum`."
        )
    return heights


def draw_map(
    ax: Axes, x: np.ndarray, y: np.ndarray, color: str, key: str, thread: float = 0.5
) -> None:
    """Dots on a thread: all points of a map that lie far enough apart, counted from the last.

    - `thread`: the width of the thread in the style "notebook", in points.
    """
    ax.plot(
        x, y, color=color, linewidth=stroke(thread), alpha=0.45 if thread < 0.8 else 0.8,
        zorder=2.5, gid=f"thread {key}",
    )  # fmt: skip
    (dots,) = ax.plot(
        x, y, "o", color=color, zorder=4, gid=f"map {key}", markeredgewidth=stroke(0.7)
    )
    dots.set_markeredgecolor(ax.get_facecolor())
    places = on_paper(ax, np.stack([x, y], 1))
    shown = np.flatnonzero(np.isfinite(places).all(1))[::-1]
    dots.set_markevery(
        shown[apart(places[shown], dot_distance())][::-1].tolist() if shown.size else []
    )
