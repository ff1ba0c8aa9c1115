"""04 · What gradient descent really solves."""

import jax.numpy as jnp
import numpy as np
from solving import Solution

from dynopt import SGD, Modified, Problem, analysis, integrate, iterate, problems

FLOOR = Problem(
    lambda x: (1 + x[0] ** 2) * x[1] ** 2 / 2, [1.0, 2.0], name="level floor", minimum=0.0
)
H = np.array([0.02, 0.01, 0.005])


def modified_order():
    result = analysis.order(Modified(SGD(0.01)), problems.booth())
    return result.h, result.error


def next_term() -> float:
    """The coefficient c, from -log(1-η)/η at a small η."""
    eta = 1e-4
    return float((-jnp.log1p(-eta) / eta - 1 - eta / 2) / eta**2)


def curvature_gained() -> float:
    map, flow = (run(SGD(0.1), FLOOR, 300).x[-1, 0] for run in (iterate, integrate))
    return float(map**2 - flow**2)


SOLUTIONS = {
    "04-a": Solution(
        modified_order,
        [
            ((H, H), "wrap the optimizer in Modified"),
            ((H, H**3), "one correction more"),
            ((H**2, H), "are swapped"),
        ],
        absolute=0.1,
    ),
    "04-b": Solution(
        lambda: (next_term(),),
        [(0.25, "not the next one"), (0.5, "go on to η²"), (1 / 6, "has factorials")],
        relative=0.02,
    ),
    "04-c": Solution(
        lambda: (curvature_gained(),),
        [
            (0.01898, "Mind the sign"),
            (-0.0491, "difference of the positions"),
            (1.0285, "give the difference"),
        ],
        relative=0.03,
    ),
}
