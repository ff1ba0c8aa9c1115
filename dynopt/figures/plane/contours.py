"""The field under the paths: contours of the loss at round heights above the minimum."""

import equinox as eqx
import jax
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, to_hex

from ...analysis import Comparison
from ..drawing.axes import LARGEST, finite
from ..drawing.measure import figure_of
from ..drawing.smooth import unravel
from ..drawing.style import field, ground, mixed
from ..drawing.words import number
from .projection import Plane

POINTS = 301  # along each side
FEWEST = 61  # along each side, where one loss takes long
MANY = 1000  # coordinates: from here on there are fewer points
AT_ONCE = 2**22  # numbers: of so many positions the loss is evaluated together
MOST = 13  # levels
PLAIN = 0.2  # of the view: on so wide a plain a level would draw the noise


def paint(ax: Axes, comparison: Comparison, scale: bool, plane: Plane | None = None) -> list[float]:
    """Fill the view of the axes, with a scale beside it if asked; where the loss is not finite the ground is bare.

    The axes are the problem's own two coordinates, or lie in a `plane` on which the loss is evaluated. Returns the
    losses at which there is a contour.
    """
    side = points_along(comparison.problem.dim)
    x, y = (np.linspace(*limits, side) for limits in (ax.get_xlim(), ax.get_ylim()))
    points = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
    loss = losses(comparison, points, plane).reshape(side, side)
    values = finite([loss])
    if not values.size:
        return []
    known = comparison.problem.minimum
    base = values.min() if known is None else min(known, values.min())
    height = np.ma.masked_invalid(np.clip(loss, -LARGEST, LARGEST) - base)
    levels = round_levels(height.compressed())
    levels = [v for v in levels if (abs(height - v) < 0.01 * v).mean() < PLAIN]
    if len(levels) < 2:
        return []
    shown = np.ma.array(np.clip(height.filled(1), levels[0] / 1e3, levels[-1]), mask=height.mask)
    colors, norm = field(), LogNorm(levels[0] / 2, levels[-1])
    fill = ax.contourf(
        x, y, shown, levels=[levels[0] / 1e4, *levels], cmap=colors, norm=norm, zorder=1
    )
    fill.set_gid("field")
    edge = mixed(to_hex(colors(0.9)), ground(), 0.15)
    lines = ax.contour(x, y, shown, levels=levels[:-1], colors=[edge], linewidths=0.5, zorder=2)
    lines.set_gid("contours")
    ax.grid(False)
    if scale:
        lowest = (
            "minimum" if known is not None else "the lowest seen" if plane is None else "lowest"
        )
        scale_beside(
            ax, fill, levels, f"loss{'' if plane is None else ' in the plane'} above {lowest}"
        )
    return [base + level for level in levels[:-1]]


def points_along(dim: int) -> int:
    """Of the grid, along each side."""
    return POINTS if dim <= MANY else max(FEWEST, int(POINTS * (MANY / dim) ** 0.5))


def losses(comparison: Comparison, points: np.ndarray, plane: Plane | None = None) -> np.ndarray:
    """The loss at each of these points, shape `(n, 2)`, of the plane of two coordinates or of another one."""
    dtype, loss = comparison.map.y.x.dtype, comparison.problem.loss
    if plane is None:
        return np.asarray(_losses(loss, unravel(comparison), points.astype(dtype)), float)
    together = min(max(AT_ONCE // comparison.problem.dim, 1), POINTS)
    rows = -(-len(points) // together)
    padded = np.resize(points, (rows, together, 2)).astype(dtype)
    where = plane.origin.astype(dtype), plane.basis.astype(dtype)
    return np.asarray(_losses_in(loss, unravel(comparison), *where, padded), float).ravel()[
        : len(points)
    ]


@eqx.filter_jit
def _losses(loss, unravel, points):
    return jax.vmap(lambda point: loss(unravel(point)))(points)


@eqx.filter_jit
def _losses_in(loss, unravel, origin, basis, rows):
    """Row by row, so that never more positions are held than there are in one."""
    at = jax.vmap(lambda point: loss(unravel(origin + point @ basis)))
    return jax.lax.map(at, rows)


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
    for digits, apart in (
        ((1, 1.5, 2, 3, 5, 7), 1),
        ((1, 2, 5), 1),
        ((1, 3), 1),
        ((1,), 1),
        ((1,), 2),
        ((1,), 50),
    ):
        levels = [
            v for e in exponents[::apart] for m in digits if (v := float(f"{m}e{e}")) >= 0.999 * low
        ]
        levels = [
            v for v, before in zip(levels, [0.0, *levels], strict=False) if before < 0.999 * high
        ]
        if len(levels) <= MOST:
            break
    return levels


def scale_beside(ax: Axes, fill, levels: list[float], label: str) -> None:
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
