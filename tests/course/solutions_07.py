"""07 · RMSprop: steps that ignore the size of the gradient."""

import numpy as np
from solving import Solution

from dynopt import SGD, Problem, RMSprop, iterate, problems

BOWL = problems.booth()


def end(scale: float):
    return iterate(
        RMSprop(0.05, eps=1e-8), Problem(lambda x: scale * BOWL.loss(x), BOWL.x0), 100
    ).x[-1]


def first_factor() -> float:
    reference = end(1.0)
    factors = (10.0**-n for n in range(1, 12))
    return next(factor for factor in factors if float(abs(end(factor) - reference).max()) > 0.01)


def last_loss(optimizer):
    return lambda angle: float(
        iterate(optimizer, problems.quadratic([1.0, 30.0], rotation=angle), 50).loss[-1]
    )


def last_loss_in_numpy(degrees: float) -> float:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    basis = np.array([[c, -s], [s, c]])
    hessian = basis @ np.diag([1.0, 30.0]) @ basis.T
    x, v = basis @ [-2.0, 1.5], np.zeros(2)
    for _ in range(50):
        g = hessian @ x
        v = 0.9 * v + 0.1 * g**2
        x = x - 0.1 * g / np.sqrt(v + 1e-8)
    return float(x @ hessian @ x / 2)


PREDICTION = "C"
SOLUTIONS = {
    "07-a": Solution(
        lambda: (first_factor(),),
        [(1e-8, "under the root"), (1e-4, "one power too early"), (1e5, "must become smaller")],
        exact=1e-5,
        relative=0.5,
    ),
    "07-b": Solution(
        lambda: (RMSprop(0.01, 0.999).tau,),
        [
            (1000.0, "number of steps"),
            (0.001, "the fraction that is lost"),
            (1e-5, "do not multiply"),
        ],
        exact=0.01 / (1 - 0.999),
        relative=0.01,
    ),
    "07-c": Solution(
        lambda: (last_loss(RMSprop(0.1)),),
        [
            (lambda angle: last_loss(RMSprop(0.1))(0.0), "does not depend on the angle"),
            (last_loss(SGD(0.01)), "the loss of gradient descent"),
            (lambda angle: angle, "Return the last loss"),
        ],
        exact=[last_loss_in_numpy(degrees) for degrees in (0, 45, 90)],
        absolute=0.002,
    ),
}
