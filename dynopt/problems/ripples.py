"""Ripples on a bowl: very many minima, in any dimension."""

import math

import jax.numpy as jnp
import numpy as np

from ..checks import whole_number
from .problem import Problem, source_in_docstring


def rastrigin(n=2) -> Problem:
    """An egg box in a bowl: one well near every point of whole numbers.

        f(x) = 10n + Σᵢ (xᵢ² - 10 cos 2πxᵢ)

    Domain: [-5.12, 5.12]ⁿ. Minimizer: 0, where f = 0.

    - `n`: the number of coordinates, 1 or more; by default 2.

    >>> problem = rastrigin()
    >>> round(float(problem.loss(problem.start())), 3)
    27.73

    Source: L. A. Rastrigin, Systems of Extremal Control, Nauka (1974); in n dimensions
    H. Mühlenbein, M. Schomisch and J. Born, "The parallel genetic algorithm as function optimizer",
    Parallel Computing 17(6-7) (1991).
    """
    n = whole_number("n", n, least=1)
    return Problem(
        _rastrigin,
        np.resize([2.2, -1.7], n),
        minimizers=np.zeros(n),
        minimum=0.0,
        window=((-5.12, 5.12), (-5.12, 5.12)) if n == 2 else None,
        source=source_in_docstring(rastrigin),
    )


def _rastrigin(x):
    # 1 - cos 2u = 2 sin² u, which keeps its digits near 0.
    return (x**2 + 20 * jnp.sin(jnp.pi * x) ** 2).sum()


def ackley(n=2) -> Problem:
    """A funnel full of ripples, with a sharp tip.

        f(x) = 20 + e - 20 exp(-0.2 √(Σᵢ xᵢ²/n)) - exp(Σᵢ cos(2πxᵢ)/n)

    Domain: [-32.768, 32.768]ⁿ. Minimizer: 0, where f = 0. The tip is a cone, so no gradient exists
    there; `jax.grad` gives 0, the mean of all slopes around it. The slope does not vanish near the
    tip.

    - `n`: the number of coordinates, 1 or more; by default 2.

    >>> problem = ackley()
    >>> round(float(problem.loss(problem.start())), 2)
    8.22

    Source: D. H. Ackley, A Connectionist Machine for Genetic Hillclimbing, Kluwer (1987); in n
    dimensions T. Bäck, Evolutionary Algorithms in Theory and Practice, Oxford University Press
    (1996).
    """
    n = whole_number("n", n, least=1)
    return Problem(
        _ackley,
        np.resize([2.2, -1.7], n),
        minimizers=np.zeros(n),
        minimum=0.0,
        window=((-5, 5), (-5, 5)) if n == 2 else None,
        source=source_in_docstring(ackley),
    )


def _ackley(x):
    mean = (x**2).mean()
    # The root has no derivative at 0, so that 0 must be replaced before and after it.
    radius = jnp.where(mean > 0, jnp.sqrt(jnp.where(mean > 0, mean, 1)), 0)
    ripple = -2 * (jnp.sin(jnp.pi * x) ** 2).mean()  # the mean of cos 2πx - 1
    return -20 * jnp.expm1(-0.2 * radius) - math.e * jnp.expm1(ripple)


def levy(n=2) -> Problem:
    """Long waves on a wide bowl, with short waves across them.

        f(x) = sin² πw₁ + Σᵢ (wᵢ - 1)² (1 + 10 sin²(πwᵢ + 1)) + (wₙ - 1)² (1 + sin² 2πwₙ)

    with w = 1 + (x - 1)/4 and i = 1 ... n-1.

    Domain: [-10, 10]ⁿ. Minimizer: (1, ..., 1), where f = 0.

    - `n`: the number of coordinates, 1 or more; by default 2.

    >>> problem = levy()
    >>> round(float(problem.loss(problem.start())), 2)
    12.56

    Source: S. Surjanovic and D. Bingham, Virtual Library of Simulation Experiments,
    sfu.ca/~ssurjano/levy.html.
    """
    n = whole_number("n", n, least=1)
    return Problem(
        _levy,
        np.resize([-2.0, -6.0], n),
        minimizers=np.ones(n),
        minimum=0.0,
        window=((-10, 10), (-10, 10)) if n == 2 else None,
        source=source_in_docstring(levy),
    )


def _levy(x):
    u = (x - 1) / 4  # w - 1; sin² has period π
    head, tail = u[:-1], u[-1]
    body = (head**2 * (1 + 10 * jnp.sin(jnp.pi * head + 1) ** 2)).sum()
    return jnp.sin(jnp.pi * u[0]) ** 2 + body + tail**2 * (1 + jnp.sin(2 * jnp.pi * tail) ** 2)


def griewank(n=2) -> Problem:
    """A very wide bowl that is smooth at large scale and rippled at small scale.

        f(x) = 1 + Σᵢ xᵢ²/4000 - Πᵢ cos(xᵢ/√i)

    Domain: [-600, 600]ⁿ. Minimizer: 0, where f = 0.

    - `n`: the number of coordinates, 1 or more; by default 2.

    >>> problem = griewank()
    >>> round(float(problem.loss(problem.start())), 3)
    1.157

    Source: A. O. Griewank, "Generalized descent for global optimization", Journal of Optimization
    Theory and Applications 34(1) (1981).
    """
    n = whole_number("n", n, least=1)
    return Problem(
        _griewank,
        np.resize([5.0, -3.0], n),
        minimizers=np.zeros(n),
        minimum=0.0,
        window=((-10, 10), (-10, 10)) if n == 2 else None,
        source=source_in_docstring(griewank),
    )


def _griewank(x):
    i = jnp.arange(1, len(x) + 1, dtype=x.dtype)
    return 1 + (x**2).sum() / 4000 - jnp.cos(x / jnp.sqrt(i)).prod()
