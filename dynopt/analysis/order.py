"""The order: how the gap closes as the clock is refined and the flow held fixed."""

import math
import warnings
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from ..checks import Scalar, positive, whole_number
from ..derivations.expansion import settling_time
from ..errors import InvalidValue, SolverFailure
from ..optimizers import AbstractOptimizer
from ..problems import Problem
from ..runs.integrate import finest_rtol, integrate
from ..runs.prepare import MAX_STEPS, flatten_loss
from ..runs.trajectory import GAVE_UP
from .round_off import iterate_twice

Points = np.ndarray
MAX_REFINEMENTS = 20  # clocks: the finest takes half a million times as many steps as the first
UNSETTLED = 0.1  # from the first pairwise slope of a fit to the last
STEADY = 0.02  # pairwise slopes nearer than this to the finest one belong to the same straight line


class Order(eqx.Module):
    """The gap at h, h/2, h/4, ... over one fixed time, and the slope of its logarithm.

    - `h`, `error`: step and largest gap over the common times, shape `(refinements,)`.
    - `pairwise`: slopes of neighbours, shape `(refinements - 1,)`. - `slope`, `stderr`: of a straight line through the
      points of `window` = (first, last), last included; NaN and None where fewer than three points clear the floor.
    - `floor`: the round-off that the map gathers at each h. - `solver_error`: the flow's own, the largest over all h.
    - `expected`: what the page declares. - `time`: the length of the runs. - `optimizer`, `problem`: whose it is.
    """

    h: Points
    error: Points
    pairwise: Points
    slope: float
    stderr: float
    window: tuple[int, int] | None = eqx.field(static=True)
    floor: Points
    solver_error: float
    expected: float
    time: float
    optimizer: AbstractOptimizer
    problem: Problem

    def __repr__(self) -> str:
        measured = f"{self.slope:.4f} ± {self.stderr:.4f}, expected {self.expected:g}"
        return f"Order({measured}, {self.optimizer} on {self.problem.name})"


