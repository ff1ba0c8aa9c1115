"""What a plane does not show: how far the paths lie off it, and by how much its contours miss their losses."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ...analysis import Comparison
from ..drawing.captions import largest
from ..drawing.runs import entries
from ..drawing.words import failure, number, percent
from . import contours
from .projection import Plane

ROUND_OFF = 100  # units in the last place of a position


class Residual(NamedTuple):
    """Of one optimizer.

    - `distance`: from the plane, the largest of map and flow, if these reached their end. - `miss`: the same between
      the loss on the path and that of the plane under it. - `loss`, `under`: these two at each dot.
    """

    name: str
    distance: float
    miss: float
    loss: np.ndarray
    under: np.ndarray

    def far_off(self, levels: Sequence[float]) -> np.ndarray:
        """Which dots have a loss that is more than a whole step from one contour to the next from that under them."""
        steps = np.abs(np.searchsorted(levels, self.loss) - np.searchsorted(levels, self.under))
        return (steps > 1) & np.isfinite(self.under)


def residuals(comparisons: Sequence[Comparison], plane: Plane) -> list[Residual]:
    """What the plane does not show of each optimizer."""
    found = []
    for comparison, _, name, _ in entries(comparisons):
        away, miss, dots = [], [], [np.zeros(0), np.zeros(0)]
        for run in (comparison.map, comparison.flow):
            n = int(run.finite.sum())
            x, loss = np.asarray(run.y.x[:n]), np.asarray(run.loss[:n], float)
            under = contours.losses(comparison, plane.project(x), plane) if n else np.zeros(0)
            dots = [loss, under] if run is comparison.map else dots
            if n and not failure(run):
                away.append(float(_distances(plane, x).max()))
                with np.errstate(all="ignore"):
                    miss.append(largest(np.abs(loss - under)))
        found.append(Residual(name, largest(away), largest(miss), *dots))
    return found


def _distances(plane: Plane, x: np.ndarray) -> np.ndarray:
    """From the plane; 0 where that is round-off."""
    size = np.linalg.norm(np.asarray(x, float), axis=1) + np.linalg.norm(plane.origin)
    distance = plane.distance(x)
    return np.where(distance <= ROUND_OFF * np.finfo(x.dtype).eps * size, 0.0, distance)


def sentences(
    comparison: Comparison, plane: Plane, found: Sequence[Residual], hollow: bool
) -> list[str]:
    """Which plane it is, how much it explains, how far the paths lie off it, and of what the contours are."""
    off, side = whose(found, "distance"), contours.points_along(comparison.problem.dim)
    lie = f"{plane.whose[:1].upper()}{plane.whose[1:]} lie {'in it' if within(found) else f'up to {off} off it'}."
    coarse = f", drawn from {side} × {side} points," if side < contours.POINTS else ""
    differs = (
        "as on the paths"
        if within(found)
        else f"which differs from that on {plane.whose}{missed(found)}"
    )
    steps = "; at hollow dots by more than a whole contour" if hollow else ""
    return [
        f"Plane {named(plane)}.",
        *([] if off is None else [lie]),
        *_minimizers(comparison, plane),
        f"Contours{coarse} are the loss in the plane, {differs}{steps}.",
    ]


def _minimizers(comparison: Comparison, plane: Plane) -> list[str]:
    """How far the minimizers lie off the plane, if they do."""
    if comparison.problem.minimizers is None:
        return []
    distances = _distances(
        plane, np.asarray(comparison.problem.minimizers, comparison.map.y.x.dtype)
    )
    low, high = (number(float(d), 2) for d in (distances.min(), distances.max()))
    if not distances.any():
        return []
    alone = len(distances) == 1
    return [
        f"The minimizer{' lies' if alone else 's lie'} {low if low == high else f'{low} to {high}'} off it."
    ]


def named(plane: Plane) -> str:
    """As in "through the mean along two given directions: 93.4 % + 6.5 % = 99.9 % of the variance of the paths"."""
    name, (first, second) = f"through {plane.through} along {plane.along}", plane.shares
    if not np.isfinite(first):
        return name
    return f"{name}: {percent(first)} + {percent(second)} = {percent(first + second)} of the variance of {plane.whose}"


def missed(found: Sequence[Residual]) -> str:
    by = whose(found, "miss")
    return f" by up to {by}" if by else ""


def whose(found: Sequence[Residual], what: str) -> str | None:
    """The largest, and whose it is if there are several, as in "0.31 (Adam)"; None if there is none."""
    known = [r for r in found if np.isfinite(getattr(r, what))]
    if not known:
        return None
    most = max(known, key=lambda r: getattr(r, what))
    alone = (
        sum(getattr(r, what) > (1 - 1e-9) * getattr(most, what) for r in known) == 1
    )  # not at a common start
    return number(getattr(most, what), 2) + f" ({most.name})" * (alone and len(found) > 1)


def within(found: Sequence[Residual]) -> bool:
    """Whether all paths lie in the plane that reached their end, but for round-off."""
    known = [r.distance for r in found if np.isfinite(r.distance)]
    return bool(known) and not any(known)
