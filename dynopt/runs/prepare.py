"""What a run needs before its first step: an optimizer and a start as arrays of one dtype, and a loss of one vector."""

import math
from collections.abc import Callable
from functools import reduce
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PyTree

from ..checks import is_concrete, whole_number
from ..errors import InvalidValue
from ..optimizers import AbstractOptimizer
from ..optimizers.base import must_be_optimizer
from ..optimizers.gradient import Gradient
from ..problems import Problem
from ..problems.problem import must_be_problem
from .batches import must_be_single

MOST_STEPS = 10**9  # so that what is noted of a step fits in 32 bits
BUDGET = 4 * 2**30  # bytes that one trajectory may take


def prepare_run(optimizer: AbstractOptimizer, problem: Problem, x0: Any):
    """The page and the start as arrays of one dtype, so that their values enter compiled code as data; the way back."""
    must_be_optimizer(optimizer)
    must_be_single(optimizer)
    must_be_problem(problem)
    x0 = problem.start(x0)
    flat, unravel = ravel_pytree(x0)
    if not is_concrete(flat):
        unravel = ravel_pytree(jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), x0))[1]
    return fit_to_start(optimizer, x0, flat.dtype), x0, unravel, flat.dtype


def fit_to_start(optimizer: AbstractOptimizer, x0: PyTree, dtype) -> AbstractOptimizer:
    """The page for positions that hold these leaves in one vector, with its numbers as arrays of this dtype."""
    return with_dtype(optimizer.for_leaves(x0), dtype)


def with_dtype(optimizer: AbstractOptimizer, dtype) -> AbstractOptimizer:
    """The page with its numbers as arrays of this dtype."""
    return jax.tree.map(
        lambda v: jnp.asarray(v, dtype) if isinstance(v, float) or eqx.is_inexact_array(v) else v,
        optimizer,
    )


def num_saved(optimizer: AbstractOptimizer, dim: int, dtype, steps: int, save_every: int) -> int:
    """How many points after the start are kept, once they are known to be whole and to fit in memory."""
    steps = whole_number("steps", steps, least=0, most=MOST_STEPS, like=100)
    save_every = whole_number("save_every", save_every, least=1, most=MOST_STEPS)
    if steps % save_every:
        raise InvalidValue(
            f"`save_every` is {save_every}, which does not divide the {steps} `steps`; use a divisor."
        )
    saves = steps // save_every
    if (saves + 1) * dim * (
        dim + 64
    ) * dtype.itemsize < BUDGET:  # room for any memory; to look takes its time
        return saves
    point = jax.eval_shape(
        lambda x: optimizer.init(x, lambda x: x), jax.ShapeDtypeStruct((dim,), dtype)
    )
    size = (saves + 1) * sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(point))
    if size > BUDGET:
        more = (
            f"pass for example save_every={save_every * 10 ** math.ceil(math.log10(size / BUDGET))}"
        )
        raise InvalidValue(
            f"the trajectory would take {size / 2**30:.0f} GiB, more than {BUDGET >> 30}; {more}."
        )
    return saves


def prepare_loss(loss: Callable, x0: PyTree):
    """The start as one vector; the gradient there; what is seen at a point; how far out a point is; 1 is too far."""
    x, flat_loss, grad = flatten_loss(loss, x0)

    def look(x):
        value, g = jax.value_and_grad(flat_loss)(x)
        return jnp.asarray(value, x.dtype), jnp.linalg.norm(g)

    inverse = jnp.sqrt(jnp.finfo(x.dtype).eps) / (1 + jnp.linalg.norm(x))
    return x, grad, look, lambda x: jnp.sum((inverse * x) ** 2)


def flatten_loss(loss: Callable, x0: PyTree):
    """The start as one vector; the loss as a function of such vectors, and its gradient."""
    x, unravel = ravel_pytree(x0)
    part: Any = getattr(loss, "part", None)

    def partial(x, i, k):
        return jax.grad(lambda x: part(unravel(x), i, k))(x)

    def flat_loss(x):
        return loss(unravel(x))

    return x, flat_loss, Gradient(jax.grad(flat_loss), part and partial)


def all_finite(tree: PyTree) -> Array:
    return reduce(
        jnp.logical_and,
        (jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)),
        jnp.asarray(True),
    )
