"""The weak order: the power of h with which mean values of a map approach those of its flow."""

import warnings
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from ..checks import Scalar, must_be_concrete, positive, whole_number
from ..derivations import Modified
from ..derivations.series import add_scaled
from ..derivations.stochastic import StochasticEquation
from ..errors import InvalidType, InvalidValue
from ..optimizers import AbstractOptimizer, Noisy
from ..optimizers.base import must_be_optimizer
from ..optimizers.wrappers.noise import as_key, noise_of
from ..problems import Problem
from ..problems.problem import must_be_problem
from ..runs.batches import must_be_single
from ..runs.ensemble import ensemble
from ..runs.prepare import MAX_STEPS, fit_to_start, prepare_loss
from .affine_law import (
    AbstractLaw,
    NoExactMoments,
    affine_laws,
    drive,
    mean_of_quadratic,
    modified_of,
)

MAX_REFINEMENTS = 12
DEFAULT_STEPS = 20  # of the coarsest map
PATHS_AT_ONCE = 1000  # in one compiled call
STANDARD_ERRORS = 2  # an error is told from 0 if it is larger than so many of them
SUBSTEPS = 16  # of the solver of the flow, in each time h


class WeakError(eqx.Module):
    """The weak errors at the time steps h, h/2, h/4, ... against one flow.

    - `h`: the time steps, shape `(refinements,)`.
    - `error`: |E φ(map) - E φ(flow)| at the common end, same shape; for several test functions the
      largest one.
    - `stderr`: its standard error, 0 where it is computed without random numbers.
    """

    h: Float[np.ndarray, " n"]
    error: Float[np.ndarray, " n"]
    stderr: Float[np.ndarray, " n"]

    @property
    def is_resolved(self) -> np.ndarray:
        """Which errors are larger than twice their standard errors, as a mask."""
        return self.error > STANDARD_ERRORS * self.stderr

    @property
    def pairwise(self) -> np.ndarray:
        """The slopes of log(error) against log(h) between neighbours; NaN if one is unresolved."""
        error = np.where(self.is_resolved, self.error, np.nan)
        return np.diff(np.log(error)) / np.diff(np.log(self.h))

    @property
    def pairwise_stderr(self) -> np.ndarray:
        """The standard errors of `pairwise`."""
        relative = self.stderr / np.where(self.is_resolved, self.error, np.nan)
        return np.hypot(relative[1:], relative[:-1]) / -np.diff(np.log(self.h))

    @property
    def order(self) -> float:
        """The slope at the finest pair of resolved errors; NaN if there is none."""
        known = self.pairwise[np.isfinite(self.pairwise)]
        return float(known[-1]) if len(known) else np.nan

    def __repr__(self) -> str:
        errors = [
            f"{error:.3g}" + (f" ± {stderr:.1g}" if stderr else "")
            if is_resolved
            else f"<= {error + STANDARD_ERRORS * stderr:.2g}"
            for error, stderr, is_resolved in zip(
                self.error, self.stderr, self.is_resolved, strict=True
            )
        ]
        slopes = ""
        if np.isfinite(self.order):
            last = np.flatnonzero(np.isfinite(self.pairwise))[-1]
            stderr = self.pairwise_stderr[last]
            slopes = f", order {self.order:.3f}" + (f" ± {stderr:.2g}" if stderr else "")
        return f"WeakError({', '.join(errors)}{slopes})"


class WeakOrder(eqx.Module):
    """The weak errors of a noisy map over one time, at the time steps h, h/2, h/4, ...

    - `flow`: the `WeakError` against the stochastic flow.
    - `modified`: that against the modified stochastic flow; None if no modified equation is known.
    - `noiseless`: that against the flow without noise, for contrast; None where map and flow are
      independent ensembles.
    - `time`: the common time, in the unit of h.
    - `paths`: the number of paths; 0 if the errors are computed from exact moments.
    - `optimizer`, `problem`: what was refined, and the problem.
    """

    flow: WeakError
    modified: WeakError | None
    noiseless: WeakError | None
    time: float
    paths: int
    optimizer: AbstractOptimizer
    problem: Problem

    def __repr__(self) -> str:
        rows = {"flow": self.flow, "modified flow": self.modified, "no noise": self.noiseless}
        lines = [f"{name}: {error!r}" for name, error in rows.items() if error is not None]
        by = f"by {self.paths} paths" if self.paths else "by exact moments"
        what = f"{self.optimizer!r} on {self.problem.name} at the time {self.time:g}, {by}"
        return "\n  ".join([f"WeakOrder(of {what}", *lines]) + ")"


