"""Round-off: how far rounding alone moves the map."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, PyTree

from ..optimizers import AbstractOptimizer
from ..optimizers.wrappers.base import AbstractDerived
from ..problems import Problem
from ..runs.integrate import finest_rtol
from ..runs.iterate import run_map
from ..runs.prepare import prepare_run


def iterate_twice(
    optimizer: AbstractOptimizer, problem: Problem, saves: int, every: int, *, x0: Any = None
) -> Array:
    """The positions of the map after every `every` steps, without and with one more rounding.

    The second run rounds once more in every step. In exact arithmetic the two runs are equal, so
    their difference is round-off. If the loss rounds more coarsely than the run, by its own
    `precision`, the second run also takes each gradient at a position that is rounded so coarsely.
    One compilation serves all values of `every`.
    """
    fitted, start, *_ = prepare_run(optimizer, problem, x0)
    coarse = problem.precision if rounds_coarsely(problem, jnp.result_type(fitted.h)) else None
    return _run_both(fitted, problem.loss, start, saves, jnp.asarray(every), coarse)


def rounds_coarsely(problem: Problem, dtype: Any) -> bool:
    """Whether the loss computes in a coarser dtype than a run of this one."""
    return bool(problem.precision > jnp.finfo(dtype).eps)


def finest_tolerance(optimizer: AbstractOptimizer, problem: Problem, dtype: Any) -> float:
    """The finest relative tolerance of the solver that the round-off of the loss does not hide."""
    return max(finest_rtol(dtype, optimizer), problem.precision / 100)


@eqx.filter_jit
def _run_both(
    optimizer: AbstractOptimizer,
    loss: Callable,
    start: PyTree,
    saves: int,
    every: Array,
    coarse: float | None,
) -> Array:
    dtype = jnp.result_type(optimizer.h)

    def run(sizes):
        return run_map(_Rounded(optimizer, *sizes), loss, start, saves + 1, every)[1].x

    sizes = [jnp.array([0, jnp.finfo(dtype).eps], dtype)]
    if coarse is not None:
        sizes.append(jnp.array([0, coarse], dtype))
    return jax.vmap(run)(sizes)


class _Rounded(AbstractDerived):
    """An optimizer whose position is off by up to `size` times itself after each step.

    - `coarse`: by how much of itself, in every coordinate, the position is off at which a gradient
      is taken; None if it is not off.
    """

    optimizer: AbstractOptimizer
    size: Array
    coarse: Array | None

    def __init__(self, optimizer, size, coarse=None):
        self.optimizer, self.size, self.coarse = optimizer, size, coarse

    def vector_field(self, t, y, grad):
        return self.optimizer.vector_field(t, y, grad)

    def step(self, t, y, grad: Any):
        if self.coarse is not None:
            factor = 1 + self.coarse * jnp.sign(_hash(0.0, y.x))
            grad = grad.taken_at(lambda x: factor * x)
        y = self.optimizer.step(t, y, grad)
        return y._replace(x=y.x + self.size * y.x * _hash(t / self.h, y.x))


def _hash(k: ArrayLike, x: Array) -> Array:
    """Numbers from -1 to 1 without a pattern and without a seed; the hash is known from shaders."""
    angle = 12.9898 * k + 78.233 * jnp.arange(x.size, dtype=x.dtype)
    hashed = 43758.5453 * jnp.sin(angle)
    return 2 * (hashed - jnp.floor(hashed)) - 1
