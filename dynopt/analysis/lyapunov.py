"""The energy: what an optimizer spends on its way down, and whether it ever rises."""

import re
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ..errors import InvalidType, InvalidValue
from ..optimizers import AbstractOptimizer
from ..optimizers.base import must_be_optimizer
from ..problems import Problem
from ..problems.problem import must_be_problem
from ..runs.prepare import fit_to_start, flatten_loss
from ..runs.trajectory import Trajectory

ROUND_OFF = 8  # a rise is one if it exceeds so many ulp of the largest energy so far, or tolerances of the solver


class Lyapunov(eqx.Module):
    """The energy E(tₖ, yₖ) along a run, and each rise of it.

    - `t`, `energy`: times and energies, shape `(n+1,)`; NaN from where the run has failed.
    - `violation`: by how much the energy has risen since the point before, shape `(n+1,)`; 0 where it fell, and at the
      start.
    - `trajectory`: the run. - `optimizer`, `problem`: whose it is.
    """

    t: Array
    energy: Float[Array, " n"]
    violation: Float[Array, " n"]
    trajectory: Trajectory
    optimizer: AbstractOptimizer
    problem: Problem

    def __repr__(self) -> str:
        rises, steps = int((self.violation > 0).sum()), self.t.shape[-1] - 1
        most = f" by at most {float(jnp.nanmax(self.violation)):.3g}" if rises else ""
        said = f"rises {rises} of {steps} times{most}"
        return (
            f"Lyapunov({self.trajectory.kind} of {self.optimizer} on {self.problem.name}, {said})"
        )


def lyapunov(optimizer: AbstractOptimizer, problem: Problem, trajectory: Trajectory) -> Lyapunov:
    """The energy that the page of `optimizer` declares, at every point of a run of its map or of its flow.

    Along the flow it never rises (each page says when, and how fast it falls: friction drains the heavy ball's at the
    rate a |p|²). A map may lift it where its steps are too long; that is the `violation`. Smaller rises than 8 ulp of
    the largest energy so far, or of a flow 8 tolerances of its solver, are round-off and count as 0.

    - `trajectory`: of `iterate` or `integrate`, or the `.map` or `.flow` of a gap, with any `save_every`; a rise is
      then that from one saved point to the next. For batches, `equinox.filter_vmap`.

    **Raises:** `InvalidValue` if the page declares no energy, or the run is of another optimizer or problem.

    >>> from dynopt import SGD, Problem, iterate
    >>> bowl = Problem(lambda x: (x**2).sum() / 2, [1.0], name="bowl")
    >>> energy(SGD(0.5), bowl, iterate(SGD(0.5), bowl, 2)).energy.tolist()  # the loss itself
    [0.5, 0.125, 0.03125]
    >>> energy(SGD(3.0), bowl, iterate(SGD(3.0), bowl, 2)).violation.tolist()  # beyond 2/λ it rises
    [0.0, 1.5, 6.0]
    """
    _check(optimizer, problem, trajectory)
    _, flat_loss, _ = flatten_loss(problem.loss, problem.start())
    page, run = fit_to_start(optimizer, problem.start(), trajectory.t.dtype), trajectory
    page.lyapunov(
        run.t[0], jax.tree.map(lambda a: a[0], run.y), flat_loss
    )  # raises if none is known
    rtol = jnp.asarray(run.stats.get("rtol", 0), run.t.dtype)
    seen, rises = _energy(page, problem.loss, problem.start(), run.t, run.y, run.loss, rtol)
    return Lyapunov(run.t, seen, rises, run, optimizer, problem)


@eqx.filter_jit
def _energy(
    optimizer: AbstractOptimizer,
    loss: Callable,
    start: PyTree,
    t: Array,
    y: Any,
    losses: Array,
    rtol: Array,
):
    _, flat_loss, _ = flatten_loss(loss, start)
    seen = jax.vmap(lambda t, y: optimizer.lyapunov(t, y, flat_loss))(t, y)
    fine = jnp.isfinite(seen) & jnp.isfinite(losses) & jnp.isfinite(y.x).all(-1)
    seen = jnp.where(jnp.cumprod(fine) > 0, seen, jnp.nan)
    rise = jnp.diff(seen, prepend=seen[:1])
    noise = ROUND_OFF * jnp.maximum(jnp.finfo(seen.dtype).eps, rtol) * jax.lax.cummax(jnp.abs(seen))
    return seen, jnp.where(rise <= noise, 0, rise)


def _check(optimizer: AbstractOptimizer, problem: Problem, run: Trajectory) -> None:
    must_be_optimizer(optimizer)
    must_be_problem(problem)
    if not isinstance(run, Trajectory):
        raise InvalidType(
            f"`trajectory` must come from iterate or integrate, got {type(run).__name__}; run one of them."
        )
    if run.t.ndim != 1:
        raise InvalidValue("`trajectory` holds a batch; use equinox.filter_vmap over its members.")
    point = jax.eval_shape(
        lambda x: optimizer.init(x, lambda x: x), jax.ShapeDtypeStruct((problem.dim,), run.t.dtype)
    )
    same = run.problem == problem.name and _agree(run.optimizer, repr(optimizer))
    if not same or point._fields != run.y._fields or point.x.shape != run.y.x.shape[-1:]:
        raise InvalidValue(
            f"`trajectory` is of {run.optimizer} on {run.problem}, but `optimizer` and `problem` are {optimizer!r} and "
            f"{problem.name}; pass those of the run."
        )


def _agree(one: str, other: str) -> bool:
    """Whether two optimizers print the same, up to the digits of a float32; members of batches do not print numbers."""
    if "[" in one + other:
        return one.partition("(")[0] == other.partition("(")[0]
    number = r"(?<![\w.])\d[\d.]*(?:e[-+]?\d+)?"
    one, other = (
        re.sub(number, lambda found: f"{float(found[0]):.5g}", text) for text in (one, other)
    )
    return one == other
