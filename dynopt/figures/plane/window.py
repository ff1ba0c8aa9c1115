"""The window of the plane in which paths are drawn: that of the problem, or one that holds them."""

import numpy as np

from ...analysis import Comparison
from ..drawing import runs
from ..drawing.axes import LARGEST, linear_limits
from ..drawing.words import failure
from .projection import Plane

SLIT = 0.3  # a frame whose sides differ more than this shows nothing with equal scales
VISIBLE = 0.015  # of the diagonal of the window: about the size of a dot
PLANE = runs.Coordinates(("x", 0), ("x", 1))
Limits = tuple[tuple[float, float], tuple[float, float]]


def limits_of(
    comparisons: list[Comparison], near: bool = False, plane: Plane | None = None
) -> Limits:
    """The limits (left, right) and (bottom, top) of the window.

    They are those of the problem if all starts lie in them. Otherwise they hold the flows, the
    maps that did not fail, and the nearest minimizer.

    - `near`: the limits hold the runs and nothing else, wherever the minimizers lie.
    - `plane`: the plane on which everything is projected.
    """
    first_points = starts(comparisons, plane)
    problem_limits = comparisons[0].problem.window if plane is None else None
    if problem_limits is not None and not near:
        low, high = np.array(problem_limits).T
        if ((low <= first_points) & (first_points <= high)).all():
            return problem_limits
    finished = (run for c in comparisons for run in (c.map, c.flow) if not failure(run))
    paths = [np.stack(runs.view_points(run, plane or PLANE), 1) for run in finished]
    points = np.clip(np.concatenate([first_points, *paths]), -LARGEST, LARGEST)
    stars = minimizers(comparisons[0], plane)
    if not near and len(stars):  # those farther away would only shrink the picture
        distances = np.linalg.norm(stars - points[-1], axis=1)
        points = np.concatenate([points, stars[[np.argmin(distances)]]])
    (left, right), (bottom, top) = (linear_limits([x], margin=0.12) for x in points.T)
    least = 0.4 * max(right - left, top - bottom) / 2  # a path along one axis needs width, too
    x, y = (left + right) / 2, (bottom + top) / 2
    half_width, half_height = max((right - left) / 2, least), max((top - bottom) / 2, least)
    return (x - half_width, x + half_width), (y - half_height, y + half_height)


def widen(limits: Limits, fill: float | None) -> Limits:
    """The limits, made wider or higher until height over width is `fill`; the middle stays."""
    aspect, ((left, right), (bottom, top)) = aspect_of(limits), limits
    if fill is None or not SLIT < aspect < 1 / SLIT:
        return limits
    dx = max((top - bottom) / fill - (right - left), 0) / 2
    dy = max((right - left) * fill - (top - bottom), 0) / 2
    return (left - dx, right + dx), (bottom - dy, top + dy)


def aspect_of(limits: Limits) -> float:
    """Height over width."""
    (left, right), (bottom, top) = limits
    return (top - bottom) / (right - left)


def smallest_visible(
    comparisons: list[Comparison], near: bool = False, plane: Plane | None = None
) -> float:
    """The smallest distance that the eye sees in the window."""
    (left, right), (bottom, top) = limits_of(comparisons, near, plane)
    return VISIBLE * float(np.hypot(right - left, top - bottom))


def starts(comparisons: list[Comparison], plane: Plane | None = None) -> np.ndarray:
    """The start of each run, in the window, shape `(number, 2)`."""
    points = np.stack([np.asarray(c.map.y.x[0], float) for c in comparisons])
    return points if plane is None else plane.project(points)


def minimizers(comparison: Comparison, plane: Plane | None = None) -> np.ndarray:
    """The known minimizers, in the window, shape `(number, 2)`."""
    stars = comparison.problem.minimizers
    points = np.zeros((0, comparison.problem.dim)) if stars is None else np.asarray(stars, float)
    return points if plane is None else plane.project(points)
