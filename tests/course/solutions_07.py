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


def losses(optimizer):
    return lambda angle: (
        iterate(optimizer, problems.quadratic([1.0, 30.0], rotation=angle), 50).loss
    )


def rotate_by(degrees: float):
    return lambda angle: angle + np.pi * degrees / 180


RMS = losses(RMSprop(0.1))

SOLUTIONS = {
    "07-a": Solution(
        lambda: (first_factor(),),
        [(1e-8, "under the root"), (1e-4, "one power too early"), (1e5, "must become smaller")],
        relative=0.5,
    ),
    "07-b": Solution(
        lambda: (RMSprop(0.01, 0.999).tau,),
        [
            (1000.0, "number of steps"),
            (0.001, "the fraction that is lost"),
            (1e-5, "do not multiply"),
        ],
        relative=0.01,
    ),
    "07-c": Solution(
        lambda: (RMS, rotate_by(45), 0.0),
        [
            ((losses(SGD(0.01)), rotate_by(45), 0.0), "Let f run RMSprop on the rotated bowl"),
            ((RMS, rotate_by(0), 0.0), "let transform add π/4"),
            ((RMS, rotate_by(90), 0.0), "f does not change under the transformation"),
        ],
    ),
}
