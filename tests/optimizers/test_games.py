"""Optimizers of games: alternating, extragradient and optimistic descent, and consensus.

The equations are written again in numpy. On the game min over a, max over b of s a b everything is
known exactly.
"""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree
from reference_runs import run_map, solve_flow
from scipy.linalg import expm, logm

from dynopt import (
    SAM,
    SGD,
    Accumulated,
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
    Optimistic,
    Problem,
    ScheduleFree,
    Stepped,
    WithGradient,
    analysis,
    iterate,
    problems,
)
from dynopt.errors import InvalidType, InvalidValue, UnknownName
from dynopt.optimizers import OptimisticState
from dynopt.runs.prepare import flatten_loss

BILINEAR, DIRAC = problems.bilinear(), problems.dirac_gan()
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


@eqx.filter_jit
def drift(optimizer, x=X, grad=GRAD):
    """The correction of the modified field of x, divided by h."""
    y = optimizer.init(x, grad)
    fields = [o.vector_field(0.0, y, grad).x for o in (Modified(optimizer), optimizer)]
    return (fields[0] - fields[1]) / optimizer.h


# --- the modified equations


def test_the_game_has_the_field_of_the_formula():
    np.testing.assert_allclose(GRAD(X), -F, rtol=1e-15)


DRIFTS = {
    "simultaneous": (SGD(0.02), -DF @ F / 2),
    "theta first": (Alternating(SGD(0.02), PLAYERS), -(DF * [[1, -1], [1, 1]]) @ F / 2),
    "psi first": (Alternating(SGD(0.02), PLAYERS[::-1]), -(DF * [[1, 1], [-1, 1]]) @ F / 2),
    "extragradient": (Extragradient(SGD(0.02)), DF @ F / 2),
    "optimistic": (Memoryless(Optimistic(0.02)), DF @ F / 2),
}


@pytest.mark.parametrize(("optimizer", "expected"), DRIFTS.values(), ids=DRIFTS)
def test_the_drift_is_that_of_the_closed_form(optimizer, expected):
    """Who moves later answers to the moves before: its block of DF changes its sign."""
    np.testing.assert_allclose(drift(optimizer.for_leaves(START)), expected, atol=1e-14)


ORDERS = {
    "simultaneous": SGD(0.02),
    "alternating": Alternating(SGD(0.02), PLAYERS),
    "extragradient": Extragradient(SGD(0.02)),
    "alternating, heavy ball": Alternating(Momentum(0.001), PLAYERS),
    "consensus": Consensus(SGD(0.02), GAMMA),
    "optimistic": Memoryless(Optimistic(0.02)),
}


@pytest.mark.parametrize("optimizer", ORDERS.values(), ids=ORDERS)
def test_the_global_error_has_order_one_and_that_of_the_modified_flow_order_two(optimizer):
    errors = {1: [], 2: []}
    for n in (4, 8):
        refined = optimizer.for_leaves(START).refine(n)
        steps = round(0.8 / float(refined.h))
        end = run_map(refined, GRAD, X, steps).x[-1]
        for order, flow in ((1, refined), (2, Modified(refined))):
            assert flow.regularity.order == order
            path = solve_flow(flow, GRAD, X, [0.0, steps * float(refined.h)], tol=1e-9).x
            errors[order].append(np.linalg.norm(path[-1] - end))
    for order, (coarse, fine) in errors.items():
        assert np.log2(coarse / fine) == pytest.approx(order, abs=0.05)


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
    x, _, grad = flatten_loss(game.loss, game.start())
    optimizer = Alternating(Layerwise(SGD(h), {"two": q[1]}), ("one", "two"))
    found = drift(optimizer.for_leaves(game.start()), x, grad)
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


# --- games of which everything is known


def sizes(run):
    """|x| after each step."""
    return np.sqrt(sum(part**2 for part in run.x.values()))


def radius(optimizer, game):
    """The largest |eigenvalue| of one step at the equilibrium 0, with the memory."""
    x, _, grad = flatten_loss(game.loss, game.start())
    optimizer = optimizer.for_leaves(game.start())
    y, unravel = ravel_pytree(optimizer.init(0 * x, grad))
    jacobian = jax.jacfwd(lambda y: ravel_pytree(optimizer.step(0.0, unravel(y), grad))[0])
    return np.abs(np.linalg.eigvals(jax.jit(jacobian)(y))).max()


