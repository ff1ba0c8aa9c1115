"""The field under the paths: contours of the loss at round heights above the minimum."""

import equinox as eqx
import jax
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, to_hex

from ..analysis import Gap
from .measure import figure_of
from .smooth import unravel
from .style import field, ground, mixed
from .views import LARGEST, finite
from .words import number

POINTS = 301  # along each side
MOST = 13  # levels
PLAIN = 0.2  # of the view: on so wide a plain a level would draw the noise


def paint(ax: Axes, gap: Gap, scale: bool) -> None:
    """Fill the view of the axes, with a scale beside it if asked; where the loss is not finite the ground is bare."""
    x, y = (np.linspace(*limits, POINTS) for limits in (ax.get_xlim(), ax.get_ylim()))
    plane = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2).astype(gap.map.y.x.dtype)
    loss = np.asarray(_losses(gap.problem.loss, unravel(gap), plane), float).reshape(POINTS, POINTS)
    values = finite([loss])
    if not values.size:
        return
    known = gap.problem.minimum
    base = values.min() if known is None else min(known, values.min())
    height = np.ma.masked_invalid(np.clip(loss, -LARGEST, LARGEST) - base)
    levels = round_levels(height.compressed())
    levels = [v for v in levels if (abs(height - v) < 0.01 * v).mean() < PLAIN]
    if len(levels) < 2:
        return
    shown = np.ma.array(np.clip(height.filled(1), levels[0] / 1e3, levels[-1]), mask=height.mask)
    colors, norm = field(), LogNorm(levels[0] / 2, levels[-1])
    fill = ax.contourf(x, y, shown, levels=[levels[0] / 1e4, *levels], cmap=colors, norm=norm, zorder=1)
    fill.set_gid("field")
    edge = mixed(to_hex(colors(0.9)), ground(), 0.15)
    lines = ax.contour(x, y, shown, levels=levels[:-1], colors=[edge], linewidths=0.5, zorder=2)
    lines.set_gid("contours")
    ax.grid(False)
    if scale:
        _scale(ax, fill, levels, "loss above minimum" if known is not None else "loss above the lowest seen")


@eqx.filter_jit
def _losses(loss, unravel, points):
    return jax.vmap(lambda point: loss(unravel(point)))(points)


def round_levels(height: np.ndarray) -> list[float]:
    """Heights such as 1, 2, 5, 10, ..., as dense as gives at most 13 from the lowest 0.5 % to the highest point.

    >>> round_levels(np.linspace(0, 100, 1001))
    [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0]
    """
    height = height[height > 0]
    if not height.size:
        return []
    low, high = max(np.quantile(height, 0.005), height.max() * 1e-8), height.max()
    exponents = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    levels: list[float] = []
    for digits, apart in (((1, 1.5, 2, 3, 5, 7), 1), ((1, 2, 5), 1), ((1, 3), 1), ((1,), 1), ((1,), 2), ((1,), 50)):
        levels = [v for e in exponents[::apart] for m in digits if (v := float(f"{m}e{e}")) >= 0.999 * low]
        levels = [v for v, before in zip(levels, [0.0, *levels], strict=False) if before < 0.999 * high]
        if len(levels) <= MOST:
            break
    return levels


def _scale(ax: Axes, fill, levels: list[float], label: str) -> None:
    ticks = levels[:: 1 + len(levels) // 8]
    beside = ax.inset_axes((1.02, 0, 0.022, 1), gid="scale")
    bar = figure_of(ax).colorbar(fill, cax=beside)
    beside.set_ylim(levels[0] / 2, levels[-1])
    beside.set_yticks(ticks, [number(level) for level in ticks])
    beside.set_yticks([], minor=True)
    beside.tick_params(length=0)
    bar.set_label(label)
    for spine in beside.spines.values():
        spine.set_visible(False)
