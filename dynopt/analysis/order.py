"""The order: the power of the time step h with which the global error goes to 0."""

import math
import warnings
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..checks import Scalar, must_be_concrete, positive, whole_number
from ..derivations.expansion import settling_time
from ..errors import InvalidValue, SolverFailure
from ..optimizers import AbstractOptimizer
from ..optimizers.base import must_be_optimizer
from ..optimizers.wrappers.noise import must_have_no_noise
from ..problems import Problem
from ..problems.problem import must_be_problem
from ..runs.integrate import integrate
from ..runs.prepare import MAX_STEPS, flatten_loss
from ..runs.status import GAVE_UP
from .round_off import finest_tolerance, iterate_twice, rounds_coarsely
from .slope import MIN_POINTS, Verdict, explain, find_window, fit_line, judge

MAX_REFINEMENTS = 20  # the finest map then takes half a million times as many steps as the first
ROUND_OFF_MARGIN = 10  # an error is clear of round-off if it is larger than so many times that
SOLVER_MARGIN = {"float64": 1000, "float32": 100}  # the same for the solver's error, by dtype


class Order(eqx.Module):
    """The global error at the time steps h, h/2, h/4, ... over one fixed time, and its order.

    - `h`: the time steps, shape `(refinements,)`.
    - `error`: for each the largest global error over the times that all of them share, same shape.
    - `t`, `errors`: these times, and the global error of each map at them, in the unit of x, shapes
      `(steps + 1,)` and `(refinements, steps + 1)`, with the steps of the first map. If errors
      count only after a settling time, the ones before it are here, too.
    - `pairwise`: the slopes of log(error) against log(h) between neighbours, shape
      `(refinements - 1,)`.
    - `slope`, `stderr`: the slope of a straight line that is fitted to the points from the first to
      the last of `window`, both included, and its standard error. They are NaN, and `window` is
      None, if there is no fit.
    - `reason`: why there is no fit; "" if there is one.
    - `verdict`: "agrees" if the slope is the declared order, "differs" if it is another, "still
      changes" if the pairwise slopes of the fit do, and "no fit". A slope agrees with an order if
      it lies within 1/4, as orders are multiples of 1/2, or within five standard errors.
    - `meaning`: what it means that the slope differs, and what to do next; "" if it does not.
    - `floor`: the round-off that the map accumulates at each h until its error is largest, shape
      `(refinements,)`, with that of a loss that computes in a coarser dtype than the map.
    - `solver_error`: an estimate of the error of the flow itself, the largest over all h.
    - `expected`: the order that the optimizer declares.
    - `time`: the length of the runs, in the unit of h.
    - `dtype`: the number format of the runs.
    - `solver`: the solver of the flow.
    - `start`: the position from which all runs start, as one vector.
    - `optimizer`, `problem`: the optimizer and the problem that were run.
    """

    h: Float[np.ndarray, " n"]
    error: Float[np.ndarray, " n"]
    t: Float[np.ndarray, " times"]
    errors: Float[np.ndarray, "n times"]
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
    start: Float[np.ndarray, " dim"]
    optimizer: AbstractOptimizer
    problem: Problem

    @property
    def fitted(self) -> np.ndarray:
        """The pairwise slopes inside the window."""
        return self.pairwise[slice(0) if self.window is None else slice(*self.window)]

    @property
    def verdict(self) -> Verdict:
        return judge(self.slope, self.stderr, self.fitted, self.expected)

    @property
    def meaning(self) -> str:
        if self.verdict != "differs":
            return ""
        is_corrected = self.optimizer.regularity.flow_depends_on_h
        return explain(self.slope, self.expected, is_corrected)

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

    **Warns:** if fewer than three points are clear of round-off, if their slopes still change, or
    if the slope differs from the declared order.

    **Raises:** `SolverFailure` if the flow fails; `InvalidValue` if `time` ends before the map has
    settled on its flow, or takes too many steps, and inside a JAX transformation.

    >>> from dynopt import SGD, problems
    >>> print(f"{order(SGD(0.01), problems.booth(), refinements=4).slope:.2f}")
    1.02
    """
    must_have_no_noise("order", optimizer)
    must_be_optimizer(optimizer)
    must_be_problem(problem)
    must_be_concrete("order", optimizer, problem, time, x0)
    refinements = whole_number("refinements", refinements, least=3, most=MAX_REFINEMENTS, like=8)
    first, steps = _saved_steps(optimizer, time, refinements)
    dtype = jnp.result_type(*jax.tree.leaves(problem.start(x0)))
    optimizers = [optimizer.refine(2**i) for i in range(refinements)]
    solved = optimizers if flows_differ(optimizers, problem, x0) else optimizers[:1]
    rtol = finest_tolerance(optimizer, problem, dtype)
    flows = [
        _solve(refined, problem, steps, 2**i, rtol, x0) for i, refined in enumerate(solved)
    ] * (refinements // len(solved))
    rows, errors = [], []
    for i, (refined, flow) in enumerate(zip(optimizers, flows, strict=True)):
        x, rounded = iterate_twice(refined, problem, steps, 2**i, x0=x0)
        distance, round_off, solver = map(_norms, (x - flow.x, x - rounded, flow.x - flow.looser))
        last = first + int(distance[first:].argmax())
        row = distance[last], round_off[first : last + 1].max(), solver[first:].max()
        rows.append((float(refined.h), *map(float, row)))
        errors.append(distance)
    h, error, floor, solver_error = np.array(rows).T

    is_clear = (
        np.isfinite(error)
        & (error > ROUND_OFF_MARGIN * floor)
        & (error > SOLVER_MARGIN.get(str(dtype), 100) * solver_error)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        pairwise = np.diff(np.log(error)) / np.diff(np.log(h))
    window = find_window(is_clear, pairwise)
    reason, remedy = ("", "") if window else _why_no_fit(error, is_clear, dtype, problem)
    inside = slice(window[0], window[1] + 1) if window else slice(0)
    slope, stderr = fit_line(np.log(h), np.log(error), inside) if window else (np.nan, np.nan)
    measured = Order(
        h=h,
        error=error,
        t=np.arange(steps + 1) * h[0],
        errors=np.stack(errors),
        pairwise=pairwise,
        slope=slope,
        stderr=stderr,
        window=window,
        floor=floor,
        solver_error=float(solver_error.max()),
        expected=float(optimizer.regularity.order),
        time=float(steps * optimizer.h),
        dtype=str(dtype),
        solver=" and ".join(dict.fromkeys(flow.solver for flow in flows)),
        reason=reason,
        start=np.asarray(flows[0].x[0]),
        optimizer=optimizer,
        problem=problem,
    )
    _warn(measured, remedy)
    return measured


def _warn(measured: Order, remedy: str) -> None:
    who, slopes = f"{measured.optimizer} on {measured.problem.name}", measured.fitted
    if measured.verdict == "no fit":
        sentence = f"no order of {who} is fitted: {measured.reason}; {remedy}."
    elif measured.verdict == "still changes":
        sentence = (
            f"the slopes of {who} still change, from {slopes[0]:.3g} to {slopes[-1]:.3g}, so its "
            "order has not settled; use more `refinements` or a smaller `learning_rate`."
        )
    elif measured.verdict == "differs":
        sentence = (
            f"the slope of {who} is {measured.slope:.3g} ± {measured.stderr:.1g}, but the declared "
            f"order is {measured.expected:g}: {measured.meaning}."
        )
    else:
        return
    warnings.warn(sentence, stacklevel=3)


def _saved_steps(
    optimizer: AbstractOptimizer, time: Scalar | None, refinements: int
) -> tuple[int, int]:
    """The first step of the coarsest map at which errors count, and the last one."""
    h = float(optimizer.h)
    steps = 50 if time is None else max(1, round(float(positive("time", time)) / h))
    waits = optimizer.regularity.order > 1  # an initial layer costs an error O(h)
    first = math.ceil(float(settling_time(optimizer) / optimizer.h)) if waits else 0
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


def _norms(differences: Array) -> np.ndarray:
    """The Euclidean norm at each time."""
    return np.asarray(jnp.linalg.norm(differences, axis=-1))


def _why_no_fit(
    error: np.ndarray, is_clear: np.ndarray, dtype: Any, problem: Problem
) -> tuple[str, str]:
    """The reason and a remedy."""
    infinite = int((~np.isfinite(error)).sum())
    if len(error) - infinite < MIN_POINTS:
        reason = f"{infinite} of {len(error)} errors are not finite, so too few are left"
        return reason, "use a smaller `learning_rate`"
    reason = (
        f"only {int(is_clear.sum())} of {len(error)} errors are clear of round-off and of the "
        f"solver's own error in {dtype}, which is too few"
    )
    if rounds_coarsely(problem, dtype):
        remedy = f"the loss rounds to {problem.precision:.1g}, so compute it in float64"
        return reason, f"{remedy} or use a larger `learning_rate`"
    if dtype == "float64":
        return reason, "use a larger `learning_rate` or another start"
    double = "use float64 (jax.config.update('jax_enable_x64', True))"
    return reason, f"{double} or a larger `learning_rate`"