FACTORS = {
    "simultaneous": (SGD(H), np.sqrt(1 + H**2)),
    "extragradient": (Extragradient(SGD(H)), np.sqrt(1 - H**2 + H**4)),
    "consensus": (Consensus(SGD(H), GAMMA), np.hypot(1 - H * GAMMA, H)),
}


@pytest.mark.parametrize(("optimizer", "factor"), FACTORS.values(), ids=FACTORS)
def test_the_size_on_the_bilinear_game_changes_by_a_known_factor(optimizer, factor):
    size = sizes(iterate(optimizer, BILINEAR, 20))
    np.testing.assert_allclose(size[1:] / size[:-1], factor, rtol=1e-13)


@pytest.mark.parametrize(("players", "sign"), [(("a", "b"), -1), (("b", "a"), 1)])
def test_alternating_descent_keeps_a_quadratic_form_of_the_bilinear_game(players, sign):
    x = iterate(Alternating(SGD(H), players), BILINEAR, 500).x
    form = x["a"] ** 2 + x["b"] ** 2 + sign * H * x["a"] * x["b"]
    np.testing.assert_allclose(form, form[0], rtol=1e-12)
    assert np.ptp(sizes(iterate(Alternating(SGD(H), players), BILINEAR, 20))) > 0.1


def test_alternating_descent_is_bounded_below_the_learning_rate_two():
    ends = [
        sizes(iterate(Alternating(SGD(h), ("a", "b")), BILINEAR, 2000, throw=False))
        for h in (1.99, 2.01)
    ]
    assert np.nanmax(ends[0]) < 100 and np.nanmax(ends[1]) > 1e6


def test_optimistic_descent_converges_below_one_over_the_root_of_three():
    assert radius(Optimistic(0.577), BILINEAR) < 1 < radius(Optimistic(0.578), BILINEAR)
    assert radius(Optimistic(1 / np.sqrt(3)), BILINEAR) == pytest.approx(1, abs=1e-12)
    below, above = (
        sizes(iterate(Optimistic(h), BILINEAR, 8000, save_every=4000)) for h in (0.577, 0.578)
    )
    assert below[2] < 0.1 * below[1] and above[2] > 10 * above[1]


def test_the_dirac_gan_grows_by_a_known_product_if_all_move_at_once():
    """|x|² is multiplied by 1 + h² f'(θψ)² in each step, with f'(s) = 1/(1 + e^s)."""
    run = iterate(SGD(0.2), DIRAC, 200, x0={"theta": 1.0, "psi": 0.0})
    slopes = 1 / (1 + np.exp(run.x["theta"] * run.x["psi"]))
    product = np.prod(1 + 0.2**2 * slopes[:-1] ** 2)
    size = sizes(run)
    np.testing.assert_allclose((size[-1] / size[0]) ** 2, product, rtol=1e-11)
    assert product == pytest.approx(5.102039592, rel=1e-9)


def test_alternating_descent_on_the_dirac_gan_is_stable_up_to_the_learning_rate_four():
    below, above = (radius(Alternating(SGD(h), DIRAC.players), DIRAC) for h in (3.9, 4.1))
    assert below == pytest.approx(1, abs=1e-12) and above > 1.1


# --- alternating descent


def test_each_player_moves_with_a_memory_of_its_own_and_knows_the_moves_before():
    """The heavy ball of two players, written out."""
    optimizer = Alternating(Momentum(0.04, 0.8), PLAYERS)
    run = iterate(optimizer, GAME, 30)
    x, p = np.array(X), np.zeros(2)
    for _ in range(30):
        for player in (1, 0):  # theta, then psi
            p[player] = 0.8 * p[player] + 0.2 * field_and_jacobian(x)[0][player]
            x[player] += 0.2 * p[player]
    end = [run.x["psi"][-1], run.x["theta"][-1]]
    np.testing.assert_allclose(end, x, rtol=1e-13)
    np.testing.assert_allclose(run.y.p[-1], p, rtol=1e-12)
    assert optimizer.evaluations == 2 and optimizer.name == "Alternating(Momentum)"


