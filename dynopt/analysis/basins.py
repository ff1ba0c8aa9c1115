"""Basins: the minimizer that a run reaches from each start in a plane."""

from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int, PyTree

from ..checks import must_be_concrete, whole_number
from ..errors import InvalidType, InvalidValue
from ..optimizers import AbstractOptimizer
from ..optimizers.base import must_be_optimizer
from ..optimizers.wrappers.noise import must_have_no_noise
from ..problems import Problem
from ..problems.probe import must_be_gradient, must_be_lowest
from ..problems.problem import as_window, must_be_problem
from ..runs.batches import must_be_single
from ..runs.prepare import flatten_loss
from ..runs.status import Status
from ..runs.sweep import sweep

MAX_SOLVER_STEPS = 4096  # from each start
MAX_POINTS = 4096  # along each side
BATCH_SIZE = 1024  # starts that are solved together; all wait for the slowest
RTOL = 1e-6
AT_REST = 1e-4  # a gradient below this times (1 + |x|) counts as 0


class Basins(eqx.Module):
    """The minimizers that runs reach from every point of a grid.

    - `x`, `y`: the coordinates of the grid, shape `(n,)` each.
    - `map`: the minimizer near which the map is after `steps` steps, as the number of its row in
      `problem.minimizers`; -1 if it is near none. Its shape is `(n, n)`, y first.
    - `flow`: the same for the gradient flow.
    - `failed`: where the run of the map diverged or became nonfinite, shape `(n, n)`.
    - `differs`: where the map failed or ends elsewhere than the flow, shape `(n, n)`.
    - `disagreement`: the fraction of the starts where it differs.
    - `optimizer`, `problem`, `steps`: the optimizer, the problem and the number of steps.
    """

    x: Float[np.ndarray, " n"]
    y: Float[np.ndarray, " n"]
    map: Int[np.ndarray, "n n"]
    flow: Int[np.ndarray, "n n"]
    failed: Bool[np.ndarray, "n n"]
    optimizer: AbstractOptimizer
    problem: Problem
    steps: int = eqx.field(static=True)

    differs = property(lambda self: (self.map != self.flow) | self.failed)
    disagreement = property(lambda self: float(np.mean(self.differs)))

    def __repr__(self) -> str:
        return (
            f"Basins({self.optimizer} on {self.problem.name}, {self.map.size} starts, {self.steps} "
            f"steps: {100 * self.disagreement:.1f} % end elsewhere than the gradient flow)"
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
    """The minimizers that the map and the gradient flow x′ = -∇f reach from each point of a grid.

    Every optimizer is compared with the gradient flow, which is the flow of `SGD`. An optimizer
    with a memory has other basins than that even in the limit h → 0. A run has reached a minimizer
    if it ends within a quarter of the smallest distance between two minimizers, or, where only one
    is known, within a tenth of the diagonal of the grid.

    - `steps`: the number of steps of the map; it should be large enough for the map to converge.
    - `window`: `((x_low, x_high), (y_low, y_high))`, by default the window of the problem.
    - `points`: the number of points along each side, 201 by default.
    - `flow`: basins on the same grid; those of the gradient flow are taken from it instead of
      being solved again.

    **Raises:** `InvalidValue` if the problem does not have two coordinates, if it knows no
    minimizers, false ones, or no window, if `flow` has another grid, or inside a JAX
    transformation; `InvalidType` for wrong types; `ProblemError` if the field of the problem is no
    gradient, as in a game.

    >>> from dynopt import SGD, problems
    >>> square = ((-5, 5), (-5, 5))
    >>> result = basins(SGD(0.013), problems.himmelblau(), 400, window=square, points=11)
    >>> result.flow[0].tolist()
    [3, 3, 3, 3, 3, 3, 1, 1, 1, 1, 1]
    >>> result.map[0].tolist()
    [3, 3, 3, 3, 2, 2, 0, 0, 0, 0, 0]
    """
    must_have_no_noise("basins", optimizer)
    must_be_concrete("basins", optimizer, problem, window)
    must_be_optimizer(optimizer)
    must_be_single(optimizer)
    must_be_problem(problem)
    if not problem.conservative:
        must_be_gradient(problem, "basins")
    points, minimizers = _checked_points(points), _known_minimizers(problem)
    across, up = _known_window(problem) if window is None else as_window(window)
    x, y = np.linspace(*across, points), np.linspace(*up, points)
    start, unravel = ravel_pytree(problem.start())
    grid = jnp.asarray(np.stack(np.meshgrid(x, y), -1).reshape(-1, 2), start.dtype)
    radius = _capture_radius(minimizers, float(np.hypot(np.ptp(across), np.ptp(up))))
    ends = sweep(optimizer, problem, steps, x0=jax.vmap(unravel)(grid))
    floats = eqx.filter(ends.x, eqx.is_inexact_array)
    map_ends = np.asarray(jax.vmap(lambda x: ravel_pytree(x)[0])(floats))
    failed = np.isin(np.asarray(ends.result), (Status.diverged, Status.nonfinite))
    reached_by_map = np.where(failed, -1, _nearest(map_ends, minimizers, radius))
    if flow is None:
        flow_ends = _flow_ends(problem, grid, minimizers, radius / 4)
        reached_by_flow = _nearest(flow_ends, minimizers, radius)
    else:
        reached_by_flow = _flow_on_same_grid(flow, problem, x, y)
    shape = points, points
    return Basins(
        x=x,
        y=y,
        map=reached_by_map.reshape(shape),
        flow=reached_by_flow.reshape(shape),
        failed=failed.reshape(shape),
        optimizer=optimizer,
        problem=problem,
        steps=int(steps),
    )


def _flow_ends(problem: Problem, grid: Array, minimizers: np.ndarray, near: float) -> np.ndarray:
    """The end of the gradient flow from every start.

    An implicit solver goes on where the explicit one used up its steps.
    """
    start, targets = problem.start(), jnp.asarray(minimizers, grid.dtype)
    ends, slopes = map(np.array, _solve(problem.loss, start, grid, targets, near, diffrax.Tsit5()))
    moving = slopes > AT_REST * (1 + np.linalg.norm(ends, axis=-1))
    stiff = np.flatnonzero(moving & (_nearest(ends, minimizers, near) < 0))
    if stiff.size:
        filled = np.resize(stiff, -(-stiff.size // BATCH_SIZE) * BATCH_SIZE)
        solver = diffrax.Kvaerno5()
        better, _ = _solve(problem.loss, start, jnp.asarray(ends[filled]), targets, near, solver)
        ends[stiff] = np.asarray(better)[: stiff.size]
    return ends


@eqx.filter_jit
def _solve(
    loss: Callable, start: PyTree, grid: Array, minimizers: Array, near: float | Array, solver
):
    """The gradient flow until it is near a minimizer, or the solver's steps are used up.

    Returns the position and |∇f| there, for each start of the grid.
    """
    grad = flatten_loss(loss, start)[2]

    def has_arrived(t, y, args, **_):
        return (jnp.linalg.norm(y[None] - minimizers, axis=1) < near).any()

    def end(x):
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(lambda t, y, _: -grad(y)),
            solver,
            0.0,
            jnp.inf,
            None,
            x,
            stepsize_controller=diffrax.PIDController(RTOL, RTOL),
            event=diffrax.Event(has_arrived),
            max_steps=MAX_SOLVER_STEPS,
            throw=False,
            adjoint=diffrax.ForwardMode(),
        )
        assert solution.ys is not None
        y = solution.ys[0]
        return y, jnp.linalg.norm(grad(y))

    return jax.lax.map(end, grid, batch_size=BATCH_SIZE)


def _nearest(ends: np.ndarray, minimizers: np.ndarray, radius: float) -> np.ndarray:
    """The number of the nearest minimizer; -1 if its distance is not below `radius`."""
    distances = np.linalg.norm(ends[:, None] - minimizers, axis=-1)
    distances = np.where(np.isfinite(distances), distances, np.inf)
    return np.where(distances.min(1) < radius, distances.argmin(1), -1)


def _capture_radius(minimizers: np.ndarray, diagonal: float) -> float:
    distances = np.linalg.norm(minimizers[:, None] - minimizers, axis=-1)
    pairs = distances[np.triu_indices(len(minimizers), 1)]
    return pairs.min() / 4 if pairs.size else diagonal / 10


def _checked_points(points: Any) -> int:
    points = whole_number("points", points, least=2, like=100)
    if points > MAX_POINTS:
        raise InvalidValue(
            f"`points` is {points} along each side, more than {MAX_POINTS}; pass points=201, say."
        )
    return points


def _known_minimizers(problem: Problem) -> np.ndarray:
    if problem.dim != 2:
        raise InvalidValue(
            f"basins fill a plane, but {problem.name} has {problem.dim} coordinates; pass a "
            "problem with two."
        )
    if problem.minimizers is None:
        raise InvalidValue(
            f"{problem.name} knows no minimizers; pass them as Problem(..., minimizers=[[...], "
            "...])."
        )
    minimizers = np.asarray(problem.minimizers, float)
    start, unravel = ravel_pytree(problem.start())
    points = jnp.asarray(np.concatenate([minimizers, np.asarray(start)[None]]), start.dtype)
    *losses, at_start = jax.jit(jax.vmap(lambda x: problem.loss(unravel(x))))(points).tolist()
    must_be_lowest(problem, np.array(losses), at_start)
    return minimizers


def _known_window(problem: Problem):
    if problem.window is None:
        raise InvalidValue(
            f"{problem.name} knows no window; pass window=((x_low, x_high), (y_low, y_high))."
        )
    return problem.window


def _flow_on_same_grid(flow: Any, problem: Problem, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    if not isinstance(flow, Basins):
        raise InvalidType(
            f"`flow` must be a result of analysis.basins, got {flow!r}; leave it out to solve for "
            "it."
        )
    has_same_grid = np.array_equal(flow.x, x) and np.array_equal(flow.y, y)
    if flow.problem.name != problem.name or not has_same_grid:
        raise InvalidValue(
            f"`flow` belongs to {flow.problem.name} on another grid; pass basins of {problem.name} "
            "with the same window and points."
        )
    return flow.flow
