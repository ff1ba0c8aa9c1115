"""The critical curvature: how sharp a quadratic may be before the map leaves it."""

from collections.abc import Callable

import numpy as np

from ..errors import InvalidValue
from ..optimizers import AbstractOptimizer
from .spectral_radius import spectral_radius

GROWS = 1 + 1e-12  # a radius above this; 1 itself, up to round-off, is still stable
SCAN = np.geomspace(1e-30, 1e30, 601)  # curvatures, each a quarter above the last
ZOOM = 33  # points in each round of the bisection, which is a section into 32


def critical_curvature(optimizer: AbstractOptimizer) -> float:
    """The curvature λ of a quadratic mode up to which the map, linearised at rest, stays stable.

    There its spectral radius is 1 (`spectral_radius` says how the map is linearised, and that λ is relative to a
    preconditioner); on a loss that is sharper, oscillations grow until something else stops them. Among them, with
    η = `learning_rate`:

        SGD, RMSprop   2/η                        heavy ball     (2+2μ)/η
        Adam           (2+2β₁)/((1-β₁)η)          Nesterov       (2+2μ)/((1+2μ)η)

    It is the first λ above 0 where the radius exceeds 1, found on a geometric grid and then by bisection to 1e-12 of
    itself. Returns infinity if the map is stable at every curvature.

    **Raises:** `InvalidValue` if no curvature is critical, as the map steps by the sign of the gradient, or climbs; if
    it has no derivative at rest; and as `spectral_radius` does.

    >>> from dynopt import SGD, Adam
    >>> print(f"{critical_curvature(SGD(0.1)):.9f} {critical_curvature(Adam(0.1, eps=0.0)):.9f}")
    20.000000000 380.000000000

    Source: J. Cohen et al., "Gradient descent on neural networks typically occurs at the edge of stability" (2021),
    Appendix B; "Adaptive gradient methods at the edge of stability" (2022), for Adam.
    """
    radius = np.asarray(spectral_radius(optimizer, SCAN))
    if np.isnan(radius).any():
        raise InvalidValue(
            f"the map of {optimizer!r} has no derivative at rest with its memory of g² frozen at 1, so no curvature is "
            "critical; use a decay above 0, and a smooth step."
        )
    if np.ptp(radius) < 1e-12:
        raise InvalidValue(
            f"the map of {optimizer!r} answers to no small gradient, as when it steps by the sign alone, so no "
            "curvature is critical; use a smooth step."
        )
    if not (radius > GROWS).any():
        return np.inf
    first = int(np.argmax(radius > GROWS))
    if (
        first == 0 or radius[min(first + 20, len(radius) - 1)] < 1 + 1e-6
    ):  # it grows from 0 on, not from a threshold on
        raise InvalidValue(
            f"the map of {optimizer!r} is unstable at every curvature near 0, as if it climbed, so none is the first; "
            "look at spectral_radius."
        )
    return float(
        crossing(lambda curvature: spectral_radius(optimizer, curvature), SCAN[None], radius[None])[
            0
        ]
    )


def crossing(radius: Callable, points: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The last point of each row before `radius` first grows beyond 1; infinity where it never does, 0 where it has
    from the first point on, NaN if it is none.

    - `radius`: from points `(m, n)` to radii of that shape. - `points`, `values`: rising, and the radii there.
    """
    grows, never = values > GROWS, np.where(np.isnan(values).any(1), np.nan, np.inf)
    found, none = grows.any(1) & ~grows[:, 0], np.where(grows[:, 0], 0.0, never)
    for _ in range(11):
        after = np.maximum(np.argmax(values > GROWS, 1), 1)[:, None]
        low, high = np.take_along_axis(points, after - 1, 1), np.take_along_axis(points, after, 1)
        points = low + (high - low) * np.linspace(0, 1, ZOOM)
        values = np.asarray(radius(points))
    return np.where(found, points[:, 0], none)
