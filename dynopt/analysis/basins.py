"""Basins: which minimizer a run reaches from each start of a plane, by the map and by the gradient flow."""

from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int, PyTree

from ..checks import whole_number
from ..errors import InvalidType, InvalidValue
from ..optimizers import AbstractOptimizer
from ..optimizers.base import must_be_optimizer
from ..problems import Problem
from ..problems.problem import as_window, must_be_problem
from ..runs.batches import must_be_single
from ..runs.prepare import flatten_loss
from ..runs.sweep import sweep
from ..runs.trajectory import Status

Points = np.ndarray
MOST_STEPS = 4096  # of the solver, from each start
MOST_POINTS = 4096  # along each side
AT_ONCE = 1024  # starts, which wait for one another
RTOL = 1e-6
AT_REST = 1e-4  # a slope below this, by 1 + |x|, is none: the flow has come to rest at a point that is not known


class Basins(eqx.Module):
    """Where runs end, from every point of a grid.

    - `x`, `y`: the grid, shapes `(n,)`. - `map`: the minimizer that the map is near after `steps` steps, as a row of
      `problem.minimizers`, shape `(n, n)`, y first; -1 if it is near none. - `flow`: the same of the gradient flow.
    - `failed`: where the map's run diverged or turned nonfinite. - `differs`: where it failed, or ends elsewhere than
      the flow; `disagreement`: the share of such starts.
    - `optimizer`, `problem`, `steps`: who ran, where, how long.
    """

    x: Float[Points, " n"]
    y: Float[Points, " n"]
    map: Int[Points, "n n"]
    flow: Int[Points, "n n"]
    failed: Bool[Points, "n n"]
    optimizer: AbstractOptimizer
    problem: Problem
    steps: int = eqx.field(static=True)

    differs = property(lambda self: (self.map != self.flow) | self.failed)
    disagreement = property(lambda self: float(np.mean(self.differs)))

    def __repr__(self) -> str:
        where = (
            f"{self.optimizer} on {self.problem.name}, {self.map.size} starts, {self.steps} steps"
        )
        return (
            f"Basins({where}: {100 * self.disagreement:.1f} % end elsewhere than the gradient flow)"
        )


def basins(
    optimizer: AbstractOptimizer,
    problem: Problem,
    steps: int,
    *,
    window: Any = None,
    points: int = 201,
    flow: Basins | None = None,
) -> Basins:
    """The minimizer that the map reaches from each point of a grid, and that which the gradient flow x′ = -∇f reaches.

    The gradient flow is that of `SGD`, and here the yardstick of every optimizer: one with a memory has basins of its
    own on the finest clock. A run has reached a minimizer if it ends within a quarter of the least distance between any
    two of them, or where one alone is known, within a tenth of the grid's diagonal.

    - `steps`: of the map; enough of them that it comes to rest. - `window`: `((x_low, x_high), (y_low, y_high))`, by
      default the problem's own. - `points`: along each side. - `flow`: basins on the same grid, of which those of the
      flow are taken over instead of solving for them again.

    **Raises:** `InvalidValue` if the problem has not two coordinates, knows no minimizers, or `flow` has another grid.

    >>> from dynopt import SGD, problems
    >>> seen = basins(SGD(0.013), problems.himmelblau(), 400, window=((-5, 5), (-5, 5)), points=11)
    >>> seen.flow[0].tolist()
    [3, 3, 3, 3, 3, 3, 1, 1, 1, 1, 1]
    >>> seen.map[0].tolist()
    [3, 3, 3, 3, 2, 2, 0, 0, 0, 0, 0]
    """
    must_be_optimizer(optimizer)
    must_be_single(optimizer)
    must_be_problem(problem)
    points, minimizers = _side(points), _known(problem)
    across, up = as_window(window) if window is not None else _own_window(problem)
    x, y = np.linspace(*across, points), np.linspace(*up, points)
    start, unravel = ravel_pytree(problem.start())
    grid = jnp.asarray(np.stack(np.meshgrid(x, y), -1).reshape(-1, 2), start.dtype)
    radius = _radius(minimizers, float(np.hypot(np.ptp(across), np.ptp(up))))
    ran = sweep(optimizer, problem, steps, x0=jax.vmap(unravel)(grid))
    reached = _nearest(_vectors(ran.x), minimizers, radius)
    if flow is None:
        settled = _nearest(_flow_ends(problem, grid, minimizers, radius / 4), minimizers, radius)
    else:
        settled = _taken_over(flow, problem, x, y)
    shape, failed = (
        (points, points),
        np.isin(np.asarray(ran.result), (Status.diverged, Status.nonfinite)),
    )
    return Basins(
        x, y, np.where(failed, -1, reached).reshape(shape), settled.reshape(shape), failed.reshape(shape),
        optimizer, problem, int(steps),
    )  # fmt: skip


