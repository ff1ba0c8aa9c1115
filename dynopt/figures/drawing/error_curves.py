"""What the figures of errors share: the limits of their axis, and what cannot be measured."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes

from .axes import LARGEST
from .measure import font_size, frame_box, text_width
from .style import ink, muted

DECADES = 6  # below the largest error: so far down errors are shown
FLOORS = "round-off and the solver's error", "round-off"  # the first that is short enough
MARGIN, HEADROOM = 1.6, 2.5  # from the errors to the edges of the frame, as factors


def error_limits(errors: Sequence[np.ndarray], floors: Sequence[float]) -> tuple[float, float]:
    """Limits of a logarithmic axis that shows errors over time.

    - `errors`: those of each frame that shares the axis; `floors`: the smallest error that can be
      measured in each. The axis ends at the lowest of them if that is in view.
    """
    largest, lowest = [], []
    for error, floor in zip(errors, floors, strict=True):
        values = np.asarray(error, float)
        values = values[np.isfinite(values) & (values > 0)]
        if values.size:
            largest.append(min(values.max(), LARGEST))
            lowest.append(max(np.quantile(values, 0.01), floor if np.isfinite(floor) else 0))
    if not largest:
        return 0.1, 10.0
    top = max(largest)
    bottom = max(min(lowest) / MARGIN, 10.0**-DECADES * top, 1e-300)
    return float(min(bottom, top / 10)), float(HEADROOM * top)


def draw_floor(ax: Axes, floor: float, key: str) -> None:
    """A thin line in ink at the smallest error that can be measured, with its name."""
    bottom, top = ax.get_ylim()
    if not bottom < floor < top:
        return
    size, width = 0.85 * font_size("xtick.labelsize"), frame_box(ax).width
    what = next((name for name in FLOORS if text_width(name, size) < 0.95 * width), FLOORS[-1])
    thin = 0.4 * mpl.rcParams["lines.linewidth"]
    ax.axhline(floor, color=ink(), linewidth=thin, zorder=2, gid=f"floor {key}")
    ax.annotate(
        what, (1, floor), xycoords=("axes fraction", "data"), xytext=(-3, -2), color=muted(),
        textcoords="offset points", ha="right", va="top", gid=f"floor name {key}", zorder=2.2,
        fontsize=size,
    )  # fmt: skip
