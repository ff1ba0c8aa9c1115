"""The order: the power of the time step h with which the global error goes to 0."""

import math
import warnings
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..checks import Scalar, positive, whole_number
from ..derivations.expansion import settling_time
from ..errors import InvalidValue, SolverFailure
from ..optimizers import AbstractOptimizer
from ..problems import Problem
from ..runs.integrate import finest_rtol, integrate
from ..runs.prepare import MAX_STEPS, flatten_loss
from ..runs.status import GAVE_UP
from .round_off import iterate_twice

MAX_REFINEMENTS = 20  # the finest map then takes half a million times as many steps as the first
ROUND_OFF_MARGIN = 10  # an error is clear of round-off if it is larger than so many times that
SOLVER_MARGIN = {"float64": 1000, "float32": 100}  # the same for the solver's error, by dtype
MIN_POINTS = 3  # the smallest number of points in a fit
STEADY = 0.02  # pairwise slopes that differ by less from the finest one belong to one line
UNSETTLED = 0.1  # a fit whose first and last pairwise slopes differ by more than this is doubtful


class Order(eqx.Module):
    """The global error at the time steps h, h/2, h/4, ... over one fixed time, and its order.

    - `h`: the time steps, shape `(refinements,)`.
    - `error`: for each the largest global error over the times that all of them share, same shape.
    - `pairwise`: the slopes of log(error) against log(h) between neighbours, shape
      `(refinements - 1,)`.
    - `slope`, `stderr`: the slope of a straight line that is fitted to the points from the first to
      the last of `window`, both included, and its standard error. They are NaN, and `window` is
      None, if there is no fit.
    - `reason`: why there is no fit; "" if there is one.
    - `floor`: the round-off that the map accumulates at each h, shape `(refinements,)`.
    - `solver_error`: an estimate of the error of the flow itself, the largest over all h.
    - `expected`: the order that the optimizer declares.
    - `time`: the length of the runs, in the unit of h.
    - `dtype`: the number format of the runs.
    - `solver`: the solver of the flow.
    - `optimizer`, `problem`: the optimizer and the problem that were run.
    """

    h: Float[np.ndarray, " n"]
    error: Float[np.ndarray, " n"]
    pairwise: Float[np.ndarray, " m"]
    slope: float
    stderr: float
    window: tuple[int, int] | None = eqx.field(static=True)
    floor: Float[np.ndarray, " n"]
    solver_error: float
    expected: float
    time: float
    dtype: str = eqx.field(static=True)
    solver: str = eqx.field(static=True)
    reason: str = eqx.field(static=True)
    optimizer: AbstractOptimizer
    problem: Problem

    def __repr__(self) -> str:
        measured = f"{self.slope:.4f} ± {self.stderr:.4f}, expected {self.expected:g}"
        return f"Order({measured}, {self.optimizer} on {self.problem.name})"


class _Flow(NamedTuple):
    """The positions of a flow at the common times, those at a looser tolerance, the solver."""

    x: Array
    looser: Array
    solver: str


