"""What a plane does not show: how far the paths lie off it, and how its contours differ."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ...analysis import Comparison
from ..drawing.captions import largest_finite
from ..drawing.runs import entries
from ..drawing.words import capitalize, failure, format_number, format_percent
from . import contours
from .projection import Plane

ROUND_OFF = 100  # units in the last place of a position


class Residual(NamedTuple):
    """What the plane does not show of the runs of one optimizer.

    - `name`: the name of the optimizer.
    - `distance`: the largest distance of map and flow from the plane, of the runs that reached
      their end; NaN if none did.
    - `difference`: the largest difference between the loss on these runs and the loss in the plane
      under them.
    - `loss`, `plane_loss`: these two at each point of the map.
    """

    name: str
    distance: float
    difference: float
    loss: np.ndarray
    plane_loss: np.ndarray

    def off_contour(self, levels: Sequence[float]) -> np.ndarray:
        """Which points lie more than one contour level away from the contours under them."""
        steps = np.searchsorted(levels, self.loss) - np.searchsorted(levels, self.plane_loss)
        return (np.abs(steps) > 1) & np.isfinite(self.plane_loss)


def residuals(comparisons: Sequence[Comparison], plane: Plane | None) -> list[Residual]:
    """What the plane does not show of each optimizer; empty if there is no projection."""
    return [
        _residual(comparison, name, plane)
        for comparison, _, name, _ in entries(comparisons)
        if plane is not None
    ]


def _residual(comparison: Comparison, name: str, plane: Plane) -> Residual:
    distances, differences, map_losses = [], [], (np.zeros(0), np.zeros(0))
    for run in (comparison.map, comparison.flow):
        n = int(run.finite.sum())
        x, loss = np.asarray(run.y.x[:n]), np.asarray(run.loss[:n], float)
        below = contours.losses(comparison, plane.project(x), plane) if n else np.zeros(0)
        if run is comparison.map:
            map_losses = loss, below
        if n and not failure(run):
            distances.append(float(_distances(plane, x).max()))
            with np.errstate(all="ignore"):
                differences.append(largest_finite(np.abs(loss - below)))
    return Residual(name, largest_finite(distances), largest_finite(differences), *map_losses)


def _distances(plane: Plane, x: np.ndarray) -> np.ndarray:
    """The distances from the plane; 0 where they are round-off."""
    size = np.linalg.norm(np.asarray(x, float), axis=1) + np.linalg.norm(plane.origin)
    distance = plane.distance(x)
    return np.where(distance <= ROUND_OFF * np.finfo(x.dtype).eps * size, 0.0, distance)


def residual_sentences(
    comparison: Comparison, plane: Plane, off_plane: Sequence[Residual], hollow: bool
) -> list[str]:
    """Which plane it is, how far the paths lie off it, and what the contours are.

    - `hollow`: whether some dots are hollow.
    """
    distance, side = _largest(off_plane, "distance"), contours.grid_points(comparison.problem.dim)
    flat = all_in_plane(off_plane)
    where = "in it" if flat else f"up to {distance} off it"
    coarse = f", drawn from {side} × {side} points," if side < contours.POINTS else ""
    differ = f"which differs from that on {plane.paths}{loss_difference(off_plane)}"
    what = comparison.problem.symbol if comparison.problem.owns_field else "the loss"
    levels = "; at hollow dots by more than one contour level" if hollow else ""
    return [
        f"The plane goes {plane_name(plane)}.",
        *([] if distance is None else [f"{capitalize(plane.paths)} lie {where}."]),
        *_minimizer_sentence(comparison, plane),
        f"The contours{coarse} are {what} in the plane, "
        f"{'as on the paths' if flat else differ}{levels}.",
    ]


def _minimizer_sentence(comparison: Comparison, plane: Plane) -> list[str]:
    """How far the minimizers lie off the plane, if they do."""
    if comparison.problem.minimizers is None:
        return []
    points = np.asarray(comparison.problem.minimizers, comparison.map.y.x.dtype)
    distances = _distances(plane, points)
    if not distances.any():
        return []
    low, high = (format_number(float(d), 2) for d in (distances.min(), distances.max()))
    one, many = ("minimizer", "minimizers")
    if comparison.problem.owns_field:
        one, many = "equilibrium", "equilibria"
    subject = f"The {one} lies" if len(distances) == 1 else f"The {many} lie"
    return [f"{subject} {low if low == high else f'{low} to {high}'} off it."]


def plane_name(plane: Plane) -> str:
    """As in "through the mean along two given directions, with 93.4 % + 6.5 % = 99.9 % of ..."."""
    name, (first, second) = f"through {plane.through} along {plane.along}", plane.shares
    if not np.isfinite(first):
        return name
    total = format_percent(first + second)
    shares = f"{format_percent(first)} + {format_percent(second)} = {total}"
    return f"{name}, with {shares} of the variance of {plane.paths}"


def loss_difference(off_plane: Sequence[Residual]) -> str:
    """As in " by up to 0.31 (Adam)"; empty if it is not known."""
    difference = _largest(off_plane, "difference")
    return f" by up to {difference}" if difference else ""


def _largest(off_plane: Sequence[Residual], field: str) -> str | None:
    """The largest value, with the name of the optimizer if there are several; None without one."""
    measured = [residual for residual in off_plane if np.isfinite(getattr(residual, field))]
    if not measured:
        return None
    most = max(measured, key=lambda residual: getattr(residual, field))
    value = getattr(most, field)
    ties = sum(getattr(residual, field) > (1 - 1e-9) * value for residual in measured)
    return format_number(value, 2) + f" ({most.name})" * (ties == 1 and len(off_plane) > 1)


def all_in_plane(off_plane: Sequence[Residual]) -> bool:
    """Whether all paths that reached their end lie in the plane, up to round-off."""
    distances = [r.distance for r in off_plane if np.isfinite(r.distance)]
    return bool(distances) and not any(distances)