def coupled(x):
    return x["a"] * x["net"]["w"].sum() + jnp.sin(x["net"]["b"] * x["a"])


def test_a_player_may_be_several_parts():
    """The bias moves together with a, and the weights answer."""
    start = {"a": 0.5, "net": {"w": np.array([1.0, -0.3]), "b": 0.7}}
    problem = Problem(coupled, start, name="coupled")
    x = iterate(Alternating(SGD(0.1), [["a", "net.b"], "net.w"]), problem, 1).x
    a, b = (0.5 - 0.1 * (0.7 + 0.7 * np.cos(0.35)), 0.7 - 0.1 * 0.5 * np.cos(0.35))
    np.testing.assert_allclose([x["a"][-1], x["net"]["b"][-1]], [a, b], rtol=1e-15)
    np.testing.assert_allclose(x["net"]["w"][-1], start["net"]["w"] - 0.1 * a, rtol=1e-15)


@pytest.mark.parametrize("wrap", [lambda inner: Alternating(inner, PLAYERS), Extragradient])
def test_the_flow_is_that_of_the_inner_optimizer(wrap):
    inner, wrapped = Momentum(0.1), wrap(Momentum(0.1))
    y = inner.init(X, GRAD)._replace(p=X)
    assert all(map(np.array_equal, *(o.vector_field(0.3, y, GRAD) for o in (inner, wrapped))))
    assert wrapped.lyapunov(0.0, y, jnp.sum) == inner.lyapunov(0.0, y, jnp.sum)


DATA = np.array([0.5, 1.5, 2.0, -1.0])
OVER_DATA = Game(
    {
        "a": lambda x, data: jnp.mean(data * x["a"] * x["b"] + data**2 * x["a"] ** 2),
        "b": lambda x, data: jnp.mean(-data * x["a"] * x["b"]),
    },
    {"a": 1.0, "b": 0.75},
    data=DATA,
    name="over data",
)


@eqx.filter_jit
def after_one_step(optimizers):
    """The position after one step of each optimizer on the game over data."""
    start = OVER_DATA.start()
    x, _, grad = flatten_loss(OVER_DATA.loss, start)
    optimizers = [optimizer.for_leaves(start) for optimizer in optimizers]
    return [o.step(0.0, o.init(x, grad), grad).x for o in optimizers]


@pytest.mark.parametrize(
    ("wrap", "evaluations"),
    [(lambda optimizer: Alternating(optimizer, ("a", "b")), 2), (Extragradient, 2)],
    ids=["alternating", "extragradient"],
)
def test_gradients_are_accumulated_inside_and_outside(wrap, evaluations):
    plain, inside = wrap(SGD(H)), wrap(Accumulated(SGD(H), 2))
    outside = Accumulated(plain, 2)
    ends = after_one_step([plain, inside, outside])
    np.testing.assert_allclose(ends[1:], [ends[0]] * 2, rtol=1e-14)
    assert inside.evaluations == outside.evaluations == 2 * plain.evaluations == 2 * evaluations


def test_the_extragradient_method_looks_ahead_in_each_part_of_the_data():
    """Of the parts of the gradient at the point ahead, each is clipped by itself."""

    def clipped(g):
        return jax.tree.map(jnp.tanh, g)

    optimizer = WithGradient(Extragradient(Accumulated(SGD(H), 2)), clipped)
    (x,) = after_one_step([optimizer])

    def mean(z):
        a, b = z
        parts = [[(d * b + 2 * d**2 * a).mean(), (-d * a).mean()] for d in (DATA[:2], DATA[2:])]
        return np.tanh(parts).mean(0)

    start = np.array([1.0, 0.75])
    np.testing.assert_allclose(x, start - H * mean(start - H * mean(start)), rtol=1e-14)


# --- consensus and optimistic descent


def bowl(x):
    return x @ jnp.array([1.0, 3.0]) + jnp.sum(x**4) / 4 + x[0] * x[1]


