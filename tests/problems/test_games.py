"""A game follows the gradients of its players, and nothing reads its field as a gradient."""

import copy
import pickle

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dynopt import (
    SGD,
    Accumulated,
    Game,
    Held,
    Modified,
    Problem,
    Trajectory,
    grid,
    integrate,
    iterate,
    problems,
    sweep,
)
from dynopt.errors import InvalidType, InvalidValue, ProblemError

hold = jax.lax.stop_gradient
START = {"b": 0.5, "a": 1.0}
DATA = np.array([1.0, 2.0, 4.0, 5.0])


def own_of_a(x):
    return x["a"] * x["b"] + 0.3 * x["a"] ** 2


def own_of_b(x):
    return -x["a"] * x["b"] + jnp.sin(x["b"])


def field_by_hand(a, b):
    return np.array([b + 0.6 * a, -a + np.cos(b)])  # the sorted keys: a before b


def mean_of_a(x, data):
    return (data * x["a"] * x["b"]).mean()


def mean_of_b(x, data):
    return -(data * x["a"] * x["b"]).mean()


def held(x, fixed):
    return x[0] * fixed[1] + 0.3 * x[0] ** 2 - fixed[0] * x[1] + jnp.sin(x[1])


def radius(x):
    return jnp.hypot(x["a"], x["b"])


PLAYERS = {"b": own_of_b, "a": own_of_a}
GAME = Game(PLAYERS, START, name="game")
HELD = Problem(Held(held), [1.0, 0.5])
FIELD = Game.from_field(
    lambda x: jnp.array([x[1] + 0.6 * x[0], -x[0] + jnp.cos(x[1])]), [1.0, 0.5], name="field"
)
OVER_DATA = Game({"a": mean_of_a, "b": mean_of_b}, START, data=DATA, name="over data")


def vector(tree):
    return np.array([float(leaf) for leaf in jax.tree.leaves(tree)])


# what the optimizers follow


def test_the_field_of_a_game_is_the_gradient_of_each_player_by_its_own_part():
    np.testing.assert_allclose(vector(GAME.field(START)), field_by_hand(1.0, 0.5), rtol=1e-15)
    assert GAME.players == ("b", "a")  # as they were written, and not sorted
    assert Game.zero_sum(own_of_a, START).players == ("b", "a")
    assert repr(GAME) == "Game(game, players=('b', 'a'), dim=2)"


@pytest.mark.parametrize("problem", [HELD, FIELD], ids=lambda problem: problem.name)
def test_a_held_loss_and_a_bare_field_are_followed_like_the_game(problem):
    np.testing.assert_allclose(problem.field([1.0, 0.5]), field_by_hand(1.0, 0.5), rtol=1e-15)
    points = np.asarray(iterate(SGD(0.1), problem, 5).y.x)
    for x, after in zip(points, points[1:], strict=False):
        np.testing.assert_allclose(after, x - 0.1 * field_by_hand(*x), rtol=1e-13)


def test_the_map_of_gradient_descent_is_simultaneous():
    x = np.array([1.0, 0.5])
    for point in np.asarray(iterate(SGD(0.1), GAME, 20).y.x):
        np.testing.assert_allclose(point, x, rtol=1e-13)
        x = x - 0.1 * field_by_hand(*x)


def test_the_second_player_of_a_zero_sum_game_ascends():
    game = Game.zero_sum(own_of_a, {"a": 1.0, "b": 0.5})
    np.testing.assert_allclose(vector(game.field(START)), [0.5 + 0.6, -1.0])


def test_players_may_be_trees_beside_constants():
    def of_net(x):
        return x["net"]["w"][x["net"]["i"]] * x["other"].sum()

    start = {"net": {"w": np.ones(2), "i": np.array(1)}, "other": [2.0, 3.0]}
    game = Game({"net": of_net, "other": lambda x: -of_net(x)}, start, shown=of_net)
    field = game.field(start)
    assert game.dim == 4 and field["net"]["i"] is None
    assert field["net"]["w"].tolist() == [0, 5] and field["other"].tolist() == [-1, -1]
    assert float(game.loss(game.start())) == 5
    assert iterate(SGD(0.1), game, 1).x["net"]["w"].tolist() == [[1, 1], [1, 0.5]]


