"""Contours of the loss, at round heights above the minimum."""

from typing import Any

import equinox as eqx
import jax
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm

from ...analysis import AdaptiveStep, Comparison
from ...problems.probe import must_be_lowest
from ..drawing.axes import LARGEST, finite_values
from ..drawing.style import background, contour_colors, mix_colors, muted
from .projection import Plane
from .window import minimizers

POINTS = 301  # of the grid, along each side
FEWEST_POINTS = 61  # along each side, where one loss takes long
MANY_COORDINATES = 1000  # with more than this the grid has fewer points
BATCH = 2**22  # numbers: the losses of so many coordinates are evaluated together
MAX_LEVELS = 13
PLATEAU = 0.2  # of the window: a level that covers so much of it would draw round-off


def paint(ax: Axes, comparison: Comparison, plane: Plane | None = None) -> list[float]:
    """Fill the window with contours; where the loss is not finite, the background shows.

    - `plane`: the plane on which the loss is evaluated; by default that of the two coordinates of
      the problem itself.

    Returns the losses at which there is a contour.

    **Raises:** `InvalidValue` if the loss at the stated minimizers is not the stated minimum.
    """
    side = grid_points(comparison.problem.dim)
    x, y = (np.linspace(*limits, side) for limits in (ax.get_xlim(), ax.get_ylim()))
    points = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
    stars = minimizers(comparison) if plane is None else np.zeros((0, 2))
    evaluated = losses(comparison, np.concatenate([points, stars]), plane)
    loss = evaluated[: side**2].reshape(side, side)
    must_be_lowest(comparison.problem, evaluated[side**2 :], float(comparison.map.loss[0]))
    finite = finite_values([loss])
    if not finite.size:
        return []
    minimum = comparison.problem.minimum
    base = finite.min() if minimum is None else min(minimum, finite.min())
    height = np.ma.masked_invalid(np.clip(loss, -LARGEST, LARGEST) - base)
    levels = [
        level
        for level in round_levels(height.compressed())
        if (abs(height - level) < 0.01 * level).mean() < PLATEAU
    ]
    if len(levels) < 2:
        return []
    bottom, top = levels[0], levels[-1]
    drawn = np.ma.array(np.clip(height.filled(1), bottom / 1e3, top), mask=height.mask)
    colors, ground = contour_colors(), [bottom / 1e4, *levels]
    style: dict[str, Any] = {"cmap": colors, "norm": LogNorm(bottom / 2, top), "zorder": 1}
    areas = ax.contourf(x, y, drawn, levels=ground, **style)
    areas.set_gid("field")
    edge = mix_colors(muted(), background(), 0.6)
    lines = ax.contour(x, y, drawn, levels=levels[:-1], colors=[edge], linewidths=0.45, zorder=2)
    lines.set_gid("contours")
    ax.grid(False)
    return [base + level for level in levels[:-1]]


def grid_points(dim: int) -> int:
    """The number of points of the grid along each side."""
    if dim <= MANY_COORDINATES:
        return POINTS
    return max(FEWEST_POINTS, int(POINTS * (MANY_COORDINATES / dim) ** 0.5))


def losses(
    comparison: Comparison | AdaptiveStep, points: np.ndarray, plane: Plane | None = None
) -> np.ndarray:
    """The loss at some points of the plane, from shape `(n, 2)` to `(n,)`."""
    dtype, loss = comparison.map.y.x.dtype, comparison.problem.loss
    unravel = comparison.map.unravel
    if plane is None:
        return np.asarray(_losses(loss, unravel, points.astype(dtype)), float)
    batch = min(max(BATCH // comparison.problem.dim, 1), POINTS)
    batches = np.resize(points, (-(-len(points) // batch), batch, 2)).astype(dtype)
    origin, basis = plane.origin.astype(dtype), plane.basis.astype(dtype)
    values = np.asarray(_losses_in_plane(loss, unravel, origin, basis, batches), float)
    return values.ravel()[: len(points)]


@eqx.filter_jit
def _losses(loss, unravel, points):
    return jax.vmap(lambda point: loss(unravel(point)))(points)


@eqx.filter_jit
def _losses_in_plane(loss, unravel, origin, basis, batches):
    """Batch after batch, so that few positions are in memory at once."""
    evaluate = jax.vmap(lambda point: loss(unravel(origin + point @ basis)))
    return jax.lax.map(evaluate, batches)


def round_levels(height: np.ndarray) -> list[float]:
    """At most 13 round heights, such as 1, 2, 5, 10, ..., as dense as possible.

    They reach from the lowest 0.5 % of the heights to the highest.

    >>> round_levels(np.linspace(0, 100, 1001))
    [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0]
    """
    height = height[height > 0]
    if not height.size:
        return []
    low, high = max(np.quantile(height, 0.005), height.max() * 1e-8), height.max()
    exponents = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    fine, medium, coarse = (1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1, 3)
    levels: list[float] = []
    for digits, stride in ((fine, 1), (medium, 1), (coarse, 1), ((1,), 1), ((1,), 2), ((1,), 50)):
        levels = [float(f"{m}e{e}") for e in exponents[::stride] for m in digits]
        levels = [level for level in levels if level >= 0.999 * low]
        below = [0.0, *levels]  # the highest level is the first that is not below all heights
        levels = [
            level for level, before in zip(levels, below, strict=False) if before < 0.999 * high
        ]
        if len(levels) <= MAX_LEVELS:
            break
    return levels
