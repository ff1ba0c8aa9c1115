"""Results to draw, made by hand: a picture needs only their shape."""

import dataclasses
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from dynopt import SGD, Adam, Momentum, Problem, RMSprop, Status, iterate
from dynopt.analysis import (
    Basins,
    Comparison,
    LocalError,
    Lyapunov,
    Order,
    Rescaling,
    Sensitivity,
    Stability,
)

STEPS = 40
PAGES = (SGD(0.01), Momentum(0.01), RMSprop(0.02), Adam(0.05))


class Mixture(eqx.Module):
    """One loss that is four, so that one compilation serves all: a bowl, a valley, four wells, many wells."""

    share: Any

    def __call__(self, x):
        a, b = x[..., 0], x[..., 1]
        bowl = (a**2 + 10 * b**2) / 2
        valley = (100 * (b - a**2) ** 2 + (1 - a) ** 2) / 50
        wells = ((a**2 + b - 11) ** 2 + (a + b**2 - 7) ** 2) / 20
        ripples = 20 + a**2 + b**2 - 10 * (jnp.cos(2 * jnp.pi * a) + jnp.cos(2 * jnp.pi * b))
        return self.share @ jnp.stack([bowl, valley, wells, ripples])


SCENES = {
    "bowl": (0, [-2.0, 1.5], [[0.0, 0.0]], ((-3, 3), (-3, 3))),
    "valley": (1, [-1.2, 1.0], [[1.0, 1.0]], ((-2, 2), (-1, 3))),
    "wells": (2, [0.0, -3.0], [[3.0, 2.0], [3.584428, -1.848127]], ((-6, 6), (-6, 6))),
    "ripples": (3, [2.2, -1.7], [[0.0, 0.0]], ((-5.12, 5.12), (-5.12, 5.12))),
    "nowhere": (0, [-2.0, 1.5], None, None),
}


def scene(name: str) -> Problem:
    which, start, minimizers, window = SCENES[name]
    minimum = None if minimizers is None else 0.0
    return Problem(
        Mixture(jnp.eye(4)[which]),
        start,
        name=name,
        minimizers=minimizers,
        minimum=minimum,
        window=window,
    )


def flow_like(optimizer, problem: Problem, steps: int):
    """The map on a clock sixteen times finer passes for the flow: no solver has to be compiled."""
    fine = iterate(optimizer.refine(16), problem, 16 * steps, save_every=16, throw=False)
    stats = fine.stats | {"solver": "Tsit5", "solver_steps": 99, "rtol": 1e-11, "atol": 1e-14}
    return dataclasses.replace(fine, kind="flow", stats=stats)


def made_gap(optimizer, problem: Problem, steps: int = STEPS) -> Comparison:
    map, flow = (
        iterate(optimizer, problem, steps, throw=False),
        flow_like(optimizer, problem, steps),
    )
    error = jnp.linalg.norm(map.y.x - flow.y.x, axis=-1)
    error = jnp.where(jnp.isfinite(error), error, jnp.nan)
    return Comparison(map.t, error, jnp.full_like(error, 1e-9), map, flow, optimizer, problem)


def made_local_error(comparison: Comparison) -> LocalError:
    error = jnp.abs(jnp.diff(comparison.error)) + 1e-6
    return LocalError(
        comparison.t[:-1],
        error,
        jnp.full_like(error, 1e-13),
        comparison.map,
        comparison.optimizer,
        comparison.problem,
    )


def made_order(
    optimizer, problem: Problem, slope: float, size: float = 1.0, left_out: int = 2
) -> Order:
    h = float(optimizer.h) / 2 ** np.arange(7)
    error = size * h**slope * np.where(np.arange(7) < left_out, 1.3, 1.0)
    pairwise = np.diff(np.log(error)) / np.diff(np.log(h))
    floor = 1e-15 / h
    own = {"time": 50 * float(optimizer.h), "optimizer": optimizer, "problem": problem}
    return Order(
        h,
        error,
        pairwise,
        slope,
        0.002,
        (left_out, 6),
        floor,
        1e-13,
        optimizer.regularity.order,
        **own,
    )


def made_energies(comparison: Comparison) -> list[Lyapunov]:
    """The loss passes for the energy of every page."""
    made = []
    for run in (comparison.map, comparison.flow):
        rise = jnp.maximum(jnp.diff(run.loss, prepend=run.loss[:1]), 0)
        made.append(Lyapunov(run.t, run.loss, rise, run, comparison.optimizer, comparison.problem))
    return made


