"""`ensemble` runs many paths of a noisy optimizer, of its map or of its stochastic flow."""

import warnings
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.core import Tracer
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Int, PyTree

from ..checks import is_concrete, whole_number
from ..derivations.stochastic_flow import StochasticFlow
from ..errors import InvalidValue
from ..optimizers import AbstractOptimizer
from ..optimizers.base import must_be_optimizer
from ..optimizers.wrappers.noise import as_key, noise_of, replace_noise
from ..problems import Problem
from ..problems.problem import must_be_problem
from .batches import must_be_single
from .prepare import fit_to_start, must_fit, steps_to_save
from .setup import Kept, Setup
from .status import Status
from .sweep import count_statuses, sweep

DEFAULT_PATHS = 1000


class Ensemble(eqx.Module):
    """Many paths of one noisy optimizer, which differ in their random keys.

    Statistics are over the paths that have not failed; how many those are is in `num_ok`.

    - `t`: the times, of shape `(n+1,)`.
    - `x`: the positions as the problem has them, with the axes `(paths, n+1)` in front.
    - `loss`: f at these positions, of shape `(paths, n+1)`.
    - `result`: one `Status` for each path, as integers.
    - `first_bad_step`: the step after which a path had failed, -1 if it did not.
    - `kind`: "map" or "flow".
    - `optimizer`, `problem`: what was run.
    """

    t: Array
    x: PyTree[Array]
    loss: Array
    result: Int[Array, " paths"]
    first_bad_step: Int[Array, " paths"]
    kind: str = eqx.field(static=True)
    setup: Setup

    optimizer = property(lambda self: self.setup[0].tree)
    problem = property(lambda self: self.setup[1].tree)

    @property
    def ok(self) -> Array:
        """Which paths have not failed, as a mask of shape `(paths,)`."""
        return (self.result == Status.ok) | (self.result == Status.stalled)

    @property
    def num_ok(self) -> Array:
        """How many paths have not failed."""
        return self.ok.sum()

    @property
    def mean(self) -> PyTree[Array]:
        """The mean of the positions, with the axis of the times in front."""
        return self.average(self.x)[0]

    @property
    def stderr(self) -> PyTree[Array]:
        """The standard error of `mean`, s/√n for the standard deviation s of n paths."""
        return self.average(self.x)[1]

    @property
    def cov(self) -> Array:
        """The covariance matrix of the positions as vectors, of shape `(n+1, dim, dim)`.

        It is divided by n - 1, where n is the number of paths.
        """
        coordinates = eqx.filter(self.x, eqx.is_inexact_array)  # and no constants
        points = jax.vmap(jax.vmap(lambda x: ravel_pytree(x)[0]))(coordinates)
        mean, _ = self.average(points)
        deviations = jnp.where(self.ok[:, None, None], points - mean[None], 0)
        total = jnp.einsum("pti,ptj->tij", deviations, deviations)
        return total / (self.num_ok - 1)

    def average(self, values: PyTree[Array]) -> tuple[PyTree[Array], PyTree[Array]]:
        """The mean of values over the paths, and its standard error.

        - `values`: arrays whose first axis counts the paths, such as `loss` or a function of `x`.

        >>> from dynopt import SGD, Noisy, Problem
        >>> bowl = Problem(lambda x: (x**2).sum() / 2, [1.0], name="bowl")
        >>> ends = ensemble(Noisy(SGD(0.1), sigma=1.0), bowl, 60, paths=200)
        >>> energy, error = ends.average(ends.loss[:, -1])
        >>> bool(abs(energy - 0.1 / 3.8) < 4 * error)  # the stationary law has E x² = η/(2 - η)
        True
        """

        def statistics(array):
            array = jnp.asarray(array)
            mask = self.ok.reshape(-1, *[1] * (array.ndim - 1))
            mean = jnp.where(mask, array, 0).sum(0) / self.num_ok
            square = jnp.where(mask, (array - mean[None]) ** 2, 0).sum(0) / (self.num_ok - 1)
            return mean, jnp.sqrt(square / self.num_ok)

        leaves, structure = jax.tree.flatten(values)
        means, errors = zip(*map(statistics, leaves), strict=True)
        return jax.tree.unflatten(structure, means), jax.tree.unflatten(structure, errors)

    def quantile(self, q: Any) -> PyTree[Array]:
        """Quantiles of each coordinate over the paths; the axes of `q`, then that of the times."""
        return jax.tree.map(
            lambda leaf: jnp.nanquantile(
                jnp.where(self.ok.reshape(-1, *[1] * (leaf.ndim - 1)), leaf, jnp.nan),
                jnp.asarray(q, self.loss.dtype),
                axis=0,
            ),
            self.x,
        )

    def __repr__(self) -> str:
        what = f"{self.kind} of {self.optimizer!r} on {self.problem.name}"
        if isinstance(self.result, Tracer):
            return f"Ensemble({what})"
        paths, points = self.loss.shape[-2:]
        ended = "" if self.ok.all() else f": {count_statuses(self.result)}"
        return f"Ensemble({what}, {paths} paths of {points} points{ended})"


