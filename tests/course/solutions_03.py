"""03 · Too fast: the number 2/L."""

import math

import diffrax
import jax.numpy as jnp
from solving import Solution

from dynopt import SGD, integrate, iterate, problems

BOOTH, STIFF = problems.booth(), problems.quadratic([1.0, 1000.0])


def diverges(rate: float) -> bool:
    run = iterate(SGD(rate), BOOTH, 300, throw=False)
    return not bool(run.loss[-1] < run.loss[0])


def bisect(low: float, high: float) -> float:
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (low, middle) if diverges(middle) else (middle, high)
    return low


def solver_steps(solver) -> int:
    run = integrate(SGD(0.01), STIFF, 2000, solver=solver, rtol=1e-4, save_every=2000)
    return int(run.stats["solver_steps"])


SOLUTIONS = {
    "03-a": Solution(
        lambda: (2 / jnp.linalg.eigvalsh(jnp.array([[3.0, 1.0], [1.0, 2.0]]))[-1],),
        [
            (0.2764, "threshold is larger"),
            (2 / 3, "are coupled"),
            (1.447, "diverges at a smaller rate"),
        ],
        relative=0.01,
    ),
    "03-b": Solution(
        lambda: (bisect(0.01, 1.0),),
        [
            (1 / 18, "no longer falls"),
            (0.2, "only one coordinate moves"),
            (18.0, "give the learning rate"),
        ],
        relative=0.01,
    ),
    "03-c": Solution(
        lambda: (solver_steps(diffrax.Kvaerno5()), solver_steps(diffrax.Tsit5())),
        [
            ((5000, 50), "in this order, the smaller first?"),
            (([50, 5000], [5000, 4000]), "at index 1"),
            ((math.nan, 5000), "even when the position hardly moves"),
        ],
    ),
}
