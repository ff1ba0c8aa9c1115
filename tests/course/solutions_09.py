"""09 · Noise: when is a minibatch a Brownian motion? The exact answers are recursions in numpy."""

import numpy as np
from solving import Solution

from dynopt import SGD, Noisy, Problem, analysis, problems

PARABOLA, START = problems.quadratic([1.0]), [2.0]


def second_moment(law) -> float:
    return float(law.mean[-1, 0] ** 2 + law.cov[-1, 0, 0])


def weak_error(h, of="flow", sigma=None):
    """By the exact moments of the library."""
    sigma = h**-0.5 if sigma is None else sigma
    laws = analysis.moments(Noisy(SGD(h), sigma), PARABOLA, round(1 / h), x0=START)
    return abs(second_moment(getattr(laws, of)) - second_moment(laws.map))


def of_map(h: float, variance: float) -> float:
    """E x² at the time 1 from x = 2, step by step, for gradients of this variance."""
    mean, v = 2.0, 0.0
    for _ in range(round(1 / h)):
        mean, v = (1 - h) * mean, (1 - h) ** 2 * v + h**2 * variance
    return mean**2 + v


def by_recursion(h: float) -> float:
    return abs(of_map(h, 1 / h) - (4 * np.exp(-2) + (1 - np.exp(-2)) / 2))


def variance(eta):
    """By the stationary law of the library, with the mean of eight numbers in a batch of B."""
    examples = Problem(mean_loss, 0.0, data=[-1.0, 1.0] * 4, name="mean")
    return float(analysis.stationary(Noisy(SGD(eta), (40 * eta) ** -0.5), examples).map.cov[0, 0])


def mean_loss(x, a):
    return ((x - a) ** 2).mean() / 2


PREDICTION = "B"
SOLUTIONS = {
    "09-a": Solution(
        lambda: (float(analysis.stationary(Noisy(SGD(0.2), 1.0), PARABOLA).map.cov[0, 0]),),
        [
            (0.1, "variance of the equation"),
            (0.11, "modified equation"),
            (1 / 3, "standard deviation"),
            (0.1 / 1.1, "drift alone"),
        ],
        exact=1 / 9,
        relative=0.003,
    ),
    "09-b": Solution(
        lambda: (variance,),
        [
            (lambda eta: 1 / 80, "the same for all"),
            (lambda eta: eta / (2 - eta) / 4, "is not 4 for all"),
            (lambda eta: eta / (2 - eta), "That is for σ = 1"),
            (lambda eta: eta / (2 - eta) / (40 * eta) ** 2, "not its square"),
            (lambda eta: (1 + eta / 2) / 80, "modified equation"),
        ],
        exact=[eta / (2 - eta) / (40 * eta) for eta in (0.1, 0.05, 0.025)],
        relative=0.001,
    ),
    "09-c": Solution(
        lambda: (weak_error,),
        [
            (lambda h: weak_error(h, sigma=1.0), "σ held at 1"),
            (lambda h: abs(of_map(h, 1 / h) - 4 * np.exp(-2)), "has no noise"),
            (lambda h: weak_error(h, of="modified"), "error of the modified equation"),
            (lambda h: abs(of_map(h, 0.0) - 4 * np.exp(-2)), "or left out"),
        ],
        exact=[1.0, float(np.log(by_recursion(0.0125)))],
        absolute=0.03,
    ),
}