def made_rescaling(
    comparison: Comparison, scale: float = 1 / 3, power: float = 1.0, away: float = 1e-15
) -> Rescaling:
    """The map, a little away, passes for the run at the corrected rate, and the flow for that at the same rate."""
    optimizer, same = comparison.optimizer, dataclasses.replace(comparison.flow, kind="map")
    factor = scale ** (1 + power)
    near = dataclasses.replace(
        comparison.map, y=comparison.map.y._replace(x=comparison.map.y.x + away)
    )
    apart = jnp.where(jnp.isfinite(comparison.error), away, jnp.nan), comparison.error
    return Rescaling(
        comparison.map,
        same,
        near,
        *apart,
        power,
        factor,
        scale,
        optimizer,
        optimizer,
        comparison.problem,
    )


def made_stability(
    n: int = 41, m: int = 31, reach: float = 4.2, curvature: float = 1.0
) -> Stability:
    """The heavy ball's, by its closed forms."""
    rate, value = np.linspace(0, reach, n + 1)[1:], np.linspace(0, 1, m, endpoint=False)
    trace = 1 + value[:, None] - rate
    root = np.sqrt(trace**2 - 4 * value[:, None] + 0j)
    radius = np.maximum(abs(trace + root), abs(trace - root)) / 2
    best = np.where(rate < 4, (1 - np.sqrt(rate)) ** 2, np.nan)
    own = {"option": "momentum", "optimizer": Momentum(0.01), "curvature": curvature}
    return Stability(rate / curvature, value, radius, (2 + 2 * value) / curvature, best, **own)


def made_basins(
    optimizer, problem: Problem, away: float = 0.5, failing: bool = False, n: int = 21
) -> Basins:
    """The nearest minimizer, and for the map that of a start a little to the right."""
    x, y = np.linspace(-3, 3, n), np.linspace(-2, 2, n)
    grid, stars = np.stack(np.meshgrid(x, y), -1)[:, :, None], np.asarray(problem.minimizers)
    flow = np.linalg.norm(grid - stars, axis=-1).argmin(-1)
    map = np.linalg.norm(grid + np.array([away, 0]) - stars, axis=-1).argmin(-1)
    failed = np.full_like(map, failing, bool) & (y[:, None] > 1.5)
    return Basins(x, y, np.where(failed, -1, map), flow, failed, optimizer, problem, 300)


def made_sensitivity(optimizer, problem: Problem, n: int = 31, m: int = 21) -> Sensitivity:
    """Of a quadratic mode of curvature 4 from 1: the boundary is that of the heavy ball."""
    rate, value = np.geomspace(1e-3, 2, n), np.linspace(0, 0.95, m)
    boundary = (2 + 2 * value) / 4
    beyond = rate > boundary[:, None]
    loss = np.where(beyond, np.inf, (1 - rate / (2 * boundary[:, None])) ** 50 + 1e-9)
    result = np.where(beyond, int(Status.diverged), int(Status.ok))
    return Sensitivity(
        rate, value, loss, result, 2.0, boundary, 4.0, "momentum", optimizer, problem, 50
    )


def elsewhere(comparison: Comparison, problem: Problem) -> Comparison:
    """The same runs, said to be on another problem."""
    return dataclasses.replace(comparison, problem=problem)


def with_runs(comparison: Comparison, change) -> Comparison:
    """The same result with other arrays along map and flow; `change` takes and gives what grows with time."""
    runs = {
        kind: dataclasses.replace(
            run, **dict(zip(("t", "y", "loss"), change((run.t, run.y, run.loss)), strict=True))
        )
        for kind, run in (("map", comparison.map), ("flow", comparison.flow))
    }
    t, error, solver_error = change((comparison.t, comparison.error, comparison.solver_error))
    return dataclasses.replace(comparison, t=t, error=error, solver_error=solver_error, **runs)


def found(ax, gid: str) -> Any:
    """The one artist of that name."""
    (artist,) = [a for a in ax.get_children() if a.get_gid() == gid]
    return artist


def gids(ax) -> set[str]:
    return {a.get_gid() for a in ax.get_children() if a.get_gid()}


def keys(ax) -> list[str]:
    """What stands in the rows of names and keys."""
    return [t.get_text() for a in ax.artists if a.get_gid() == "names" for t in a.get_texts()]
