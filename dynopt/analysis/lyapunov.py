"""The Lyapunov function of an optimizer along its map and its flow, and where it rises."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ..optimizers import AbstractOptimizer
from ..optimizers.wrappers.noise import must_have_no_noise
from ..problems import Problem
from ..problems.probe import must_be_gradient
from ..problems.problem import must_be_problem
from ..runs.integrate import integrate
from ..runs.iterate import iterate
from ..runs.prepare import fit_to_start, flatten_loss, prepare_run
from ..runs.trajectory import Trajectory

ROUND_OFF = 8  # rises below so many ulp, or so many tolerances of the solver, are round-off


class Lyapunov(eqx.Module):
    """The values of the Lyapunov function E(t, y) along the map and along the flow.

    - `t`: the times t = k h, shape `(n+1,)`.
    - `map_value`, `flow_value`: E along the two runs, shape `(n+1,)`; NaN from the time at
      which the run failed.
    - `map_rises`, `flow_rises`: by how much E has risen since the time before, shape `(n+1,)`; 0
      at the start and where E did not rise beyond round-off.
    - `map`, `flow`: the two trajectories.
    - `optimizer`, `problem`: the optimizer and the problem that were run.
    """

    t: Array
    map_value: Float[Array, " n"]
    flow_value: Float[Array, " n"]
    map: Trajectory
    flow: Trajectory
    optimizer: AbstractOptimizer
    problem: Problem

    @property
    def map_rises(self) -> Array:
        return rises(self.map_value)

    @property
    def flow_rises(self) -> Array:
        return rises(self.flow_value, self.flow.stats["rtol"])

    def __repr__(self) -> str:
        map_text = _count_rises("map", self.map_rises)
        flow_text = _count_rises("flow", self.flow_rises)
        return f"Lyapunov({self.optimizer} on {self.problem.name}, {map_text}, {flow_text})"


def lyapunov(
    optimizer: AbstractOptimizer,
    problem: Problem,
    steps: int,
    *,
    x0: Any = None,
    throw: bool = True,
) -> Lyapunov:
    """Run the map and the flow, and evaluate the Lyapunov function of the optimizer along both.

    Along the flow a Lyapunov function never rises; the docstring of each optimizer says under
    which condition, and how fast the function falls. (For the heavy ball friction lowers it at
    the rate a |p|².) The map may raise it where its time steps are too long. Rises of the map
    below 8 ulp of the largest |E| so far, and rises of the flow below 8 tolerances of its solver
    in the same unit, are round-off and count as 0.

    - `steps`, `x0`, `throw`: as for `iterate`.

    **Raises:** `InvalidValue` if the optimizer declares no Lyapunov function; `ProblemError` if the
    field of the problem is no gradient, as in a game; and as `iterate` and `integrate` do.

    >>> import jax
    >>> from dynopt import SGD, Problem
    >>> bowl = Problem(lambda x: (x**2).sum() / 2, [1.0], name="bowl")
    >>> lyapunov(SGD(0.5), bowl, 2).map_value.tolist()  # of gradient descent it is the loss
    [0.5, 0.125, 0.03125]
    >>> lyapunov(SGD(3.0), bowl, 2).map_rises.tolist()  # beyond the learning rate 2/λ it rises
    [0.0, 1.5, 6.0]

    Along any other run the values alone are

    >>> run = iterate(SGD(0.5), bowl, 2)
    >>> jax.vmap(lambda t, y: SGD(0.5).lyapunov(t, y, bowl.loss))(run.t, run.y).tolist()
    [0.5, 0.125, 0.03125]
    """
    must_have_no_noise("lyapunov", optimizer)
    must_be_problem(problem)
    must_be_gradient(problem, "lyapunov")
    fitted, start, _, _ = prepare_run(optimizer, problem, x0)
    jax.eval_shape(lambda: _value_at_start(fitted, problem.loss, start))  # raises if none is known
    map_run, flow_run = (
        run(optimizer, problem, steps, x0=x0, throw=throw) for run in (iterate, integrate)
    )
    map_value, flow_value = (lyapunov_along(optimizer, problem, r) for r in (map_run, flow_run))
    return Lyapunov(map_run.t, map_value, flow_value, map_run, flow_run, optimizer, problem)


def lyapunov_along(optimizer: AbstractOptimizer, problem: Problem, run: Trajectory) -> Array:
    """The Lyapunov function at each point of a run that has been made, shape `(n,)`.

    It is NaN from the first failure on.

    **Raises:** `InvalidValue` if none is known for the optimizer; `ProblemError` if the field of
    the problem is no gradient, as in a game.
    """
    must_be_gradient(problem, "lyapunov")
    start = run.unravel(run.y.x[0])
    fitted = fit_to_start(optimizer, start, run.y.x.dtype)
    return _values(fitted, problem.loss, start, run.t, run.y, run.loss)


def rises(values: Array, rtol: Any = 0.0) -> Array:
    """The rises since the point before, without those within round-off or the tolerance `rtol`."""
    rtol = jnp.broadcast_to(jnp.asarray(rtol, values.dtype), values.shape[:-1])[..., None]
    precision = jnp.maximum(jnp.finfo(values.dtype).eps, rtol)
    largest = jax.lax.cummax(jnp.abs(values), axis=values.ndim - 1)
    rises = jnp.diff(values, prepend=values[..., :1])
    return jnp.where(rises <= ROUND_OFF * precision * largest, 0, rises)


def _value_at_start(optimizer: AbstractOptimizer, loss: Callable, start: PyTree) -> Array:
    x, flat_loss, grad = flatten_loss(loss, start)
    return optimizer.lyapunov(jnp.zeros((), x.dtype), optimizer.init(x, grad), flat_loss)


@eqx.filter_jit
def _values(
    optimizer: AbstractOptimizer, loss: Callable, start: PyTree, t: Array, y: Any, losses: Array
) -> Array:
    """The Lyapunov function at each point of a run, NaN from the first failure on."""
    _, flat_loss, _ = flatten_loss(loss, start)
    values = jax.vmap(lambda t, y: optimizer.lyapunov(t, y, flat_loss))(t, y)
    is_finite = jnp.isfinite(values) & jnp.isfinite(losses) & jnp.isfinite(y.x).all(-1)
    return jnp.where(jnp.cumprod(is_finite) > 0, values, jnp.nan)


def _count_rises(kind: str, rises: Array) -> str:
    number, steps = int((rises > 0).sum()), rises.shape[-1] - 1
    largest = f" by at most {float(jnp.nanmax(rises)):.3g}" if number else ""
    return f"{kind} rises in {number} of {steps} steps{largest}"
