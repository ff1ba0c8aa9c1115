"""`integrate` solves the differential equation of an optimizer, and saves it at the map's times."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, PyTree

from ..checks import Scalar, is_concrete, positive, whole_number
from ..errors import InvalidType, InvalidValue
from ..optimizers import AbstractOptimizer
from ..optimizers.base import must_keep_form
from ..optimizers.wrappers.noise import noise_of
from ..problems import Problem
from .calls import observe_at, run_in_calls, steps_for_next_call
from .part import Part, advance_part, begin_part
from .paths import has_ordinary_flow, integrate_path, must_have_no_tolerances
from .prepare import MAX_STEPS, all_finite, num_saved, prepare_loss, prepare_run
from .setup import first_velocity, keep_setup
from .sliding import is_sliding
from .solve import solve
from .status import GAVE_UP, Status
from .trajectory import Trajectory, raise_if_failed, raise_if_interrupted

MOST_BYTES = 2**27  # of a trajectory that one of several calls of compiled code copies


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

    The flow of a noisy optimizer is a stochastic differential equation, and the result is one path
    of it, with the Brownian motion that belongs to the key of the noise; `ensemble` gives many.

    The solution is saved at the times t = k h of a map of `steps` steps. It is that of a solver of
    diffrax. New values of hyperparameters, start and tolerances never recompile.

    - `steps`, `x0`, `throw`: as for `iterate`.
    - `save_every`: save one point every so many times h, as for `iterate`; or 1/n, to save n points
      in each time h, for a smooth line.
    - `solver`: any diffrax solver, by default `Tsit5`, and `Kvaerno5` if that used up its steps
      because the flow is stiff. A solver without an error estimate takes one step per time h,
      whatever is saved: `diffrax.Euler()` on the flow of `SGD` is `SGD`.
    - `rtol`, `atol`: the tolerances of one step of the solver. `rtol` is 1e-10 by default (1e-3 in
      float32, and coarser where the vector field itself has a larger error), `atol` is `rtol`. The
      unit of `atol` is 1; for a position or a memory that starts smaller and has too small a
      velocity to become so large, it is that size.
    - `max_steps`: the largest number of steps of the solver, by default 65536.

    Where the vector field jumps and points to the jump from both sides, as that of |x| does at 0,
    the solution slides along the jump. No solver passes that, and the status is `Status.sliding`.

    A stochastic equation is solved with constant steps, 4 of `ShARK` in each time h for additive
    noise, and 16 of Euler's method otherwise, which has the weak order 1. It is meant in the sense
    of Ito, and no solver for another one is accepted where the two senses differ. It has no
    tolerances and no largest number of steps; in `stats` both tolerances are 0.

    Ctrl-C ends a long run within a second, unless a step of the solver takes longer or the
    trajectory has more than 128 MiB.

    **Raises:** `SolverFailure`, `Interrupted`, `ProblemError`, `InvalidValue` and `InvalidType` as
    `iterate` does; `SolverFailure` also if the solver uses up its steps.

    **Warns:** for noise in second moments that is far from normal, as `ensemble` does.

    >>> from dynopt import SGD, Problem
    >>> bowl = Problem(lambda x: (x**2).sum() / 2, [1.0], name="bowl")
    >>> print(f"{integrate(SGD(0.5), bowl, 2).x[-1, 0]:.4f}")
    0.3679
    """
    max_steps = whole_number("max_steps", max_steps, least=1, most=MAX_STEPS, like=2**20)
    per_step = _points_per_step(save_every)
    if noise_of(optimizer) is not None and not has_ordinary_flow(optimizer):
        must_have_no_tolerances(rtol=rtol, atol=atol)
        every: Any = save_every if per_step == 1 else 1
        return integrate_path(optimizer, problem, steps, x0, every, per_step, solver, throw)
    _must_be_solver(solver)
    fitted, start, unravel, dtype = prepare_run(optimizer, problem, x0)
    points = num_saved(
        fitted, problem.dim, dtype, steps, save_every if per_step == 1 else 1, per_step
    )
    every, thin = np.asarray(save_every if per_step == 1 else 1 / per_step), 1
    if not isinstance(solver, diffrax.AbstractAdaptiveSolver | None):
        _must_save_at_steps(solver, per_step)
        thin = int(save_every)  # the solver stands at each saved time, so save every step
        every, points = np.asarray(1), (points - 1) * thin + 1
    rtol = 1e3 * finest_rtol(dtype, fitted) if rtol is None else rtol
    rtol = jnp.asarray(positive("rtol", rtol), dtype)
    atol = jnp.asarray(positive("atol", rtol if atol is None else atol), dtype)

    def run(solver):
        arguments = fitted, problem.loss, start, points, every, solver, rtol, atol, max_steps
        outcome, interrupt = None, None
        if is_concrete(arguments):
            outcome, interrupt = _solve_in_calls(*arguments)
        if outcome is None or not is_concrete(outcome):  # the loss may close over a traced value
            outcome = _solve(*arguments)
        saved, (result, first_bad_step, solver_steps) = outcome[:4], outcome[4:]
        t, y, loss, grad_norm = jax.tree.map(lambda rows: rows[::thin], saved)
        stats = {
            "first_bad_step": first_bad_step,
            "solver": type(solver).__name__,
            "solver_steps": solver_steps,
            "rtol": rtol,
            "atol": atol,
        }
        setup = keep_setup(optimizer, problem, first_velocity, fitted, start, outcome)
        trajectory = Trajectory(t, y, loss, grad_norm, result, stats, "flow", unravel, setup)
        raise_if_interrupted(trajectory, problem, interrupt)
        return trajectory

    trajectory = run(solver or diffrax.Tsit5())
    if is_concrete(trajectory) and trajectory.status == Status.max_steps:
        t, y = trajectory.t, trajectory.y
        try:
            if is_sliding(fitted, problem.loss, start, t, y, rtol, atol, max_steps):
                trajectory = _with_status(trajectory, Status.sliding)
            elif solver is None:
                implicit = run(diffrax.Kvaerno5())
                trajectory = implicit if implicit.status == Status.ok else trajectory
        except KeyboardInterrupt as interrupt:
            runs = trajectory, getattr(interrupt, "partial", trajectory)
            longest = max(runs, key=lambda run: run.finite.sum())
            raise_if_interrupted(_with_status(longest, Status.interrupted), problem, interrupt)
    return raise_if_failed(trajectory, problem, throw)