def weak_order(
    optimizer: AbstractOptimizer,
    problem: Problem,
    test: Callable[[PyTree], Any] | None = None,
    time: Scalar | None = None,
    refinements: int = 5,
    *,
    x0: Any = None,
    paths: int = 2000,
    key: Any = 0,
) -> WeakOrder:
    """Refine the time step at one temperature, and measure the error of a mean value.

    The weak error is |E φ(x_map) - E φ(x_flow)| at one time, for a test function φ of the position.
    The optimizers are `optimizer.refine(n)` for n = 1, 2, 4, ..., whose flow is the same stochastic
    equation. The error is O(h) against that flow, and O(h²) against the modified one, if the
    optimizer is affine in the gradient. Two errors of opposite sign may cancel at single h, so that
    slopes are wrong though the order is not; look at several times and starts.

    Without random numbers the error is computed from `moments` where these are exact and φ is
    quadratic. Otherwise it is estimated from paths. For `Noisy` and `Langevin` the map and the
    flows use common random numbers: the map has the increments of the Brownian motion of the flow,
    so that differences have much smaller standard errors. The flow takes 16 steps in each time h,
    of Heun's method for the drift and of Euler's for the noise. Its own error is then O(h²/256) for
    additive noise, O(h²/16) for the modified equation, and O(h/16) if the law of the noise depends
    on the position. For minibatches map and flow are independent ensembles. Errors below two
    standard errors are not told from 0; they are printed as upper bounds, and no order is computed
    from them.

    - `test`: φ, by default all second moments xᵢxⱼ; of several values the largest error counts.
    - `time`: the length of the runs, in the unit of h; by default 20 h. It is rounded to whole
      steps.
    - `refinements`: the number of time steps, from 2 to 12.
    - `x0`: the start, by default that of the problem.
    - `paths`: the number of paths where moments are not exact, 2000 by default; `key`: a seed or a
      typed key for them.

    **Raises:** `InvalidValue` for an optimizer without noise, of which there is no stochastic
    equation, or that cannot be refined at one temperature, and inside a JAX transformation;
    `InvalidType` for wrong types.

    **Warns:** if paths have diverged or met NaN; they are left out.

    >>> from dynopt import SGD, Noisy, Problem
    >>> bowl = Problem(lambda x: (x**2).sum() / 2, [2.0], name="bowl")
    >>> result = weak_order(Noisy(SGD(0.1), sigma=0.5), bowl, time=1.0)
    >>> print(f"{result.flow.order:.2f}, {result.modified.order:.2f}")
    1.00, 2.00

    Source: Q. Li, C. Tai and W. E, "Stochastic modified equations and dynamics of stochastic
    gradient algorithms I" (2019); G. Milstein and M. Tretyakov, "Stochastic numerics for
    mathematical physics" (2004), for weak approximations.
    """
    must_be_optimizer(optimizer)
    must_be_single(optimizer)
    must_be_problem(problem)
    must_be_concrete("weak_order", optimizer, problem, time, x0)
    if test is not None and not callable(test):
        raise InvalidType(
            f"`test` must be a function of a position, got {test!r}; pass for example "
            "test=lambda x: (x**2).sum()."
        )
    refinements = whole_number("refinements", refinements, least=2, most=MAX_REFINEMENTS, like=5)
    paths = whole_number("paths", paths, least=2, like=2000)
    h = float(optimizer.h)
    steps = DEFAULT_STEPS if time is None else max(1, round(float(positive("time", time)) / h))
    if steps * 2 ** (refinements - 1) > MAX_STEPS:
        raise InvalidValue(
            f"`time` is {steps * h:.3g}, so the finest of {refinements} time steps would take "
            f"{steps * 2.0 ** (refinements - 1):.2g} steps; use a shorter `time`."
        )
    original = optimizer.optimizer if isinstance(optimizer, Modified) else optimizer
    phi = _second_moments if test is None else test
    rows, used, key = [], 0, as_key(key)
    for i in range(refinements):
        refined, number = original.refine(2**i), steps * 2**i
        if not used:
            try:
                rows.append(_by_moments(refined, problem, phi, number, x0))
                continue
            except NoExactMoments:
                used = paths
        of_row = jax.random.fold_in(key, i)
        rows.append(_by_paths(refined, problem, phi, number, x0, paths, of_row))
    hs = h / 2.0 ** np.arange(refinements)
    columns = [
        None if column[0] is None else WeakError(hs, *np.array(column).T)
        for column in zip(*rows, strict=True)
    ]
    return WeakOrder(*columns, steps * h, used, optimizer, problem)  # pyright: ignore


