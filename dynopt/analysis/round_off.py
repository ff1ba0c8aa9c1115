"""Round-off: how far the map strays by rounding alone."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from ..optimizers import AbstractOptimizer
from ..problems import Problem
from ..runs.iterate import run_map
from ..runs.prepare import prepare_run


def iterate_twice(
    optimizer: AbstractOptimizer, problem: Problem, saves: int, every: int, *, x0: Any = None
) -> Array:
    """The map's positions after each `every` steps, as they are and with one more rounding in every step.

    In exact arithmetic the two are equal; what parts them is round-off. One compilation serves every `every`.
    """
    optimizer, x0, *_ = prepare_run(optimizer, problem, x0)
    return _twice(optimizer, problem.loss, x0, saves, jnp.asarray(every))


@eqx.filter_jit
def _twice(
    optimizer: AbstractOptimizer, loss: Callable, x0: PyTree, saves: int, every: Array
) -> Array:
    def run(size):
        return run_map(_Rounded(optimizer, size), loss, x0, saves + 1, every)[1].x

    ulp = jnp.finfo(jnp.result_type(optimizer.h)).eps
    return jax.vmap(run)(jnp.array([0, ulp], jnp.result_type(optimizer.h)))


class _Rounded(AbstractOptimizer):
    """A page whose positions are off by up to `size` of themselves after each step, this way or that."""

    optimizer: AbstractOptimizer
    size: Array

    def __init__(self, optimizer: AbstractOptimizer, size: Array):
        self.optimizer = optimizer
        self.size = size

    @property
    def h(self):
        return self.optimizer.h

    def init(self, x, grad):
        return self.optimizer.init(x, grad)

    def vector_field(self, t, y, grad):
        return self.optimizer.vector_field(t, y, grad)

    def optax(self):
        return self.optimizer.optax()

    def step(self, t, y, grad):
        y = self.optimizer.step(t, y, grad)
        # the usual hash of shaders: numbers without a pattern, and without a seed
        wild = 43758.5453 * jnp.sin(
            12.9898 * (t / self.h) + 78.233 * jnp.arange(y.x.size, dtype=y.x.dtype)
        )
        return y._replace(x=y.x + self.size * y.x * (2 * (wild - jnp.floor(wild)) - 1))
