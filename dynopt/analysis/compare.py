"""The global error: the distance between the map and the flow at every time of a run."""

import warnings
from dataclasses import replace
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..checks import Scalar, is_concrete, positive
from ..errors import SolverFailure
from ..optimizers import AbstractOptimizer
from ..optimizers.wrappers.noise import must_have_no_noise
from ..problems import Problem
from ..runs.integrate import integrate
from ..runs.iterate import iterate
from ..runs.status import GAVE_UP
from ..runs.trajectory import Trajectory
from .round_off import finest_tolerance, iterate_twice, rounds_coarsely

MAX_CURVE_POINTS, MAX_CURVE_NUMBERS = 2**12, 2**22  # of the curve of a flow
MAX_SOLVER_FRACTION = 1e-3  # of the largest error: the solver's error in a resolved comparison


class Comparison(eqx.Module):
    """The global error |x_map(t) - x_flow(t)| at the times t = k h, and the two runs.

    - `t`: the times, shape `(n+1,)`.
    - `error`: the distance of the two positions at these times, in the unit of x, shape `(n+1,)`;
      NaN from the time at which one of the runs failed.
    - `solver_error`: an estimate of the error of the flow itself, shape `(n+1,)`: that of the
      solver, and where the loss computes in a coarser dtype than the runs, that of its round-off.
    - `map`, `flow`: the two trajectories.
    - `curve`: the same flow at up to 32 times in each step, for a smooth line; inside a
      transformation of JAX at the times `t` only.
    - `optimizer`, `problem`: the optimizer and the problem that were run.
    - `largest`: the largest error.
    - `resolved`: whether the solver's error is below a thousandth of the largest error. This does
      not tell of a well of the loss that both the map and the solver step over.
    """

    t: Array
    error: Float[Array, " n"]
    solver_error: Float[Array, " n"]
    map: Trajectory
    flow: Trajectory
    curve: Trajectory
    optimizer: AbstractOptimizer
    problem: Problem

    @property
    def largest(self) -> Array:
        return jnp.nanmax(self.error)

    @property
    def resolved(self) -> Array:
        return jnp.nanmax(self.solver_error) <= MAX_SOLVER_FRACTION * self.largest

    def __repr__(self) -> str:
        largest = f"largest error {float(self.largest):.3g}"
        runs = [] if self.t.ndim > 1 else [self.map, self.flow]
        failures = "".join(f", {run.kind} {run.failure()}" for run in runs if run.failure())
        return f"Comparison({self.optimizer} on {self.problem.name}, {largest}{failures})"


def compare(
    optimizer: AbstractOptimizer,
    problem: Problem,
    steps: int,
    *,
    x0: Any = None,
    solver: diffrax.AbstractSolver | None = None,
    rtol: Scalar | None = None,
    max_steps: int = 2**16,
    throw: bool = True,
) -> Comparison:
    """Run the map and the flow of an optimizer, and measure the global error at the times k h.

    The error is |x_map(t) - x_flow(t)| at t = 0, h, 2h, ..., in the Euclidean norm over all
    coordinates. The flow is solved at two tolerances, which differ by a factor of 100. Their
    difference is the solver's own error, and the finer solution is the flow. Both tolerances are
    tightened until that error is below a thousandth of the largest error, or until the dtype
    allows no finer one. A solver without tolerances, such as `diffrax.Euler()`, takes one step per
    time h; its own error is then the distance to the solution of the default solver.

    - `steps`: the number of steps of the map.
    - `x0`, `throw`: as for `iterate`.
    - `solver`, `rtol`, `max_steps`: as for `integrate`.

    How the error changes with h is asked of `order`, which also tells if the flow is not that of
    the map.

    **Warns:** if the solver's error is still too large at the finest tolerance of the dtype, or
    because the solver has no tolerance, the flow is too stiff for a finer one, or the loss computes
    in a coarser dtype than the runs. In float32 it warns only if the solver's error is more than a
    tenth of the largest error.

    **Raises:** as `iterate` and `integrate` do.

    >>> from dynopt import SGD, Problem
    >>> bowl = Problem(lambda x: (x**2).sum() / 2, [1.0], name="bowl")
    >>> print(f"{compare(SGD(0.1), bowl, 10).error[-1]:.5f}")  # e^(-1) - 0.9^10
    0.01920
    """
    must_have_no_noise("compare", optimizer)
    map_run = iterate(optimizer, problem, steps, x0=x0, throw=throw)
    return compare_with_map(map_run, optimizer, problem, steps, x0, throw, solver, rtol, max_steps)


