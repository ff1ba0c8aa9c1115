"""One best minimum, and a reason to miss it: worse minima, an endless slope, a flat plain."""

import math

import jax.numpy as jnp
import numpy as np

from ..checks import whole_number
from .problem import Problem, source_in_docstring


def styblinski_tang(n=2) -> Problem:
    """Two wells in every coordinate, one of them deeper.

        f(x) = ½ Σᵢ (xᵢ⁴ - 16xᵢ² + 5xᵢ)

    Domain: [-5, 5]ⁿ. Minimizer: (-2.9035, ..., -2.9035), where f = -39.166 n; the other 2ⁿ - 1
    minima have some coordinates at 2.7468.

    - `n`: the number of coordinates, 1 or more; by default 2.

    >>> problem = styblinski_tang()
    >>> round(float(problem.loss(problem.start())), 3)
    -2.233

    Source: M. A. Styblinski and T.-S. Tang, "Experiments in nonconvex optimization: stochastic
    approximation with function smoothing and simulated annealing", Neural Networks 3(4) (1990).
    """
    n = whole_number("n", n, least=1)
    return Problem(
        _styblinski_tang,
        np.resize([0.3, -0.4], n),
        minimizers=np.full(n, -2.903534027771177),
        minimum=-39.166165703771415 * n,
        window=((-5, 5), (-5, 5)) if n == 2 else None,
        source=source_in_docstring(styblinski_tang),
    )


def _styblinski_tang(x):
    return (x**4 - 16 * x**2 + 5 * x).sum() / 2


def goldstein_price() -> Problem:
    """Four minima in a crossing of ravines, with heights from 3 to a million.

        f(x, y) = [1 + (x + y + 1)² (19 - 14x + 3x² - 14y + 6xy + 3y²)]
                × [30 + (2x - 3y)² (18 - 32x + 12x² + 48y - 36xy + 27y²)]

    Domain: [-2, 2]². Minimizer: (0, -1), where f = 3; worse minima: f = 30 at (-0.6, -0.4), 84 at
    (1.8, 0.2) and 840 at (1.2, 0.8).

    >>> problem = goldstein_price()
    >>> round(float(problem.loss(problem.start())), 1)
    116.9

    Source: A. A. Goldstein and J. F. Price, "On descent from local minima", Mathematics of
    Computation 25(115) (1971).
    """
    return Problem(
        _goldstein_price,
        [-0.4, -0.9],
        minimizers=[0.0, -1.0],
        minimum=3.0,
        window=((-2, 2), (-2, 2)),
        source=source_in_docstring(goldstein_price),
    )


def _goldstein_price(position):
    x, y = position
    first = 1 + (x + y + 1) ** 2 * (19 - 14 * x + 3 * x**2 - 14 * y + 6 * x * y + 3 * y**2)
    second = 30 + (2 * x - 3 * y) ** 2 * (18 - 32 * x + 12 * x**2 + 48 * y - 36 * x * y + 27 * y**2)
    return first * second


def mccormick() -> Problem:
    """A wave on a slope.

        f(x, y) = sin(x + y) + (x - y)² - 1.5x + 2.5y + 1

    Domain: [-1.5, 4] × [-3, 4]. Minimizer: (1/2 - π/3, -1/2 - π/3), where f = -√3/2 - π/3. Outside
    of the domain f has no lower bound: the same well returns after every shift by (-π, -π), each
    time deeper by π.

    >>> problem = mccormick()
    >>> round(float(problem.loss(problem.start())), 3)
    5.017

    Source: S. Surjanovic and D. Bingham, Virtual Library of Simulation Experiments,
    sfu.ca/~ssurjano/mccorm.html.
    """
    return Problem(
        _mccormick,
        [-1.2, 0.3],  # so low that a heavy ball does not leave the domain
        minimizers=[1 / 2 - math.pi / 3, -1 / 2 - math.pi / 3],
        minimum=-math.sqrt(3) / 2 - math.pi / 3,
        window=((-1.5, 4), (-3, 4)),
        source=source_in_docstring(mccormick),
    )


def _mccormick(position):
    x, y = position
    return jnp.sin(x + y) + (x - y) ** 2 - 1.5 * x + 2.5 * y + 1


def easom() -> Problem:
    """One well in a plain that is flat: outside of the well the gradient is almost 0.

        f(x, y) = -cos x cos y exp(-(x - π)² - (y - π)²)

    Domain: [-100, 100]². Minimizer: (π, π), where f = -1.

    >>> problem = easom()
    >>> round(float(problem.loss(problem.start())), 3)
    -0.056

    Source: E. E. Easom, A Survey of Global Optimization Techniques, M. Eng. thesis, University of
    Louisville (1990).
    """
    return Problem(
        _easom,
        [2.2, 4.1],
        minimizers=[math.pi, math.pi],
        minimum=-1.0,
        window=((0.5, 5.5), (0.5, 5.5)),
        source=source_in_docstring(easom),
    )


def _easom(position):
    x, y = position
    return -jnp.cos(x) * jnp.cos(y) * jnp.exp(-((x - jnp.pi) ** 2) - (y - jnp.pi) ** 2)
