"""03 · Too fast: the number 2/L."""

import math

import diffrax
import jax.numpy as jnp
from solving import Later, Solution

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


def one_solver(_) -> int:
    return solver_steps(diffrax.Tsit5())


PREDICTION = "C"
SOLUTIONS = {
    "03-a": Solution(
        lambda: (2 / jnp.linalg.eigvalsh(jnp.array([[3.0, 1.0], [1.0, 2.0]]))[-1],),
        [
            (0.2764, "threshold is larger"),
            (2 / 3, "are coupled"),
            (1.447, "diverges at a smaller rate"),
        ],
        exact=4 / (5 + math.sqrt(5)),
        relative=0.01,
    ),
    "03-b": Solution(
        lambda: (bisect(0.01, 1.0),),
        [
            (1 / 18, "no longer falls"),
            (0.2, "only one coordinate moves"),
            (18.0, "give the learning rate"),
        ],
        exact=1 / 9,
        relative=0.005,
    ),
    "03-c": Solution(  # no theory gives the numbers, which were counted
        lambda: (solver_steps,),
        [
            (Later(lambda: one_solver), "one solver for both"),
            (lambda solver: 2000, "in that time"),
            (lambda solver: math.nan, "by the solver that your function gets"),
            (lambda solver: 1 if "Kv" in repr(solver) else 2, "that your function gets"),
        ],
        exact=[7260, 23],
        relative=0.25,
    ),
}