def compare_with_map(
    map_run: Trajectory,
    optimizer: AbstractOptimizer,
    problem: Problem,
    steps: int,
    x0: Any,
    throw: bool,
    solver: diffrax.AbstractSolver | None = None,
    rtol: Scalar | None = None,
    max_steps: int = 2**16,
) -> Comparison:
    """The comparison of a map that has been run with the flow of `optimizer`."""
    finest = finest_tolerance(optimizer, problem, map_run.t.dtype)
    rtol = 1e4 * finest if rtol is None else positive("rtol", rtol)

    per_step = _points_per_step(map_run, solver)

    def solve(rtol):
        return integrate(
            optimizer,
            problem,
            steps,
            x0=x0,
            save_every=1 / per_step if per_step > 1 else 1,
            solver=solver,
            rtol=rtol,
            max_steps=max_steps,
            throw=throw,
        )

    def solve_as_far_as_possible(rtol):
        try:
            return solve(rtol)
        except SolverFailure as failure:
            if failure.status not in GAVE_UP:
                raise
            return failure.partial

    round_off = jnp.zeros_like(map_run.t)
    if rounds_coarsely(problem, map_run.t.dtype):
        x, rounded = iterate_twice(optimizer, problem, steps, 1, x0=x0)
        round_off = jnp.linalg.norm(x - rounded, axis=-1)

    def measure(curve, other):
        flow, other = _at_steps(curve, per_step), _at_steps(other, per_step)
        error, solver_error = distance(map_run, flow), distance(other, flow) + round_off
        return Comparison(map_run.t, error, solver_error, map_run, flow, curve, optimizer, problem)

    comparison, coarse = None, solve(rtol)
    if not isinstance(solver, diffrax.AbstractAdaptiveSolver | None):  # it knows no tolerance
        flow = integrate(optimizer, problem, steps, x0=x0, max_steps=max_steps, throw=throw)
        comparison = measure(coarse, flow)
        if is_concrete(comparison.error) and comparison.error.ndim == 1 and not comparison.resolved:
            _warn(comparison, solver)
        return comparison
    while True:
        rtol = max(rtol / 100, finest)
        fine = solve_as_far_as_possible(rtol)
        gave_up = is_concrete(fine.result) and fine.result.ndim == 0 and fine.status in GAVE_UP
        if not gave_up:
            comparison = measure(fine, coarse)
        elif comparison is None:
            if coarse.status in GAVE_UP:
                comparison = measure(fine, coarse)
            else:  # the flow is too stiff for a finer tolerance; a coarser one gives the error
                comparison = measure(coarse, solve_as_far_as_possible(1e3 * rtol))
        if (
            not is_concrete(comparison.error)
            or comparison.error.ndim > 1
            or comparison.resolved
            or jnp.isnan(comparison.largest)
        ):
            return comparison
        if rtol <= finest or gave_up:
            _warn(comparison, solver)
            return comparison
        coarse = fine


def _points_per_step(map_run: Trajectory, solver: diffrax.AbstractSolver | None) -> int:
    """At how many times in each step the flow is saved: few of many steps, and of a large model.

    It is 1 for a solver that has no tolerance, which takes one step from one time to the next, and
    inside a transformation.
    """
    if not is_concrete(map_run) or not isinstance(solver, diffrax.AbstractAdaptiveSolver | None):
        return 1
    points, dim = map_run.y.x.shape[-2:]
    most = min(MAX_CURVE_POINTS, MAX_CURVE_NUMBERS // dim) // max(points - 1, 1)
    return 1 << max(min(most, 32).bit_length() - 1, 0)


def _at_steps(curve: Trajectory, per_step: int) -> Trajectory:
    """The points of a curve at the times t = k h."""
    t, y, loss, grad_norm = jax.tree.map(
        lambda leaf: leaf[::per_step], (curve.t, curve.y, curve.loss, curve.grad_norm)
    )
    parts = {"t": t, "y": y, "loss": loss, "grad_norm": grad_norm}
    return curve if per_step == 1 else replace(curve, **parts)


def _warn(comparison: Comparison, solver: diffrax.AbstractSolver | None) -> None:
    solver_error = jnp.nan_to_num(jnp.nanmax(comparison.solver_error), nan=jnp.inf)
    largest, double = comparison.largest, comparison.t.dtype == jnp.float64
    round_off = jnp.sqrt(jnp.finfo(comparison.t.dtype).eps) * jnp.nanmax(
        jnp.abs(comparison.map.y.x)
    )
    is_negligible = not largest > 0 and solver_error <= round_off
    if is_negligible or (not double and solver_error <= largest / 10):
        return
    fraction = "thousandth" if double else "tenth"
    if not isinstance(solver, diffrax.AbstractAdaptiveSolver | None):
        remedy = f"{type(solver).__name__} has no tolerance; leave `solver` out for the flow itself"
    elif rounds_coarsely(comparison.problem, comparison.t.dtype):
        remedy = f"the loss rounds to {comparison.problem.precision:.1g}; compute it in float64"
    elif double:
        remedy = "trust the error only where `solver_error` is small"
    else:
        remedy = "use float64 (jax.config.update('jax_enable_x64', True))"
    warnings.warn(
        f"the solver's own error, {float(solver_error):.1g}, is more than a {fraction} of the "
        f"largest error of {comparison.optimizer} on {comparison.problem.name}; {remedy}.",
        stacklevel=4,
    )


def distance(a: Trajectory, b: Trajectory) -> Array:
    """The Euclidean distance of two runs at each time; NaN where one of them is not finite."""
    distances = jnp.linalg.norm(a.y.x - b.y.x, axis=-1)
    return jnp.where(jnp.isfinite(distances), distances, jnp.nan)
