"""02 · Measuring the order, honestly."""

from functools import cache

import numpy as np
from solving import Solution

from dynopt import SGD, analysis, problems
from dynopt.course import precision

VALLEY = problems.rosenbrock()
H = np.array([0.1, 0.05, 0.025, 0.0125])


@cache
def measured_order(refinements: int = 7):
    """The largest global errors at the times that all runs have in common."""
    return analysis.order(SGD(4e-4), VALLEY, 0.5, refinements)


def rows(part: slice):
    return measured_order().h[part], measured_order().error[part]


SOLUTIONS = {
    "02-a": Solution(
        lambda: rows(slice(4, 7)),
        [
            (lambda: rows(slice(None)), "raise the slope"),
            (lambda: rows(slice(0, 3)), "coarsest time steps"),
            ((H, H**2), "slope of the local error"),
        ],
        absolute=0.03,
    ),
    "02-b": Solution(
        lambda: (precision.measure(SGD(4e-4), VALLEY, 0.5, 8).turn,),
        [
            (3.125e-6, "has risen again"),
            (4e-4, "truncation error is the larger part"),
            (7.7e-5, "give the time step h"),
        ],
        relative=0.45,
    ),
    "02-c": Solution(
        lambda: (H, np.abs(1 - H + H**2 / 2 - np.exp(-H))),
        [
            ((H, H**2), "Heun's local error has a larger one"),
            ((H, H), "Euler's global error"),
            ((H, H**4), "one too many"),
        ],
        absolute=0.15,
    ),
}
