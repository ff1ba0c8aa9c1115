"""One minimum that is hard to reach: tilted, narrow, curved and winding valleys."""

import jax.numpy as jnp
import numpy as np

from ..checks import whole_number
from .problem import Problem, source_in_docstring


def booth() -> Problem:
    """A tilted bowl.

        f(x, y) = (x + 2y - 7)² + (2x + y - 5)²

    Domain: [-10, 10]². Minimizer: (1, 3), where f = 0. The curvatures are 2 and 18 everywhere.

    >>> problem = booth()
    >>> float(problem.loss(problem.start()))
    405.0

    Source: S. Surjanovic and D. Bingham, Virtual Library of Simulation Experiments,
    sfu.ca/~ssurjano/booth.html.
    """
    return Problem(
        _booth,
        [-8.0, 3.0],
        minimizers=[1.0, 3.0],
        minimum=0.0,
        window=((-10, 10), (-10, 10)),
        source=source_in_docstring(booth),
    )


def _booth(position):
    x, y = position
    return (x + 2 * y - 7) ** 2 + (2 * x + y - 5) ** 2


def matyas() -> Problem:
    """A flat tilted bowl, long along the diagonal.

        f(x, y) = 0.26 (x² + y²) - 0.48 x y

    Domain: [-10, 10]². Minimizer: (0, 0), where f = 0. The curvatures are 0.04 and 1 everywhere.

    >>> problem = matyas()
    >>> round(float(problem.loss(problem.start())), 2)
    30.5

    Source: S. Surjanovic and D. Bingham, Virtual Library of Simulation Experiments,
    sfu.ca/~ssurjano/matya.html.
    """
    return Problem(
        _matyas,
        [8.0, -3.0],
        minimizers=[0.0, 0.0],
        minimum=0.0,
        window=((-10, 10), (-10, 10)),
        source=source_in_docstring(matyas),
    )


def _matyas(position):
    x, y = position
    return 0.26 * (x**2 + y**2) - 0.48 * x * y


def rosenbrock(n=2) -> Problem:
    """The banana: a steep valley along the parabola y = x², whose bottom falls slowly.

        f(x) = Σᵢ 100 (xᵢ₊₁ - xᵢ²)² + (1 - xᵢ)²,   i = 1 ... n-1

    Domain: everywhere. Minimizer: (1, ..., 1), where f = 0; from n = 4 on a worse minimum lies near
    (-1, 1, ..., 1). In the plane the curvatures at the minimizer are 0.399 and 1001.6: gradient
    descent is stable there below the learning rate 0.002.

    - `n`: the number of coordinates, 2 (default) or more.

    >>> problem = rosenbrock()
    >>> round(float(problem.loss(problem.start())), 2)
    24.2

    Source: H. H. Rosenbrock, "An automatic method for finding the greatest or least value of a
    function", The Computer Journal 3(3) (1960), start included; in n dimensions
    `scipy.optimize.rosen`.
    """
    n = whole_number("n", n, least=2)
    return Problem(
        _rosenbrock,
        np.resize([-1.2, 1.0], n),
        minimizers=np.ones(n),
        minimum=0.0,
        window=((-2, 2), (-1, 3)) if n == 2 else None,
        source=source_in_docstring(rosenbrock),
    )


def _rosenbrock(x):
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def beale() -> Problem:
    """A plateau with four rising corners and a curved valley.

        f(x, y) = (1.5 - x + x y)² + (2.25 - x + x y²)² + (2.625 - x + x y³)²

    Domain: [-4.5, 4.5]². Minimizer: (3, 0.5), where f = 0.

    >>> problem = beale()
    >>> round(float(problem.loss(problem.start())), 6)
    14.203125

    Source: E. M. L. Beale, "On an iterative method for finding a local minimum of a function of
    more than one variable", Princeton University, Statistical Techniques Research Group, Technical
    Report 25 (1958); the start is that of J. J. Moré, B. S. Garbow and K. E. Hillstrom, "Testing
    unconstrained optimization software", ACM TOMS 7(1) (1981).
    """
    return Problem(
        _beale,
        [1.0, 1.0],
        minimizers=[3.0, 0.5],
        minimum=0.0,
        window=((-4.5, 4.5), (-4.5, 4.5)),
        source=source_in_docstring(beale),
    )


def _beale(position):
    x, y = position
    return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2


def ravine() -> Problem:
    """A narrow ravine that winds along y = sin x while its bottom falls gently.

        f(x, y) = x²/8 + 5 (y - sin x)²

    Domain: everywhere. Minimizer: (0, 0), where f = 0, and no other point is stationary. The
    curvatures there are 0.124 and 20.126.

    >>> problem = ravine()
    >>> round(float(problem.loss(problem.start())), 2)
    4.86

    Source: made for this course; its bends alternate, where Rosenbrock's valley has one.
    """
    return Problem(
        _ravine,
        [-4.0, 0.0],
        minimizers=[0.0, 0.0],
        minimum=0.0,
        window=((-5, 5), (-2.5, 2.5)),
        source=source_in_docstring(ravine),
    )


def _ravine(position):
    x, y = position
    return x**2 / 8 + 5 * (y - jnp.sin(x)) ** 2
