"""13 · Why the gradient at all. The right answers come from searches, the exact ones from the formulas."""

import itertools

import numpy as np
from solving import Solution

from dynopt.course import steepest

G = np.array([[0.0, 2.0], [3.0, 4.0]])
A, SLOPE = np.array([[3.0, 1.0], [1.0, 2.0]]), np.array([1.0, -1.0])


def corners() -> float:
    """A linear function on a cube is smallest in a corner."""
    return min(
        np.dot([2.0, -3.0, 6.0], corner) for corner in itertools.product([-1.0, 1.0], repeat=3)
    )


def rotations():
    """The extreme points of the spectral ball of 2 x 2 matrices are rotations and reflections."""
    angle = np.linspace(0, 2 * np.pi, 200_001)
    c, s = np.cos(angle), np.sin(angle)
    extreme = np.concatenate([np.stack([c, -s, s, c], 1), np.stack([c, s, s, -c], 1)])
    return extreme[np.argmin(extreme @ G.ravel())].reshape(2, 2)


def ellipse():
    angle = np.linspace(0, 2 * np.pi, 200_001)
    d = np.stack([np.cos(angle), np.sin(angle)], 1)
    d = d / np.sqrt(np.einsum("ni,ij,nj->n", d, A, d))[:, None]
    return d[np.argmin(d @ SLOPE)]


U, _, VT = np.linalg.svd(G)
NEWTON = np.linalg.solve(A, SLOPE)
PREDICTION = "B"
SOLUTIONS = {
    "13-a": Solution(
        lambda: (corners(),),
        [
            (11.0, "is negative"),
            (-7.0, "in the Euclidean norm"),
            (-6.0, "all coordinates contribute"),
        ],
        exact=-11.0,
        relative=0.01,
    ),
    "13-b": Solution(
        lambda: (rotations(),),
        [
            (-steepest.measure(G, "spectral").direction, "uphill"),
            (steepest.measure(G).direction, "the ratios of the singular values"),
            (steepest.measure(G, "max").direction, "max-norm of the entries"),
        ],
        exact=-U @ VT,
        absolute=0.01,
    ),
    "13-c": Solution(
        lambda: (ellipse(),),
        [
            (-NEWTON, "its length in the norm of A"),
            (-SLOPE / np.sqrt(SLOPE @ A @ SLOPE), "another direction"),
            (NEWTON / np.sqrt(SLOPE @ NEWTON), "uphill"),
        ],
        exact=-NEWTON / np.sqrt(SLOPE @ NEWTON),
        absolute=0.005,
    ),
}
