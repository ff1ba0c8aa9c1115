"""06 · Nesterov and the number 3."""

import math

import diffrax
import jax.numpy as jnp
import numpy as np
from solving import Solution

from dynopt import NesterovConvex, analysis, integrate, iterate, problems

BOWL, START = problems.quadratic([0.02, 0.005]), [1.0, 1.0]
CURVATURE = jnp.array([0.02, 0.005])
H = np.array([0.4, 0.2, 0.1])


def losses_and_bounds(run=integrate, factor: float = 4.0, power: int = 2):
    trajectory = run(NesterovConvex(1.0), BOWL, 400, x0=START)
    return trajectory.loss[1:], factor / trajectory.t[1:] ** power


def largest_t2f(r: float) -> float:
    """The largest t² f along x″ + (r/t) x′ + ∇f = 0, solved in s = log t, where r/t is smooth."""

    def vector_field(s, y, _):
        x, q = y  # q = dx/ds
        return q, (1 - r) * q - jnp.exp(2 * s) * CURVATURE * x

    first, last = math.log(1e-3), math.log(400.0)
    s = jnp.linspace(math.log(0.01), last, 20_001)
    run = diffrax.diffeqsolve(
        diffrax.ODETerm(vector_field), diffrax.Dopri8(), first, last, 0.01, (jnp.ones(2), -1e-6 * CURVATURE / (1 + r)),
        saveat=diffrax.SaveAt(ts=s), stepsize_controller=diffrax.PIDController(1e-10, 1e-10), max_steps=None,
    )  # fmt: skip
    x, _ = run.ys
    return float((jnp.exp(2 * s) * (x**2 @ CURVATURE) / 2).max())


def measured_order():
    result = analysis.order(NesterovConvex(1.0), BOWL, 50.0, 6, x0=START)
    return result.h, result.error


SOLUTIONS = {
    "06-a": Solution(
        losses_and_bounds,
        [
            (lambda: losses_and_bounds(factor=2.0), "at the distance √2"),
            (lambda: losses_and_bounds(power=1), "falls like 1/t, and"),
            (lambda: losses_and_bounds(iterate), "losses of the map"),
            (lambda: losses_and_bounds()[::-1], "in this order, the smaller first?"),
        ],
        relative=0.01,
    ),
    "06-b": Solution(
        lambda: ([largest_t2f(1.0), largest_t2f(10.0)],),
        [
            ([3.096, 23.32], "must be in the other order"),
            ([1.0627, 1.0627], "has to change, too"),
            ([3.096, 3.096], "exceeds the bound"),
        ],
        relative=0.02,
    ),
    "06-c": Solution(
        measured_order,
        [
            ((H**2, H), "slope against η"),
            ((H, H**2), "are swapped, or"),
            ((H[::-1], H), "in the same order"),
        ],
        absolute=0.1,
    ),
}
