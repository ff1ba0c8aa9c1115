"""`iterate` runs the map from one point of phase space to the next."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from ..optimizers import AbstractOptimizer
from ..problems import Problem
from .prepare import all_finite, num_saved, prepare_loss, prepare_run
from .trajectory import Status, Trajectory, raise_if_failed


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
    page, x0, unravel, dtype = prepare_run(optimizer, problem, x0)
    saves = num_saved(page, problem.dim, dtype, steps, save_every)
    t, y, loss, grad_norm, result, bad = run_map(page, problem.loss, x0, saves, int(save_every))
    names = {
        "kind": "map",
        "optimizer": repr(optimizer),
        "problem": problem.name,
        "unravel": unravel,
    }
    trajectory = Trajectory(t, y, loss, grad_norm, result, {"first_bad_step": bad}, **names)
    return raise_if_failed(trajectory, problem, throw)


@eqx.filter_jit
def run_map(
    optimizer: AbstractOptimizer, loss: Callable, x0: PyTree, saves: int, every: int | Array
):
    """The map, compiled.

    `every` may be an array: then one compilation serves all refinements, but reverse mode is lost.
    """
    x, grad, look, reach = prepare_loss(loss, x0)
    y = optimizer.init(x, grad)

    def one(_, carry):
        k, y, fault = carry
        y = optimizer.step(k * optimizer.h, y, grad)
        return k + 1, y, record_failure(fault, k + 1, reach(y.x) > 1, all_finite(y))

    def some(carry, _):
        k, y, fault = jax.lax.fori_loop(0, every, one, carry)
        seen = look(y.x)
        return (k, y, record_failure(fault, k, False, all_finite(seen))), (y, *seen)

    seen, k = look(x), jnp.asarray(0)
    (_, _, fault), rest = jax.lax.scan(
        some, (k, y, record_failure(k, k, False, all_finite((y, seen)))), length=saves
    )
    bad, status = decode_failure(fault)
    ys, losses, norms = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), (y, *seen), rest)
    t = (jnp.arange(saves + 1) * every * optimizer.h).astype(x.dtype)
    still = (saves > 0) & (ys.x == x[None]).all() & (norms[0] > 0)
    return (
        t,
        ys,
        losses,
        norms,
        jnp.where((status == Status.ok) & still, Status.stalled, status),
        bad,
    )


def record_failure(fault: Array, k: Array, escaped: Array | bool, fine: Array) -> Array:
    """The first failure in one number: odd if the run diverged at step k, even if it turned nonfinite, 0 if neither."""
    now = jnp.where(escaped, 2 * k + 1, jnp.where(fine, 0, 2 * k + 2))
    return jnp.where(fault == 0, now, fault)


def decode_failure(fault: Any) -> tuple[Any, Any]:
    """The first bad step, -1 if there is none, and the status, of jax's or numpy's arrays."""
    return (fault - 1) // 2, (fault > 0) * (Status.nonfinite - fault % 2)  # diverged is one less
