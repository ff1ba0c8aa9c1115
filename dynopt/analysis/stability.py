"""The stability map: which learning rates and which values of another option hold a quadratic mode, and how firmly."""

from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float

from ..checks import positive
from ..errors import InvalidType, InvalidValue, unknown_name
from ..optimizers import AbstractOptimizer
from ..optimizers.base import hyperparameter_defaults, must_be_optimizer
from .critical_curvature import crossing
from .spectral_radius import in_batches, jacobian

Points = np.ndarray
SCAN = np.geomspace(
    1e-6, 1e6, 61
)  # learning rates times curvature, among which the critical one is looked for
ZOOM = 17  # points in each round of the search for the optimum


class Stability(eqx.Module):
    """The spectral radius of the linearised map over learning rate and one other option.

    - `learning_rate`, `value`: the axes, shapes `(n,)` and `(m,)`. - `radius`: of the map there, shape `(m, n)`.
    - `boundary`: the critical learning rate of each value, shape `(m,)`; infinity where none is, 0
      where the map is unstable from the start.
    - `optimal`: the value with the least radius at each learning rate, shape `(n,)`; NaN where no value is stable.
    - `option`: what `value` is called. - `optimizer`: the page that all others are like. - `curvature`: λ.
    """

    learning_rate: Float[Points, " n"]
    value: Float[Points, " m"]
    radius: Float[Points, "m n"]
    boundary: Float[Points, " m"]
    optimal: Float[Points, " n"]
    option: str = eqx.field(static=True)
    optimizer: AbstractOptimizer
    curvature: float

    def __repr__(self) -> str:
        shape = f"{self.radius.shape[1]} learning rates, {self.radius.shape[0]} values"
        return f"Stability(of {self.optimizer} over {self.option} at curvature {self.curvature:g}, {shape})"


def stability(
    optimizer: AbstractOptimizer,
    option: str = "momentum",
    *,
    learning_rates=None,
    values=None,
    curvature=1.0,
) -> Stability:
    """The `spectral_radius` on f(x) = λ x²/2 of pages like `optimizer`, at every learning rate and value of `option`.

    For the heavy ball, with η = `learning_rate` and μ = `momentum`, the radius is √μ while it swings, that is for
    (1-√(ηλ))² < μ; the boundary is ηλ = 2 + 2μ, and the optimum μ = (1-√(ηλ))². Boundary and optimum are not read off
    the grid but refined, to about 1e-12 and 1e-8.

    - `option`: of the page's constructor, such as "momentum" or "b1". - `learning_rates`: rising; by default 160, up to
      a tenth beyond the critical one of `optimizer` itself. - `values`: rising; by default 121 from 0 to almost 1.
    - `curvature`: λ, in the unit of 1/learning_rate; only ηλ matters as long as no other option has a unit.

    **Raises:** `InvalidValue` if the page has no such option or no learning rate, if the option changes nothing, if the
    map has no derivative at rest, or if an axis does not rise.

    >>> from dynopt import Momentum
    >>> seen = stability(Momentum(0.1), "momentum", learning_rates=[0.25, 1.0], values=[0.0, 0.25, 0.5])
    >>> seen.boundary.round(9).tolist(), seen.optimal.round(6).tolist()
    ([2.0, 2.5, 3.0], [0.25, 0.0])

    Source: B. T. Polyak, "Some methods of speeding up the convergence of iteration methods" (1964), section 2; G. Goh,
    "Why momentum really works", Distill (2017).
    """
    kind, others = options(optimizer, option)
    curvature = float(positive("curvature", curvature))

    def radius(rates: Points, values: Points) -> Points:
        rates, values = np.broadcast_arrays(rates, values)

        def jacobians(*part: Points) -> Array:
            return _jacobians(kind, others, option, np.asarray(curvature), *part)

        with jax.enable_x64(True):
            return in_batches(jacobians, rates.ravel(), values.ravel()).reshape(rates.shape)

    def critical(values: Points) -> Points:
        scan = np.broadcast_to(SCAN / curvature, (len(values), len(SCAN)))
        return crossing(
            lambda rates: radius(rates, values[:, None]), scan, radius(scan, values[:, None])
        )

    values = np.linspace(0, 1, 121, endpoint=False) if values is None else rising("values", values)
    if learning_rates is None:
        own = critical(np.array([float(getattr(optimizer, option))]))[0]
        reach = 1.1 * own if np.isfinite(own) else SCAN[-1] / curvature
        learning_rates = np.linspace(0, reach, 161)[1:]
    rates = rising("learning_rates", learning_rates)
    seen = radius(rates, values[:, None])
    if np.isnan(seen).all():
        raise InvalidValue(
            f"the map of {optimizer!r} has no derivative at rest with its memory of g² frozen at 1; use a decay "
            "above 0."
        )
    if len(values) > 1 and (np.nanmax(seen, 0) - np.nanmin(seen, 0)).max() < 1e-9:
        raise InvalidValue(
            f"`{option}` changes no radius of {optimizer!r}; pass an option that does."
        )
    optimal = _least(lambda values: radius(rates[:, None], values), values, seen.T)
    return Stability(rates, values, seen, critical(values), optimal, option, optimizer, curvature)