@eqx.filter_jit
def velocity_and_rate(optimizer, y):
    """The vector field on the bowl, and the rate at which the Lyapunov function changes."""
    velocity = optimizer.vector_field(0.0, y, jax.grad(bowl))
    return velocity, jax.jvp(lambda y: optimizer.lyapunov(0.0, y, bowl), (y,), (velocity,))[1]


def test_consensus_descends_the_loss_with_half_the_squared_gradient():
    optimizer, x = Consensus(SGD(0.1), GAMMA), np.array([0.7, -0.4])
    g = np.array([1 + x[0] ** 3 + x[1], 3 + x[1] ** 3 + x[0]])
    followed = g + GAMMA * np.array([[3 * x[0] ** 2, 1], [1, 3 * x[1] ** 2]]) @ g
    velocity, rate = velocity_and_rate(optimizer, SGD(0.1).init(jnp.asarray(x), None))
    np.testing.assert_allclose(velocity.x, -followed, rtol=1e-14)
    np.testing.assert_allclose(rate, -followed @ followed, rtol=1e-14)
    assert optimizer.evaluations == 2


def test_consensus_over_parts_of_the_data_has_the_jacobian_of_each():
    """Outside, an `Accumulated` changes nothing."""
    whole_batch = Consensus(SGD(H), GAMMA)
    inside = Consensus(Accumulated(SGD(H), 2), GAMMA)
    steps = after_one_step([whole_batch, Accumulated(whole_batch, 2), inside])
    x = np.array([1.0, 0.75])

    def jacobian(d):
        return np.array([[2 * (d**2).mean(), d.mean()], [-d.mean(), 0]])

    whole, *parts = (J @ x + GAMMA * J.T @ J @ x for J in map(jacobian, (DATA, DATA[:2], DATA[2:])))
    expected = [x - H * g for g in (whole, whole, np.mean(parts, 0))]
    np.testing.assert_allclose(steps, expected, rtol=1e-14)


def test_the_lyapunov_function_of_optimistic_descent_falls_at_the_stated_rate():
    x, m = np.array([0.7, -0.4]), np.array([0.2, 0.9])
    g = np.array([1 + x[0] ** 3 + x[1], 3 + x[1] ** 3 + x[0]])
    y = OptimisticState(jnp.asarray(x), jnp.asarray(m))
    _, rate = velocity_and_rate(Optimistic(0.1, 0.7, 1.3), y)
    np.testing.assert_allclose(rate, -0.7 * g @ g - 1.3 * (g - m) @ (g - m), rtol=1e-14)


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 1.0), (0.5, 2.0)])
def test_the_critical_curvature_of_optimistic_descent(alpha, beta):
    found = analysis.critical_curvature(Optimistic(0.1, alpha, beta))
    assert found == pytest.approx(2 / ((alpha + 2 * beta) * 0.1), rel=1e-9)


# --- what is refused


@pytest.mark.parametrize("players", ["ab", (), None, ("a", 1), ("a", ()), ("a", ("b", 2))])
def test_players_that_are_no_labels_are_refused(players, as_users_see_it):
    with pytest.raises(InvalidType, match=r"`players` must be .*; pass for example \('a', 'b'\)"):
        Alternating(SGD(0.1), players)


@pytest.mark.parametrize(
    ("players", "error", "words"),
    [
        (("a",), InvalidValue, "leaves out the part 'b' of the position; write each part once"),
        (("a", "b", "a"), InvalidValue, "names twice the part 'a' of the position; write each"),
        (("a", ("b", "b")), InvalidValue, "names twice the part 'b'"),
        (("a", "c"), UnknownName, "'c'"),
    ],
)
def test_players_must_divide_the_position(players, error, words):
    with pytest.raises(error, match=words):
        iterate(Alternating(SGD(0.1), players), BILINEAR, 1)


def test_one_array_has_no_players():
    with pytest.raises(InvalidValue, match="is one array, so 'a' names no part of it; pass a dict"):
        iterate(Alternating(SGD(0.1), ("a",)), problems.booth(), 1)


def test_alternating_descent_asks_for_its_position():
    with pytest.raises(InvalidValue, match=r"run it, or call .for_leaves\(x0\) first"):
        Alternating(SGD(0.1), PLAYERS).step(0.0, SGD(0.1).init(X, GRAD), GRAD)


