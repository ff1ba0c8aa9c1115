"""14 · Layer-wise rates and gradient surgery. The exact answers come from searches and roots."""

import numpy as np
from solving import Solution

from dynopt import SGD, Game, Layerwise, Problem, analysis

FACTORS, TURNS = (0.25, 1.0, 9.0), (0.5, 1.0, 3.0)
PAIRS = [[[1, 0], [-1, 1]], [[1, 0], [2, 1]], [[3, 2], [1, 0.5]]]
H = np.array([[3.0, 1.0], [1.0, 2.0]])


def coupled(x):
    return (3 * x["a"] ** 2 + 2 * x["a"] * x["b"] + 2 * x["b"] ** 2) / 2


def stable_rate(c):
    bowl = Problem(coupled, {"a": 1.0, "b": 1.0}, name="bowl", minimizers=[[0.0, 0.0]])
    return analysis.spectrum(Layerwise(SGD(0.1), {"b": c}), bowl).stable_rate


def by_trace_and_determinant(c: float) -> float:
    """2 over the larger root of λ² - (3 + 2c) λ + 5c."""
    return 2 / max(np.roots([1.0, -(3 + 2 * c), 5 * c]).real)


def mean(s, pair):
    g1, g2 = np.array(pair, float)
    return (1 - s) * g1 + s * g2


def weight(pair):
    g1, g2 = np.array(pair, float)
    return g1 @ (g1 - g2) / ((g1 - g2) @ (g1 - g2))


def shortest(pair):
    return mean(np.clip(weight(pair), 0, 1), pair)


def by_search(pair):
    means = [mean(s, pair) for s in np.linspace(0, 1, 10_001)]
    return min(means, key=np.linalg.norm)


def surgery(pair):
    g1, g2 = np.array(pair, float)
    dot = min(g1 @ g2, 0)
    return g1 + g2 - dot / (g2 @ g2) * g2 - dot / (g1 @ g1) * g1


def turned_rate(omega):
    def field(x):
        return x + omega * x[::-1] * np.array([-1.0, 1.0])

    game = Game.from_field(field, [1.0, 0.0], name="turned", equilibria=[[0.0, 0.0]])
    return analysis.spectrum(SGD(0.1), game).stable_rate


def by_bisection(omega: float) -> float:
    low, high = 0.0, 3.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if abs(1 - middle * (1 + 1j * omega)) < 1 else (low, middle)
    return low


PREDICTION = "B"
SOLUTIONS = {
    "14-a": Solution(
        lambda: (stable_rate,),
        [
            (lambda c: 2 / np.linalg.eigvalsh(H).max(), "without a factor"),
            (lambda c: 2 / max(3, 2 * c), "The layers are coupled"),
            (
                lambda c: 2 / np.linalg.eigvalsh(np.diag([1, c]) @ H @ np.diag([1, c])).max(),
                "not from both sides",
            ),
            (lambda c: by_trace_and_determinant(c) / 2, "not 1"),
        ],
        exact=[by_trace_and_determinant(c) for c in FACTORS],
        relative=0.01,
    ),
    "14-b": Solution(
        lambda: (shortest,),
        [
            (lambda pair: mean(weight(pair), pair), "Keep s between 0 and 1"),
            (lambda pair: mean(0.5, pair), "with equal weights"),
            (surgery, "the surgery of the lesson"),
        ],
        exact=np.ravel([by_search(pair) for pair in PAIRS]),
        absolute=0.01,
    ),
    "14-c": Solution(
        lambda: (turned_rate,),
        [
            (lambda omega: 2.0, "without the turn"),
            (lambda omega: 2 / (1 + omega**2) ** 0.5, "for real eigenvalues only"),
            (lambda omega: 1 / (1 + omega**2), "the smallest modulus"),
        ],
        exact=[by_bisection(omega) for omega in TURNS],
        relative=0.01,
    ),
}