def _with_status(trajectory: Trajectory, status: Status) -> Trajectory:
    result = jnp.full_like(trajectory.result, status)
    return eqx.tree_at(lambda run: run.result, trajectory, result)


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


def _must_save_at_steps(solver: Any, per_step: int) -> None:
    """**Raises:** `InvalidValue` for points between the steps of a solver without tolerances."""
    if per_step > 1:
        raise InvalidValue(
            f"`save_every` is 1/{per_step}, but {type(solver).__name__} has no error estimate and "
            "takes one step per time h; pass save_every=1, or leave `solver` out."
        )


def _points_per_step(save_every: Any) -> int:
    """How many points are saved in each time h; 1 if `save_every` is a whole number or invalid."""
    if isinstance(save_every, float) and not save_every >= 1:
        per_step = round(1 / save_every) if save_every > 1e-9 else 2
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
    save_every: ArrayLike,
    solver,
    rtol,
    atol,
    max_steps: int,
):
    """The compiled flow: what `run_map` returns, and the number of steps of the solver."""
    x, grad, observe, _ = prepare_loss(loss, x0)
    flow = _begin_flow(optimizer, x, grad, num_saved, save_every)
    begin = jax.tree.map(jnp.divide, flow.start, flow.units)
    vector_field = _in_units(optimizer, grad, flow.units)
    ys, last, is_solved, k = solve(vector_field, begin, flow.t, rtol, atol, solver, max_steps)
    ys = _in_phase_space(ys, flow.units)
    ys = jax.tree.map(lambda a, start: a.at[0].set(start), ys, flow.start)
    saved = ys, *jax.lax.map(observe, ys.x)
    last_x = last.x[-1] * flow.units.x
    judged = _judge(flow, loss, x0, saved, last_x, save_every, is_solved, rtol)
    return flow.t, *saved, *judged, k


class _Flow(NamedTuple):
    """What a flow is before it is solved.

    - `t`: the times at which it is saved.
    - `start`, `units`: its first point, and the units of phase space in which it is solved.
    - `is_singular`: whether its velocity there is not finite.
    """

    t: Array
    start: Any
    units: Any
    is_singular: Array


def _begin_flow(optimizer, x: Array, grad: Callable, num_saved: int, save_every) -> _Flow:
    y = optimizer.init_flow(x, grad)
    t = (jnp.arange(num_saved) * save_every * optimizer.h).astype(x.dtype)
    starts = jax.tree.map(lambda a: jnp.stack([a, 1.001 * a]), y)  # a start may be stationary
    velocities = jax.lax.map(
        lambda y: must_keep_form("vector_field", y, optimizer.vector_field(t[0], y, grad)), starts
    )
    units = jax.tree.map(lambda a, v: _unit(a, v * t[-1]), y, velocities)
    return _Flow(t, y, units, ~all_finite(jax.tree.map(lambda v: v[0], velocities)))


def _in_units(optimizer: AbstractOptimizer, grad: Callable, units: Any) -> Callable:
    def vector_field(t, y):
        velocity = optimizer.vector_field(t, jax.tree.map(jnp.multiply, y, units), grad)
        return jax.tree.map(jnp.divide, velocity, units)

    return vector_field


def _in_phase_space(y: Any, units: Any) -> Any:
    """The points of a solution; NaN where it is not finite, as where diffrax did not come."""
    y = jax.tree.map(jnp.multiply, y, units)
    return jax.tree.map(lambda a: jnp.where(jnp.isfinite(a), a, jnp.nan), y)


