"""The stability map: the spectral radius over the learning rate and another hyperparameter."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float

from ..checks import must_be_concrete, positive
from ..errors import InvalidType, InvalidValue, unknown_name
from ..optimizers import AbstractOptimizer
from ..optimizers.base import hyperparameter_defaults, must_be_optimizer
from ..optimizers.wrappers.noise import must_have_no_noise
from ..problems.arrays import complex_array
from .critical_curvature import first_crossing
from .spectral_radius import jacobian, radii_in_batches

GRID = np.geomspace(1e-6, 1e6, 61)  # learning rate times curvature, in the search of the boundary
SECTIONS = 17  # points in each round of the search of the optimum
ROUNDS = 13  # of that search
# A radius above this a tenth below the boundary: it rises above 1 from the smallest rates on, like
# 1 + (ηλ)²/2, and passes `UNSTABLE` only where round-off lets it.
GROWING = 1 + 3e-13


class Stability(eqx.Module):
    """The spectral radius of the linearised map over the learning rate and one other option.

    - `learning_rate`, `value`: the axes, shapes `(n,)` and `(m,)`.
    - `radius`: the spectral radius there, shape `(m, n)`.
    - `boundary`: the critical learning rate at each value, shape `(m,)`; infinity where there is
      none, and 0 where the map is unstable at every learning rate.
    - `optimal`: the value with the smallest radius at each learning rate, shape `(n,)`; NaN where
      no value is stable.
    - `option`: the name of the hyperparameter that `value` belongs to.
    - `optimizer`: the optimizer that gives all other hyperparameters.
    - `curvature`: λ, the second derivative of the loss, or the complex λ of a mode of a field.
    """

    learning_rate: Float[np.ndarray, " n"]
    value: Float[np.ndarray, " m"]
    radius: Float[np.ndarray, "m n"]
    boundary: Float[np.ndarray, " m"]
    optimal: Float[np.ndarray, " n"]
    option: str = eqx.field(static=True)
    optimizer: AbstractOptimizer
    curvature: float | complex

    def __repr__(self) -> str:
        shape = f"{self.radius.shape[1]} learning rates, {self.radius.shape[0]} values"
        return (
            f"Stability(of {self.optimizer} over {self.option} at curvature {self.curvature:g}, "
            f"{shape})"
        )


def stability(
    optimizer: AbstractOptimizer,
    option: str = "momentum",
    *,
    learning_rates=None,
    values=None,
    curvature=1.0,
) -> Stability:
    """The `spectral_radius` on f(x) = λ x²/2 at every learning rate and every value of `option`.

    A complex λ = a + ib stands for a mode of a field that is no gradient, as in a game. Gradient
    descent is stable there up to η = 2a/|λ|², and at no learning rate if a ≤ 0.

    All other hyperparameters are those of `optimizer`. For the heavy ball, with η =
    `learning_rate` and μ = `momentum`, the radius is √μ while it oscillates, that is for
    (1-√(ηλ))² < μ; the boundary is ηλ = 2 + 2μ, and the optimum is μ = (1-√(ηλ))². Boundary and
    optimum are not read off the grid but refined, to about 1e-12 and 1e-8.

    - `option`: an argument of the optimizer's constructor, such as "momentum" or "b1".
    - `learning_rates`: a rising row; by default 160 of them, up to a tenth beyond the critical
      learning rate of `optimizer` itself, and up to η|λ| = 2.2 if that is 0.
    - `values`: a rising row; by default 121 values from 0 to almost 1.
    - `curvature`: λ, a positive number or a complex one, in units of 1/learning_rate. Only ηλ
      matters unless another hyperparameter has a unit.

    **Raises:** `InvalidValue` if the optimizer has no such option or no learning rate, if the
    option changes nothing, if the map has no derivative at rest, if an axis does not rise, or
    inside a JAX transformation; `InvalidType` if `optimizer` is no optimizer, or an axis does not
    consist of numbers.

    >>> from dynopt import Momentum
    >>> result = stability(Momentum(0.1), learning_rates=[0.25, 1.0], values=[0.0, 0.25, 0.5])
    >>> result.boundary.round(9).tolist(), result.optimal.round(6).tolist()
    ([2.0, 2.5, 3.0], [0.25, 0.0])

    Source: B. T. Polyak, "Some methods of speeding up the convergence of iteration methods"
    (1964), section 2; G. Goh, "Why momentum really works", Distill (2017).
    """
    must_have_no_noise("stability", optimizer)
    must_be_concrete("stability", optimizer, learning_rates, values, curvature)
    kind, others = varied_constructor(optimizer, option)
    is_complex = np.iscomplexobj(curvature)
    curvature = (_nonzero if is_complex else lambda c: float(positive("curvature", c)))(curvature)
    scale = abs(curvature)

    def radius(rates: np.ndarray, values: np.ndarray) -> np.ndarray:
        rates, values = np.broadcast_arrays(rates, values)

        def jacobians(*rows: np.ndarray) -> Array:
            return _jacobians(kind, others, option, np.asarray(curvature), *rows)

        with jax.enable_x64(True):
            return radii_in_batches(jacobians, rates.ravel(), values.ravel()).reshape(rates.shape)

    def critical_rates(values: np.ndarray) -> np.ndarray:
        column = values[:, None]
        grid = np.broadcast_to(GRID / scale, (len(values), len(GRID)))
        rates = first_crossing(lambda rates: radius(rates, column), grid, radius(grid, column))
        if not is_complex:
            return rates
        return np.where(radius(0.9 * rates[:, None], column)[:, 0] > GROWING, 0.0, rates)

    if values is None:
        values = np.linspace(0, 1, 121, endpoint=False)
    else:
        values = rising("values", values)
        for value in values[[0, -1]]:  # in compiled code the constructor cannot check the values
            kind(**others, **{"learning_rate": 1e-6, option: float(value)})
    if learning_rates is None:
        critical = critical_rates(np.array([float(getattr(optimizer, option))]))[0]
        last = 1.1 * (critical or 2 / scale) if np.isfinite(critical) else GRID[-1] / scale
        learning_rates = np.linspace(0, last, 161)[1:]
    rates = rising("learning_rates", learning_rates)
    radii = radius(rates, values[:, None])
    if np.isnan(radii).all():
        raise InvalidValue(
            f"the map of {optimizer!r} has no derivative at rest with its memory of g² frozen at "
            "1; use a decay above 0."
        )
    if len(values) > 1 and (np.nanmax(radii, 0) - np.nanmin(radii, 0)).max() < 1e-9:
        raise InvalidValue(
            f"`{option}` changes no radius of {optimizer!r}; pass an option that does."
        )
    optimal = _smallest(lambda values: radius(rates[:, None], values), values, radii.T)
    boundary = critical_rates(values)
    return Stability(rates, values, radii, boundary, optimal, option, optimizer, curvature)


def _nonzero(value: Any) -> complex:
    """A complex curvature as one finite number other than 0."""
    array = complex_array("curvature", value)
    if array.shape != () or not array:
        raise InvalidValue(f"`curvature` is {value}; pass one number other than 0, such as 1j.")
    return complex(array)


@eqx.filter_jit
def _jacobians(
    kind: type, others: dict[str, Any], option: str, curvature: Any, rates: Any, values: Any
) -> Array:
    def make_jacobian(rate, value):
        return jacobian(kind(**others, **{"learning_rate": rate, option: value}), curvature)

    return jax.vmap(make_jacobian)(rates, values)


def _smallest(radius: Callable, values: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """The value at which each row of `radii` is smallest; NaN where that radius is 1 or more.

    It is refined between the two neighbours of the smallest radius on the grid.
    """
    points, rows = np.broadcast_to(values, radii.shape), np.arange(len(radii))
    optimal = smallest = np.full(len(radii), np.nan)
    for _ in range(ROUNDS):
        best = np.argmin(np.where(np.isnan(radii), np.inf, radii), 1)
        low, high = (points[rows, np.clip(best + side, 0, points.shape[1] - 1)] for side in (-1, 1))
        optimal, smallest = points[rows, best], radii[rows, best]
        points = low[:, None] + (high - low)[:, None] * np.linspace(0, 1, SECTIONS)
        radii = radius(points)
    return np.where(smallest < 1, optimal, np.nan)


def varied_constructor(optimizer: AbstractOptimizer, option: str) -> tuple[type, dict[str, Any]]:
    """The class of the optimizer, and its arguments other than the learning rate and `option`.

    Arguments that are the defaults of the constructor are left out.
    """
    must_be_optimizer(optimizer, example="dynopt.Momentum(0.1)")
    defaults = hyperparameter_defaults(type(optimizer))
    names = list(defaults)
    if "learning_rate" not in names:
        raise InvalidValue(
            f"{optimizer!r} is not made from a `learning_rate`; pass an optimizer such as "
            "dynopt.Momentum(0.1)."
        )
    if option not in names or option == "learning_rate":
        names.remove("learning_rate")
        if not names:
            raise InvalidValue(
                f"{optimizer!r} has no option besides its learning rate; pass an optimizer such as "
                "dynopt.Momentum(0.1)."
            )
        raise unknown_name(f"second option of {type(optimizer).__name__}", str(option), names)
    others = {
        name: value if isinstance(value, bool) else np.asarray(value, float)
        for name, value in optimizer.hyperparameters().items()
        if name not in ("learning_rate", option) and value != defaults[name]
    }
    return type(optimizer), others


def rising(name: str, values) -> np.ndarray:
    """The numbers of an axis.

    **Raises:** `InvalidType` if `values` are no numbers; `InvalidValue` for numbers that are not
    finite or do not rise, and for learning rates that are not positive.
    """
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
