"""The window on a plane in which paths are drawn: the problem's own, or what holds them."""

import numpy as np

from ...analysis import Comparison
from ..drawing import runs
from ..drawing.axes import LARGEST, linear_view
from ..drawing.words import failure
from .projection import Plane

SLIT = 0.3  # a frame narrower than this shows nothing; then the two axes have scales of their own
CLOSE = 0.015  # of the window's diagonal: about the size of a dot
PLANE = runs.Coordinates(("x", 0), ("x", 1))
Window = tuple[tuple[float, float], tuple[float, float]]


def window(comparisons: list[Comparison], near: bool = False, plane: Plane | None = None) -> Window:
    """The problem's own, if the starts lie in it; else what holds the flows, and the maps that did not fail.

    With `near` that and nothing else, wherever minimizers lie. In a `plane` everything as it is seen there.
    """
    beginnings, own = (
        starts(comparisons, plane),
        comparisons[0].problem.window if plane is None else None,
    )
    if (
        not near
        and own is not None
        and all(
            ((low <= x) & (x <= high)).all()
            for x, (low, high) in zip(beginnings.T, own, strict=True)
        )
    ):
        return own
    whole = (r for g in comparisons for r in (g.map, g.flow) if not failure(r))
    seen = [beginnings, *(np.stack(runs.at(r, plane or PLANE), 1) for r in whole)]
    points = np.clip(np.concatenate(seen), -LARGEST, LARGEST)
    stars = minimizers(comparisons[0], plane)
    if not near and len(stars):  # the nearest: far ones would only shrink the picture
        apart = np.linalg.norm(stars - points[-1], axis=1)
        points = np.concatenate([points, stars[[np.argmin(apart)]]])
    (left, right), (bottom, top) = (linear_view([x], margin=0.12) for x in points.T)
    least = (
        0.4 * max(right - left, top - bottom) / 2
    )  # a path along one axis would be seen through a slit
    x, y = (left + right) / 2, (bottom + top) / 2
    across, up = max((right - left) / 2, least), max((top - bottom) / 2, least)
    return (x - across, x + across), (y - up, y + up)


def widened(window: Window, fill: float | None) -> Window:
    """The window, made wider or higher until it has the shape of the frame; the middle stays."""
    shape, ((left, right), (bottom, top)) = shape_of(window), window
    if fill is None or not SLIT < shape < 1 / SLIT:
        return window
    across, up = (
        max((top - bottom) / fill - (right - left), 0) / 2,
        max((right - left) * fill - (top - bottom), 0) / 2,
    )
    return (left - across, right + across), (bottom - up, top + up)


def shape_of(window: Window) -> float:
    """Its height over its width."""
    (left, right), (bottom, top) = window
    return (top - bottom) / (right - left)


def just_seen(
    comparisons: list[Comparison], near: bool = False, plane: Plane | None = None
) -> float:
    """The least distance that the eye sees in the window."""
    (left, right), (bottom, top) = window(comparisons, near, plane)
    return CLOSE * float(np.hypot(right - left, top - bottom))


def starts(comparisons: list[Comparison], plane: Plane | None = None) -> np.ndarray:
    """Where each run begins, shape `(number, 2)`."""
    points = np.stack([np.asarray(g.map.y.x[0], float) for g in comparisons])
    return points if plane is None else plane.project(points)


def minimizers(comparison: Comparison, plane: Plane | None = None) -> np.ndarray:
    """Where the known ones are seen, shape `(number, 2)`."""
    points = (
        np.zeros((0, comparison.problem.dim))
        if comparison.problem.minimizers is None
        else comparison.problem.minimizers
    )
    points = np.asarray(points, float)
    return points if plane is None else plane.project(points)
