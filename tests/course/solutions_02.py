"""02 · Measuring the order, honestly."""

from functools import cache

import numpy as np
from scipy.integrate import solve_ivp
from solving import Later, Solution

from dynopt import SGD, analysis, problems
from dynopt.course import precision

VALLEY = problems.rosenbrock()


@cache
def measured_order():
    """The largest global errors at the times that all runs have in common."""
    return analysis.order(SGD(4e-4), VALLEY, 0.5, 7)


def downhill(_, x):
    slope = 2 * (1 - x[0]) + 400 * x[0] * (x[1] - x[0] ** 2)
    return np.array([slope, -200 * (x[1] - x[0] ** 2)])


@cache
def last_error() -> float:
    """That of Euler's method with the smallest of the time steps, against a solver of scipy."""
    h, steps = 4e-4 / 64, 1250
    x1, x2, saved = -1.2, 1.0, [[-1.2, 1.0]]
    for k in range(64 * steps):
        across = x2 - x1**2
        x1, x2 = x1 + h * (2 * (1 - x1) + 400 * x1 * across), x2 - h * 200 * across
        if k % 64 == 63:
            saved.append([x1, x2])
    t, options = 4e-4 * np.arange(steps + 1), {"rtol": 1e-12, "atol": 1e-13}
    flow = solve_ivp(downhill, (0, 0.5), saved[0], "DOP853", t_eval=t[:-1], **options).y.T
    return float(np.linalg.norm(np.array(saved[:-1]) - flow, axis=1).max())


def error_of_heun(h: float) -> float:
    return abs(1 - h + h**2 / 2 - np.exp(-h))


def heun_after_time_one(h: float) -> float:
    return abs((1 - h + h**2 / 2) ** round(1 / h) - np.exp(-1))


PREDICTION = "C"
SOLUTIONS = {
    "02-a": Solution(
        lambda: (measured_order(), slice(4, 7)),
        [
            (Later(lambda: (measured_order(), slice(None))), "raise the slope"),
            (Later(lambda: (measured_order(), [0, 1, 2])), "coarsest time steps"),
            (Later(lambda: (measured_order(), [1, 2, 3])), "raise the slope"),
        ],
        exact=Later(lambda: [1.0, np.log(last_error())]),
        absolute=0.03,
    ),
    "02-b": Solution(
        lambda: (precision.measure(SGD(4e-4), VALLEY, 0.5, 8).turn,),
        [
            (3.125e-6, "has risen again"),
            (4e-4, "truncation error is the larger part"),
            (7.7e-5, "give the time step h"),
        ],
        exact=4e-4 / 32,
        relative=0.45,
    ),
    "02-c": Solution(
        lambda: (error_of_heun,),
        [
            (lambda h: abs(1 - h - np.exp(-h)), "That is Euler's step"),
            (heun_after_time_one, "take one step only"),
            (lambda h: h**3, "one step of the method from x = 1"),
        ],
        exact=[3.0, float(np.log(error_of_heun(0.0125)))],
        absolute=0.15,
    ),
}
