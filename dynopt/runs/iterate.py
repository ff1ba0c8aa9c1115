"""`iterate` runs the map from one point of phase space to the next."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from ..checks import is_concrete
from ..optimizers import AbstractOptimizer
from ..optimizers.base import must_be_point, must_keep_form
from ..problems import Problem
from .batches import is_key
from .calls import observe_at, run_in_calls
from .prepare import all_finite, num_saved, prepare_loss, prepare_run
from .setup import first_step, keep_setup
from .status import Status
from .trajectory import Trajectory, raise_if_failed, raise_if_interrupted

FEW_STEPS = 256  # so many are always done in one call of compiled code
BYTES_PER_CALL = 2**24  # of the saved points that one of several calls returns


def iterate(
    optimizer: AbstractOptimizer,
    problem: Problem,
    steps: int,
    *,
    x0: Any = None,
    save_every: int = 1,
    throw: bool = True,
) -> Trajectory:
    """Run the map y_{k+1} = step(k h, y_k), from the first point that the optimizer gives at `x0`.

    The result is a `Trajectory` with `steps / save_every + 1` points, the start included. One
    compilation serves all values of the hyperparameters and of the start. Only the class of the
    optimizer, the function of the problem, the shapes and the number of saved points are compiled
    in. The dtype is that of `x0`.

    - `steps`: the number of steps, 0 or more.
    - `x0`: the start, by default the problem's own.
    - `save_every`: save one point every so many steps, by default every point. It must divide
      `steps`. The memory that a run takes grows with the number of saved points.
    - `throw`: raise if the run fails, by default True. Otherwise, and always inside `jit` and
      `vmap`, read `result`.

    Ctrl-C ends a long run within a second, unless one step or a copy of the result takes longer.

    **Raises:** `SolverFailure` if the run diverges, turns nonfinite or never moves (its `.partial`
    is the whole trajectory); `Interrupted`, a `KeyboardInterrupt`, after Ctrl-C (its `.partial` is
    the trajectory, NaN from there on); `ProblemError` if the loss or its gradient is not finite at
    the start; `InvalidValue` and `InvalidType` for wrong input.

    >>> from dynopt import SGD, Problem
    >>> bowl = Problem(lambda x: (x**2).sum() / 2, [1.0], name="bowl")
    >>> iterate(SGD(0.5), bowl, 3).x[:, 0].tolist()
    [1.0, 0.5, 0.25, 0.125]
    """
    fitted, start, unravel, dtype = prepare_run(optimizer, problem, x0)
    points = num_saved(fitted, problem.dim, dtype, steps, save_every)
    outcome, interrupt = run_map_in_calls(fitted, problem.loss, start, points, int(save_every))
    t, y, loss, grad_norm, result, first_bad_step = outcome
    setup = keep_setup(optimizer, problem, first_step, fitted, start, outcome)
    stats = {"first_bad_step": first_bad_step}
    trajectory = Trajectory(t, y, loss, grad_norm, result, stats, "map", unravel, setup)
    raise_if_interrupted(trajectory, problem, interrupt)
    return raise_if_failed(trajectory, problem, throw)


def run_map_in_calls(
    optimizer: AbstractOptimizer, loss: Callable, x0: PyTree, num_saved: int, save_every: int
) -> tuple[Any, KeyboardInterrupt | None]:
    """What `run_map` returns, a long run in many calls, and the interrupt that ended it, if any."""
    arguments = optimizer, loss, x0, num_saved, save_every
    outcome, interrupt = None, None
    if num_saved * save_every > FEW_STEPS and is_concrete(arguments):
        outcome, interrupt = _run_in_calls(*arguments)
    if outcome is None or not is_concrete(outcome):  # the loss may close over a traced value
        outcome = run_map(*arguments)
    return outcome, interrupt


@eqx.filter_jit
def run_map(
    optimizer: AbstractOptimizer,
    loss: Callable,
    x0: PyTree,
    num_saved: int,
    save_every: int | Array,
):
    """The compiled map: times, points, losses, gradient norms, the status and the first bad step.

    `save_every` may be an array. One compilation then serves all its values, but the map can no
    longer be differentiated in reverse mode.
    """
    x, grad, observe, squared_radius = prepare_loss(loss, x0)
    y = must_be_point(optimizer.init(x, grad))
    one_step = _checked_step(optimizer, grad, squared_radius)

    def steps_to_next_point(carry, _):
        k, y, failure = jax.lax.fori_loop(0, save_every, one_step, carry)
        observed = observe(y.x)
        failure = record_failure(failure, k, False, all_finite(observed))
        return (k, y, failure), (y, *observed)

    observed, k = observe(x), jnp.asarray(0)
    failure = record_failure(k, k, False, all_finite((y, observed)))
    (_, _, failure), later = jax.lax.scan(
        steps_to_next_point, (k, y, failure), length=num_saved - 1
    )
    ys, losses, norms = jax.tree.map(
        lambda a, b: jnp.concatenate([a[None], b]), (y, *observed), later
    )
    t = (jnp.arange(num_saved) * save_every * optimizer.h).astype(x.dtype)
    first_bad_step, status = decode_failure(failure)
    never_moved = (num_saved > 1) & (ys.x == x[None]).all() & (norms[0] > 0)
    status = jnp.where((status == Status.ok) & never_moved, Status.stalled, status)
    return t, ys, losses, norms, status, first_bad_step


def _checked_step(optimizer: AbstractOptimizer, grad: Callable, squared_radius: Callable):
    """One step of the map, and whether the run has failed after it, as the body of a loop."""

    def one_step(_, carry):
        k, y, failure = carry
        after = optimizer.step(k * optimizer.h, y, grad)
        y = must_keep_form("step", y, after)
        diverged = squared_radius(y.x) > 1
        return k + 1, y, record_failure(failure, k + 1, diverged, all_finite(y))

    return one_step


class Progress(NamedTuple):
    """A run after `k` steps.

    - `y`, `failure`, `has_moved`: its point of phase space, how it failed as `record_failure` says,
      and whether a saved position differs from the start.
    """

    k: Array
    y: Any
    failure: Array
    has_moved: Array

    is_over = property(lambda self: False)  # only the number of steps ends a map


def _run_in_calls(
    optimizer: AbstractOptimizer, loss: Callable, x0: PyTree, num_saved: int, save_every: int
):
    """What `run_map` returns, from many calls of compiled code, and the interrupt that ended it.

    In the place of the result it is None for a loss that closes over a traced value, and for
    points of phase space that numpy cannot hold, such as random keys.
    """
    progress, blank = _nothing_done(optimizer, loss, x0)
    if not is_concrete(blank) or any(map(is_key, jax.tree.leaves(blank))):
        return None, None
    leaves, structure = jax.tree.flatten(jax.tree.map(np.asarray, blank))
    rows = min(num_saved, max(2, BYTES_PER_CALL // sum(leaf.nbytes for leaf in leaves)))
    saved = [np.broadcast_to(leaf, (num_saved, *leaf.shape)).copy() for leaf in leaves]

    def advance(progress: Progress, stop: int) -> Progress:
        done = int(progress.k) // save_every
        stop = min(stop, (done + rows) * save_every - 1)
        progress, points = _advance(
            optimizer, loss, x0, progress, jnp.asarray(stop), rows, save_every
        )
        for array, new in zip(saved, jax.tree.leaves(points), strict=True):
            begin, end = min(done, 1), stop // save_every - done + 1
            array[done + begin : done + end] = np.asarray(new)[begin:end]
        return progress

    progress, interrupt = run_in_calls(advance, progress, (num_saved - 1) * save_every)
    k, failure, has_moved = map(np.asarray, (progress.k, progress.failure, progress.has_moved))
    first_bad_step, status = decode_failure(failure)
    steps = np.arange(num_saved) * save_every
    if interrupt is not None:
        row, after = leaves, slice(k // save_every + 1, k // save_every + 2)
        if not status:
            first_bad_step, status = k, np.full_like(k, Status.interrupted)
            if k % save_every:
                row = jax.tree.leaves((progress.y, *observe_at(loss, x0, progress.y.x)))
                steps[after] = k
        for array, blank, leaf in zip(saved, leaves, row, strict=True):
            array[after.start :] = blank  # it may have come between two of them
            array[after] = leaf
    ys, losses, norms = jax.tree.unflatten(structure, saved)
    if interrupt is None and not (status or has_moved) and norms[0] > 0:
        status = np.full_like(k, Status.stalled)
    t = steps.astype(losses.dtype) * np.asarray(optimizer.h)
    outcome = jax.tree.map(jnp.asarray, (t, ys, losses, norms, status, first_bad_step))
    return outcome, interrupt


@eqx.filter_jit
def _nothing_done(optimizer: AbstractOptimizer, loss: Callable, x0: PyTree):
    """The `Progress` of a run before its first step, and a row without numbers of what is saved."""
    x, grad, observe, _ = prepare_loss(loss, x0)
    y, k = must_be_point(optimizer.init(x, grad)), jnp.zeros((), int)

    def blank(leaf):
        is_real = eqx.is_inexact_array(leaf)
        return jnp.full(leaf.shape, jnp.nan, leaf.dtype) if is_real else leaf

    y, (value, norm) = jax.tree.map(blank, (y, observe(x)))
    return Progress(k, y, k, k < 0), (y, value, norm)


@eqx.filter_jit
def _advance(
    optimizer, loss: Callable, x0: PyTree, run: Progress, stop, rows: int, save_every: int
):
    """The run after `stop` steps, and its saved points from step `run.k` on, in so many `rows`."""
    x, grad, observe, squared_radius = prepare_loss(loss, x0)
    one_step = _checked_step(optimizer, grad, squared_radius)
    first, is_start = run.k // save_every, run.k == 0

    start = optimizer.init(x, grad)
    row = start, *observe(x)
    failure = jnp.where(is_start, record_failure(run.k, run.k, False, all_finite(row)), run.failure)
    y = jax.tree.map(partial(jnp.where, is_start), start, run.y)
    points = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (rows, *leaf.shape)), row)

    def to_next_point(carry):
        (*carry, has_moved), points = carry
        if save_every == 1:
            k, y, failure = one_step(0, tuple(carry))
        else:
            steps = jnp.minimum(save_every - carry[0] % save_every, stop - carry[0])
            k, y, failure = jax.lax.fori_loop(0, steps, one_step, tuple(carry))
        is_saved, observed = k % save_every == 0, observe(y.x)
        failure = record_failure(failure, k, False, ~is_saved | all_finite(observed))
        has_moved |= is_saved & (y.x != x).any()
        i = jnp.where(is_saved, k // save_every - first, rows)
        points = jax.tree.map(
            lambda array, leaf: array.at[i].set(leaf, mode="drop"), points, (y, *observed)
        )
        return Progress(k, y, failure, has_moved), points

    begin = run._replace(y=y, failure=failure), points
    end, points = jax.lax.while_loop(lambda carry: carry[0].k < stop, to_next_point, begin)
    # Weak types are left behind, or the next call would be compiled anew.
    return jax.tree.map(lambda a, b: jnp.astype(a, b.dtype), end, run), points


def record_failure(failure: Array, k: Array, diverged: Array | bool, finite: Array) -> Array:
    """The first failure of a run as one number, brought up to date after step `k`.

    It is 0 if there is none, 2 k + 1 if the run diverged at step k, and 2 k + 2 if it met NaN or
    infinity there.
    """
    now = jnp.where(diverged, 2 * k + 1, jnp.where(finite, 0, 2 * k + 2))
    return jnp.where(failure == 0, now, failure)


def decode_failure(failure: Any) -> tuple[Any, Any]:
    """The first bad step, -1 if there is none, and the status; for arrays of JAX or of numpy."""
    diverged_or_nonfinite = Status.nonfinite - failure % 2  # diverged is one less than nonfinite
    return (failure - 1) // 2, (failure > 0) * diverged_or_nonfinite
