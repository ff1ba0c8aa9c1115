"""The critical curvature: the largest curvature of a quadratic at which the map is stable."""

from collections.abc import Callable

import numpy as np

from ..checks import must_be_concrete
from ..errors import InvalidValue
from ..optimizers import AbstractOptimizer
from ..optimizers.wrappers.noise import must_have_no_noise
from .spectral_radius import MANY_STEPS, radii_at, spectral_radius

UNSTABLE = 1 + 1e-12  # a radius above this; 1 itself, up to round-off, is still stable
GRID = np.geomspace(1e-30, 1e30, 601)  # curvatures, ten per power of ten
RANGE = 1e12  # of curvatures from the first that changes the radius visibly
TOLERANCE = 1e-4  # of a radius that is computed next to a minimizer, and not at it
CHECKS = (  # the number of steps before, the minimizer and a gradient there, at which to linearise
    (
        (MANY_STEPS, 1.0, 1e-3),
        "takes steps that do not shrink with the gradient, or that depend on the size of the "
        "position, as with a trust ratio",
    ),
    ((MANY_STEPS / 4, 0.0, 0.0), "takes other steps the more steps came before"),
)
EARLY_STEPS = 1.0, 100.0  # at which a schedule that decays to 0 is not yet small
SECTIONS = 33  # points in each round of the search, which divides an interval into 32
ROUNDS = 11  # of the search


def critical_curvature(optimizer: AbstractOptimizer) -> float:
    """The curvature λ of a quadratic mode up to which the map, linearised at rest, is stable.

    There its spectral radius is 1. On a loss that is sharper, oscillations grow until something
    else stops them. With η = `learning_rate`, some values are

        SGD, RMSprop   2/η                        heavy ball     (2+2μ)/η
        Adam           (2+2β₁)/((1-β₁)η)          Nesterov       (2+2μ)/((1+2μ)η)
        AdaGrad        2/η                        ScheduleFree   2/((1-β)η)

    The unit is that of a curvature. For RMSprop and Adam it is relative to the preconditioner, an
    eigenvalue of P⁻¹∇²f with P = √v, and for AdaGrad with P = √S, where S is the sum of g² in the
    units of optax; `spectral_radius` says how they are frozen. So AdaGrad is stable at a curvature
    λ once √S > ηλ/2, and as S only grows, no curvature makes it diverge.

    The result is the first λ above 0 at which the radius exceeds 1. It is found on a geometric grid
    and refined to a relative precision of 1e-12. It is infinity if the map is stable at every
    curvature, as that of the proximal point method is; curvatures above 1e12 times the first that
    changes the radius by a thousandth count no more, because round-off hides the map there. Ten
    percent below and above the result, the map is linearised once more next to a minimizer at 1 and
    after fewer steps; there it must be stable and unstable, too.

    **Raises:** `InvalidValue` if no curvature is critical, because no part of a step is
    proportional to a small gradient, as where the map steps by its sign or its cube; because steps
    vanish after many steps, as under a schedule that decays to 0; because the map climbs; because a
    step does not shrink with the gradient, or depends on the size of the position, as with a trust
    ratio, or on the number of steps before; because a memory that scales the steps does not grow
    with the gradient, or depends on the position; if the map has no derivative at rest; and as
    `spectral_radius` does.

    >>> from dynopt import SGD, Adam
    >>> print(f"{critical_curvature(SGD(0.1)):.9f} {critical_curvature(Adam(0.1, eps=0.0)):.9f}")
    20.000000000 380.000000000

    Source: J. Cohen et al., "Gradient descent on neural networks typically occurs at the edge of
    stability" (2021), Appendix B; "Adaptive gradient methods at the edge of stability" (2022), for
    Adam.
    """
    must_have_no_noise("critical_curvature", optimizer)
    must_be_concrete("critical_curvature", optimizer)
    radius = resolved_radii(np.asarray(spectral_radius(optimizer, GRID)))
    grid = GRID[: len(radius)]
    if np.isnan(radius).any():
        raise InvalidValue(
            f"the map of {optimizer!r} has no derivative at rest with its memory of g² frozen at 1,"
            " or a memory that scales its steps measures no gradient, so no curvature is critical; "
            "use a decay above 0, and a smooth step."
        )
    if np.ptp(radius) < 1e-12:
        if any(np.ptp(radii_at(optimizer, GRID, k, 0.0, 0.0)) > 1e-12 for k in EARLY_STEPS):
            raise InvalidValue(
                f"the map of {optimizer!r} takes steps that vanish after many steps, as under a "
                "schedule that decays to 0, so no curvature is critical; use a schedule whose last "
                "factor is positive."
            )
        raise InvalidValue(
            f"the map of {optimizer!r} takes steps of which no part is proportional to a small "
            "gradient, as under its sign, its cube or a dead zone, so no curvature is critical; "
            "use a step that is."
        )
    is_unstable = radius > UNSTABLE
    if not is_unstable.any():
        return np.inf
    first = int(np.argmax(is_unstable))
    if first == 0 or radius[min(first + 20, len(radius) - 1)] < 1 + 1e-6:  # no threshold above 0
        raise InvalidValue(
            f"the map of {optimizer!r} is unstable at every curvature near 0, as if it climbed, so "
            "none is the first; plot spectral_radius."
        )
    crossings = first_crossing(lambda c: spectral_radius(optimizer, c), grid[None], radius[None])
    critical = float(crossings[0])
    for options, reason in CHECKS:
        below, above = radii_at(optimizer, np.array([0.9, 1.1]) * critical, *options)
        if not below < 1 + TOLERANCE < above:
            raise InvalidValue(
                f"the map of {optimizer!r} {reason}, so no curvature is critical; watch it with "
                "dynopt.iterate."
            )
    return critical


def resolved_radii(radius: np.ndarray) -> np.ndarray:
    """The radii up to the curvature at which round-off hides what an implicit map does.

    - `radius`: the radii on `GRID`.
    """
    has_changed = np.abs(radius - radius[0]) > 1e-3
    if not has_changed.any():
        return radius
    return radius[GRID <= RANGE * GRID[np.argmax(has_changed)]]


def first_crossing(radius: Callable, points: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The last point of each row before `radius` first exceeds 1, refined by repeated section.

    It is infinity where the radius never exceeds 1, 0 where it does from the first point on, and
    NaN where the radius is NaN at some point.

    - `radius`: a function from points of shape `(m, n)` to radii of that shape.
    - `points`, `values`: the points of the first round, rising along each row, and their radii.
    """
    is_unstable = values > UNSTABLE
    never = np.where(np.isnan(values).any(1), np.nan, np.inf)
    has_crossing = is_unstable.any(1) & ~is_unstable[:, 0]
    otherwise = np.where(is_unstable[:, 0], 0.0, never)
    for _ in range(ROUNDS):
        after = np.maximum(np.argmax(values > UNSTABLE, 1), 1)[:, None]
        low, high = np.take_along_axis(points, after - 1, 1), np.take_along_axis(points, after, 1)
        points = low + (high - low) * np.linspace(0, 1, SECTIONS)
        values = np.asarray(radius(points))
    return np.where(has_crossing, points[:, 0], otherwise)
