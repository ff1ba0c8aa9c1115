"""`iterate` runs the map, `integrate` runs the flow; both see their run at the same times t = k h."""

import enum
import math
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Int, PyTree

from . import archive, atomic
from .checks import Scalar, concrete, positive, whole
from .errors import InvalidType, InvalidValue, ProblemError, SolverFailure
from .members import must_be_one
from .optimizers import AbstractOptimizer
from .optimizers.base import must_be_page
from .optimizers.gradient import Gradient
from .problems import Problem
from .problems.problem import must_be_problem

MOST_STEPS = 10**9  # so that what is noted of a step fits in 32 bits
BUDGET = 4 * 2**30  # bytes that one trajectory may take


class Status(enum.IntEnum):
    """How a run ended. Batches hold one integer per run, so `batch.result == Status.ok` is a mask."""

    ok = 0
    diverged = 1  # the position left every reasonable region, or became infinite
    nonfinite = 2  # a loss, gradient or memory became NaN or infinite while the position was still near
    stalled = 3  # no step moved the position, though the gradient is not zero
    max_steps = 4  # the solver used up its steps
    tolerance_unreachable = 5  # so did it, and the tolerance is finer than the dtype
    singular_start = 6  # the flow has no finite value at the start
    interrupted = 7  # stopped from outside

    def __str__(self) -> str:
        return self.name


GAVE_UP = (Status.max_steps, Status.tolerance_unreachable)  # where a looser tolerance may do


class Trajectory(eqx.Module):
    """A run through phase space, seen at the times t = k h.

    - `t`: times, shape `(n+1,)`. - `y`: points of phase space, a NamedTuple of arrays `(n+1, dim)`, in which a PyTree
      position is one vector. - `x`: the positions as the problem knows them, with a leading axis n+1.
    - `loss`, `grad_norm`: f and |∇f| there, shape `(n+1,)`.
    - `result`: a `Status`, as an integer; `status`: the same by name.
    - `stats`: `first_bad_step` (-1 if none); of a flow also `solver`, `solver_steps`, `rtol` and `atol`.
    - `kind`: "map" or "flow". - `optimizer`, `problem`: as they print.
    """

    t: Array
    y: Any
    loss: Array
    grad_norm: Array
    result: Int[Array, ""]
    stats: dict[str, Any]
    kind: str = eqx.field(static=True)
    optimizer: str = eqx.field(static=True)
    problem: str = eqx.field(static=True)
    unravel: Callable[[Array], PyTree] = eqx.field(static=True)

    @property
    def x(self) -> PyTree[Array]:
        batch = self.y.x.shape[:-1]
        flat = jax.vmap(self.unravel)(self.y.x.reshape(-1, self.y.x.shape[-1]))
        return jax.tree.map(lambda leaf: leaf.reshape(*batch, *leaf.shape[1:]), flat)

    @property
    def status(self) -> Status:
        return Status(int(self.result))

    @property
    def finite(self) -> np.ndarray:
        """Which saved points belong to the finite beginning, shape `(n+1,)`."""
        seen = np.isfinite(np.asarray(self.loss)) & np.isfinite(np.asarray(self.y.x)).all(-1)
        return np.logical_and.accumulate(seen, axis=-1)

    def save(self, path: str | Path) -> None:
        """Write everything to one `.npz` without pickle, whole or not at all; the same run gives the same bytes.

        Containers other than dicts, lists and tuples come back as lists of their leaves.

        **Raises:** `OutputError` if the disk refuses.
        """
        atomic.write(path, archive.pack(self))

    @classmethod
    def load(cls, path: str | Path) -> "Trajectory":
        """Read what `save` wrote.

        **Raises:** `CorruptFile` if the file is damaged or something else; `OSError` if it cannot be read.
        """
        return cls(**archive.unpack(path))

    def __repr__(self) -> str:
        known = isinstance(self.result, jax.Array) and not isinstance(self.result, Tracer) and self.result.ndim == 0
        ended = f", {self.status}" if known else ""
        seen = f"{self.t.shape[-1]} points, {self.t.dtype}"
        return f"Trajectory({self.kind} of {self.optimizer} on {self.problem}, {seen}{ended})"


