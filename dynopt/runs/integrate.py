"""`integrate` solves the differential equation of an optimizer, and looks at it at the times of the map."""

from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from ..checks import Scalar, is_concrete, positive, whole_number
from ..errors import InvalidType
from ..optimizers import AbstractOptimizer
from ..problems import Problem
from .prepare import MOST_STEPS, all_finite, num_saved, prepare_loss, prepare_run
from .trajectory import Status, Trajectory, raise_if_failed


def integrate(
    optimizer: AbstractOptimizer,
    problem: Problem,
    steps: int,
    *,
    x0: Any = None,
    save_every: int = 1,
    solver: diffrax.AbstractSolver | None = None,
    rtol: Scalar | None = None,
    atol: Scalar | None = None,
    max_steps: int = 2**16,
    throw: bool = True,
) -> Trajectory:
    """Run the flow: dy/dt = flow(t, y) from the map's own start, seen at the times t = k h of `steps` steps.

    One diffrax solve; values of hyperparameters, start and tolerances never recompile.

    - `solver`: any diffrax solver. By default `Tsit5`, and `Kvaerno5` where the flow proves too stiff for it. A solver
      without an error estimate takes one step per h: `diffrax.Euler()` on the flow of `SGD` is `SGD`.
    - `rtol`, `atol`: tolerances of the solver's steps, by default 1e-10 (in float32 1e-3) and `rtol`.
    - `max_steps`: of the solver. - `x0`, `save_every`, `throw`: as for `iterate`.

    **Raises:** `SolverFailure`, `ProblemError` and `InvalidValue` as `iterate` does.

    >>> from dynopt import SGD, Problem
    >>> bowl = Problem(lambda x: (x**2).sum() / 2, [1.0], name="bowl")
    >>> print(f"{integrate(SGD(0.5), bowl, 2).x[-1, 0]:.4f}")
    0.3679
    """
    max_steps = whole_number("max_steps", max_steps, least=1, most=MOST_STEPS, like=2**20)
    if solver is not None and not isinstance(solver, diffrax.AbstractSolver):
        raise InvalidType(
            f"`solver` must be a diffrax solver, got {solver!r}; pass for example diffrax.Tsit5()."
        )
    if solver is not None and solver.term_structure is not diffrax.AbstractTerm:
        name = type(solver).__name__
        raise InvalidType(
            f"`solver` {name} splits its equation, and a flow is one piece; pass for example diffrax.Tsit5()."
        )
    page, x0, unravel, dtype = prepare_run(optimizer, problem, x0)
    saves, every = num_saved(page, problem.dim, dtype, steps, save_every), jnp.asarray(save_every)
    rtol = jnp.asarray(
        positive("rtol", 1e3 * finest_rtol(dtype, page) if rtol is None else rtol), dtype
    )
    atol = jnp.asarray(positive("atol", rtol if atol is None else atol), dtype)
    names = {
        "kind": "flow",
        "optimizer": repr(optimizer),
        "problem": problem.name,
        "unravel": unravel,
    }

    def run(solver):
        known = page, problem.loss, x0, saves, every, solver, rtol, atol, max_steps
        forward, backward = diffrax.ForwardMode(), diffrax.RecursiveCheckpointAdjoint()
        found = _integrate(*known, forward) if is_concrete(known) else ()  # traced faster
        if not found or not is_concrete(
            found
        ):  # inside a transformation, perhaps by way of what the loss closes over
            found = _integrate(*known, backward)
        t, y, loss, grad_norm, result, bad, used = found
        cost = {"solver": type(solver).__name__, "solver_steps": used, "rtol": rtol, "atol": atol}
        stats = {"first_bad_step": bad} | cost
        return Trajectory(t, y, loss, grad_norm, result, stats, **names)

    trajectory = run(solver or diffrax.Tsit5())
    if solver is None and is_concrete(trajectory.result) and trajectory.status == Status.max_steps:
        stiff = run(diffrax.Kvaerno5())
        trajectory = stiff if stiff.status == Status.ok else trajectory
    return raise_if_failed(trajectory, problem, throw)


@eqx.filter_jit
def _integrate(
    optimizer: AbstractOptimizer,
    loss: Callable,
    x0: PyTree,
    saves: int,
    every: Array,
    solver,
    rtol,
    atol,
    max_steps: int,
    adjoint,
):
    x, grad, look, reach = prepare_loss(loss, x0)
    y = optimizer.init_flow(x, grad)
    t = (jnp.arange(saves + 1) * every * optimizer.h).astype(x.dtype)
    adaptive = isinstance(solver, diffrax.AbstractAdaptiveSolver)
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(jax.jit(lambda t, y, _: optimizer.vector_field(t, y, grad))), solver, t[0], t[-1], None, y,
        saveat=diffrax.SaveAt(subs=(diffrax.SubSaveAt(ts=t), diffrax.SubSaveAt(t1=True))),
        stepsize_controller=diffrax.PIDController(rtol, atol) if adaptive else diffrax.StepTo(ts=t),
        max_steps=max_steps, throw=False, adjoint=adjoint,
    )  # fmt: skip
    assert solution.ys is not None
    ys, last = solution.ys
    ys = jax.tree.map(
        lambda a: jnp.where(jnp.isfinite(a), a, jnp.nan), ys
    )  # what was not reached comes as inf
    ys = jax.tree.map(lambda a, start: a.at[0].set(start), ys, y)
    losses, norms = jax.lax.map(look, ys.x)

    reached = jax.vmap(all_finite)((ys, losses, norms))
    escaped = (jax.vmap(reach)(ys.x) > 1) | (~reached & (reach(last.x[-1]) > 1))
    failed = escaped | ~reached
    bad = jnp.argmax(failed)
    gave_up = ~diffrax.is_okay(solution.result)
    status = jnp.select(
        [
            ~failed.any(),
            ~all_finite(optimizer.vector_field(t[0], y, grad)),
            escaped[bad],
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
    still = (saves > 0) & (ys.x == x[None]).all() & (norms[0] > 0)
    status = jnp.where((status == Status.ok) & still, Status.stalled, status)
    return (
        t,
        ys,
        losses,
        norms,
        status,
        jnp.where(failed.any(), bad * every, -1),
        solution.stats["num_steps"],
    )


def finest_rtol(dtype, optimizer: AbstractOptimizer) -> float:
    """The finest relative tolerance that is worth asking of a solver in this dtype, for the flow of this page."""
    return max(
        1e-13 if dtype == jnp.float64 else 1e-6,
        optimizer.regularity.flow_error_ulps * float(jnp.finfo(dtype).eps),
    )
