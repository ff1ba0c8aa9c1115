"""04 · What gradient descent really solves."""

import jax.numpy as jnp
import numpy as np
from scipy.special import lambertw
from solving import Later, Solution

from dynopt import SGD, Modified, Problem, analysis, integrate, iterate, problems

FLOOR = Problem(
    lambda x: (1 + x[0] ** 2) * x[1] ** 2 / 2, [1.0, 2.0], name="level floor", minimum=0.0
)
BOOTH = problems.booth()


def last_error() -> float:
    """The distance of the map on booth from its modified flow, in closed form, at h = 0.01/128.

    Booth has the curvatures 2 and 18; from the start the minimizer is (9, 0) away, which is
    9/√2 along each of the two axes.
    """
    h, t = 0.01 / 128, 0.01 * np.arange(51)
    off = [
        9 / np.sqrt(2) * ((1 - h * c) ** (128 * np.arange(51)) - np.exp(-(c + h / 2 * c**2) * t))
        for c in (2, 18)
    ]
    return float(np.hypot(*off).max())


def next_term() -> float:
    """The coefficient c, from -log(1-η)/η at a small η."""
    eta = 1e-4
    return float((-jnp.log1p(-eta) / eta - 1 - eta / 2) / eta**2)


def curvature_gained() -> float:
    map, flow = (run(SGD(0.1), FLOOR, 300).x[-1, 0] for run in (iterate, integrate))
    return float(map**2 - flow**2)


def curvature_gained_in_closed_form() -> float:
    """Along the flow log(x₁²) + x₁² - x₂² is conserved, so at the end x₁² e^(x₁²) = e^(1 - 4)."""
    x, y = 1.0, 2.0
    for _ in range(300):
        x, y = x - 0.1 * x * y**2, y - 0.1 * (1 + x**2) * y
    return x**2 - float(lambertw(np.exp(-3)).real)


PREDICTION = "B"
SOLUTIONS = {
    "04-a": Solution(
        lambda: (analysis.order(Modified(SGD(0.01)), BOOTH),),
        [
            (Later(lambda: analysis.order(SGD(0.01), BOOTH)), "wrap the optimizer in Modified"),
            (Later(lambda: analysis.order(Modified(SGD(0.02)), BOOTH)), "Pass the result"),
            (
                Later(lambda: analysis.order(Modified(SGD(0.01)), BOOTH, refinements=4)),
                "Pass the result",
            ),
        ],
        exact=[2.0, float(np.log(last_error()))],
        absolute=0.1,
    ),
    "04-b": Solution(
        lambda: (next_term(),),
        [(0.25, "not the next one"), (0.5, "go on to η²"), (1 / 6, "has factorials")],
        exact=1 / 3,
        relative=0.02,
    ),
    "04-c": Solution(
        lambda: (curvature_gained(),),
        [
            (0.01898, "Mind the sign"),
            (-0.0491, "difference of the positions"),
            (1.0285, "give the difference"),
        ],
        exact=curvature_gained_in_closed_form(),
        relative=0.03,
    ),
}
