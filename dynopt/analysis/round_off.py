"""Round-off: how far rounding alone moves the map."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from ..optimizers import AbstractOptimizer
from ..optimizers.wrappers.base import AbstractDerived
from ..problems import Problem
from ..runs.iterate import run_map
from ..runs.prepare import prepare_run


def iterate_twice(
    optimizer: AbstractOptimizer, problem: Problem, saves: int, every: int, *, x0: Any = None
) -> Array:
    """The positions of the map after every `every` steps, without and with one more rounding.

    The second run rounds once more in every step. In exact arithmetic the two runs are equal, so
    their difference is round-off. One compilation serves all values of `every`.
    """
    fitted, start, *_ = prepare_run(optimizer, problem, x0)
    return _run_both(fitted, problem.loss, start, saves, jnp.asarray(every))


@eqx.filter_jit
def _run_both(
    optimizer: AbstractOptimizer, loss: Callable, start: PyTree, saves: int, every: Array
) -> Array:
    dtype = jnp.result_type(optimizer.h)

    def run(size):
        return run_map(_Rounded(optimizer, size), loss, start, saves + 1, every)[1].x

    return jax.vmap(run)(jnp.array([0, jnp.finfo(dtype).eps], dtype))


class _Rounded(AbstractDerived):
    """An optimizer whose position is off by up to `size` times itself after each step."""

    optimizer: AbstractOptimizer
    size: Array

    def __init__(self, optimizer, size):
        self.optimizer, self.size = optimizer, size

    def vector_field(self, t, y, grad):
        return self.optimizer.vector_field(t, y, grad)

    def step(self, t, y, grad):
        y = self.optimizer.step(t, y, grad)
        # This hash, known from shaders, gives numbers without a pattern and without a seed.
        angle = 12.9898 * (t / self.h) + 78.233 * jnp.arange(y.x.size, dtype=y.x.dtype)
        hashed = 43758.5453 * jnp.sin(angle)
        noise = 2 * (hashed - jnp.floor(hashed)) - 1
        return y._replace(x=y.x + self.size * y.x * noise)
