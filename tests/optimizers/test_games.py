"""Optimizers of games: alternating, extragradient and optimistic descent, and consensus.

The equations are written again in numpy. On the game min over a, max over b of s a b everything is
known exactly.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference_runs import run_map, solve_flow
from scipy.linalg import logm

from dynopt import (
    SGD,
    Accumulated,
    Adam,
    Alternating,
    Averaged,
    Consensus,
    Extragradient,
    Game,
    Layerwise,
    Memoryless,
    Modified,
    Momentum,
    Optax,
    Problem,
    ScheduleFree,
    iterate,
    problems,
)
from dynopt.errors import InvalidType, InvalidValue, UnknownName
from dynopt.runs.prepare import flatten_loss

BILINEAR = problems.bilinear()
H, GAMMA = 0.3, 0.2


def saddle(z):
    """Player theta minimizes this and player psi maximizes it; psi comes first in vectors."""
    a, b = z["theta"], z["psi"]
    return a * b + a**4 / 4 - b**3 / 10 + 0.3 * jnp.sin(a * b)


GAME = Game.zero_sum(saddle, {"theta": 0.8, "psi": -0.6}, name="saddle")
PLAYERS = GAME.players
START = GAME.start()
X, _, GRAD = flatten_loss(GAME.loss, START)


def field_and_jacobian(x):
    """F = -g and DF of the game, with psi first."""
    b, a = x
    cos, sin = 0.3 * np.cos(a * b), 0.3 * np.sin(a * b)
    f_a, f_b = b + a**3 + b * cos, a - 0.3 * b**2 + a * cos
    f_aa, f_bb = 3 * a**2 - b**2 * sin, -0.6 * b - a**2 * sin
    f_ab = 1 + cos - a * b * sin
    return np.array([f_b, -f_a]), np.array([[f_bb, f_ab], [-f_ab, -f_aa]])


F, DF = field_and_jacobian(np.asarray(X))


def drift(optimizer, game=GAME):
    """The correction of the modified field of x, divided by h."""
    x, _, grad = flatten_loss(game.loss, game.start())
    optimizer = optimizer.for_leaves(game.start())
    y = optimizer.init(x, grad)
    fields = [o.vector_field(0.0, y, grad).x for o in (Modified(optimizer), optimizer)]
    return (fields[0] - fields[1]) / optimizer.h


def sizes(run):
    """|x| after each step."""
    return np.hypot(run.x["a"], run.x["b"])


# --- the modified equations


def test_the_game_has_the_field_of_the_formula():
    np.testing.assert_allclose(GRAD(X), -F, rtol=1e-15)
    np.testing.assert_allclose(jax.jacfwd(GRAD)(X), -DF, rtol=1e-15)


DRIFTS = {
    "simultaneous": (SGD(0.02), -DF @ F / 2),
    "theta first": (Alternating(SGD(0.02), PLAYERS), -(DF * [[1, -1], [1, 1]]) @ F / 2),
    "psi first": (Alternating(SGD(0.02), PLAYERS[::-1]), -(DF * [[1, 1], [-1, 1]]) @ F / 2),
    "extragradient": (Extragradient(SGD(0.02)), DF @ F / 2),
}


@pytest.mark.parametrize(("optimizer", "expected"), DRIFTS.values(), ids=DRIFTS)
def test_the_drift_is_that_of_the_closed_form(optimizer, expected):
    """Who moves later answers to the moves before: its block of DF changes its sign."""
    np.testing.assert_allclose(drift(optimizer), expected, atol=1e-14)


ORDERS = {
    "simultaneous": SGD(0.02),
    "alternating": Alternating(SGD(0.02), PLAYERS),
    "extragradient": Extragradient(SGD(0.02)),
    "alternating, heavy ball": Alternating(Momentum(0.001), PLAYERS),
    "consensus": Consensus(SGD(0.02), GAMMA),
}


@pytest.mark.parametrize("optimizer", ORDERS.values(), ids=ORDERS)
def test_the_global_error_has_order_one_and_that_of_the_modified_flow_order_two(optimizer):
    for order, kind in ((1, lambda optimizer: optimizer), (2, Modified)):
        errors = []
        for n in (4, 8):
            refined = kind(optimizer.for_leaves(START).refine(n))
            steps = round(0.8 / float(refined.h))
            path = run_map(refined, GRAD, X, steps).x
            ends = solve_flow(refined, GRAD, X, [0.0, steps * float(refined.h)], tol=1e-12).x
            errors.append(np.linalg.norm(path[-1] - ends[-1]))
        assert refined.regularity.order == order
        assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.05)


def test_the_drift_at_unequal_rates_is_that_of_a_matrix_logarithm():
    """At the rates 1 and 0.4, in one time: the coefficient of two times would give -0.2032."""
    A, q, z = np.array([[0.3, 1.1], [-0.7, -0.2]]), np.array([1.0, 0.4]), np.array([1.0, 0.5])
    h = 1e-4

    def rotation(x):
        return {
            "one": -A[0, 0] * x["one"] - A[0, 1] * x["two"],
            "two": -A[1, 0] * x["one"] - A[1, 1] * x["two"],
        }

    game = Game.from_field(rotation, {"one": z[0], "two": z[1]}, name="linear")
    optimizer = Alternating(Layerwise(SGD(h), {"two": q[1]}), ("one", "two"))
    found = drift(optimizer, game)
    first, second = np.eye(2), np.eye(2)
    first[0] += h * q[0] * A[0]
    second[1] += h * q[1] * A[1]
    exact = (logm(second @ first) / h - np.diag(q) @ A) @ z / h
    np.testing.assert_allclose(found, exact, atol=1e-4)
    (F1, F2), ((F11, F12), (F21, F22)) = A @ z, A
    one = -(q[0] ** 2 * F11 * F1 + q[0] * q[1] * F12 * F2) / 2
    two = (q[0] * q[1] * F21 * F1 - q[1] ** 2 * F22 * F2) / 2
    np.testing.assert_allclose(found, [one, two], atol=1e-14)
    assert two == pytest.approx(-0.1318, abs=1e-4)
