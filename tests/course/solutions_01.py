"""01 · Gradient descent is Euler's method."""

import math

from solving import Solution

from dynopt import SGD, Problem, analysis

BOWL = Problem(lambda x: (x**2).sum() / 2, [1.0], name="bowl", minimizers=[[0.0]], minimum=0.0)


def error(rate: float) -> float:
    return float(analysis.compare(SGD(rate), BOWL, round(1 / rate)).error[-1])


def heun(rate: float) -> float:
    x = 1.0
    for _ in range(round(1 / rate)):
        trial = x - rate * x
        x = x - rate * (x + trial) / 2
    return abs(x - math.exp(-1))


def error_of_heun(rate: float) -> float:
    return abs((1 - rate + rate**2 / 2) ** round(1 / rate) - math.exp(-1))


def coefficient() -> float:
    """The limit of -error / η as η → 0, by one Richardson extrapolation."""
    first, second = (-error(rate) / rate for rate in (2e-3, 1e-3))
    return 2 * second - first


PREDICTION = "B"
SOLUTIONS = {
    "01-a": Solution(
        lambda: (error(0.0125),),
        [
            (0.00116, "order two"),
            (0.00465, "is halved once more"),
            (0.0093, "you have let it grow"),
        ],
        exact=math.exp(-1) - (1 - 0.0125) ** 80,
        relative=0.02,
    ),
    "01-b": Solution(
        lambda: (heun(0.1) / heun(0.05),),
        [
            (2.04, "ratio of Euler's method"),
            (4.0, "limit for small learning rates"),
            (0.24, "error of the larger learning rate"),
            (8.0, "ratio of the local errors"),
        ],
        exact=error_of_heun(0.1) / error_of_heun(0.05),
        absolute=0.05,
    ),
    "01-c": Solution(
        lambda: (coefficient(),),
        [
            (1 / (2 * math.e), "Mind the sign"),
            (-1 / math.e, "has the factor ½"),
            (-0.5, "relative to e⁻¹"),
        ],
        exact=-1 / (2 * math.e),
        relative=0.02,
    ),
}
