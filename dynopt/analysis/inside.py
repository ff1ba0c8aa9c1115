"""Inside one step: what of it memory asks for, and what the gradient of here has added."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..checks import whole_number
from ..errors import InvalidValue
from ..optimizers import AbstractOptimizer
from ..problems import Problem
from ..runs.iterate import iterate
from ..runs.prepare import flatten_loss, prepare_run

Points = np.ndarray


class Inside(eqx.Module):
    """Steps k = first, ..., first + n - 1, taken apart: Δx = memory + gradient.

    - `k`: which, shape `(n,)`. - `x`: where each begins, shape `(n, dim)`. - `memory`: the step that the page would
      take if the gradient here were 0, weight decay included. - `gradient`: the rest. - `downhill`: -∇f. - `step`: Δx.
      - `turn`: an angle.
    """

    k: Points
    x: Points
    memory: Points
    gradient: Points
    downhill: Points
    optimizer: AbstractOptimizer
    problem: Problem

    @property
    def step(self) -> Points:
        return self.memory + self.gradient

    @property
    def turn(self) -> Points:
        """The angle between each step and -∇f, in degrees."""
        with np.errstate(all="ignore"):
            u, v = (
                way / np.linalg.norm(way, axis=-1, keepdims=True)
                for way in (self.step, self.downhill)
            )
        apart, along = (np.linalg.norm(way, axis=-1) for way in (u - v, u + v))
        return np.degrees(
            2 * np.arctan2(apart, along)
        )  # arccos(u · v) would lose half the digits of a small angle

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
    """Take some steps of a run apart.

    What a page does without the gradient of here is what its memory asks for: heavy ball rolls on by μ times its last
    step; gradient descent and RMSprop stay where they are, since RMSprop's memory only scales. Weight decay needs no
    gradient either, and is counted in.

    - `first`: the first of them, counted from 0. - `steps`: how many. - `x0`: as for `iterate`. Gives an
      `analysis.Inside`.

    **Raises:** `InvalidValue` for no steps, or one that divides 0 by 0 without a gradient; and as `iterate` does.

    >>> from dynopt import Momentum, problems
    >>> seen = inside(Momentum(0.01, 0.9), problems.booth(), first=4, steps=2)
    >>> print(seen.memory[1].round(4), (0.9 * seen.step[0]).round(4))
    [1.4523 0.8433] [1.4523 0.8433]
    """
    first, steps = (
        whole_number("first", first, least=0),
        whole_number("steps", steps, least=1, like=3),
    )
    run = iterate(optimizer, problem, first + steps, x0=x0)
    page, start, *_ = prepare_run(optimizer, problem, x0)
    _, _, grad = flatten_loss(problem.loss, start)
    taken = []
    for k in range(first, first + steps):
        y = jax.tree.map(lambda a, k=k: a[k], run.y)
        rolled = page.step(k * page.h, y, lambda x, *_: jnp.zeros_like(x)).x - y.x
        taken.append((y.x, rolled, run.y.x[k + 1] - y.x - rolled, -grad(y.x)))
    x, memory, gradient, downhill = (np.asarray(rows) for rows in zip(*taken, strict=True))
    if not np.isfinite(memory).all():
        k = first + int(np.argmax(~np.isfinite(memory).all(-1)))
        raise InvalidValue(
            f"without a gradient step {k} of {optimizer!r} is not finite, so it cannot be taken apart; pass a later "
            "`first`, or a page that does not divide by the size of the gradient alone."
        )
    return Inside(
        np.arange(first, first + steps), x, memory, gradient, downhill, optimizer, problem
    )