def iterate(
    optimizer: AbstractOptimizer,
    problem: Problem,
    steps: int,
    *,
    x0: Any = None,
    save_every: int = 1,
    throw: bool = True,
) -> Trajectory:
    """Run the map: yₖ₊₁ = step(k h, yₖ), from the optimizer's own start at `x0`.

    One compilation serves every value of the hyperparameters and of the start; only the kind of page, the problem's
    function, the shapes and the number of saved points are compiled in. The dtype is that of `x0`.

    - `steps`: how many, 0 or more. - `x0`: the start, by default the problem's own.
    - `save_every`: keep each of this many steps only (a divisor of `steps`); memory then grows with the points kept.
    - `throw`: raise if the run fails. Otherwise, and always inside `jit` and `vmap`, read `result`.

    **Raises:** `SolverFailure` (with the whole trajectory in `.partial`) if the run diverges, turns nonfinite or
    stalls; `ProblemError` if the loss or gradient is not finite at the start; `InvalidValue` for wrong input.

    >>> from dynopt import SGD, Problem
    >>> bowl = Problem(lambda x: (x**2).sum() / 2, [1.0], name="bowl")
    >>> iterate(SGD(0.5), bowl, 3).x[:, 0].tolist()
    [1.0, 0.5, 0.25, 0.125]
    """
    page, x0, unravel, dtype = ready(optimizer, problem, x0)
    saves = _saves(page, problem.dim, dtype, steps, save_every)
    t, y, loss, grad_norm, result, bad = run_map(page, problem.loss, x0, saves, int(save_every))
    names = {"kind": "map", "optimizer": repr(optimizer), "problem": problem.name, "unravel": unravel}
    trajectory = Trajectory(t, y, loss, grad_norm, result, {"first_bad_step": bad}, **names)
    return _judged(trajectory, problem, throw)


@eqx.filter_jit
def run_map(page: AbstractOptimizer, loss: Callable, x0: PyTree, saves: int, every: int | Array):
    """The map, compiled.

    `every` may be an array: then one compilation serves all refinements, but reverse mode is lost.
    """
    x, grad, look, reach = view(loss, x0)
    y = page.init(x, grad)

    def one(_, carry):
        k, y, fault = carry
        y = page.step(k * page.h, y, grad)
        return k + 1, y, watch(fault, k + 1, reach(y.x) > 1, all_finite(y))

    def some(carry, _):
        k, y, fault = jax.lax.fori_loop(0, every, one, carry)
        seen = look(y.x)
        return (k, y, watch(fault, k, False, all_finite(seen))), (y, *seen)

    seen, k = look(x), jnp.asarray(0)
    (_, _, fault), rest = jax.lax.scan(some, (k, y, watch(k, k, False, all_finite((y, seen)))), length=saves)
    bad, status = read_fault(fault)
    ys, losses, norms = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), (y, *seen), rest)
    t = (jnp.arange(saves + 1) * every * page.h).astype(x.dtype)
    still = (saves > 0) & (ys.x == x[None]).all() & (norms[0] > 0)
    return t, ys, losses, norms, jnp.where((status == Status.ok) & still, Status.stalled, status), bad


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
    max_steps = whole("max_steps", max_steps, least=1, most=MOST_STEPS, like=2**20)
    if solver is not None and not isinstance(solver, diffrax.AbstractSolver):
        raise InvalidType(f"`solver` must be a diffrax solver, got {solver!r}; pass for example diffrax.Tsit5().")
    if solver is not None and solver.term_structure is not diffrax.AbstractTerm:
        name = type(solver).__name__
        raise InvalidType(
            f"`solver` {name} splits its equation, and a flow is one piece; pass for example diffrax.Tsit5()."
        )
    page, x0, unravel, dtype = ready(optimizer, problem, x0)
    saves, every = _saves(page, problem.dim, dtype, steps, save_every), jnp.asarray(save_every)
    rtol = jnp.asarray(positive("rtol", 1e3 * rtol_floor(dtype, page) if rtol is None else rtol), dtype)
    atol = jnp.asarray(positive("atol", rtol if atol is None else atol), dtype)
    names = {"kind": "flow", "optimizer": repr(optimizer), "problem": problem.name, "unravel": unravel}

    def run(solver):
        known = page, problem.loss, x0, saves, every, solver, rtol, atol, max_steps
        forward, backward = diffrax.ForwardMode(), diffrax.RecursiveCheckpointAdjoint()
        found = _integrate(*known, forward) if concrete(known) else ()  # traced faster
        if not found or not concrete(found):  # inside a transformation, perhaps by way of what the loss closes over
            found = _integrate(*known, backward)
        t, y, loss, grad_norm, result, bad, used = found
        cost = {"solver": type(solver).__name__, "solver_steps": used, "rtol": rtol, "atol": atol}
        stats = {"first_bad_step": bad} | cost
        return Trajectory(t, y, loss, grad_norm, result, stats, **names)

    trajectory = run(solver or diffrax.Tsit5())
    if solver is None and concrete(trajectory.result) and trajectory.status == Status.max_steps:
        stiff = run(diffrax.Kvaerno5())
        trajectory = stiff if stiff.status == Status.ok else trajectory
    return _judged(trajectory, problem, throw)