def _judge(flow: _Flow, loss, x0, saved: Any, last_x, save_every, is_solved, rtol):
    """The status of a flow and its first bad step, from what was saved and its last position."""
    x, _, _, squared_radius = prepare_loss(loss, x0)
    ys, _, norms = saved
    reached = jax.vmap(all_finite)(saved)
    far = jax.vmap(squared_radius)(ys.x) > 1
    diverged = far | (~reached & (squared_radius(last_x) > 1))
    failed = diverged | ~reached
    first_failed = jnp.argmax(failed)
    gave_up = ~is_solved
    status = jnp.select(
        [
            ~failed.any(),
            flow.is_singular,
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
    never_moved = (len(flow.t) > 1) & (ys.x == x[None]).all() & (norms[0] > 0)
    status = jnp.where((status == Status.ok) & never_moved, Status.stalled, status)
    bad_step = jnp.ceil(first_failed * save_every).astype(first_failed.dtype)
    return status, jnp.where(failed.any(), bad_step, -1)


class _Progress(NamedTuple):
    """A flow as far as it has come.

    - `part`, `is_over`: its solution, and whether that came to its end or failed.
    - `judged`: its status and its first bad step, if it comes no further.
    """

    part: Part
    is_over: Any = False
    judged: Any = None

    k = property(lambda self: self.part.k)


def _solve_in_calls(optimizer, loss, x0, num_saved, save_every, solver, rtol, atol, max_steps: int):
    """What `_solve` returns, from many calls of compiled code, and the interrupt that ended it.

    In the place of the result it is None for a loss that closes over a traced value, and for a
    trajectory so large that every call would take long to copy it.
    """
    settings = save_every, solver, rtol, atol
    began = time.perf_counter()
    flow, part = _begin(optimizer, loss, x0, num_saved, *settings)
    if not is_concrete(part) or sum(v.nbytes for v in jax.tree.leaves(part.saved)) > MOST_BYTES:
        return None, None
    part.t.block_until_ready()
    seconds = time.perf_counter() - began

    def advance(progress: _Progress, stop: int) -> _Progress:
        return _advance(flow, progress.part, np.asarray(stop), optimizer, loss, x0, *settings)

    # A step asks for about as many gradients as the start did, an implicit one for many more.
    is_implicit = isinstance(solver, diffrax.AbstractImplicitSolver)
    size = 1 if is_implicit else steps_for_next_call(1, seconds, max_steps)
    progress, interrupt = run_in_calls(advance, _Progress(part), max_steps, size)
    if interrupt is not None and progress.judged is None:
        raise interrupt
    (part, _, (status, first_bad_step)), t = progress, flow.t
    if interrupt is not None and status in (Status.ok, *GAVE_UP):
        status = jnp.full_like(status, Status.interrupted)
        i = int(part.num_saved)
        if i < num_saved and t[i - 1] < part.t:
            y = _in_phase_space(part.y, flow.units)
            row = part.t, (y, *observe_at(loss, x0, y.x))
            t, saved = jax.tree.map(partial(_with_row, i), (t, part.saved), row)
            part = part._replace(saved=saved)
    return (t, *part.saved, status, first_bad_step, part.k), interrupt


def _with_row(i: int, rows: Array, row: Array) -> Array:
    changed = np.array(rows)  # by numpy, which compiles nothing
    changed[i] = row
    return jnp.asarray(changed)


@eqx.filter_jit
def _begin(optimizer, loss, x0, num_saved: int, save_every, solver, rtol, atol):
    """The flow, and its solution before the first step."""
    x, grad, observe, _ = prepare_loss(loss, x0)
    flow = _begin_flow(optimizer, x, grad, num_saved, save_every)
    begin = jax.tree.map(jnp.divide, flow.start, flow.units)
    vector_field = _in_units(optimizer, grad, flow.units)
    row = flow.start, *observe(x)
    return flow, begin_part(vector_field, begin, row, flow.t, rtol, atol, solver)


@eqx.filter_jit
def _advance(flow: _Flow, part: Part, stop, optimizer, loss, x0, save_every, solver, rtol, atol):
    """The flow after `stop` steps of the solver in all, or at its end."""
    _, grad, observe, _ = prepare_loss(loss, x0)

    def make_row(t, y):
        y = _in_phase_space(y, flow.units)
        return y, *observe(y.x)

    vector_field = _in_units(optimizer, grad, flow.units)
    part = advance_part(part, stop, vector_field, make_row, flow.t, rtol, atol, solver)
    is_solved = part.is_okay & (part.t >= flow.t[-1])
    last_x = part.y.x * flow.units.x
    judged = _judge(flow, loss, x0, part.saved, last_x, save_every, is_solved, rtol)
    return _Progress(part, is_solved | ~part.is_okay, judged)


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