def test_a_memory_that_players_cannot_divide_is_refused_and_one_of_vectors_helps():
    def family(h):
        return optax.sgd(h, momentum=0.9)

    start = BILINEAR.start()
    with pytest.raises(InvalidValue, match=r"`trace_a` .* the shape \(\) .*like=jax") as caught:
        Alternating(Optax(family, 0.1), ("a", "b")).for_leaves(start)
    assert "dynopt.Optax(family, h, like=jax.numpy.zeros(2))" in str(caught.value)
    divided = Alternating(Optax(family, 0.1, like=jnp.zeros(2)), ("a", "b")).for_leaves(start)
    ends = [
        run_map(
            optimizer.for_leaves(start), lambda x: x[::-1] * jnp.array([1, -1.0]), [1.0, 0.75], 5
        )
        for optimizer in (divided, Alternating(Momentum(0.1), ("a", "b")))
    ]
    np.testing.assert_allclose(ends[0].x, ends[1].x, rtol=1e-13)


def test_the_extragradient_method_needs_an_optimizer_that_takes_its_gradients_at_x():
    for inner in (ScheduleFree(0.1), Averaged(SGD(0.1), 1.0)):
        with pytest.raises(InvalidValue, match="takes its gradients at other positions, as at `"):
            Extragradient(inner)
    averaged = Averaged(Extragradient(SGD(0.1)), 1.0)
    assert sizes(iterate(averaged, BILINEAR, 50))[-1] < 1


@pytest.mark.parametrize(
    ("optimizer", "words"),
    [
        (Alternating(SGD(0.1), ("a", "b")), "no optax transformation is known"),
        (Extragradient(SGD(0.1)), "no optax transformation is known"),
        (Consensus(SGD(0.1), 1.0), "no optax transformation is known"),
        (Optimistic(0.1).refine(2), r"got h = 0.05; use dynopt.Optimistic\(0.05\)"),
    ],
    ids=["alternating", "extragradient", "consensus", "finer optimistic"],
)
def test_what_has_no_twin_in_optax(optimizer, words):
    with pytest.raises(InvalidValue, match=words):
        optimizer.optax()


def test_a_negative_friction_is_refused():
    with pytest.raises(InvalidValue, match="`gamma` is -1"):
        Consensus(SGD(0.1), -1.0)


@pytest.mark.parametrize(
    ("wrap", "inner"),
    [
        (lambda A: A + GAMMA * A.T @ A, Consensus(SGD(H), GAMMA)),
        (lambda A: A + GAMMA * A @ A, SAM(SGD(H), GAMMA, normalize=False)),
    ],
    ids=["consensus", "sam"],
)
def test_the_extragradient_method_keeps_what_its_inner_optimizer_adds_to_the_field(wrap, inner):
    """On the field g(x) = A x the inner optimizer follows B x, also at the point ahead."""
    B = wrap(np.array([[0.0, 1.0], [-1.0, 0.0]]))
    start = np.array([1.0, 0.75])
    x = iterate(Extragradient(inner), BILINEAR, 1).x
    np.testing.assert_allclose(
        [x["a"][-1], x["b"][-1]], start - H * B @ (start - H * B @ start), rtol=1e-14
    )


@pytest.mark.parametrize(
    "wrap",
    [lambda o: Alternating(o, ("a", "b")), Extragradient],
    ids=["alternating", "extragradient"],
)
def test_a_method_of_order_two_has_order_one_where_players_alternate_or_look_ahead(wrap):
    """On x′ = -A x, against the exponential of -A; half the time step halves the error."""
    heun = wrap(Stepped(SGD(0.1), diffrax.Heun()))
    assert heun.regularity.order == 1
    A, start = np.array([[0.0, 1.0], [-1.0, 0.0]]), np.array([1.0, 0.75])
    errors = []
    for n in (1, 2):
        x = iterate(heun.refine(n), BILINEAR, 10 * n).x
        errors.append(np.linalg.norm([x["a"][-1], x["b"][-1]] - expm(-A) @ start))
    assert np.log2(errors[0] / errors[1]) == pytest.approx(1, abs=0.1)
