"""One path of the stochastic differential equation of a noisy optimizer."""

import warnings
from typing import Any

import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from ..derivations import Modified
from ..derivations.shuffled import is_shuffled_descent
from ..derivations.stochastic_flow import StochasticFlow
from ..errors import InvalidValue
from ..optimizers import AbstractOptimizer
from ..problems import Problem
from .iterate import run_map_in_calls
from .prepare import num_saved, prepare_run
from .setup import first_velocity, keep_setup
from .trajectory import Trajectory, raise_if_failed, raise_if_interrupted


def integrate_path(
    optimizer: AbstractOptimizer,
    problem: Problem,
    steps: int,
    x0: Any,
    save_every: int,
    per_step: int,
    solver: Any,
    throw: bool,
) -> Trajectory:
    """What `integrate` returns for a noisy optimizer, with `per_step` points in each time h."""
    fitted, start, unravel, dtype = prepare_run(optimizer, problem, x0)
    points = num_saved(fitted, problem.dim, dtype, steps, save_every, per_step)
    flow = StochasticFlow(fitted, ravel_pytree(start)[0], solver, per_step=per_step)
    if flow.equation.doubt:
        warnings.warn(flow.equation.doubt, stacklevel=3)
    outcome, interrupt = run_map_in_calls(flow, problem.loss, start, points, int(save_every))
    t, y, loss, grad_norm, result, first_bad_step = outcome
    stats = {
        "first_bad_step": jnp.where(first_bad_step < 0, -1, -(-first_bad_step // per_step)),
        "solver": type(flow.solver).__name__,
        "solver_steps": jnp.asarray((points - 1) * save_every * flow.substeps),
        "rtol": jnp.zeros((), dtype),
        "atol": jnp.zeros((), dtype),
    }
    setup = keep_setup(optimizer, problem, first_velocity, fitted, start, outcome)
    trajectory = Trajectory(t, y, loss, grad_norm, result, stats, "flow", unravel, setup)
    raise_if_interrupted(trajectory, problem, interrupt)
    return raise_if_failed(trajectory, problem, throw)


def has_ordinary_flow(optimizer: AbstractOptimizer) -> bool:
    """Whether the flow of a noisy optimizer is deterministic, as that of a mean over an epoch."""
    return isinstance(optimizer, Modified) and is_shuffled_descent(optimizer.optimizer)


def must_have_no_tolerances(**tolerances: Any) -> None:
    """**Raises:** `InvalidValue` if a tolerance is given."""
    for name, value in tolerances.items():
        if value is not None:
            raise InvalidValue(
                f"`{name}` is {value!r}, but a stochastic equation is solved with constant steps; "
                f"leave `{name}` out, and pass `solver` for another method."
            )