@eqx.filter_jit
def _integrate(
    page: AbstractOptimizer,
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
    x, grad, look, reach = view(loss, x0)
    y = page.init_flow(x, grad)
    t = (jnp.arange(saves + 1) * every * page.h).astype(x.dtype)
    adaptive = isinstance(solver, diffrax.AbstractAdaptiveSolver)
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(jax.jit(lambda t, y, _: page.flow(t, y, grad))), solver, t[0], t[-1], None, y,
        saveat=diffrax.SaveAt(subs=(diffrax.SubSaveAt(ts=t), diffrax.SubSaveAt(t1=True))),
        stepsize_controller=diffrax.PIDController(rtol, atol) if adaptive else diffrax.StepTo(ts=t),
        max_steps=max_steps, throw=False, adjoint=adjoint,
    )  # fmt: skip
    assert solution.ys is not None
    ys, last = solution.ys
    ys = jax.tree.map(lambda a: jnp.where(jnp.isfinite(a), a, jnp.nan), ys)  # what was not reached comes as inf
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
            ~all_finite(page.flow(t[0], y, grad)),
            escaped[bad],
            gave_up & (rtol < 10 * jnp.finfo(x.dtype).eps),
            gave_up,
        ],
        [Status.ok, Status.singular_start, Status.diverged, Status.tolerance_unreachable, Status.max_steps],
        Status.nonfinite,
    )
    still = (saves > 0) & (ys.x == x[None]).all() & (norms[0] > 0)
    status = jnp.where((status == Status.ok) & still, Status.stalled, status)
    return t, ys, losses, norms, status, jnp.where(failed.any(), bad * every, -1), solution.stats["num_steps"]


def rtol_floor(dtype, page: AbstractOptimizer) -> float:
    """The finest relative tolerance that is worth asking of a solver in this dtype, for the flow of this page."""
    return max(1e-13 if dtype == jnp.float64 else 1e-6, page.regularity.flow_error_ulps * float(jnp.finfo(dtype).eps))


def ready(optimizer: AbstractOptimizer, problem: Problem, x0: Any):
    """The page and the start as arrays of one dtype, so that their values enter compiled code as data; the way back."""
    must_be_page(optimizer)
    must_be_one(optimizer)
    must_be_problem(problem)
    x0 = problem.start(x0)
    flat, unravel = ravel_pytree(x0)
    if not concrete(flat):
        unravel = ravel_pytree(jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), x0))[1]
    return fitted(optimizer, x0, flat.dtype), x0, unravel, flat.dtype


def fitted(optimizer: AbstractOptimizer, x0: PyTree, dtype) -> AbstractOptimizer:
    """The page for positions that hold these leaves in one vector, with its numbers as arrays of this dtype."""
    return with_dtype(optimizer.for_leaves(x0), dtype)


def with_dtype(optimizer: AbstractOptimizer, dtype) -> AbstractOptimizer:
    """The page with its numbers as arrays of this dtype."""
    return jax.tree.map(
        lambda v: jnp.asarray(v, dtype) if isinstance(v, float) or eqx.is_inexact_array(v) else v, optimizer
    )


