"""The local error: what one step of the map misses, from each of its own points."""

from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ..checks import whole_number
from ..optimizers import AbstractOptimizer
from ..problems import Problem
from ..runs.integrate import finest_rtol
from ..runs.iterate import iterate
from ..runs.prepare import MAX_STEPS, fit_to_start, flatten_loss
from ..runs.trajectory import Trajectory


class LocalError(eqx.Module):
    """The error of each single step.

    - `t`: the times at which the steps begin, shape `(n,)`. - `error`: |step(yₖ) - flow over h from yₖ| in the
      position, shape `(n,)`. - `solver_error`: an estimate of the solver's share in it.
    - `map`: the run that was restarted. - `optimizer`, `problem`: whose it was.
    """

    t: Array
    error: Float[Array, " n"]
    solver_error: Float[Array, " n"]
    map: Trajectory
    optimizer: AbstractOptimizer
    problem: Problem

    def __repr__(self) -> str:
        return f"LocalError({self.optimizer} on {self.problem.name}, largest {float(jnp.nanmax(self.error)):.3g})"


def local_error(
    optimizer: AbstractOptimizer,
    problem: Problem,
    steps: int,
    *,
    x0: Any = None,
    throw: bool = True,
    max_steps: int = 2**12,
) -> LocalError:
    """From every point yₖ of the map, compare one step with the flow over the same time h: O(h²) for a map of order 1.

    All restarts are one vmapped diffrax solve, done at two tolerances to estimate its own error.

    - `steps`, `x0`, `throw`: as for `iterate`. - `max_steps`: of the solver, per restart.

    **Raises:** as `iterate` does, and `InvalidValue` for no steps.

    >>> from dynopt import SGD, Problem
    >>> bowl = Problem(lambda x: (x**2).sum() / 2, [1.0], name="bowl")
    >>> print(f"{local_error(SGD(0.1), bowl, 5).error[0]:.6f}")  # e^(-0.1) - 0.9
    0.004837
    """
    whole_number("steps", steps, least=1, like=100)
    max_steps = whole_number("max_steps", max_steps, least=1, most=MAX_STEPS, like=2**12)
    map = iterate(optimizer, problem, steps, x0=x0, throw=throw)
    page = fit_to_start(optimizer, problem.start(x0), map.t.dtype)
    error, own = _errors(page, problem.loss, problem.start(x0), map.t, map.y, max_steps)
    return LocalError(map.t[:-1], error, own, map, optimizer, problem)


@eqx.filter_jit
def _errors(
    optimizer: AbstractOptimizer, loss: Callable, start: PyTree, t: Array, y: Any, max_steps: int
):
    _, _, grad = flatten_loss(loss, start)
    field = diffrax.ODETerm(lambda t, y, _: optimizer.vector_field(t, y, grad))

    def one_step(rtol, t, y):
        solution = diffrax.diffeqsolve(
            field,
            diffrax.Tsit5(),
            t,
            t + optimizer.h,
            None,
            y,
            stepsize_controller=diffrax.PIDController(rtol, rtol / 1000),
            max_steps=max_steps,
            throw=False,
        )
        assert solution.ys is not None
        return jnp.where(diffrax.is_okay(solution.result), solution.ys.x[0], jnp.nan)

    twice = jax.tree.map(lambda a: jnp.concatenate([a[:-1], a[:-1]]), (t, y))
    rtol = jnp.repeat(jnp.array([10.0, 1.0], t.dtype) * finest_rtol(t.dtype, optimizer), t.size - 1)
    coarse, fine = jnp.split(jax.vmap(one_step)(rtol, *twice), 2)
    apart = (jnp.linalg.norm(fine - other, axis=-1) for other in (y.x[1:], coarse))
    return [jnp.where(jnp.isfinite(e), e, jnp.nan) for e in apart]
