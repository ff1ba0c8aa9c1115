"""What a run needs before its first step.

An optimizer and a start become arrays of one dtype, and a loss becomes a function of one vector.
"""

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

from ..checks import is_concrete, nonnegative, whole_number
from ..errors import InvalidValue
from ..optimizers import AbstractOptimizer
from ..optimizers.averages import safe_sqrt
from ..optimizers.base import must_be_optimizer
from ..optimizers.gradient import BatchGradient
from ..problems import Problem
from ..problems.field import gradient, own_field, partial_gradient, value
from ..problems.problem import must_be_problem
from .batches import must_be_single

MAX_STEPS = 10**9  # so that the number of the first bad step fits into 32 bits
MAX_BYTES = 4 * 2**30  # of the arrays that one trajectory or one sweep returns


def prepare_run(
    optimizer: AbstractOptimizer, problem: Problem, x0: Any
) -> tuple[AbstractOptimizer, PyTree, Callable[[Array], PyTree], Any]:
    """Check the arguments of a run and turn their numbers into arrays of one dtype.

    It returns the optimizer and the start, whose values enter compiled code as data, the function
    that turns a vector into a position, and the dtype.
    """
    must_be_optimizer(optimizer)
    must_be_single(optimizer)
    nonnegative("h", optimizer.h)  # an optimizer of the user need not have checked it
    must_be_problem(problem)
    x0 = problem.start(x0)
    flat, unravel = ravel_pytree(x0)
    if not is_concrete(flat):
        unravel = ravel_pytree(jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), x0))[1]
    return fit_to_start(optimizer, x0, flat.dtype), x0, unravel, flat.dtype


def fit_to_start(optimizer: AbstractOptimizer, x0: PyTree, dtype) -> AbstractOptimizer:
    """The optimizer for positions like `x0` in one vector, its numbers as arrays of `dtype`."""
    optimizer = with_dtype(optimizer.for_leaves(x0), dtype)
    return optimizer.named(None) if getattr(optimizer, "own_name", None) else optimizer


def with_dtype(optimizer: AbstractOptimizer, dtype) -> AbstractOptimizer:
    """The optimizer with its numbers as arrays of `dtype`."""
    return jax.tree.map(
        lambda v: jnp.asarray(v, dtype) if isinstance(v, float) or eqx.is_inexact_array(v) else v,
        optimizer,
    )


def num_saved(
    optimizer: AbstractOptimizer, dim: int, dtype, steps: int, save_every: Any, per_step: int = 1
) -> int:
    """The number of saved points of a run, the start included; `per_step` in each of its steps.

    **Raises:** `InvalidValue` or `InvalidType` if `steps` or `save_every` is not a whole number in
    its range, if `save_every` does not divide `steps`, or if the points would not fit in memory.
    """
    steps, save_every = steps_to_save(steps, save_every)
    points = steps // save_every * per_step + 1
    if points * dim * (dim + 64) * dtype.itemsize < MAX_BYTES:
        return points  # there is room for the memory of any optimizer
    point = jax.eval_shape(
        lambda x: optimizer.init(x, lambda x: x), jax.ShapeDtypeStruct((dim,), dtype)
    )
    size = points * sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(point))
    if size > MAX_BYTES:
        larger = save_every * 10 ** math.ceil(math.log10(size / MAX_BYTES))
        if per_step > 1:
            larger = save_every
        elif steps % larger:  # the next divisor, and at worst the end alone
            larger = next((d for d in range(larger, 100 * larger) if steps % d == 0), steps)
        raise InvalidValue(
            f"the trajectory would take {size / 2**30:.0f} GiB, more than {MAX_BYTES >> 30}; pass "
            f"for example save_every={larger}."
        )
    return points


def must_fit(size: int, what: str, remedy: str) -> None:
    """**Raises:** `InvalidValue` if a result of so many bytes would take too much memory."""
    if size > MAX_BYTES:
        raise InvalidValue(
            f"{what} would take {size / 2**30:.0f} GiB, more than {MAX_BYTES >> 30}; {remedy}."
        )


def steps_to_save(steps: Any, save_every: Any) -> tuple[int, int]:
    """The number of steps, and that from one saved point to the next.

    **Raises:** `InvalidValue` or `InvalidType` as `num_saved` does.
    """
    steps = whole_number("steps", steps, least=0, most=MAX_STEPS, like=100)
    save_every = whole_number("save_every", save_every, least=1, most=MAX_STEPS)
    if steps % save_every:
        raise InvalidValue(
            f"`save_every` is {save_every}, which does not divide the {steps} `steps`; use a "
            "divisor."
        )
    return steps, save_every


def prepare_loss(loss: Callable, x0: PyTree):
    """The start as one vector `x`, and what a run asks of a loss there: four things.

    - `x`: the start, shape `(dim,)`.
    - `grad`: the gradient at a vector.
    - `observe`: the loss and the norm of its gradient at a vector.
    - `squared_radius`: a run counts as diverged once `squared_radius(x) > 1`. That is a distance
      from 0 of (1 + |x0|)/√ε, where ε is the machine epsilon of the dtype.
    """
    x, flat_loss, grad = flatten_loss(loss, x0)

    def observe(x):
        is_gradient = own_field(loss) is None
        shown, g = jax.value_and_grad(flat_loss)(x) if is_gradient else (flat_loss(x), grad(x))
        return jnp.asarray(shown, x.dtype), safe_sqrt(jnp.sum(g**2))

    inverse_radius = jnp.sqrt(jnp.finfo(x.dtype).eps) / (1 + jnp.linalg.norm(x))
    return x, grad, observe, lambda x: jnp.sum((inverse_radius * x) ** 2)


def flatten_loss(loss: Callable, x0: PyTree):
    """The start as one vector, the loss as a function of such vectors, and its gradient.

    Where the loss is a mean over data, the gradient also has a `part` over a share of the data.
    Where the loss owns its field, that is the gradient, and what is shown of it is the loss.
    """
    x, unravel = ravel_pytree(x0)
    is_gradient = own_field(loss) is None

    def flat_loss(x):
        return value(loss, unravel(x))

    def field(x):
        return ravel_pytree(gradient(loss, unravel(x)))[0]

    def part(x, i, k):
        return ravel_pytree(partial_gradient(loss, unravel(x), i, k))[0]

    grad = BatchGradient(
        jax.grad(flat_loss) if is_gradient else field,
        part if hasattr(loss, "part") else None,
        loss=flat_loss if is_gradient else None,
        examples=getattr(loss, "examples", None),
    )
    return x, flat_loss, grad


def all_finite(tree: PyTree) -> Array:
    """Whether no leaf of a tree holds NaN or infinity."""
    return reduce(
        jnp.logical_and,
        (jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)),
        jnp.asarray(True),
    )
