"""The window of the plane in which paths are drawn: it fits the runs."""

import numpy as np

from ...analysis import Comparison
from ..drawing import runs
from ..drawing.motion import leaving_step
from ..drawing.ties import Tied
from ..drawing.words import failure
from .projection import Plane

PAD = 0.09  # of the size of the paths, on each side
FIRST = 6  # points of runs that both fail
PLANE = runs.Coordinates(("x", 0), ("x", 1))
Limits = tuple[tuple[float, float], tuple[float, float]]


def window_of(comparison: Comparison, points: Tied, ratio: float) -> Limits:
    """The limits (left, right) and (bottom, top) that hold map and flow.

    - `ratio`: the height over the width of the limits.
    """
    return around(points_in_view(comparison, points), ratio)


def points_in_view(comparison: Comparison, points: Tied) -> np.ndarray:
    """The points of map and flow that a frame holds, shape `(n, 2)`.

    Of a map that leaves they are all points before, and of runs that both fail the beginning.
    """
    map, curve = points.map, points.curve
    flow_failed, map_failed = failure(comparison.flow), failure(comparison.map)
    if not flow_failed:
        left = leaving_step(comparison)
        map = map if left is None else map[:left]
    elif not map_failed:
        curve = curve[:0]
    else:
        per_step = max(len(comparison.curve.t) // max(len(comparison.map.t), 1), 1)
        map, curve = map[:FIRST], curve[: FIRST * per_step]
    return np.concatenate([map, curve])


def around(points: np.ndarray, ratio: float) -> Limits:
    """The limits around some points, whose height over width is `ratio`.

    >>> around(np.array([[-1.0, 0.0], [1.0, 0.0]]), 0.5)
    ((-1.18, 1.18), (-0.59, 0.59))
    """
    low, high = (points.min(0), points.max(0)) if len(points) else (np.zeros(2), np.zeros(2))
    size = (high - low) * (1 + 2 * PAD)
    least = 1e-9 * (1 + np.abs(low).max())
    width = max(size[0], size[1] / ratio) or max(0.2 * np.abs(low).max(), least)
    half = np.array([width, ratio * width]) / 2
    (left, bottom), (right, top) = (low + high) / 2 - half, (low + high) / 2 + half
    return (float(left), float(right)), (float(bottom), float(top))


def starts(comparisons: list[Comparison], plane: Plane | None = None) -> np.ndarray:
    """The start of each run, in the window, shape `(number, 2)`."""
    points = np.stack([np.asarray(c.map.y.x[0], float) for c in comparisons])
    return points if plane is None else plane.project(points)


def minimizers(comparison: Comparison, plane: Plane | None = None) -> np.ndarray:
    """The known minimizers, in the window, shape `(number, 2)`."""
    stars = comparison.problem.minimizers
    points = np.zeros((0, comparison.problem.dim)) if stars is None else np.asarray(stars, float)
    return points if plane is None else plane.project(points)