def ensemble(
    optimizer: AbstractOptimizer,
    problem: Problem,
    steps: int,
    paths: int = DEFAULT_PATHS,
    key: Any = 0,
    of: Literal["map", "flow"] = "map",
    *,
    x0: Any = None,
    save_every: int = 1,
    solver: Any = None,
    devices: Any = None,
    memory: int = 2**30,
) -> Ensemble:
    """Run many paths of a noisy optimizer, each with a random key of its own.

    The map is run by `sweep`, and so is the flow, whose map is a few steps of a solver of diffrax
    with Brownian increments. Both are done in chunks on all cores or devices, and Ctrl-C ends them
    within a second; the paths that are not finished then have the status `interrupted`. Paths of
    the map and of the flow are independent of each other, also for one key.

    - `optimizer`: an optimizer with noise, such as `Noisy(SGD(0.1), sigma=1.0)`. Its own key is not
      used.
    - `steps`: the number of steps of the map, 0 or more; the flow has the same times.
    - `paths`: the number of paths, 2 or more; 1000 by default.
    - `key`: a seed, 0 by default, or a typed key of JAX, which is split into as many keys.
    - `of`: "map" or "flow".
    - `x0`: the start, by default that of the problem, or one start for each path, with the axis
      `(paths,)` in front.
    - `save_every`: the steps from one saved point to the next, by default 1; a divisor of `steps`.
    - `solver`: that of the flow, as for `integrate`.
    - `devices`, `memory`: as for `sweep`.

    **Raises:** `InvalidValue` for an optimizer without noise, for other `of`, fewer than two paths,
    and for a flow that does not exist or a solver that does not suit it; otherwise as `sweep` does.

    **Warns:** if paths have failed; the statistics are then over the others. Also for the flow of
    an optimizer whose second moments average over fewer than some 45 steps, as its law is another.

    >>> from dynopt import SGD, Noisy, Problem
    >>> bowl = Problem(lambda x: (x**2).sum() / 2, [1.0], name="bowl")
    >>> noisy = Noisy(SGD(0.1), sigma=1.0)
    >>> ensemble(noisy, bowl, 20, paths=100)
    Ensemble(map of Noisy(SGD(learning_rate=0.1), sigma=1, key=0) on bowl, 100 paths of 21 points)
    >>> flow = ensemble(noisy, bowl, 20, paths=100, of="flow")
    >>> flow.mean.shape, flow.cov.shape, flow.quantile([0.25, 0.75]).shape
    ((21, 1), (21, 1, 1), (2, 21, 1))
    """
    must_be_optimizer(optimizer)
    must_be_problem(problem)
    must_be_single(optimizer)
    if noise_of(optimizer) is None:
        raise InvalidValue(
            f"{optimizer!r} has no noise, so all its paths are one; give it noise with "
            "dynopt.Noisy(optimizer, sigma=0.5), or run it once with dynopt.iterate."
        )
    if of not in ("map", "flow"):
        raise InvalidValue(f'`of` is {of!r}; pass "map" or "flow".')
    if solver is not None and of == "map":
        raise InvalidValue('`solver` is for flows, but `of` is "map"; pass of="flow" with it.')
    steps, save_every = steps_to_save(steps, save_every)
    paths = whole_number("paths", paths, least=2, like=DEFAULT_PATHS)
    starts, batch = problem.starts(x0)
    if batch not in ((), (paths,)):
        raise InvalidValue(
            f"`x0` holds starts of the shape {batch}, but there are {paths} paths; pass one start, "
            f"or {paths} of them."
        )
    numbers = paths * (steps // save_every + 1) * (problem.dim + 2)
    itemsize = jnp.result_type(*jax.tree.leaves(starts)).itemsize
    remedy = "take fewer `paths`, or keep less of each with a larger `save_every`"
    must_fit(numbers * itemsize, "the ensemble", remedy)
    keys = jax.random.split(as_key(key), paths)
    run: Any = optimizer
    if of == "flow":
        one = jax.tree.map(lambda leaf: jnp.asarray(leaf[0] if batch else leaf), starts)
        x = ravel_pytree(one)[0]
        run = StochasticFlow(fit_to_start(optimizer, one, x.dtype), x, solver)
        if run.equation.doubt:
            warnings.warn(run.equation.doubt, stacklevel=2)
        # `sweep` fits the optimizer itself. Factors for each coordinate would be taken for paths.
        run = eqx.tree_at(lambda flow: flow.equation.optimizer, run, optimizer)
    run = replace_noise(run, lambda noise: eqx.tree_at(lambda noise: noise.key, noise, keys))
    swept = sweep(run, problem, steps, x0=x0, keep=save_every, devices=devices, memory=memory)
    result = Ensemble(
        swept.t,
        swept.x,
        swept.loss,
        swept.result,
        swept.first_bad_step,
        of,
        (Kept(optimizer), swept.setup[1]),
    )
    has_failed = ~result.ok & (result.result != Status.interrupted)
    if is_concrete(has_failed) and (failed := int(has_failed.sum())):
        warnings.warn(
            f"{failed} of {paths} paths of the {of} of {optimizer!r} on {problem.name} failed; the "
            "statistics leave them out, so they hold for the other paths alone.",
            stacklevel=2,
        )
    return result
