"""16 · How much may a layer stretch? The exact answers come from numpy."""

import numpy as np
from solving import Solution

from dynopt import SGD, iterate, problems

COUNTS, RATES, MARGINS = (1, 3, 6), (0.02, 0.05, 0.1), (0.5, 1.0, 4.0)
NORMS = (1.5, 2.0, 1.2)
W = np.diag([3.0, 2.0, 1.0, 0.5])


def error(k):
    """By eigenvalues: u is (WWᵀ)ᵏ applied to ones, and v is Wᵀ of the one before."""
    before, after = (np.diag(W) ** (2 * n) for n in (k - 1, k))
    v = W.T @ before
    return float(3 - after @ W @ v / np.linalg.norm(after) / np.linalg.norm(v))


def by_steps(k, halves=2):
    u = v = np.ones(4) / 2
    for _ in range(k):
        v = W.T @ u / np.linalg.norm(W.T @ u)
        u = W @ v / np.linalg.norm(W @ v) if halves == 2 else v
    return float(3 - u @ W @ v)


def growth(eta):
    """By the library."""
    column = problems.spectral_normalised([[1.0], [0.0]])
    run = iterate(SGD(eta), column, round(30 / eta), x0=[[-0.8], [0.6]], save_every=round(30 / eta))
    return float((run.x[-1] ** 2).sum()) - 1


def by_angles(eta):
    """tan of the angle that a step turns, η sin θ/|W|², in polar coordinates."""
    angle, square = np.arctan2(0.6, -0.8), 1.0
    for _ in range(round(30 / eta)):
        turn = eta * np.sin(angle) / square
        angle, square = angle - np.arctan(turn), square * (1 + turn**2)
    return square - 1


def radius(margin):
    return margin / np.prod(NORMS) / np.sqrt(2)


PREDICTION = "C"
SOLUTIONS = {
    "16-a": Solution(
        lambda: (by_steps,),
        [
            (lambda k: 3 - error(k), "That is σ itself"),
            (lambda k: by_steps(k, halves=1), "Only half of each step"),
            (lambda k: by_steps(k - 1), "before the last step"),
        ],
        exact=[error(k) for k in COUNTS],
        relative=0.01,
    ),
    "16-b": Solution(
        lambda: (growth,),
        [
            (lambda eta: 1.8, "That is the fall of the loss"),
            (lambda eta: 1.8 * eta**2, "the number of steps grows"),
            (lambda eta: np.sqrt(1 + 1.8 * eta) - 1, "That is the growth of |W|;"),
        ],
        exact=[by_angles(eta) for eta in RATES],
        relative=0.01,
    ),
    "16-c": Solution(
        lambda: (radius,),
        [
            (lambda margin: margin / np.prod(NORMS), "That bounds one score"),
            (lambda margin: margin / np.sum(NORMS) / np.sqrt(2), "do not add them"),
            (lambda margin: margin / np.prod(NORMS) / 2, "their change is one vector"),
        ],
        exact=[margin / 3.6 / 2**0.5 for margin in MARGINS],
        relative=0.01,
    ),
}
