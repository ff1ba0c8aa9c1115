"""Losses of two coordinates, modules whose numbers are data: one compilation serves many."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from dynopt import Problem, problems

# The coefficients of x, x², x³ and x⁴ in each coordinate.
POLYNOMIALS = {
    "bowl": [[0, 0], [1 / 2, 2], [0, 0], [0, 0]],
    "stiff": [[0, 0], [5e5, 1 / 2], [0, 0], [0, 0]],
    "hilltop": [[0, 0], [-1 / 2, -1 / 2], [0, 0], [0, 0]],
    "cubic": [[0, 0], [0, 0], [-1 / 3, -1 / 3], [0, 0]],
    "quartic": [[0, 0], [0, 0], [0, 0], [1 / 4, 1 / 4]],
    "double well": [[0, 0], [-1 / 2, -1 / 2], [0, 0], [1 / 4, 1 / 4]],
}


class Polynomial(eqx.Module):
    coefficients: Array

    def __call__(self, x):
        return jnp.sum(self.coefficients.astype(x.dtype) * jnp.stack([x, x**2, x**3, x**4]))


class Root(eqx.Module):
    """a x - b √x in each coordinate, which is defined for x ≥ 0."""

    a: Array
    b: Array

    def __call__(self, x):
        return jnp.sum(self.a * x - self.b * jnp.sqrt(x))


def polynomial(name, start):
    return Problem(Polynomial(jnp.array(POLYNOMIALS[name], float)), start, name=name)


MIXED = {
    "bowl": lambda x: (x[0] ** 2 + 4 * x[1] ** 2) / 2,
    "bent": lambda x: (x[0] ** 2 + 10 * x[1] ** 2) / 2 + jnp.cos(x[0]),
    "booth": problems.booth().loss,
    "rosenbrock": problems.rosenbrock().loss,
}


class Mixture(eqx.Module):
    """A sum of the losses above with these weights."""

    weights: Array

    def __call__(self, x):
        return self.weights @ jnp.stack([loss(x) for loss in MIXED.values()])


class Column(eqx.Module):
    """A loss of vectors as a loss of columns."""

    loss: eqx.Module

    def __call__(self, x):
        return self.loss(x[:, 0])


def mixture(kind, start, name=None):
    return Problem(Mixture(jnp.eye(len(MIXED))[list(MIXED).index(kind)]), start, name=name or kind)


def shaped_for(optimizer, problem):
    """The problem; its position is a column if the optimizer takes matrices only."""
    if optimizer.elementwise:
        return problem
    return Problem(Column(problem.loss), problem.x0.reshape(-1, 1), name=problem.name)


class Rounded(eqx.Module):
    """A loss that computes in single precision, whatever the position is in."""

    loss: eqx.Module

    def __call__(self, x):
        return self.loss(x.astype(jnp.float32)).astype(x.dtype)


class Bowl(eqx.Module):
    """A quadratic with a term that couples the coordinates; it may be zero."""

    curvatures: Array
    bend: Array

    def __call__(self, x):
        return self.curvatures @ x**2 / 2 + self.bend * jnp.cos(x[0]) * jnp.sin(x[1])


def quartic(x):
    """The loss of the tests of equations; its gradient in numpy is below."""
    return x[0] ** 4 / 4 + x[0] * x[1] + x[1] ** 2


def quartic_gradient(x):
    return np.array([x[0] ** 3 + x[1], x[0] + 2 * x[1]])


QUARTIC_START = np.array([1.1, -0.6])