def _saves(page: AbstractOptimizer, dim: int, dtype, steps: int, save_every: int) -> int:
    """How many points after the start are kept, once they are known to be whole and to fit in memory."""
    steps = whole("steps", steps, least=0, most=MOST_STEPS, like=100)
    save_every = whole("save_every", save_every, least=1, most=MOST_STEPS)
    if steps % save_every:
        raise InvalidValue(f"`save_every` is {save_every}, which does not divide the {steps} `steps`; use a divisor.")
    saves = steps // save_every
    if (saves + 1) * dim * (dim + 64) * dtype.itemsize < BUDGET:  # room for any memory; to look takes its time
        return saves
    point = jax.eval_shape(lambda x: page.init(x, lambda x: x), jax.ShapeDtypeStruct((dim,), dtype))
    size = (saves + 1) * sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(point))
    if size > BUDGET:
        more = f"pass for example save_every={save_every * 10 ** math.ceil(math.log10(size / BUDGET))}"
        raise InvalidValue(f"the trajectory would take {size / 2**30:.0f} GiB, more than {BUDGET >> 30}; {more}.")
    return saves


def view(loss: Callable, x0: PyTree):
    """The start as one vector; the gradient there; what is seen at a point; how far out a point is; 1 is too far."""
    x, flat_loss, grad = as_vector(loss, x0)

    def look(x):
        value, g = jax.value_and_grad(flat_loss)(x)
        return jnp.asarray(value, x.dtype), jnp.linalg.norm(g)

    inverse = jnp.sqrt(jnp.finfo(x.dtype).eps) / (1 + jnp.linalg.norm(x))
    return x, grad, look, lambda x: jnp.sum((inverse * x) ** 2)


def as_vector(loss: Callable, x0: PyTree):
    """The start as one vector; the loss as a function of such vectors, and its gradient."""
    x, unravel = ravel_pytree(x0)
    part: Any = getattr(loss, "part", None)

    def partial(x, i, k):
        return jax.grad(lambda x: part(unravel(x), i, k))(x)

    def flat_loss(x):
        return loss(unravel(x))

    return x, flat_loss, Gradient(jax.grad(flat_loss), part and partial)


def watch(fault: Array, k: Array, escaped: Array | bool, fine: Array) -> Array:
    """The first failure in one number: odd if the run diverged at step k, even if it turned nonfinite, 0 if neither."""
    now = jnp.where(escaped, 2 * k + 1, jnp.where(fine, 0, 2 * k + 2))
    return jnp.where(fault == 0, now, fault)


def read_fault(fault: Any) -> tuple[Any, Any]:
    """The first bad step, -1 if there is none, and the status, of jax's or numpy's arrays."""
    return (fault - 1) // 2, (fault > 0) * (Status.nonfinite - fault % 2)  # diverged is one less


def all_finite(tree: PyTree) -> Array:
    return reduce(jnp.logical_and, (jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)), jnp.asarray(True))


def _judged(trajectory: Trajectory, problem: Problem, throw: bool) -> Trajectory:
    """The trajectory, unless it failed and failures are to be raised; inside a transformation nobody can raise."""
    if not throw or not concrete(trajectory) or trajectory.result.ndim or trajectory.status == Status.ok:
        return trajectory
    status, k = trajectory.status, int(trajectory.stats["first_bad_step"])
    if k == 0:
        raise ProblemError(
            f"{problem.name} starts where its loss is {float(trajectory.loss[0])} and the norm of its gradient "
            f"{float(trajectory.grad_norm[0])}; start where both are finite."
        )
    reached = float(trajectory.t[np.flatnonzero(trajectory.finite)[-1]])
    dtype = trajectory.t.dtype
    message = {
        Status.diverged: f"left every bounded region at step {k}; try a smaller `learning_rate`.",
        Status.nonfinite: f"met a value that is not finite at step {k}; try a smaller `learning_rate`.",
        Status.stalled: f"never moved, each step being below the spacing of {dtype}; use a larger rate or float64.",
        Status.max_steps: f"used up its solver steps at t = {reached:.4g}; use diffrax.Kvaerno5() or more `max_steps`.",
        Status.tolerance_unreachable: f"cannot reach its tolerance in {dtype}; loosen `rtol` or use float64.",
        Status.singular_start: "has no finite velocity at its start; start elsewhere or use a positive `eps`.",
    }.get(status, f"ended as {status}.")
    message = f"the {trajectory.kind} of {trajectory.optimizer} on {problem.name} {message}"
    message += f" {'iterate' if trajectory.kind == 'map' else 'integrate'}(..., throw=False) keeps it."
    raise SolverFailure(message, partial=trajectory, status=status, t_reached=reached)