def test_a_game_in_single_precision_runs_in_it():
    start = {name: np.float32(value) for name, value in START.items()}
    run = iterate(SGD(0.1), Game(PLAYERS, start), 3)
    assert run.loss.dtype == run.y.x.dtype == run.grad_norm.dtype == np.float32


# what is shown of them


def test_the_loss_of_a_run_on_a_game_is_the_norm_of_its_field():
    run = iterate(SGD(0.1), GAME, 20)
    norms = [np.linalg.norm(field_by_hand(*x)) for x in np.asarray(run.y.x)]
    np.testing.assert_allclose(run.loss, norms, rtol=1e-13)
    np.testing.assert_allclose(run.grad_norm, norms, rtol=1e-13)
    assert GAME.symbol == "|g|" and not GAME.conservative


def test_a_game_may_show_another_number():
    game = Game(PLAYERS, START, shown=radius)
    run = iterate(SGD(0.1), game, 5)
    assert (
        game.symbol == "radius" and Game(PLAYERS, START, shown=lambda x: x["a"]).symbol == "shown"
    )
    np.testing.assert_allclose(run.loss, np.linalg.norm(run.y.x, axis=1), rtol=1e-14)
    np.testing.assert_allclose(run.grad_norm[0], np.linalg.norm(field_by_hand(1.0, 0.5)))
    assert game.minimum is None


def test_a_held_loss_shows_its_value_and_has_the_name_of_its_function():
    assert HELD.symbol == "ℓ(x, x)" and HELD.name == "held" and not HELD.conservative
    np.testing.assert_allclose(float(HELD.loss(HELD.start())), 0.3 + np.sin(0.5))


@pytest.mark.parametrize("game", [GAME, OVER_DATA], ids=lambda game: game.name)
def test_the_gradient_of_what_is_shown_is_not_taken_for_the_field(game):
    with pytest.raises(ProblemError, match=r"is not the field .*; use problem.field\(x\)"):
        jax.grad(game.loss)(game.start())
    slope = jax.grad(game.loss.value)(game.start())["a"]  # what the message advises
    ahead, behind = (float(game.loss({"a": 1 + e, "b": 0.5})) for e in (1e-6, -1e-6))
    np.testing.assert_allclose(slope, (ahead - behind) / 2e-6, rtol=1e-8)


def test_the_gradient_of_a_held_loss_is_its_field():
    gradient = jax.grad(HELD.loss)(HELD.start())
    np.testing.assert_allclose(gradient, field_by_hand(1.0, 0.5), rtol=1e-15)


def test_stated_equilibria_are_rows_in_the_order_of_the_coordinates():
    points = [{"b": 2.0, "a": 1.0}, {"a": 3, "b": 4}]
    for equilibria in (points, np.array([[1.0, 2.0], [3.0, 4.0]]), [[1.0, 2.0], [3.0, 4.0]]):
        assert Game(PLAYERS, START, equilibria=equilibria).minimizers.tolist() == [[1, 2], [3, 4]]
    assert Game(PLAYERS, START, equilibria=points[0]).minimum == 0


# derivatives


class Coupled(eqx.Module):
    strength: float

    def __call__(self, x, fixed):
        return x[0] * fixed[1] - fixed[0] * x[1] + self.strength * (x[0] ** 2 + x[1] ** 3)


def by_players(strength):
    return Game(
        {
            "a": lambda x: x["a"] * x["b"] + strength * x["a"] ** 2,
            "b": lambda x: -x["a"] * x["b"] + strength * x["b"] ** 3,
        },
        {"a": 1.0, "b": 0.5},
    )


def by_held(strength):
    return Problem(Held(Coupled(strength)), [1.0, 0.5])


@pytest.mark.parametrize(
    ("run", "make", "modes"),
    [
        (iterate, by_players, (jax.grad, jax.jacfwd)),
        (iterate, by_held, (jax.grad, jax.jacfwd)),
        (integrate, by_held, (jax.grad,)),
    ],
)
def test_outcomes_differentiate_through_what_the_losses_close_over(run, make, modes):
    def outcome(strength):
        end = run(SGD(0.1), make(strength), 3)
        return end.y.x[-1, 0] + end.grad_norm[-1]

    ahead, behind = (float(outcome(0.1 + e)) for e in (1e-5, -1e-5))
    for derivative in modes:
        np.testing.assert_allclose(derivative(outcome)(0.1), (ahead - behind) / 2e-5, rtol=2e-6)


