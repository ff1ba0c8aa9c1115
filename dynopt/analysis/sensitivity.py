"""Sensitivity: the loss at the end of a run over learning rate and one more hyperparameter."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from ..errors import InvalidValue
from ..optimizers import AbstractOptimizer
from ..problems import Problem
from ..problems.problem import must_be_problem
from ..runs.prepare import flatten_loss, prepare_run
from ..runs.sweep import sweep
from .rescaling import power, rate_of
from .sharpness import largest_curvature
from .stability import options, rising, stability

Points = np.ndarray
RATES, VALUES = 96, 64  # along the axes, unless others are given


class Sensitivity(eqx.Module):
    """The end of a run at each learning rate and value of an option.

    - `learning_rate`, `value`: the axes, shapes `(n,)` and `(m,)`. - `loss`: f after `steps` steps, shape `(m, n)`.
    - `result`: the `Status` of each run, same shape. - `start`: f where all runs begin.
    - `boundary`: of each value the learning rate beyond which the map is repelled by every known minimizer, shape
      `(m,)`; NaN where theory has none. - `curvature`: λ of that boundary, or NaN.
    - `option`: what `value` is called. - `optimizer`: the page that all others are like; `problem`, `steps`.
    """

    learning_rate: Float[Points, " n"]
    value: Float[Points, " m"]
    loss: Float[Points, "m n"]
    result: Int[Points, "m n"]
    start: float
    boundary: Float[Points, " m"]
    curvature: float
    option: str = eqx.field(static=True)
    optimizer: AbstractOptimizer
    problem: Problem
    steps: int = eqx.field(static=True)

    def __repr__(self) -> str:
        shape = (
            f"{len(self.learning_rate)} learning rates x {len(self.value)} values of {self.option}"
        )
        least = (
            f"least loss {np.nanmin(self.loss):.3g}"
            if np.isfinite(self.loss).any()
            else "no finite loss"
        )
        who = f"{type(self.optimizer).__name__} on {self.problem.name}"
        return f"Sensitivity({who}, {shape}, {self.steps} steps: {least})"


def sensitivity(
    optimizer: AbstractOptimizer,
    problem: Problem,
    steps: int,
    option: str = "momentum",
    *,
    learning_rates: Any = None,
    values: Any = None,
    x0: Any = None,
) -> Sensitivity:
    """The loss after `steps` steps of pages like `optimizer`, at every learning rate and value of `option`: one sweep.

    The boundary of theory is that of `analysis.stability` at a minimizer: of the known ones the flattest counts, with λ
    the largest curvature there, since beyond its boundary none attracts the map. For the heavy ball it is
    η = (2 + 2μ)/λ. It says nothing of how a run fares on the way there, and there is none for pages whose steps are not
    proportional to the gradient: they hop about the minimizer at any rate.

    - `option`: of the page's constructor, such as "momentum" or "b1". - `learning_rates`: rising; by default 96 up to
      three times the boundary of the page itself, or thirty times its rate where there is none, evenly by ratio.
    - `values`: rising; by default 64 from 0 to almost 1. - `steps`, `x0`: as for `iterate`.

    **Raises:** `InvalidValue` if the page has no such option or no learning rate, or an axis does not rise.

    >>> from dynopt import Momentum, problems
    >>> bowl = problems.quadratic([1.0, 4.0])
    >>> seen = sensitivity(Momentum(0.1), bowl, 300, learning_rates=[0.45, 0.55, 0.8], values=[0.0, 0.5])
    >>> seen.boundary.round(9).tolist()
    [0.5, 0.75]
    >>> (seen.loss < seen.start).tolist()
    [[True, False, False], [True, True, False]]

    Source: B. T. Polyak, "Some methods of speeding up the convergence of iteration methods" (1964), section 2, for the
    boundary.
    """
    must_be_problem(problem)
    kind, others = options(optimizer, option)
    page, start, _, _ = prepare_run(optimizer, problem, x0)
    linear = float(power(page, problem.loss, start)) == 1
    curvature = _curvature(problem) if linear else float("nan")
    values = (
        np.linspace(0, 1, VALUES, endpoint=False) if values is None else rising("values", values)
    )
    if learning_rates is None:
        own = _boundary(optimizer, option, [float(getattr(optimizer, option))], curvature)[0]
        top = 3 * own if 0 < own < np.inf else 30 * float(rate_of(optimizer))
        learning_rates = np.geomspace(top / 3000, top, RATES)
    rates = rising("learning_rates", learning_rates)

    def member(rate, value):
        return kind(**others, **{"learning_rate": rate, option: value})

    optimizers = eqx.filter_vmap(member)(
        *(jnp.asarray(axis.ravel()) for axis in np.meshgrid(rates, values))
    )
    ends = sweep(optimizers, problem, steps, x0=x0)
    loss, result = (
        np.asarray(array).reshape(len(values), len(rates)) for array in (ends.loss, ends.result)
    )
    boundary = _boundary(optimizer, option, values, curvature)
    first = float(problem.loss(start))
    return Sensitivity(
        rates,
        values,
        loss,
        result,
        first,
        boundary,
        curvature,
        option,
        optimizer,
        problem,
        int(steps),
    )


def _boundary(optimizer: AbstractOptimizer, option: str, values: Any, curvature: float) -> Points:
    """The critical learning rate of each value; NaN where there is no theory of one."""
    try:
        return stability(
            optimizer, option, learning_rates=[1.0], values=values, curvature=curvature
        ).boundary
    except InvalidValue:  # no curvature is known, or the map has no derivative at rest
        return np.full(len(values), np.nan)


def _curvature(problem: Problem) -> float:
    """The largest curvature at the flattest of the known minimizers; NaN if none is known."""
    if problem.minimizers is None or not len(problem.minimizers):
        return float("nan")
    start, _, grad = flatten_loss(problem.loss, problem.start())
    minimizers = jnp.asarray(problem.minimizers, start.dtype)
    return float(jax.vmap(lambda x: largest_curvature(grad, x))(minimizers).min())
