"""08 · Adam, line by line."""

import jax.numpy as jnp
import numpy as np
import optax
from solving import Solution

from dynopt import Adam, Schedule, iterate, problems

BOWL, RATE = problems.booth(), 0.02
B1, B2 = 0.9, 0.999


def first_step(b1: float, b2: float) -> float:
    optimizer = Schedule(
        Adam(RATE, b1, b2, eps=0.0), lambda k: (1 - b1 ** (k + 1)) / jnp.sqrt(1 - b2 ** (k + 1))
    )
    x = iterate(optimizer, BOWL, 1).x
    return float(np.abs(x[1] - x[0])[0] / RATE)


def step(k, x, m, v, g):
    m, v, k = (1 - B1) * g + B1 * m, (1 - B2) * g**2 + B2 * v, jnp.asarray(k, jnp.int32)
    m_hat, v_hat = optax.tree.bias_correction(m, B1, k), optax.tree.bias_correction(v, B2, k)
    return x - RATE * (m_hat / (jnp.sqrt(v_hat) + 1e-8)), m, v


def uncorrected(k, x, m, v, g):
    m, v = (1 - B1) * g + B1 * m, (1 - B2) * g**2 + B2 * v
    return x - RATE * m / (jnp.sqrt(v) + 1e-8), m, v


def inside_the_root(k, x, m, v, g):
    m, v = (1 - B1) * g + B1 * m, (1 - B2) * g**2 + B2 * v
    return x - RATE * (m / (1 - B1**k)) / jnp.sqrt(v / (1 - B2**k) + 1e-8), m, v


def counted_from_zero(k, x, m, v, g):
    m, v = (1 - B1) * g + B1 * m, (1 - B2) * g**2 + B2 * v
    return x - RATE * (m / (1 - B1 ** (k + 1))) / (jnp.sqrt(v / (1 - B2 ** (k + 1))) + 1e-8), m, v


PREDICTION = "C"
SOLUTIONS = {
    "08-a": Solution(
        lambda: (first_step(0.8, 0.99),),
        [(1.0, "with both corrections"), (20.0, "by the root of v"), (0.5, "upside down")],
        exact=(1 - 0.8) / (1 - 0.99) ** 0.5,
        relative=0.01,
    ),
    "08-b": Solution(
        lambda: (step,),
        [
            (uncorrected, "compute the powers"),
            (inside_the_root, "the whole quotient by η last"),
            (counted_from_zero, "begin with k = 1"),
        ],
    ),
    "08-c": Solution(
        lambda: (Adam(0.1, b1=0.0, b2=0.0),),
        [
            (Adam(0.1), "its memory must be short"),
            (Adam(0.1, b1=0.0), "points along earlier gradients"),
            (Adam(1.0, b2=0.0), "the gradient must not turn"),
        ],
    ),
}