def test_a_batch_of_games_is_a_batch_of_runs():
    def end(strength):
        runs = sweep(grid(SGD, learning_rate=[0.1, 0.2]), problems.bilinear(strength), 10)
        return runs.loss

    strengths = np.array([1.0, 2.0])
    growth = np.sqrt(1 + np.array([0.1, 0.2]) ** 2 * strengths[:, None] ** 2) ** 10
    np.testing.assert_allclose(jax.vmap(end)(strengths), 1.25 * strengths[:, None] * growth)


def test_a_game_with_stop_gradient_runs_and_refuses_to_be_differentiated():
    game = Game(
        {"a": lambda x: x["a"] * hold(x["b"]), "b": lambda x: -hold(x["a"]) * x["b"]}, START
    )
    assert not game.derivable
    np.testing.assert_allclose(iterate(SGD(0.1), game, 1).y.x[1], [1 - 0.05, 0.5 + 0.1])
    with pytest.raises(ProblemError, match="cannot be differentiated.*; hold .* by dynopt.Held"):
        integrate(Modified(SGD(0.1)), game, 2)


# data


def test_a_game_over_data_follows_the_mean_and_its_parts():
    np.testing.assert_allclose(vector(OVER_DATA.field(START)), [3 * 0.5, -3.0])
    run = iterate(Accumulated(SGD(0.1), 2), OVER_DATA, 1)
    np.testing.assert_allclose(run.y.x[1], [1 - 0.1 * 1.5, 0.5 + 0.1 * 3], rtol=1e-13)


# archives and copies


def test_a_game_comes_back_from_a_file_and_from_a_copy(tmp_path):
    run = iterate(SGD(0.1), problems.bilinear(2.0), 3)
    run.save(tmp_path / "run.npz")
    again = Trajectory.load(tmp_path / "run.npz").problem
    for game in (again, pickle.loads(pickle.dumps(problems.bilinear(2.0))), copy.deepcopy(again)):
        assert isinstance(game, Game) and game.players == ("a", "b") and game.minimum == 0
        np.testing.assert_allclose(vector(game.field(START)), [1.0, -2.0])
    assert (again.minimizers == 0).all() and again.window == ((-2, 2), (-2, 2))