def order(
    optimizer: AbstractOptimizer,
    problem: Problem,
    time: Scalar | None = None,
    refinements: int = 8,
    *,
    x0: Any = None,
) -> Order:
    """Refine the time step, h -> h/2 -> h/4 -> ..., and fit the slope of log(error) over log(h).

    The flow is held fixed. It is solved at two tolerances, once for all time steps unless it
    depends on h; the difference of the two solutions is the solver's own error. The map runs once
    per time step, together with a copy that has one more rounding in every step; their difference
    is the round-off floor.

    Points below ten times the floor are left out, and points below a thousand times the solver's
    error (in float32 a hundred times). The order is a limit. So the fit starts at the finest
    point left and reaches back over all neighbours whose pairwise slopes differ by less than 0.02
    from the finest one; it has at least three points. If the map approaches its flow only after
    a settling time (`Memoryless`), errors count from then on.

    - `time`: the length of the runs, in the unit of h; by default 50 h after the settling time. It
      is rounded to whole steps.
    - `refinements`: the number of time steps, from 3 to 20. The finest map takes
      2^(refinements - 1) times as many steps as the first.
    - `x0`: the start, as for `iterate`.

    **Warns:** if fewer than three points are clear of round-off, or their slopes still change.

    **Raises:** `SolverFailure` if the flow fails; `InvalidValue` if `time` ends before the map has
    settled on its flow, or takes too many steps.

    >>> from dynopt import SGD, problems
    >>> print(f"{order(SGD(0.01), problems.booth(), refinements=4).slope:.2f}")
    1.02
    """
    refinements = whole_number("refinements", refinements, least=3, most=MAX_REFINEMENTS, like=8)
    first, steps = _saved_steps(optimizer, time, refinements)
    dtype = jnp.result_type(*jax.tree.leaves(problem.start(x0)))
    optimizers = [optimizer.refine(2**i) for i in range(refinements)]
    solved = optimizers if flows_differ(optimizers, problem, x0) else optimizers[:1]
    rtol = finest_rtol(dtype, optimizer)
    flows = [
        _solve(refined, problem, steps, 2**i, rtol, x0) for i, refined in enumerate(solved)
    ] * (refinements // len(solved))
    rows = []
    for i, (refined, flow) in enumerate(zip(optimizers, flows, strict=True)):
        x, rounded = iterate_twice(refined, problem, steps, 2**i, x0=x0)
        differences = x - flow.x, x - rounded, flow.x - flow.looser
        rows.append((float(refined.h), *(_largest(d[first:]) for d in differences)))
    h, error, floor, solver_error = np.array(rows).T

    is_clear = (
        np.isfinite(error)
        & (error > ROUND_OFF_MARGIN * floor)
        & (error > SOLVER_MARGIN.get(str(dtype), 100) * solver_error)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        pairwise = np.diff(np.log(error)) / np.diff(np.log(h))
    window, reason = _window(is_clear, pairwise), ""
    slope = stderr = np.nan
    if window is None:
        reason, remedy = _why_no_fit(error, is_clear, str(dtype))
        warnings.warn(
            f"no order of {optimizer} on {problem.name} is fitted: {reason}; {remedy}.",
            stacklevel=2,
        )
    else:
        slope, stderr = _fit_line(np.log(h), np.log(error), slice(window[0], window[1] + 1))
        coarsest, finest = pairwise[window[0]], pairwise[window[1] - 1]
        if abs(coarsest - finest) > UNSETTLED:
            warnings.warn(
                f"the slopes of {optimizer} on {problem.name} still change, from {coarsest:.3g} to "
                f"{finest:.3g}, so its order has not settled; use more `refinements` or a smaller "
                "`learning_rate`.",
                stacklevel=2,
            )
    return Order(
        h=h,
        error=error,
        pairwise=pairwise,
        slope=slope,
        stderr=stderr,
        window=window,
        floor=floor,
        solver_error=float(solver_error.max()),
        expected=optimizer.regularity.order,
        time=float(steps * optimizer.h),
        dtype=str(dtype),
        solver=" and ".join(dict.fromkeys(flow.solver for flow in flows)),
        reason=reason,
        optimizer=optimizer,
        problem=problem,
    )


def _saved_steps(
    optimizer: AbstractOptimizer, time: Scalar | None, refinements: int
) -> tuple[int, int]:
    """The first step of the coarsest map at which errors count, and the last one."""
    h = float(optimizer.h)
    steps = 50 if time is None else max(1, round(float(positive("time", time)) / h))
    has_order_one = optimizer.regularity.order == 1
    first = 0 if has_order_one else math.ceil(float(settling_time(optimizer) / optimizer.h))
    if first >= steps:
        if time is not None:
            raise InvalidValue(
                f"`time` is {float(time):g}, but the map of {optimizer!r} settles on its flow only "
                f"at {first * h:.3g}; use twice that."
            )
        steps += first
    finest = steps * 2.0 ** (refinements - 1)
    if finest > MAX_STEPS:
        raise InvalidValue(
            f"`time` is {steps * h:.3g}, so the finest of {refinements} time steps would take "
            f"{finest:.2g} steps; use a shorter `time` or fewer `refinements`."
        )
    return first, steps


def flows_differ(optimizers: list[AbstractOptimizer], problem: Problem, x0: Any) -> bool:
    """Whether each time step has a flow of its own, by its vector field or by its start."""
    if optimizers[0].regularity.flow_depends_on_h:
        return True
    start = problem.start(x0)
    x, _, grad = flatten_loss(problem.loss, start)
    coarse, fine = (
        jax.tree.leaves(optimizer.for_leaves(start).init_flow(x, grad))
        for optimizer in (optimizers[0], optimizers[-1])
    )
    return not all(map(np.array_equal, coarse, fine))


def _solve(
    optimizer: AbstractOptimizer, problem: Problem, saves: int, every: int, rtol: float, x0: Any
) -> _Flow:
    """The flow at the finest tolerance at which it can be solved, and at a tenfold tolerance."""

    def solve(factor) -> _Flow:
        flow, looser = (
            integrate(optimizer, problem, saves * every, x0=x0, save_every=every, rtol=tolerance)
            for tolerance in (factor * rtol, 10 * factor * rtol)
        )
        return _Flow(flow.y.x, looser.y.x, flow.stats["solver"])

    for factor in (1, 100):  # a flow that is stiff, or whose field is off by a few ulp, needs more
        try:
            return solve(factor)
        except SolverFailure as failure:
            if failure.status not in GAVE_UP:
                raise
    return solve(1e4)


def _largest(differences: Array) -> float:
    """The largest Euclidean norm over all times."""
    return float(jnp.linalg.norm(differences, axis=-1).max())


def _window(is_clear: np.ndarray, pairwise: np.ndarray) -> tuple[int, int] | None:
    """The first and the last point of the fit; None if fewer than three points serve.

    From the finest clear point it reaches back while points are clear and slopes are steady.
    """
    last = int(np.flatnonzero(is_clear)[-1]) if is_clear.any() else 0
    first = last
    while (
        first > 0
        and is_clear[first - 1]
        and (last - first < 2 or abs(pairwise[first - 1] - pairwise[last - 1]) < STEADY)
    ):
        first -= 1
    return (first, last) if last - first + 1 >= MIN_POINTS else None


def _why_no_fit(error: np.ndarray, is_clear: np.ndarray, dtype: str) -> tuple[str, str]:
    """The reason and a remedy."""
    infinite = int((~np.isfinite(error)).sum())
    if len(error) - infinite < MIN_POINTS:
        reason = f"{infinite} of {len(error)} errors are not finite, so too few are left"
        return reason, "use a smaller `learning_rate`"
    reason = (
        f"only {int(is_clear.sum())} of {len(error)} errors are clear of round-off and of the "
        f"solver's own error in {dtype}, which is too few"
    )
    if dtype == "float64":
        return reason, "use a larger `learning_rate` or another start"
    double = "use float64 (jax.config.update('jax_enable_x64', True))"
    return reason, f"{double} or a larger `learning_rate`"


def _fit_line(x: np.ndarray, y: np.ndarray, inside: slice) -> tuple[float, float]:
    """The slope of the straight line through the points inside, and its standard error."""
    x, y = x[inside] - x[inside].mean(), y[inside] - y[inside].mean()
    slope = x @ y / (x @ x)
    residual = y - slope * x
    return float(slope), float(np.sqrt(residual @ residual / (len(x) - 2) / (x @ x)))
