"""Sensitivity: the loss at the end of a run over the learning rate and another hyperparameter."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from ..checks import must_be_concrete
from ..errors import InvalidValue
from ..optimizers import AbstractOptimizer
from ..optimizers.wrappers.noise import must_have_no_noise
from ..problems import Problem
from ..problems.problem import must_be_problem
from ..runs.prepare import flatten_loss, prepare_run
from ..runs.sweep import sweep
from .rescaling import gradient_power, learning_rate_of
from .sharpness import largest_curvature
from .stability import rising, stability, varied_constructor

NUM_RATES, NUM_VALUES = 96, 64  # along the axes, unless others are given


class Sensitivity(eqx.Module):
    """The loss at the end of a run at each learning rate and value of an option.

    - `learning_rate`, `value`: the axes, shapes `(n,)` and `(m,)`.
    - `loss`: f after `steps` steps, shape `(m, n)`.
    - `result`: the `Status` of each run, as an integer, shape `(m, n)`.
    - `start`: f at the common start of all runs.
    - `boundary`: for each value the learning rate beyond which every known minimizer repels the
      map, shape `(m,)`; NaN where theory knows none.
    - `curvature`: the λ of that boundary, or NaN.
    - `option`: the name of the hyperparameter that `value` belongs to.
    - `optimizer`: the optimizer that all others are like.
    - `problem`, `steps`: the problem and the number of steps of each run.
    """

    learning_rate: Float[np.ndarray, " n"]
    value: Float[np.ndarray, " m"]
    loss: Float[np.ndarray, "m n"]
    result: Int[np.ndarray, "m n"]
    start: float
    boundary: Float[np.ndarray, " m"]
    curvature: float
    option: str = eqx.field(static=True)
    optimizer: AbstractOptimizer
    problem: Problem
    steps: int = eqx.field(static=True)

    def __repr__(self) -> str:
        what = self.problem.symbol if self.problem.owns_field else "loss"
        smallest = f"no finite {what}"
        if np.isfinite(self.loss).any():
            smallest = f"smallest {what} {np.nanmin(self.loss):.3g}"
        rates, values = len(self.learning_rate), len(self.value)
        return (
            f"Sensitivity({type(self.optimizer).__name__} on {self.problem.name}, {rates} learning "
            f"rates x {values} values of {self.option}, {self.steps} steps: {smallest})"
        )


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
    """The loss after `steps` steps at every learning rate and every value of `option`: one sweep.

    All other hyperparameters are those of `optimizer`. The boundary of theory is that of
    `analysis.stability` at a minimizer, with λ the largest curvature there. Of the known
    minimizers the flattest counts, because beyond its boundary none attracts the map. For the
    heavy ball it is η = (2 + 2μ)/λ. It says nothing about a run far from a minimizer. There is no
    boundary for optimizers whose steps are not proportional to the gradient, because they
    oscillate about the minimizer at any learning rate, nor for a game, whose field is no gradient.

    - `option`: an argument of the optimizer's constructor, such as "momentum" or "b1".
    - `learning_rates`: a rising row; by default 96 of them, evenly spaced in the logarithm, up to
      three times the boundary of the optimizer itself, or thirty times its learning rate where
      there is no boundary.
    - `values`: a rising row; by default 64 values from 0 to almost 1.
    - `steps`, `x0`: as for `iterate`.

    **Raises:** `InvalidValue` if the optimizer has no such option or no learning rate, if an
    axis does not rise, or inside a JAX transformation; `InvalidType` for axes that are no numbers.

    >>> from dynopt import Momentum, problems
    >>> bowl, rates = problems.quadratic([1.0, 4.0]), [0.45, 0.55, 0.8]
    >>> result = sensitivity(Momentum(0.1), bowl, 300, learning_rates=rates, values=[0.0, 0.5])
    >>> result.boundary.round(9).tolist()
    [0.5, 0.75]
    >>> (result.loss < result.start).tolist()
    [[True, False, False], [True, True, False]]

    Source: B. T. Polyak, "Some methods of speeding up the convergence of iteration methods"
    (1964), section 2, for the boundary.
    """
    must_have_no_noise("sensitivity", optimizer)
    must_be_concrete("sensitivity", optimizer, problem, learning_rates, values, x0)
    must_be_problem(problem)
    kind, others = varied_constructor(optimizer, option)
    fitted, start, _, _ = prepare_run(optimizer, problem, x0)
    is_linear = float(gradient_power(fitted, problem.loss, start)) == 1
    curvature = _flattest_curvature(problem) if is_linear else float("nan")
    if values is None:
        values = np.linspace(0, 1, NUM_VALUES, endpoint=False)
    values = rising("values", values)
    if learning_rates is None:
        value = float(getattr(optimizer, option))
        critical = _boundary(optimizer, option, [value], curvature)[0]
        last = 3 * critical
        if not 0 < critical < np.inf:
            last = 30 * float(learning_rate_of(optimizer))
        learning_rates = np.geomspace(last / 3000, last, NUM_RATES)
    rates = rising("learning_rates", learning_rates)

    def make(rate, value):
        return kind(**others, **{"learning_rate": rate, option: value})

    grid = (jnp.asarray(axis.ravel()) for axis in np.meshgrid(rates, values))
    ends = sweep(eqx.filter_vmap(make)(*grid), problem, steps, x0=x0)
    shape = len(values), len(rates)
    return Sensitivity(
        learning_rate=rates,
        value=values,
        loss=np.asarray(ends.loss).reshape(shape),
        result=np.asarray(ends.result).reshape(shape),
        start=float(problem.loss(start)),
        boundary=_boundary(optimizer, option, values, curvature),
        curvature=curvature,
        option=option,
        optimizer=optimizer,
        problem=problem,
        steps=int(steps),
    )


def _boundary(
    optimizer: AbstractOptimizer, option: str, values: Any, curvature: float
) -> np.ndarray:
    """The critical learning rate at each value; NaN where theory knows none."""
    try:
        return stability(
            optimizer, option, learning_rates=[1.0], values=values, curvature=curvature
        ).boundary
    except InvalidValue:  # no curvature is known, or the map has no derivative at rest
        return np.full(len(values), np.nan)


def _flattest_curvature(problem: Problem) -> float:
    """The largest curvature at the flattest of the known minimizers.

    NaN if no minimizer is known, or if the field is no gradient, as in a game.
    """
    is_gradient = problem.derivable and problem.conservative
    if problem.minimizers is None or not len(problem.minimizers) or not is_gradient:
        return float("nan")
    start, _, grad = flatten_loss(problem.loss, problem.start())
    minimizers = jnp.asarray(problem.minimizers, start.dtype)
    return float(jax.vmap(lambda x: largest_curvature(grad, x))(minimizers).min())