# refusals


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: Game(PLAYERS, {"a": 1.0}), InvalidValue, "for each player, 'b', 'a', got 'a'; "),
        (lambda: Game(PLAYERS, START | {"c": 1.0}), InvalidValue, "got 'b', 'a', 'c'; give each"),
        (lambda: Game(PLAYERS, [1.0, 0.5]), InvalidValue, "for each player, .* got .1.0, 0.5.; "),
        (lambda: Game(own_of_a, START), InvalidType, "must be a dict of losses, got .*; pass for"),
        (lambda: Game({0: own_of_a}, {0: 1.0}), InvalidType, "have the names 0; name each by"),
        (
            lambda: Game({"a": own_of_a, "b": lambda x: x["a"] * jnp.ones(2)}, START, name="g"),
            ProblemError,
            r"the loss of b in g must return one number, returned shape \(2,\); sum it",
        ),
        (
            lambda: Game({"a": own_of_a, "b": lambda x, y: x["a"]}, START, name="g"),
            ProblemError,
            r"the loss of b in g must take one argument, the position: it is called as f\(x\)",
        ),
        (
            lambda: Problem(Held(lambda x: x[0]), [1.0], name="half"),
            ProblemError,
            "the loss of half must take two arguments, the position and the position that is held",
        ),
        (
            lambda: Game(
                {"a": lambda x, data: (x["a"] * data).sum(), "b": mean_of_b}, START, data=DATA
            ),
            ProblemError,
            "the loss of a in game must be a mean over its examples: .*; divide it",
        ),
        (lambda: Game.from_field(3.0, [1.0]), InvalidType, "must be a function .*; pass a callab"),
        (
            lambda: Game.from_field(lambda x: x[:1], [1.0, 2.0]),
            ProblemError,
            r"the field of game must have the structure .* position, \(2,\), but returned \(1,\); ",
        ),
        (
            lambda: Game.from_field(lambda x: {"a": x["a"]}, START),
            ProblemError,
            "the field of game must have the structure .*, but returned {'a': ..}; return one",
        ),
        (
            lambda: Game.from_field(lambda x: 1j * x, [1.0]),
            ProblemError,
            "the field of game must be of real numbers, returned complex128; take .real",
        ),
        (
            lambda: Game.from_field(lambda x: x + np.random.normal(size=1), [1.0]),
            ProblemError,
            "the field of game is another function each time it is traced, .*; draw the numbers",
        ),
        (
            lambda: Game.from_field(lambda x: x, [1.0], data=DATA),
            ProblemError,
            r"the field of game must take two arguments, .*: it is called as f\(x, data\)",
        ),
        (
            lambda: Game.from_field(lambda x, data: x * data.sum(), [1.0], data=DATA),
            ProblemError,
            "the field of game must be a mean over its examples: .*; divide it",
        ),
        (
            lambda: Game.from_field(lambda x: x, {"w": np.ones(2), "i": np.array(1)}),
            InvalidValue,
            "holds whole numbers, which are constants and have no field; pass floats",
        ),
        (lambda: Game.zero_sum(own_of_a, [1.0]), InvalidValue, "a dict of two players, got .*; p"),
        (lambda: Game.zero_sum(3, START), InvalidType, "must be a function of the position, got 3"),
        (lambda: Game(PLAYERS, START, shown=3), InvalidType, "`shown` must be a function .*; pass"),
        (
            lambda: Game(PLAYERS, START, name="g", shown=lambda: 3.0),
            ProblemError,
            "what is shown of g must take one argument, the position: it is called as f",
        ),
        (
            lambda: Game(PLAYERS, START, equilibria={"a": 0.0}),
            InvalidValue,
            "`equilibria` hold .*; pass positions with the keys of `x0`, 'b', 'a'",
        ),
        (
            lambda: Game(PLAYERS, START, equilibria={"a": [0.0, 1.0], "b": 0.0}),
            InvalidValue,
            "`equilibria` have other shapes than `x0`; pass positions like `x0`",
        ),
        (
            lambda: Game(PLAYERS, START, equilibria={"a": np.nan, "b": 0.0}),
            InvalidValue,
            r"`equilibria\['a'\]` is nan; pass finite numbers",
        ),
        (
            lambda: Game(PLAYERS, START, equilibria="origin"),
            InvalidType,
            "`equilibria` must be positions, got 'origin'; pass a dict like `x0`",
        ),
    ],
)
def test_what_is_no_game_is_refused_in_one_sentence(make, error, words, as_users_see_it):
    with pytest.raises(error, match=words) as caught:
        make()
    message = str(caught.value)
    assert "\n" not in message and ". " not in message.replace("e.g. ", "")


def test_traced_equilibria_are_refused_and_known_ones_are_not():
    def value(start, equilibrium):
        point = {"a": equilibrium, "b": 0.0}
        game = Game(PLAYERS, {"a": start, "b": 0.5}, equilibria=point)
        return game.loss(game.start())

    norm = np.linalg.norm(field_by_hand(1.0, 0.5))
    np.testing.assert_allclose(jax.jit(lambda a: value(a, 0.0))(1.0), norm)
    with pytest.raises(InvalidValue, match="`equilibria` are traced; pass numbers that are known"):
        jax.jit(lambda a: value(1.0, a))(1.0)


def test_a_cut_gradient_beside_a_traced_number_runs_under_jit_and_refuses_derivatives():
    """One step of player a by hand; where no number can be asked, no derivative is trusted."""

    def end(rate):
        losses = {"a": lambda x: rate * x["a"] * hold(x["b"]), "b": lambda x: -x["a"] * x["b"]}
        return iterate(SGD(0.1), Game(losses, {"a": 1.0, "b": 0.5}), 1).x["a"][-1]

    assert float(jax.jit(end)(0.3)) == pytest.approx(1 - 0.1 * 0.3 * 0.5, rel=1e-14)
    with pytest.raises(ProblemError, match=r"hold what shall be constant by dynopt\.Held"):
        jax.grad(end)(0.3)


def test_what_is_held_once_is_not_held_again():
    with pytest.raises(InvalidType, match="`loss` of Held must be a function of"):
        Held(Held(lambda x, held: x[0] * held[1]))
