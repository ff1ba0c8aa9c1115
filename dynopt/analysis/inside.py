"""Single steps of an optimizer, split into what its memory and what the gradient contribute."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from ..checks import must_be_concrete, whole_number
from ..errors import InvalidValue
from ..optimizers import AbstractOptimizer
from ..optimizers.wrappers.noise import must_have_no_noise
from ..problems import Problem
from ..runs.iterate import iterate
from ..runs.prepare import flatten_loss, prepare_run
from .adaptive_step import AdaptiveStep, last_adaptive_step


class Inside(eqx.Module):
    """The steps k = first, ..., first + n - 1, split into two parts: Δx = memory + gradient.

    - `k`: the numbers of the steps, shape `(n,)`.
    - `x`: the position at which each step begins, shape `(n, dim)`.
    - `memory`: the step that the optimizer would take if the gradient there were 0, weight decay
      included, shape `(n, dim)`.
    - `gradient`: what the gradient adds to it, shape `(n, dim)`.
    - `step`: the whole step Δx, shape `(n, dim)`.
    - `downhill`: -∇f at `x`, shape `(n, dim)`.
    - `turn`: the angle between each step and -∇f in degrees, shape `(n,)`.
    - `optimizer`, `problem`: the optimizer and the problem that were run.
    - `last`: the last of the steps as an `AdaptiveStep`, for `Adam` and `RMSprop`; else None.
    """

    k: Int[np.ndarray, " n"]
    x: Float[np.ndarray, "n dim"]
    memory: Float[np.ndarray, "n dim"]
    gradient: Float[np.ndarray, "n dim"]
    downhill: Float[np.ndarray, "n dim"]
    optimizer: AbstractOptimizer
    problem: Problem
    last: AdaptiveStep | None = None

    @property
    def step(self) -> np.ndarray:
        return self.memory + self.gradient

    @property
    def turn(self) -> np.ndarray:
        with np.errstate(all="ignore"):
            u, v = (
                vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
                for vectors in (self.step, self.downhill)
            )
        difference, total = (np.linalg.norm(vectors, axis=-1) for vectors in (u - v, u + v))
        # arccos(u · v) would lose half of the digits of a small angle
        return np.degrees(2 * np.arctan2(difference, total))

    def __repr__(self) -> str:
        return f"Inside({self.optimizer} on {self.problem.name}, steps {self.k[0]} to {self.k[-1]})"


def inside(
    optimizer: AbstractOptimizer,
    problem: Problem,
    first: int = 0,
    steps: int = 3,
    *,
    x0: Any = None,
) -> Inside:
    """Split some steps of a run into the part of the memory and the part of the gradient.

    The part of the memory is the step that the optimizer would take if the gradient were 0. The
    heavy ball moves on by μ times its last step. Gradient descent and RMSprop stay where they are,
    because the memory of RMSprop only scales the gradient. Weight decay needs no gradient and is
    counted with the memory.

    The last step of `Adam` and of `RMSprop` is also taken apart into the mean of the gradients and
    what it is divided by, and compared with the flow over the same time (`last`).

    - `first`: the number of the first of these steps, counted from 0.
    - `steps`: how many steps are split, 3 by default.
    - `x0`: the start, as for `iterate`.

    **Raises:** `InvalidValue` if `steps` is 0, if a step divides 0 by 0 without a gradient, or
    inside a JAX transformation; and as `iterate` does.

    >>> from dynopt import Adam, Momentum, problems
    >>> result = inside(Momentum(0.01, 0.9), problems.booth(), first=4, steps=2)
    >>> print(result.memory[1].round(4), (0.9 * result.step[0]).round(4))
    [1.4523 0.8433] [1.4523 0.8433]

    The weights of the gradients in the mean of Adam, from the first to the last:

    >>> last = inside(Adam(0.25, b1=0.5), problems.himmelblau(), first=2, steps=1).last
    >>> print(last.weights.round(4), np.abs(0.25 * last.direction).round(2))
    [0.1429 0.2857 0.5714] [0.28 0.17]
    """
    must_have_no_noise("inside", optimizer)
    must_be_concrete("inside", optimizer, problem, x0)
    first = whole_number("first", first, least=0)
    steps = whole_number("steps", steps, least=1, like=3)
    run = iterate(optimizer, problem, first + steps, x0=x0)
    fitted, start, *_ = prepare_run(optimizer, problem, x0)
    _, _, grad = flatten_loss(problem.loss, start)
    rows = []
    for k in range(first, first + steps):
        y = jax.tree.map(lambda a, k=k: a[k], run.y)
        moved = fitted.step(k * fitted.h, y, lambda x, *_: jnp.zeros_like(x)).x - y.x
        rows.append((y.x, moved, run.y.x[k + 1] - y.x - moved, -grad(y.x)))
    x, memory, gradient, downhill = (np.asarray(column) for column in zip(*rows, strict=True))
    if not np.isfinite(memory).all():
        k = first + int(np.argmax(~np.isfinite(memory).all(-1)))
        raise InvalidValue(
            f"without a gradient step {k} of {optimizer!r} is not finite, so it cannot be split; "
            "pass a later `first`, or an optimizer that does not divide by the size of the "
            "gradient alone."
        )
    k = np.arange(first, first + steps)
    last = last_adaptive_step(optimizer, problem, fitted, run, start)
    return Inside(k, x, memory, gradient, downhill, optimizer, problem, last)
