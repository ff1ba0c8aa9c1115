"""`integrate` solves the differential equation of an optimizer, and saves it at the map's times."""

from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from ..checks import Scalar, is_concrete, positive, whole_number
from ..errors import InvalidType, InvalidValue
from ..optimizers import AbstractOptimizer
from ..problems import Problem
from .prepare import MAX_STEPS, all_finite, num_saved, prepare_loss, prepare_run
from .setup import first_velocity, keep_setup
from .sliding import is_sliding
from .solve import solve
from .status import Status
from .trajectory import Trajectory, raise_if_failed


def integrate(
    optimizer: AbstractOptimizer,
    problem: Problem,
    steps: int,
    *,
    x0: Any = None,
    save_every: int | float = 1,
    solver: diffrax.AbstractSolver | None = None,
    rtol: Scalar | None = None,
    atol: Scalar | None = None,
    max_steps: int = 2**16,
    throw: bool = True,
) -> Trajectory:
    """Run the flow: solve dy/dt = vector_field(t, y) from the start that the optimizer gives.

    The solution is saved at the times t = k h of a map of `steps` steps. It is one solve by
    diffrax. New values of hyperparameters, start and tolerances never recompile.

    - `steps`, `x0`, `throw`: as for `iterate`.
    - `save_every`: save one point every so many times h, as for `iterate`; or 1/n, to save n points
      in each time h, for a smooth line.
    - `solver`: any diffrax solver, by default `Tsit5`, and `Kvaerno5` if that used up its steps
      because the flow is stiff. A solver without an error estimate takes one step per time h:
      `diffrax.Euler()` on the flow of `SGD` is `SGD`.
    - `rtol`, `atol`: the tolerances of one step of the solver. `rtol` is 1e-10 by default (1e-3 in
      float32, and coarser where the vector field itself has a larger error), `atol` is `rtol`. The
      unit of `atol` is 1; for a position or a memory that starts smaller and has too small a
      velocity to become so large, it is that size.
    - `max_steps`: the largest number of steps of the solver, by default 65536.

    Where the vector field jumps and points to the jump from both sides, as that of |x| does at 0,
    the solution slides along the jump. No solver passes that, and the status is `Status.sliding`.

    **Raises:** `SolverFailure`, `ProblemError`, `InvalidValue` and `InvalidType` as `iterate` does;
    `SolverFailure` also if the solver uses up its steps.

    >>> from dynopt import SGD, Problem
    >>> bowl = Problem(lambda x: (x**2).sum() / 2, [1.0], name="bowl")
    >>> print(f"{integrate(SGD(0.5), bowl, 2).x[-1, 0]:.4f}")
    0.3679
    """
    max_steps = whole_number("max_steps", max_steps, least=1, most=MAX_STEPS, like=2**20)
    _must_be_solver(solver)
    fitted, start, unravel, dtype = prepare_run(optimizer, problem, x0)
    per_step = _points_per_step(save_every)
    points = num_saved(
        fitted, problem.dim, dtype, steps, save_every if per_step == 1 else 1, per_step
    )
    every = jnp.asarray(save_every if per_step == 1 else 1 / per_step)
    rtol = 1e3 * finest_rtol(dtype, fitted) if rtol is None else rtol
    rtol = jnp.asarray(positive("rtol", rtol), dtype)
    atol = jnp.asarray(positive("atol", rtol if atol is None else atol), dtype)

    def run(solver):
        outcome = _solve(fitted, problem.loss, start, points, every, solver, rtol, atol, max_steps)
        t, y, loss, grad_norm, result, first_bad_step, solver_steps = outcome
        stats = {
            "first_bad_step": first_bad_step,
            "solver": type(solver).__name__,
            "solver_steps": solver_steps,
            "rtol": rtol,
            "atol": atol,
        }
        setup = keep_setup(optimizer, problem, first_velocity, fitted, start, outcome)
        return Trajectory(t, y, loss, grad_norm, result, stats, "flow", unravel, setup)

    trajectory = run(solver or diffrax.Tsit5())
    if is_concrete(trajectory) and trajectory.status == Status.max_steps:
        t, y = trajectory.t, trajectory.y
        if is_sliding(fitted, problem.loss, start, t, y, rtol, atol, max_steps):
            slides = jnp.full_like(trajectory.result, Status.sliding)
            trajectory = eqx.tree_at(lambda run: run.result, trajectory, slides)
        elif solver is None:
            implicit = run(diffrax.Kvaerno5())
            trajectory = implicit if implicit.status == Status.ok else trajectory
    return raise_if_failed(trajectory, problem, throw)