def _flow_ends(problem: Problem, grid: Array, minimizers: np.ndarray, near: float) -> np.ndarray:
    """Where the gradient flow ends, from every start; an implicit solver goes on where the explicit one gets slow."""
    start, stars = problem.start(), jnp.asarray(minimizers, grid.dtype)
    ends, slopes = map(np.array, _settle(problem.loss, start, grid, stars, near, diffrax.Tsit5()))
    moving = slopes > AT_REST * (1 + np.linalg.norm(ends, axis=-1))
    stiff = np.flatnonzero(moving & (_nearest(ends, minimizers, near) < 0))
    if stiff.size:
        some = jnp.asarray(ends[np.resize(stiff, -(-stiff.size // AT_ONCE) * AT_ONCE)])
        better, _ = _settle(problem.loss, start, some, stars, near, diffrax.Kvaerno5())
        ends[stiff] = np.asarray(better)[: stiff.size]
    return ends


@eqx.filter_jit
def _settle(
    loss: Callable, start: PyTree, grid: Array, minimizers: Array, near: float | Array, solver
):
    """Where the gradient flow comes so near a minimizer, or is when the solver's steps are used up; the slope there."""
    grad = flatten_loss(loss, start)[2]

    def arrived(t, y, args, **_):
        return (jnp.linalg.norm(y[None] - minimizers, axis=1) < near).any()

    def end(x):
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(lambda t, y, _: -grad(y)), solver, 0.0, jnp.inf, None, x,
            stepsize_controller=diffrax.PIDController(RTOL, RTOL), event=diffrax.Event(arrived),
            max_steps=MOST_STEPS, throw=False, adjoint=diffrax.ForwardMode(),
        )  # fmt: skip
        assert solution.ys is not None
        y = solution.ys[0]
        return y, jnp.linalg.norm(grad(y))

    return jax.lax.map(end, grid, batch_size=AT_ONCE)


def _nearest(ends: np.ndarray, minimizers: np.ndarray, radius: float) -> np.ndarray:
    """The row of the minimizer that is nearest, -1 if it is not near."""
    away = np.linalg.norm(ends[:, None] - minimizers, axis=-1)
    away = np.where(np.isfinite(away), away, np.inf)
    return np.where(away.min(1) < radius, away.argmin(1), -1)


def _radius(minimizers: np.ndarray, diagonal: float) -> float:
    apart = np.linalg.norm(minimizers[:, None] - minimizers, axis=-1)[
        np.triu_indices(len(minimizers), 1)
    ]
    return apart.min() / 4 if apart.size else diagonal / 10


def _vectors(x: PyTree[Array]) -> np.ndarray:
    return np.asarray(jax.vmap(lambda x: ravel_pytree(x)[0])(x))


def _side(points: Any) -> int:
    points = whole_number("points", points, least=2, like=100)
    if points > MOST_POINTS:
        raise InvalidValue(
            f"`points` is {points} along each side, more than {MOST_POINTS}; pass points=201, say."
        )
    return points


def _known(problem: Problem) -> np.ndarray:
    if problem.dim != 2:
        raise InvalidValue(
            f"basins are seen in a plane, but {problem.name} has {problem.dim} coordinates; pass two."
        )
    if problem.minimizers is None:
        raise InvalidValue(
            f"{problem.name} knows no minimizers; pass them as Problem(..., minimizers=[[...], ...])."
        )
    return np.asarray(problem.minimizers, float)


def _own_window(problem: Problem):
    if problem.window is None:
        raise InvalidValue(
            f"{problem.name} knows no window; pass window=((x_low, x_high), (y_low, y_high))."
        )
    return problem.window


def _taken_over(flow: Any, problem: Problem, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    if not isinstance(flow, Basins):
        raise InvalidType(
            f"`flow` must be a result of analysis.basins, got {flow!r}; leave it out to solve for it."
        )
    if flow.problem.name != problem.name or not (
        np.array_equal(flow.x, x) and np.array_equal(flow.y, y)
    ):
        raise InvalidValue(
            f"`flow` is of {flow.problem.name} on another grid; pass basins of {problem.name} with the same window and "
            "points."
        )
    return flow.flow
