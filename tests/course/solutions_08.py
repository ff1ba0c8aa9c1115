"""08 · Adam, line by line."""

import jax
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


def difference(step) -> list[float]:
    grad, x = jax.grad(BOWL.loss), jnp.array(BOWL.x0)
    y, state, differences = (x, jnp.zeros(2), jnp.zeros(2)), optax.adam(RATE).init(x), []
    for k in range(1, 101):
        update, state = optax.adam(RATE).update(grad(x), state, x)
        x, y = optax.apply_updates(x, update), step(k, *y, grad(y[0]))
        differences.append(float(jnp.abs(x - y[0]).max()))
    return differences


def agreement(optimizer) -> float:
    run = iterate(optimizer, BOWL, 200)
    steps, signs = jnp.diff(run.x, axis=0), -jnp.sign(jax.vmap(jax.grad(BOWL.loss))(run.x[:-1]))
    cosine = (
        (steps * signs).sum(1) / jnp.linalg.norm(steps, axis=1) / jnp.linalg.norm(signs, axis=1)
    )
    return float(cosine.mean())


SOLUTIONS = {
    "08-a": Solution(
        lambda: (first_step(0.8, 0.99),),
        [(1.0, "with both corrections"), (20.0, "by the root of v"), (0.5, "upside down")],
        relative=0.01,
    ),
    "08-b": Solution(
        lambda: (difference(step), 0.0),
        [
            (lambda: (difference(uncorrected), 0.0), "compute the powers"),
            (lambda: (difference(inside_the_root), 0.0), "the whole quotient by η last"),
            (lambda: (difference(counted_from_zero), 0.0), "begin with k = 1"),
        ],
    ),
    "08-c": Solution(
        lambda: (0.99, agreement(Adam(0.1, b1=0.0, b2=0.0))),
        [
            (lambda: (0.99, agreement(Adam(0.1))), "its memory must be short"),
            (lambda: (0.99, agreement(Adam(0.1, b1=0.0))), "points along earlier gradients"),
            (lambda: (0.99, agreement(Adam(1.0, b2=0.0))), "the gradient must not turn"),
        ],
    ),
}