Row = tuple[Any, Any, Any]  # (error, standard error) against the flow, the modified one, the ODE


def _second_moments(x: PyTree) -> Array:
    flat = ravel_pytree(x)[0]
    return jnp.outer(flat, flat)


def _by_moments(optimizer, problem: Problem, phi: Callable, steps: int, x0: Any) -> Row:
    """From exact moments.

    **Raises:** `NoExactMoments` if the optimizer or φ has none.
    """
    laws = affine_laws("weak_order", optimizer, problem, x0)
    if laws[1] is None:
        raise NoExactMoments(f"{optimizer!r} has no flow; use analysis.moments for its map alone.")
    with jax.enable_x64(True):
        start = jax.tree.map(lambda leaf: jnp.asarray(leaf, float), problem.start(x0))

        def mean_value(mean, cov):
            return mean_of_quadratic(phi, start, mean, cov)

        def end(law: AbstractLaw | None):
            return law and tuple(moment[-1] for moment in law.run(steps))

        of_map, of_flow, of_modified = map(end, laws)
        assert of_map is not None and of_flow is not None
        expected = mean_value(*of_map)
        ends = of_flow, of_modified, (of_flow[0], 0 * of_flow[1])  # the means are those of the ODE
        return tuple(  # pyright: ignore
            end and (np.abs(expected - mean_value(*end)).max(), 0.0) for end in ends
        )


def _by_paths(
    optimizer, problem: Problem, phi: Callable, steps: int, x0: Any, paths: int, key: Any
) -> Row:
    noise = noise_of(optimizer)
    if isinstance(noise, Noisy):
        values = _coupled(optimizer, problem, phi, steps, x0, paths, key)
        expected, *flows, noiseless = values
        return tuple(  # pyright: ignore
            None if flow is None else _error(expected - flow) for flow in (*flows, noiseless)
        )
    runs = [
        _ends_of_ensemble(optimizer, problem, phi, steps, x0, paths, jax.random.fold_in(key, i), of)
        for i, of in enumerate(("map", "flow"))
    ]
    of_map, of_flow = runs
    errors = np.abs(of_map.mean(0) - of_flow.mean(0))
    largest = errors.argmax()
    variances = [run.var(0, ddof=1)[largest] / len(run) for run in runs]
    return (errors[largest], sum(variances) ** 0.5), None, None


def _ends_of_ensemble(optimizer, problem, phi, steps, x0, paths, key, of) -> np.ndarray:
    """φ at the ends of the paths of an ensemble that have not failed."""
    run = ensemble(optimizer, problem, steps, paths, key, of, x0=x0, save_every=steps)
    is_ok = np.asarray(run.ok)
    ends = jax.tree.map(lambda leaf: leaf[is_ok, -1], run.x)
    return np.asarray(jax.vmap(lambda x: jnp.ravel(phi(x)))(ends))


