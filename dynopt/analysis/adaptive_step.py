"""A step of Adam or RMSprop: a mean of gradients, over the root of a mean of their squares."""

from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from ..checks import Scalar
from ..optimizers import AbstractOptimizer, Adam, RMSprop
from ..optimizers.averages import bias_corrected, safe_divide, safe_sqrt
from ..problems import Problem
from ..runs.integrate import finest_rtol
from ..runs.prepare import flatten_loss
from ..runs.solve import solve
from ..runs.trajectory import Trajectory

CURVE_POINTS = 65  # of the flow over one step
MAX_SOLVER_STEPS = 2**12


class AdaptiveStep(eqx.Module):
    """The step k of Adam or RMSprop, Δx = -η u with u = m̂/s, and the flow beside it.

    - `map`: the run from its start to the end of the step, k + 2 points.
    - `gradients`: ∇f at the beginning of each step, shape `(k+1, dim)`.
    - `weights`: the weight of each of them in their running mean m̂, shape `(k+1,)`; RMSprop has no
      mean, so that the last weight is 1 and all others are 0.
    - `square_weights`: the weight of the square of each in the running mean of squares v̂, shape
      `(k+1,)`.
    - `mean`: m̂, shape `(dim,)`; of RMSprop the gradient itself.
    - `spread`: s, what the mean is divided by, shape `(dim,)`: √(v̂ + ε₀) + ε of Adam, √(v̂ + ε) of
      RMSprop.
    - `curve`: the positions along the flow over the time h from the point of phase space at which
      the step begins, shape `(65, dim)`, evenly in time; NaN where the flow could not be solved.
    - `optimizer`, `problem`: the optimizer and the problem that were run.
    - `direction`: u = m̂/s, shape `(dim,)`, and 0 where s = 0.
    - `error`: the distance from the end of the step to the end of this flow: the local error.
    """

    map: Trajectory
    gradients: Float[np.ndarray, "n dim"]
    weights: Float[np.ndarray, " n"]
    square_weights: Float[np.ndarray, " n"]
    mean: Float[np.ndarray, " dim"]
    spread: Float[np.ndarray, " dim"]
    curve: Float[np.ndarray, "points dim"]
    optimizer: AbstractOptimizer
    problem: Problem

    @property
    def direction(self) -> np.ndarray:
        return np.asarray(safe_divide(self.mean, self.spread))

    @property
    def error(self) -> float:
        return float(np.linalg.norm(self.curve[-1] - np.asarray(self.map.y.x[-1])))

    def __repr__(self) -> str:
        return (
            f"AdaptiveStep({self.optimizer} on {self.problem.name}, step {len(self.weights) - 1})"
        )


def last_adaptive_step(
    optimizer: AbstractOptimizer,
    problem: Problem,
    fitted: AbstractOptimizer,
    run: Trajectory,
    start: PyTree,
) -> AdaptiveStep | None:
    """The last step of the run; None for an optimizer other than Adam and RMSprop."""
    if not isinstance(fitted, Adam | RMSprop):
        return None
    gradients = _gradients(problem.loss, start, run.y.x[:-1])
    begin, end = (jax.tree.map(lambda a, k=k: a[k], run.y) for k in (-2, -1))
    curve = _flow(fitted, problem.loss, start, run.t[-2], begin)
    if isinstance(fitted, Adam):
        parts = _of_adam(fitted, run.t[-2], end, gradients)
    else:
        parts = _of_rmsprop(fitted, run.t[-2], end, gradients)
    arrays = (np.asarray(array) for array in (gradients, *parts, curve))
    return AdaptiveStep(run, *arrays, optimizer, problem)  # pyright: ignore[reportCallIssue]


class _Parts(NamedTuple):
    weights: Array
    square_weights: Array
    mean: Array
    spread: Array


def _of_adam(optimizer: Adam, t: Array, y: Any, gradients: Array) -> _Parts:
    g, end = gradients[-1], t + optimizer.h
    weights, square_weights = (
        _weights(1 - optimizer.h / tau, len(gradients)) for tau in (optimizer.tau1, optimizer.tau2)
    )
    mean = bias_corrected(y.m, g, end, optimizer.h, optimizer.tau1)
    square = bias_corrected(y.v, g**2, end, optimizer.h, optimizer.tau2)
    spread = safe_sqrt(square + optimizer.eps_root) + optimizer.eps
    return _Parts(weights / weights.sum(), square_weights / square_weights.sum(), mean, spread)


def _of_rmsprop(optimizer: RMSprop, t: Array, y: Any, gradients: Array) -> _Parts:
    g, square = gradients[-1], y.v
    square_weights = _weights(1 - optimizer.h / optimizer.tau, len(gradients))
    if optimizer.bias_correction:
        square = bias_corrected(y.v, g**2, t + optimizer.h, optimizer.h, optimizer.tau)
        square_weights = square_weights / square_weights.sum()
    spread = safe_sqrt(square + optimizer.eps)
    return _Parts(jnp.zeros(len(gradients)).at[-1].set(1), square_weights, g, spread)


def _weights(decay: Scalar, n: int) -> Array:
    """The weights of n values in a running mean that started from 0, the newest last."""
    return (1 - decay) * decay ** jnp.arange(n - 1, -1, -1)


@eqx.filter_jit
def _gradients(loss: Callable, start: PyTree, x: Array) -> Array:
    """∇f at each position in a row."""
    _, _, grad = flatten_loss(loss, start)
    return jax.lax.map(lambda x: grad(x), x)


@eqx.filter_jit
def _flow(optimizer: AbstractOptimizer, loss: Callable, start: PyTree, t: Array, y: Any) -> Array:
    """The positions along the flow over the time h from the point `y` at the time `t`."""
    _, _, grad = flatten_loss(loss, start)
    times = t + jnp.linspace(0, 1, CURVE_POINTS, dtype=t.dtype) * optimizer.h
    rtol = jnp.asarray(10 * finest_rtol(t.dtype, optimizer), t.dtype)
    ys, _, is_solved, _ = solve(
        lambda t, y: optimizer.vector_field(t, y, grad),
        y, times, rtol, rtol / 1000, diffrax.Tsit5(), MAX_SOLVER_STEPS,
    )  # fmt: skip
    return jnp.where(is_solved, ys.x, jnp.nan)
