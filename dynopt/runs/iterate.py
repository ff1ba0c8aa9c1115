"""`iterate` runs the map from one point of phase space to the next."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from ..optimizers import AbstractOptimizer
from ..optimizers.base import must_be_point
from ..problems import Problem
from .prepare import all_finite, num_saved, prepare_loss, prepare_run
from .setup import first_step, keep_setup
from .status import Status
from .trajectory import Trajectory, raise_if_failed


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

    **Raises:** `SolverFailure` if the run diverges, turns nonfinite or never moves (its `.partial`
    is the whole trajectory); `ProblemError` if the loss or its gradient is not finite at the
    start; `InvalidValue` and `InvalidType` for wrong input.

    >>> from dynopt import SGD, Problem
    >>> bowl = Problem(lambda x: (x**2).sum() / 2, [1.0], name="bowl")
    >>> iterate(SGD(0.5), bowl, 3).x[:, 0].tolist()
    [1.0, 0.5, 0.25, 0.125]
    """
    fitted, start, unravel, dtype = prepare_run(optimizer, problem, x0)
    points = num_saved(fitted, problem.dim, dtype, steps, save_every)
    outcome = run_map(fitted, problem.loss, start, points, int(save_every))
    t, y, loss, grad_norm, result, first_bad_step = outcome
    setup = keep_setup(optimizer, problem, first_step, fitted, start, outcome)
    stats = {"first_bad_step": first_bad_step}
    trajectory = Trajectory(t, y, loss, grad_norm, result, stats, "map", unravel, setup)
    return raise_if_failed(trajectory, problem, throw)


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

    def one_step(_, carry):
        k, y, failure = carry
        y = optimizer.step(k * optimizer.h, y, grad)
        diverged = squared_radius(y.x) > 1
        return k + 1, y, record_failure(failure, k + 1, diverged, all_finite(y))

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
    first_bad_step, status = decode_failure(failure)
    ys, losses, norms = jax.tree.map(
        lambda a, b: jnp.concatenate([a[None], b]), (y, *observed), later
    )
    t = (jnp.arange(num_saved) * save_every * optimizer.h).astype(x.dtype)
    never_moved = (num_saved > 1) & (ys.x == x[None]).all() & (norms[0] > 0)
    status = jnp.where((status == Status.ok) & never_moved, Status.stalled, status)
    return t, ys, losses, norms, status, first_bad_step


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
