"""Which runs teach: a learning rate for every optimizer on every problem, and the set that the bare command draws."""

from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from ..errors import ProblemError
from ..optimizers import AbstractOptimizer
from ..problems import Problem
from ..runs.prepare import flatten_loss

STEPS = 100
OPTIMIZERS = ("sgd", "momentum", "rmsprop", "adam")  # that run unless others are named

# What the bare command draws: problems with the options that were chosen for them, where the rule below would do less.
# Rosenbrock in every figure of where map and flow go; on the quadratic the heavy ball swings, and steps are so short
# that dots lie on modified flows; Himmelblau's four minimizers part the optimizers, and on Rastrigin momentum carries
# the map into another well than the flow.
STUDIES: dict[str, dict[str, Any]] = {
    "quadratic": {
        "figures": ("paths", "phase", "modified"),
        "set": {"sgd": {"learning_rate": 0.03}, "momentum": {"learning_rate": 0.01}},
    },
    "rosenbrock": {
        "figures": ("paths", "loss", "gap", "local_error", "order", "phase", "overview"),
        "steps": 200,
        "set": {
            name: {"learning_rate": rate}
            for name, rate in (("sgd", 0.001), ("momentum", 0.001), ("adam", 0.1))
        },
    },
    "himmelblau": {"figures": ("paths", "loss", "basins", "sweep")},
    "rastrigin": {
        "figures": ("paths", "gap"),
        "x0": (4.45, 3.48),
        "set": {"momentum": {"learning_rate": 0.004}},
    },
}


def learning_rates(
    problem: Problem, optimizers: Mapping[str, type[AbstractOptimizer]], steps: int, x0: Any = None
) -> dict[str, float]:
    """For each page a learning rate η with which its run on this problem can be watched, in two digits.

    Ask a page how long its first step is under a gradient g, and under 2g, and how long its last one is.

    - Twice as long (gradient descent, heavy ball): η has the unit of 1/curvature, and η = 1/(2λ), with λ the largest
      |curvature| at the start or at a known minimizer. Gradient descent turns unstable there at 2/λ; a quarter of that
      is safe, and far enough from 0 for map and flow to part in plain view.
    - Just as long (RMSprop, Adam): each step is about cη in every coordinate, with c = 1 but where steps shrink
      (AdaGrad) or grow (AdaBelief), and η = 2d/(c steps), with d the longest side of the way to the nearest minimizer.
      The path can then arrive when half of the steps are done, or take a bend. Where no minimizer is known, d = 1 + the
      largest coordinate of the start.

    A page in between gets the weighted geometric mean. Where nothing is curved, 2d/(steps |g|) stands in for 1/(2λ).

    **Raises:** `ProblemError` if loss or gradient are not finite at the start.
    """
    start = problem.start(x0)
    flat = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(start)])
    ends = (
        np.zeros((0, flat.size)) if problem.minimizers is None else np.asarray(problem.minimizers)
    )
    loss, slope, curvature, strides = jax.device_get(
        _look(problem.loss, start, ends, tuple(optimizers.values()), steps)
    )
    if not np.isfinite(loss) or not np.isfinite(slope):
        found = f"its loss is {loss:.3g} and the norm of its gradient {slope:.3g}"
        raise ProblemError(f"{problem.name} starts where {found}; start where both are finite.")
    ways = np.abs(ends - flat).max(-1)
    stride = 2 * min(ways[ways > 0], default=1 + np.abs(flat).max()) / steps
    scale = 1 / (2 * curvature) if curvature > 0 else stride / slope if slope > 0 else stride
    rates = ((stride / last) ** (1 - power) * scale**power for power, last in strides)
    return {name: float(f"{rate:.2g}") for name, rate in zip(optimizers, rates, strict=True)}


@eqx.filter_jit
def _look(
    loss: Callable,
    start: PyTree,
    ends: Array | np.ndarray,
    optimizers: tuple[type[AbstractOptimizer], ...],
    steps: int,
):
    """f and |∇f| at the start; the largest |curvature| there and at the ends; how each page strides."""
    x, flat_loss, grad = flatten_loss(loss, start)
    places = jnp.concatenate([x[None], jnp.asarray(ends, x.dtype)])
    curvature = jax.vmap(lambda x: _largest_curvature(grad, x))(places).max()
    return (
        flat_loss(x),
        jnp.linalg.norm(grad(x)),
        curvature,
        [_strides(optimizer, x.dtype, steps) for optimizer in optimizers],
    )


def _largest_curvature(grad: Callable, x: Array) -> Array:
    """The largest |eigenvalue| of ∇²f, by forty rounds of the power method."""

    def times(v):
        return jax.jvp(grad, (x,), (v,))[1]

    def turn(_, v):
        w = times(v)
        return w / jnp.maximum(jnp.linalg.norm(w), jnp.finfo(x.dtype).tiny)

    v = jnp.cos(
        jnp.arange(1, x.size + 1, dtype=x.dtype)
    )  # no eigenvector of anything in particular
    v = jax.lax.fori_loop(0, 40, turn, v / jnp.linalg.norm(v))
    return jnp.nan_to_num(jnp.linalg.norm(times(v)), nan=0, posinf=0)


def _strides(optimizer: type[AbstractOptimizer], dtype: Any, steps: int) -> tuple[Array, Array]:
    """p, if the first step is proportional to |g|^p; the length of the last step of so many, for η = 1 and g = 1."""
    one = optimizer(1.0)
    still = jnp.zeros((1,) if one.elementwise else (1, 1), dtype)

    def run(g, steps):
        def forwards(k, carry):
            y, _ = carry
            after = one.step(jnp.asarray(k * one.h, dtype), y, lambda x: jnp.full_like(x, g))
            return after, jnp.abs(after.x - y.x).ravel()[0]

        start = one.init(still, lambda x: x), jnp.zeros((), dtype)
        return jax.lax.fori_loop(0, steps, forwards, start)[1]

    return jnp.round(jnp.log2(run(2.0, 1) / run(1.0, 1)), 1), run(1.0, steps)
