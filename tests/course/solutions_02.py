"""02 · Measuring the order, honestly."""

from functools import cache

import numpy as np
from solving import Solution

from dynopt import SGD, analysis, problems
from dynopt.course import precision

VALLEY = problems.rosenbrock()
H = np.array([0.1, 0.05, 0.025, 0.0125])


@cache
def clocks(refinements: int = 7):
    """The largest gaps at common times; the last two are the map's own business, and only h² from the line."""
    return analysis.order(SGD(4e-4), VALLEY, 0.5, refinements)


def rows(part: slice):
    return clocks().h[part], clocks().error[part]


SOLUTIONS = {
    "02-a": Solution(
        lambda: rows(slice(4, 7)),
        [
            (lambda: rows(slice(None)), "bend the line upwards"),
            (lambda: rows(slice(0, 3)), "coarsest clocks"),
            ((H, H**2), "slope of one step's error"),
        ],
        absolute=0.03,
    ),
    "02-b": Solution(
        lambda: (precision.measure(SGD(4e-4), VALLEY, 0.5, 8).turn,),
        [
            (3.125e-6, "has risen again"),
            (4e-4, "truncation still rules"),
            (7.7e-5, "the step is asked for"),
        ],
        relative=0.45,
    ),
    "02-c": Solution(
        lambda: (H, np.abs(1 - H + H**2 / 2 - np.exp(-H))),
        [
            ((H, H**2), "one step of Heun does better"),
            ((H, H), "Euler's, after"),
            ((H, H**4), "One too many"),
        ],
        absolute=0.15,
    ),
}