def _must_be_solver(solver: Any) -> None:
    if solver is None:
        return
    if not isinstance(solver, diffrax.AbstractSolver):
        raise InvalidType(
            f"`solver` must be a diffrax solver, got {solver!r}; pass for example diffrax.Tsit5()."
        )
    if solver.term_structure is not diffrax.AbstractTerm:
        raise InvalidType(
            f"`solver` {type(solver).__name__} splits its equation into several terms, but a flow "
            "has one; pass for example diffrax.Tsit5()."
        )


def _points_per_step(save_every: Any) -> int:
    """How many points are saved in each time h; 1 if `save_every` is a whole number or invalid."""
    if isinstance(save_every, float) and 0 < save_every < 1:
        per_step = round(1 / save_every)
        if abs(per_step * save_every - 1) < 1e-12:
            return per_step
        raise InvalidValue(
            f"`save_every` must be a whole number or 1/n, got {save_every!r}; pass for example "
            f"save_every=1/{per_step}."
        )
    return 1


@eqx.filter_jit
def _solve(
    optimizer: AbstractOptimizer,
    loss: Callable,
    x0: PyTree,
    num_saved: int,
    save_every: Array,
    solver,
    rtol,
    atol,
    max_steps: int,
):
    """The compiled flow: what `run_map` returns, and the number of steps of the solver."""
    x, grad, observe, squared_radius = prepare_loss(loss, x0)
    y = optimizer.init_flow(x, grad)
    t = (jnp.arange(num_saved) * save_every * optimizer.h).astype(x.dtype)
    starts = jax.tree.map(lambda a: jnp.stack([a, 1.001 * a]), y)  # a start may be stationary
    velocities = jax.lax.map(lambda y: optimizer.vector_field(t[0], y, grad), starts)
    units = jax.tree.map(lambda a, v: _unit(a, v * t[-1]), y, velocities)

    def vector_field(t, y):
        velocity = optimizer.vector_field(t, jax.tree.map(jnp.multiply, y, units), grad)
        return jax.tree.map(jnp.divide, velocity, units)

    begin = jax.tree.map(jnp.divide, y, units)
    ys, last, is_solved, solver_steps = solve(vector_field, begin, t, rtol, atol, solver, max_steps)
    ys, last = (jax.tree.map(jnp.multiply, points, units) for points in (ys, last))
    # diffrax gives infinity at the times that it did not reach.
    ys = jax.tree.map(lambda a: jnp.where(jnp.isfinite(a), a, jnp.nan), ys)
    ys = jax.tree.map(lambda a, start: a.at[0].set(start), ys, y)
    losses, norms = jax.lax.map(observe, ys.x)

    reached = jax.vmap(all_finite)((ys, losses, norms))
    far = jax.vmap(squared_radius)(ys.x) > 1
    diverged = far | (~reached & (squared_radius(last.x[-1]) > 1))
    failed = diverged | ~reached
    first_failed = jnp.argmax(failed)
    gave_up = ~is_solved
    status = jnp.select(
        [
            ~failed.any(),
            ~all_finite(jax.tree.map(lambda v: v[0], velocities)),
            diverged[first_failed],
            gave_up & (rtol < 10 * jnp.finfo(x.dtype).eps),
            gave_up,
        ],
        [
            Status.ok,
            Status.singular_start,
            Status.diverged,
            Status.tolerance_unreachable,
            Status.max_steps,
        ],
        Status.nonfinite,
    )
    never_moved = (num_saved > 1) & (ys.x == x[None]).all() & (norms[0] > 0)
    status = jnp.where((status == Status.ok) & never_moved, Status.stalled, status)
    bad_step = jnp.ceil(first_failed * save_every).astype(first_failed.dtype)
    first_bad_step = jnp.where(failed.any(), bad_step, -1)
    return t, ys, losses, norms, status, first_bad_step, solver_steps


def _unit(start: Array, change: Array) -> Array:
    """The unit of an absolute tolerance: how large a part of phase space is, but at most 1.

    The memories of an optimizer are as small as the loss. If they were below the tolerance, an
    optimizer that divides by them, or takes their sign, would be solved wrongly in silence.
    """
    size = jax.lax.stop_gradient(jnp.abs(start).max() + jnp.abs(change).max())
    return jnp.where((size > 0) & (size < 1), size, 1)


def finest_rtol(dtype, optimizer: AbstractOptimizer) -> float:
    """The finest relative tolerance that is worth asking of a solver for this flow and dtype."""
    return max(
        1e-13 if dtype == jnp.float64 else 1e-6,
        optimizer.regularity.flow_error_ulps * float(jnp.finfo(dtype).eps),
    )
