"""Optimizers as methods for differential equations."""

from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from dynopt import ODE, Momentum, Nesterov, integrate, iterate
from dynopt.problems import quadratic

from .claim import Chapter
from .descent import slope

chapter = Chapter()
HIGH_RESOLUTION = (
    "B. Shi, S. Du, M. Jordan, W. Su, Understanding the acceleration phenomenon via "
    "high-resolution differential equations, Math. Program. (2022), equation 1.10, with curvature "
    "1 as the lower bound; the number by matrix exponentials of the mode with curvature 3"
)


class Point(NamedTuple):
    x: Any
    q: Any


class HighResolution(eqx.Module):
    """x″ + 2 x′ + h ∇²f x′ + (1+h) ∇f = 0 without the Hessian matrix, by q = x′ + h ∇f."""

    h: Any

    def __call__(self, t, y, grad):
        velocity = y.q - self.h * grad(y.x)
        return Point(velocity, -2 * velocity - (1 + self.h) * grad(y.x))


class AtRest(eqx.Module):
    """The start, from x′ = -2h ∇f/(1+h)."""

    h: Any

    def __call__(self, x, grad):
        return Point(x, self.h * grad(x) * (1 - 2 / (1 + self.h)))


def errors_of_nesterov():
    """The largest errors of the equations of low and high resolution, for two time steps."""
    problem, h, errors = quadratic([3.0]), [0.1 / 16, 0.1 / 32], []
    for one in h:
        steps = round(2 / one)
        y = iterate(Nesterov.strongly_convex(one**2, 1.0), problem, steps, x0=[1.0]).x
        x = jnp.concatenate([y[:1], y[:-1] * (1 - one**2 * 3.0)])  # after the gradient step
        low = Momentum(one**2, momentum=1 - 2 * one)
        high = ODE(HighResolution(jnp.asarray(one)), AtRest(jnp.asarray(one)), one)
        flows = [integrate(flow, problem, steps, x0=[1.0]).x for flow in (low, high)]
        errors.append([float(jnp.abs(flow - x).max()) for flow in flows])
    return h, np.array(errors)


@chapter.claim(
    "the order of Nesterov's method against its equation of high resolution is 1, as against that "
    "of low resolution",
    HIGH_RESOLUTION,
    0.99,
    within=0.02,
    slow=True,
)
def high_resolution():
    h, errors = errors_of_nesterov()
    assert abs(slope(h, errors[:, 0]) - 1.0) < 0.02
    return slope(h, errors[:, 1])
