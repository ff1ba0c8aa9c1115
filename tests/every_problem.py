"""Every problem of the catalogue, by name, and the formulas of the test functions of the plane."""

import math
from functools import cache

from dynopt.problems import Problem, catalogue


def waves(x):
    """w = 1 + (x - 1)/4, the coordinates in which Levy's function is written."""
    return [1 + (t - 1) / 4 for t in x]


# Each loss as its docstring writes it, in plain Python.
FORMULAS = {
    "quadratic": lambda x, y: x**2 / 2 + 10 * y**2 / 2,
    "booth": lambda x, y: (x + 2 * y - 7) ** 2 + (2 * x + y - 5) ** 2,
    "matyas": lambda x, y: 0.26 * (x**2 + y**2) - 0.48 * x * y,
    "rosenbrock": lambda *x: sum(
        100 * (b - a**2) ** 2 + (1 - a) ** 2 for a, b in zip(x, x[1:], strict=False)
    ),
    "ravine": lambda x, y: x**2 / 8 + 5 * (y - math.sin(x)) ** 2,
    "beale": lambda x, y: sum(
        (c - x + x * y**k) ** 2 for k, c in [(1, 1.5), (2, 2.25), (3, 2.625)]
    ),
    "saddle": lambda x, y: x**4 / 4 - x**2 / 2 + y**2 / 2,
    "himmelblau": lambda x, y: (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2,
    "three_hump_camel": lambda x, y: 2 * x**2 - 1.05 * x**4 + x**6 / 6 + x * y + y**2,
    "six_hump_camel": lambda x, y: 4 * x**2 - 2.1 * x**4 + x**6 / 3 + x * y - 4 * y**2 + 4 * y**4,
    "styblinski_tang": lambda *x: sum(t**4 - 16 * t**2 + 5 * t for t in x) / 2,
    "goldstein_price": lambda x, y: (
        (1 + (x + y + 1) ** 2 * (3 * (x + y) ** 2 - 14 * (x + y) + 19))
        * (30 + (2 * x - 3 * y) ** 2 * (3 * (2 * x - 3 * y) ** 2 - 16 * (2 * x - 3 * y) + 18))
    ),
    "mccormick": lambda x, y: math.sin(x + y) + (x - y) ** 2 - 1.5 * x + 2.5 * y + 1,
    "easom": lambda x, y: (
        -math.cos(x) * math.cos(y) * math.exp(-((x - math.pi) ** 2) - (y - math.pi) ** 2)
    ),
    "rastrigin": lambda *x: 10 * len(x) + sum(t**2 - 10 * math.cos(2 * math.pi * t) for t in x),
    "ackley": lambda *x: (
        20
        + math.e
        - 20 * math.exp(-0.2 * math.sqrt(sum(t**2 for t in x) / len(x)))
        - math.exp(sum(math.cos(2 * math.pi * t) for t in x) / len(x))
    ),
    "levy": lambda *x: (
        math.sin(math.pi * waves(x)[0]) ** 2
        + sum((w - 1) ** 2 * (1 + 10 * math.sin(math.pi * w + 1) ** 2) for w in waves(x)[:-1])
        + (waves(x)[-1] - 1) ** 2 * (1 + math.sin(2 * math.pi * waves(x)[-1]) ** 2)
    ),
    "griewank": lambda *x: (
        1
        + sum(t**2 for t in x) / 4000
        - math.prod(math.cos(t / math.sqrt(i + 1)) for i, t in enumerate(x))
    ),
}
ON_A_LINE = {"double_well": lambda x: x**4 / 4 - x**2 / 2 + 1 / 4}
LEARNING = [name for name in catalogue if name not in {*FORMULAS, *ON_A_LINE}]


@cache
def made(name, *arguments) -> Problem:
    """The problem, made once for each name and arguments."""
    return catalogue[name](*arguments)