def order(
    optimizer: AbstractOptimizer,
    problem: Problem,
    time: Scalar | None = None,
    refinements: int = 8,
    *,
    x0: Any = None,
) -> Order:
    """Refine the page, h → h/2 → h/4 → ..., and fit the slope of log(largest gap) against log(h).

    The map runs once per clock, beside a copy with one more rounding in every step: their difference is the round-off
    floor. The flow is solved at two tolerances, once for all clocks unless it knows h: their difference is the solver's
    own error. Points below ten times the floor, or a thousand times the solver's error (in float32 a hundred times),
    are left out. The order is a limit, so the fit starts at the finest point left and reaches back over all neighbours
    whose pairwise slopes stay within 0.02 of the finest, at least three. (A map that only comes to its flow after a
    while, at `optimizer.settling`, is looked at from then on.)

    - `time`: length of the runs, by default 50 h beyond `optimizer.settling`; rounded to whole steps.
    - `refinements`: how many clocks, from 3 to 20: the finest takes 2^(refinements - 1) times as many steps.

    **Warns:** if round-off leaves fewer than three points, or their slopes still move. **Raises:** `SolverFailure` if
    the flow fails; `InvalidValue` if `time` ends before the map has come to its flow, or takes too many
    steps.

    >>> from dynopt import SGD, problems
    >>> print(f"{order(SGD(0.01), problems.rosenbrock(), time=0.02).expected:g}")
    1
    """
    refinements = whole_number("refinements", refinements, least=3, most=MAX_REFINEMENTS, like=8)
    steps = (
        50 if time is None else max(1, round(float(positive("time", time)) / float(optimizer.h)))
    )
    dtype = jnp.result_type(*jax.tree.leaves(problem.start(x0)))
    first = (
        0
        if optimizer.regularity.order == 1
        else math.ceil(float(settling_time(optimizer) / optimizer.h))
    )
    if first >= steps:
        if time is not None:
            raise InvalidValue(
                f"`time` is {float(time):g}, but the map of {optimizer!r} comes to its flow at "
                f"{first * float(optimizer.h):.3g} only; use twice that."
            )
        steps += first
    if steps * 2 ** (refinements - 1) > MAX_STEPS:
        raise InvalidValue(
            f"`time` is {float(steps * optimizer.h):.3g}, so the finest of {refinements} clocks would take "
            f"{steps * 2.0 ** (refinements - 1):.2g} steps; use a shorter `time` or fewer `refinements`."
        )
    optimizers = [optimizer.refine(2**i) for i in range(refinements)]
    clocks = list(
        enumerate(optimizers if flows_differ(optimizers, problem, x0) else optimizers[:1])
    )
    flows = [
        _solved(page, problem, steps, 2**i, finest_rtol(dtype, optimizer), x0) for i, page in clocks
    ]
    flows *= refinements // len(flows)
    measured = np.array(
        [
            _measure(page, problem, (first, steps), 2**i, flows[i], x0)
            for i, page in enumerate(optimizers)
        ]
    )
    h, error, floor, solver_error = measured.T

    clear = (
        np.isfinite(error)
        & (error > 10 * floor)
        & (error > (1000 if dtype == jnp.float64 else 100) * solver_error)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        pairwise = np.diff(np.log(error)) / np.diff(np.log(h))
    window = _window(clear, pairwise)
    slope = stderr = np.nan
    if window is not None:
        slope, stderr = _line(np.log(h), np.log(error), slice(window[0], window[1] + 1))
        one, last = pairwise[window[0]], pairwise[window[1] - 1]
        if abs(one - last) > UNSETTLED:
            warnings.warn(
                f"the slopes of {optimizer} on {problem.name} still move, from {one:.3g} to {last:.3g}, so its order "
                "has not settled; use more `refinements` or a smaller `learning_rate`.",
                stacklevel=2,
            )
    else:
        lost = int((~np.isfinite(error)).sum())
        finer = (
            ""
            if dtype == jnp.float64
            else "use float64 (jax.config.update('jax_enable_x64', True)) or "
        )
        other = (
            "a larger `learning_rate`" if finer else "use a larger `learning_rate` or another start"
        )
        diverged = refinements - lost < 3  # as many as a fit needs
        remedy = (
            f"{lost} are not finite; use a smaller `learning_rate`"
            if diverged
            else f"{finer}{other}"
        )
        warnings.warn(
            f"only {int(clear.sum())} of {refinements} gaps of {optimizer} on {problem.name} stand clear of round-off "
            f"and of the solver's own error in {dtype}, too few for a slope; {remedy}.",
            stacklevel=2,
        )
    span = float(steps * optimizer.h)
    kept = (
        h,
        error,
        pairwise,
        slope,
        stderr,
        window,
        floor,
        float(solver_error.max()),
        optimizer.regularity.order,
        span,
    )
    return Order(*kept, optimizer, problem)


def flows_differ(optimizers: list[AbstractOptimizer], problem: Problem, x0: Any) -> bool:
    """Whether each clock has a flow of its own, by its field or by its start."""
    if optimizers[0].regularity.flow_depends_on_h:
        return True
    start = problem.start(x0)
    x, _, grad = flatten_loss(problem.loss, start)
    coarse, fine = (
        jax.tree.leaves(optimizer.for_leaves(start).init_flow(x, grad))
        for optimizer in (optimizers[0], optimizers[-1])
    )
    return not all(map(np.array_equal, coarse, fine))


def _solved(
    optimizer: AbstractOptimizer, problem: Problem, saves: int, every: int, rtol: float, x0: Any
):
    """The flow's positions, and at a looser tolerance."""

    def solved(rtol):
        return integrate(optimizer, problem, saves * every, x0=x0, save_every=every, rtol=rtol).y.x

    for looser in (
        1,
        100,
    ):  # a flow that is itself off by a few ulp, or stiff, is not solved so finely
        try:
            return solved(looser * rtol), solved(10 * looser * rtol)
        except SolverFailure as failure:
            if failure.status not in GAVE_UP:
                raise
    return solved(1e4 * rtol), solved(1e5 * rtol)


def _measure(
    optimizer: AbstractOptimizer,
    problem: Problem,
    saves: tuple[int, int],
    every: int,
    flows: Any,
    x0: Any,
):
    """h, the largest gap, the round-off floor and the solver's error of one clock, from the first save to the last."""
    (first, last), (flow, looser) = saves, flows
    x, rounded = iterate_twice(optimizer, problem, last, every, x0=x0)
    return float(optimizer.h), *(
        _largest(apart[first:]) for apart in (x - flow, x - rounded, flow - looser)
    )


def _largest(apart: PyTree) -> float:
    return float(jnp.linalg.norm(apart, axis=-1).max())


def _window(clear: Points, pairwise: Points) -> tuple[int, int] | None:
    """From the finest clear point back while points stay clear and slopes steady; None if fewer than three points."""
    last = int(np.flatnonzero(clear)[-1]) if clear.any() else 0
    first = last
    while (
        first > 0
        and clear[first - 1]
        and (last - first < 2 or abs(pairwise[first - 1] - pairwise[last - 1]) < STEADY)
    ):
        first -= 1
    return (first, last) if last - first >= 2 else None


def _line(x: Points, y: Points, inside: slice) -> tuple[float, float]:
    """Slope of the straight line through the points inside, and its standard error."""
    x, y = x[inside] - x[inside].mean(), y[inside] - y[inside].mean()
    slope = x @ y / (x @ x)
    residual = y - slope * x
    return float(slope), float(np.sqrt(residual @ residual / (len(x) - 2) / (x @ x)))
