"""06 · Nesterov and the number 3."""

import math

import diffrax
import jax.numpy as jnp
import numpy as np
from scipy.special import gamma, jv
from solving import Later, Solution

from dynopt import NesterovConvex, analysis, problems

BOWL, START = problems.quadratic([0.02, 0.005]), [1.0, 1.0]
CURVATURE = np.array([0.02, 0.005])


def largest_ratio(run, factor: float = 4.0, power: int = 2) -> float:
    return float((run.loss[1:] * run.t[1:] ** power / factor).max())


def exact_flow(t, r: float):
    """x(t) from (1, 1) at rest, along x″ + (r/t) x′ + λx = 0, by Bessel functions."""
    z, order = np.sqrt(CURVATURE) * np.asarray(t)[:, None], (r - 1) / 2
    return gamma(order + 1) * (2 / z) ** order * jv(order, z)


def exact_t2f(t, x) -> float:
    return float((t**2 * (x**2 @ CURVATURE) / 2).max())


def exact_ratios() -> list[float]:
    t = np.arange(1.0, 401)
    return [exact_t2f(t, x) / 4 for x in (exact_flow(t, 3), np.exp(-CURVATURE * t[:, None]))]


def largest_t2f(r: float) -> float:
    """The largest t² f along x″ + (r/t) x′ + ∇f = 0, solved in s = log t, where r/t is smooth."""
    curvature = jnp.asarray(CURVATURE)

    def vector_field(s, y, _):
        x, q = y  # q = dx/ds
        return q, (1 - r) * q - jnp.exp(2 * s) * curvature * x

    first, last = math.log(1e-3), math.log(400.0)
    s = jnp.linspace(math.log(0.01), last, 20_001)
    run = diffrax.diffeqsolve(
        diffrax.ODETerm(vector_field), diffrax.Dopri8(), first, last, 0.01, (jnp.ones(2), -1e-6 * curvature / (1 + r)),
        saveat=diffrax.SaveAt(ts=s), stepsize_controller=diffrax.PIDController(1e-10, 1e-10), max_steps=None,
    )  # fmt: skip
    x, _ = run.ys
    return float((jnp.exp(2 * s) * (x**2 @ curvature) / 2).max())


def measured_order(x0=START):
    return analysis.order(NesterovConvex(1.0), BOWL, 50.0, 6, x0=x0)


def last_error() -> float:
    """The largest distance of the points yₖ with h = 1/32 from the flow, at t = 1, 2, ..., 50."""
    h, x = 1 / 32, np.ones(2)
    y, saved = x, []
    for k in range(32 * 50):
        before, x = x, y - h**2 * CURVATURE * y
        y = x + k / (k + 3) * (x - before)
        if k % 32 == 31:
            saved.append(y)
    off = np.array(saved) - exact_flow(np.arange(1.0, 51), 3)
    return float(np.linalg.norm(off, axis=1).max())


T = np.linspace(0.01, 400, 40_001)
PREDICTION = "B"
SOLUTIONS = {
    "06-a": Solution(
        lambda: (largest_ratio,),
        [
            (lambda run: largest_ratio(run, factor=2.0), "at the distance √2"),
            (lambda run: largest_ratio(run, power=1), "falls like 1/t, and"),
            (lambda run: float(run.loss[-1] * run.t[-1] ** 2 / 4), "at the last time"),
            (lambda run: 1.0, "Divide each loss by the bound"),
        ],
        exact=exact_ratios(),
        relative=0.01,
    ),
    "06-b": Solution(
        lambda: ([largest_t2f(1.0), largest_t2f(10.0)],),
        [
            ([3.096, 23.32], "must be in the other order"),
            ([1.0627, 1.0627], "has to change, too"),
            ([3.096, 3.096], "exceeds the bound"),
        ],
        exact=[exact_t2f(T, exact_flow(T, r)) for r in (1, 10)],
        relative=0.02,
    ),
    "06-c": Solution(
        lambda: (measured_order(),),
        [
            (Later(lambda: measured_order(None)), "begins at another place"),
            (Later(lambda: analysis.order(NesterovConvex(1.0), BOWL, x0=START)), "all the arg"),
            (Later(lambda: analysis.order(NesterovConvex(0.5), BOWL, 50.0, 6)), "Pass the result"),
        ],
        exact=[1.0, float(np.log(last_error()))],
        absolute=0.1,
    ),
}