def _error(differences: np.ndarray) -> tuple[float, float]:
    """The largest mean difference of several test functions, and its standard error."""
    if len(differences) < 2:
        return np.nan, np.nan
    means = np.abs(differences.mean(0))
    largest = means.argmax()
    stderr = differences[:, largest].std(ddof=1) / len(differences) ** 0.5
    return float(means[largest]), float(stderr)


def _coupled(optimizer, problem: Problem, phi, steps: int, x0: Any, paths: int, key) -> list[Any]:
    """φ at the ends of paths of the map, of both flows on its Brownian motion, and of the ODE."""
    start = problem.start(x0)
    x = ravel_pytree(start)[0]
    modified = modified_of(optimizer)
    equations = [
        StochasticEquation(fit_to_start(original, start, x.dtype), x)
        for original in (optimizer, modified)
        if original is not None
    ]
    keys = jax.random.split(key, paths)
    chunks = [
        _run_coupled(
            equations, problem.loss, start, phi, jnp.asarray(steps), keys[i : i + PATHS_AT_ONCE]
        )
        for i in range(0, paths, PATHS_AT_ONCE)
    ]
    ends = [np.concatenate(column) for column in zip(*chunks, strict=True)]
    has_ended = np.logical_and.reduce([np.isfinite(end).all(1) for end in ends])
    if not has_ended.all():
        warnings.warn(
            f"{paths - has_ended.sum()} of {paths} paths of {optimizer!r} on {problem.name} failed "
            "and are left out, so the weak error holds for the other paths alone.",
            stacklevel=4,
        )
    of_map, of_flow, *of_modified, noiseless = [end[has_ended] for end in ends]
    return [of_map, of_flow, of_modified[0] if of_modified else None, noiseless]


@eqx.filter_jit
def _run_coupled(
    equations, loss: Callable, start: PyTree, phi: Callable, steps: Array, keys: Array
):
    x, grad, _, squared_radius = prepare_loss(loss, start)
    unravel = ravel_pytree(start)[1]
    first = equations[0]
    optimizer, h = first.optimizer, first.optimizer.h
    dt = h / SUBSTEPS
    starts = [equation.optimizer.init_flow(x, grad) for equation in equations]
    size = np.prod(first.brownian_shape(jnp.zeros_like(x[0]), starts[0], grad))

    def substep(equation, t, y, dw):
        """A step of Heun's method for the drift, and of Euler's for the noise in Ito's sense."""
        dw = dw.reshape(equation.brownian_shape(t, y, grad))
        noise = equation.combine(equation.columns(t, y, grad), dw)
        drift = equation.drift(t, y, grad)
        ahead = equation.drift(t + dt, add_scaled(y, (dt, drift), (1, noise)), grad)
        return add_scaled(y, (dt / 2, drift), (dt / 2, ahead), (1, noise))

    def path(key):
        def step(k, points):
            y, *flows, calm = points
            t = k * h
            xi = jax.random.normal(jax.random.fold_in(key, k), (SUBSTEPS, size), x.dtype)
            y = drive(optimizer, xi.sum(0) / SUBSTEPS**0.5).step(t, y, grad)

            def move(points, i):
                *flows, calm = points
                time, dw = t + i * dt, dt**0.5 * xi[i]
                moved = [
                    substep(equation, time, flow, dw)
                    for equation, flow in zip(equations, flows, strict=True)
                ]
                return [*moved, substep(first, time, calm, 0 * dw)], None

            points, _ = jax.lax.scan(move, [*flows, calm], jnp.arange(SUBSTEPS))
            return [y, *points]

        points = [optimizer.init(x, grad), *starts, starts[0]]
        points = jax.lax.fori_loop(0, steps, step, points)
        return [
            jnp.where(squared_radius(y.x) <= 1, jnp.ravel(phi(unravel(y.x))), jnp.nan)
            for y in points
        ]

    return jax.vmap(path)(keys)