@eqx.filter_jit
def _jacobians(
    kind: type, others: dict[str, Any], option: str, curvature: Any, rates: Any, values: Any
) -> Array:
    def one(rate, value):
        return jacobian(kind(**others, **{"learning_rate": rate, option: value}), curvature)

    return jax.vmap(one)(rates, values)


def _least(radius, values: Points, seen: Points) -> Points:
    """Where each row of `seen` is least, between the neighbours of its least point; NaN where that is 1 or more."""
    points, rows = np.broadcast_to(values, seen.shape), np.arange(len(seen))
    optimal = least = np.full(len(seen), np.nan)
    for _ in range(13):
        best = np.argmin(np.where(np.isnan(seen), np.inf, seen), 1)
        low, high = (points[rows, np.clip(best + side, 0, points.shape[1] - 1)] for side in (-1, 1))
        optimal, least = points[rows, best], seen[rows, best]
        points = low[:, None] + (high - low)[:, None] * np.linspace(0, 1, ZOOM)
        seen = radius(points)
    return np.where(least < 1, optimal, np.nan)


def options(optimizer: AbstractOptimizer, option: str) -> tuple[type, dict[str, Any]]:
    """The page's kind, and its options beside the two that vary, as far as they are not the constructor's defaults."""
    must_be_optimizer(optimizer, example="dynopt.Momentum(0.1)")
    defaults = hyperparameter_defaults(type(optimizer))
    names = list(defaults)
    if "learning_rate" not in names:
        raise InvalidValue(
            f"{optimizer!r} is not made from a `learning_rate`; pass a page such as dynopt.Momentum(0.1)."
        )
    if option not in names or option == "learning_rate":
        names.remove("learning_rate")
        if not names:
            raise InvalidValue(
                f"{optimizer!r} has no option besides its rate; pass a page such as dynopt.Momentum(0.1)."
            )
        raise unknown_name(f"second option of {type(optimizer).__name__}", str(option), names)
    changed = {
        name: value
        for name, value in optimizer.hyperparameters().items()
        if name not in ("learning_rate", option) and value != defaults[name]
    }
    return type(optimizer), {
        n: v if isinstance(v, bool) else np.asarray(v, float) for n, v in changed.items()
    }


def rising(name: str, values) -> Points:
    try:
        row = np.asarray(values, float)
    except (TypeError, ValueError):
        raise InvalidType(
            f"`{name}` must be numbers, got {values!r}; pass for example np.linspace(0.1, 1, 10)."
        ) from None
    if row.ndim != 1 or not row.size or not np.isfinite(row).all() or (np.diff(row) <= 0).any():
        raise InvalidValue(
            f"`{name}` must be a row of rising numbers; pass for example np.linspace(0.1, 1, 10)."
        )
    if name == "learning_rates" and row[0] <= 0:
        raise InvalidValue(f"`learning_rates` must be positive, got {row[0]:g}; begin above 0.")
    return row
