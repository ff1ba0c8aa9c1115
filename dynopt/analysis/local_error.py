"""The local error: the error of one step of the map, started at each point of its run."""

from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ..checks import whole_number
from ..optimizers import AbstractOptimizer
from ..optimizers.wrappers.noise import must_have_no_noise
from ..problems import Problem
from ..runs.integrate import finest_rtol
from ..runs.iterate import iterate
from ..runs.prepare import MAX_STEPS, fit_to_start, flatten_loss
from ..runs.trajectory import Trajectory


class LocalError(eqx.Module):
    """The error of each single step of a map.

    - `t`: the times at which the steps begin, shape `(n,)`.
    - `error`: the distance of step(yₖ) and of the flow over the time h from yₖ, measured in the
      position, shape `(n,)`; NaN where the flow could not be solved.
    - `solver_error`: an estimate of the solver's error in it, shape `(n,)`.
    - `map`: the run whose points are the starts.
    - `optimizer`, `problem`: the optimizer and the problem that were run.
    """

    t: Array
    error: Float[Array, " n"]
    solver_error: Float[Array, " n"]
    map: Trajectory
    optimizer: AbstractOptimizer
    problem: Problem

    def __repr__(self) -> str:
        largest = f"largest {float(jnp.nanmax(self.error)):.3g}"
        return f"LocalError({self.optimizer} on {self.problem.name}, {largest})"


def local_error(
    optimizer: AbstractOptimizer,
    problem: Problem,
    steps: int,
    *,
    x0: Any = None,
    throw: bool = True,
    max_steps: int = 2**12,
) -> LocalError:
    """Compare each step of the map with the flow that starts at the same point yₖ.

    Step and flow take the same time h. For a map of order 1 the local error is O(h²). All flows
    are solved at once, at two tolerances, of which the finer takes two steps or more; the
    difference of the two solutions estimates the solver's own error.

    - `steps`: the number of steps, 1 or more.
    - `x0`, `throw`: as for `iterate`.
    - `max_steps`: the largest number of the solver's steps for each flow.

    **Raises:** as `iterate` does, and `InvalidValue` if `steps` is 0.

    >>> from dynopt import SGD, Problem
    >>> bowl = Problem(lambda x: (x**2).sum() / 2, [1.0], name="bowl")
    >>> print(f"{local_error(SGD(0.1), bowl, 5).error[0]:.6f}")  # e^(-0.1) - 0.9
    0.004837
    """
    must_have_no_noise("local_error", optimizer)
    whole_number("steps", steps, least=1, like=100)
    max_steps = whole_number("max_steps", max_steps, least=1, most=MAX_STEPS, like=2**12)
    run = iterate(optimizer, problem, steps, x0=x0, throw=throw)
    start = problem.start(x0)
    fitted = fit_to_start(optimizer, start, run.t.dtype)
    error, solver_error = _errors(fitted, problem.loss, start, run.t, run.y, max_steps)
    return LocalError(run.t[:-1], error, solver_error, run, optimizer, problem)


@eqx.filter_jit
def _errors(
    optimizer: AbstractOptimizer, loss: Callable, start: PyTree, t: Array, y: Any, max_steps: int
) -> list[Array]:
    """The error of each step, and the solver's share in it."""
    _, _, grad = flatten_loss(loss, start)
    term = diffrax.ODETerm(lambda t, y, _: optimizer.vector_field(t, y, grad))

    def solve(rtol, longest, t, y):
        solution = diffrax.diffeqsolve(
            term,
            diffrax.Tsit5(),
            t,
            t + optimizer.h,
            None,
            y,
            stepsize_controller=diffrax.PIDController(rtol, rtol / 1000, dtmax=longest),
            max_steps=max_steps,
            throw=False,
        )
        assert solution.ys is not None
        return jnp.where(diffrax.is_okay(solution.result), solution.ys.x[0], jnp.nan)

    starts = jax.tree.map(lambda a: jnp.concatenate([a[:-1], a[:-1]]), (t, y))
    rtol = jnp.array([10.0, 1.0], t.dtype) * finest_rtol(t.dtype, optimizer)
    longest = jnp.array([2.0, 0.5], t.dtype) * optimizer.h
    options = (jnp.repeat(a, t.size - 1) for a in (rtol, longest))
    coarse, fine = jnp.split(jax.vmap(solve)(*options, *starts), 2)
    distances = (jnp.linalg.norm(fine - other, axis=-1) for other in (y.x[1:], coarse))
    return [jnp.where(jnp.isfinite(d), d, jnp.nan) for d in distances]
