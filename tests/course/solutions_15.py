"""15 · Games: when the field is no gradient. The exact answers come from matrices and roots."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.nn import log_sigmoid
from solving import Solution

from dynopt import Optimistic, iterate, problems

RATES, GAMMAS = (0.1, 0.3, 0.6), (0.3, 1.0, 2.5)
TURN = np.array([[0.0, 1.0], [-1.0, 0.0]])  # g(x) = TURN @ x on the bilinear game


def optimistic(h):
    x = iterate(Optimistic(h), problems.bilinear(), 100, x0={"a": 1.0, "b": 0.0}).x
    return float(jnp.hypot(x["a"][-1], x["b"][-1]))


def by_matrix(h: float) -> float:
    """The hundredth power of the map (x, g_before) ↦ (x - h (2g - g_before), g)."""
    one = np.eye(2)
    power = np.linalg.matrix_power(np.block([[one - 2 * h * TURN, h * one], [TURN, 0 * one]]), 100)
    return float(np.linalg.norm((power @ [1.0, 0.0, *TURN[:, 0]])[:2]))


def distance(now: float, before: float, first: float = 1.0, in_turn: bool = False):
    """After a hundred steps of x ← x - h (now g + before g_before)."""

    def after(h):
        x, g_before = np.array([1.0, 0.0]), first * TURN[:, 0]
        for _ in range(100):
            g = TURN @ x
            x[0] -= h * (now * g[0] + before * g_before[0])
            g = np.array([g[0], -x[0]]) if in_turn else g
            x[1] -= h * (now * g[1] + before * g_before[1])
            g_before = g
        return float(np.hypot(*x))

    return after


def one_loss(x, held):
    return -log_sigmoid(-x[0] * held[1]) - log_sigmoid(held[0] * x[1])


def uncut(x, held):
    return -log_sigmoid(-x[0] * x[1]) - log_sigmoid(x[0] * x[1])


def stopped(x, held):
    return one_loss(x, jax.lax.stop_gradient(x))


def others(x, held):
    return one_loss(held, x)


def decay(gamma):
    """By the Jacobian of the field of the game itself."""
    jacobian = jax.jacfwd(problems.dirac_gan("r1", gamma).field)({"theta": 0.0, "psi": 0.0})
    matrix = [[jacobian[row][column] for column in jacobian] for row in jacobian]
    return float(np.linalg.eigvals(np.array(matrix)).real.min())


def rate(gamma: float, curvature: float = 0.25, choose=min) -> float:
    return choose(-np.roots([1.0, gamma, curvature]).real)


PREDICTION = "B"
SOLUTIONS = {
    "15-a": Solution(
        lambda: (optimistic,),
        [
            (distance(1, 0), "has no memory"),
            (distance(-1, 2), "have changed places"),
            (distance(2, -1, first=0.0), "In the first step"),
            (distance(2, -1, in_turn=True), "at the same time"),
        ],
        exact=[by_matrix(h) for h in RATES],
        relative=0.01,
    ),
    "15-b": Solution(
        lambda: (one_loss,),
        [
            (uncut, "the player's own part comes from x"),
            (stopped, "if that is jax.lax.stop_gradient(x)"),
            (others, "the part of the other from held"),
        ],
    ),
    "15-c": Solution(
        lambda: (decay,),
        [
            (lambda gamma: gamma / 2, "Beyond the critical friction"),
            (lambda gamma: rate(gamma, choose=max), "the fastest rate"),
            (lambda gamma: -rate(gamma), "change the sign"),
            (lambda gamma: rate(gamma, curvature=1.0), "not 1"),
        ],
        exact=[rate(gamma) for gamma in GAMMAS],
        relative=0.01,
    ),
}
