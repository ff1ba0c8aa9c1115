"""The GAN of Dirac distributions and that of a ring have the fields of their books, and turn as they should."""

from functools import cache

import jax
import numpy as np
import pytest

from dynopt import SGD, Alternating, Game, Modified, analysis, integrate, iterate
from dynopt.errors import InvalidType, InvalidValue, UnknownName
from dynopt.problems import bilinear, dirac_gan, ring_gan

KINDS = ("gan", "nsgan", "wgan", "wgan_gp", "r1")


@cache
def dirac(kind="gan", **numbers) -> Game:
    return dirac_gan(kind, **numbers)


def radius(run):
    return np.hypot(run.x["theta"], run.x["psi"])


def alternating(h, game):
    return Alternating(SGD(h), game.players)


# --- Dirac


def slope(s):
    """f′ of f(s) = -log(1 + e⁻ˢ)."""
    return 1 / (1 + np.exp(s))


FIELDS = {  # by hand, of θ and of ψ
    "gan": lambda a, b: (slope(a * b) * b, -slope(a * b) * a),
    "nsgan": lambda a, b: (slope(-a * b) * b, -slope(a * b) * a),
    "wgan": lambda a, b: (b, -a),
    "wgan_gp": lambda a, b: (b, -a + 0.7 * (abs(b) - 0.2) * np.sign(b)),
    "r1": lambda a, b: (slope(a * b) * b, -slope(a * b) * a + 0.7 * b),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_the_dirac_gan_has_the_field_of_its_row(kind):
    numbers = {"wgan_gp": {"gamma": 0.7, "slope": 0.2}, "r1": {"gamma": 0.7}}.get(kind, {})
    game = dirac(kind, **numbers)
    for a, b in [(1.0, 0.5), (-0.3, 1.7), (2.0, -0.4), (0.0, 0.0)]:
        field = game.field({"theta": a, "psi": b})
        got = [float(field["theta"]), float(field["psi"])]
        np.testing.assert_allclose(got, FIELDS[kind](a, b), rtol=1e-13, atol=1e-15)
    assert game.players == ("theta", "psi") and not game.conservative


def test_each_simultaneous_step_multiplies_the_squared_radius_by_one_plus_h_squared_slope_squared():
    run = iterate(SGD(0.2), dirac(), 200)
    factors = 1 + 0.2**2 * slope(np.asarray(run.x["theta"] * run.x["psi"])[:-1]) ** 2
    squares = radius(run) ** 2
    np.testing.assert_allclose(squares[1:] / squares[:-1], factors, rtol=1e-14)
    assert squares[-1] / squares[0] > 4


def test_simultaneous_steps_climb_and_alternating_ones_stay_as_their_modified_flows_say():
    """M. Mescheder et al. (2018): the flow of both keeps the radius, √1.25 = 1.118."""
    game, ends = dirac(), []
    for optimizer in (SGD(0.2), alternating(0.2, dirac())):
        modified = integrate(Modified(optimizer), game, 300)
        ends += [radius(iterate(optimizer, game, 300))[-1], radius(modified)[-1]]
    np.testing.assert_allclose(ends, [2.889, 2.897, 1.125, 1.122], atol=6e-4)
    assert radius(integrate(SGD(0.2), game, 300))[-1] == pytest.approx(1.25**0.5, rel=1e-8)


@pytest.mark.parametrize(("h", "is_bounded"), [(3.9, True), (4.1, False)])
def test_alternating_steps_are_bounded_up_to_the_learning_rate_two_over_the_slope(h, is_bounded):
    """h f′(0) < 2 with f′(0) = 1/2: 4000 steps from 0.001 end at 5e-4 and at 7.7."""
    start = {"theta": 1e-3, "psi": 1e-3}
    run = iterate(alternating(h, dirac()), dirac(), 4000, x0=start, save_every=4000)
    a = b = 1e-3
    for _ in range(4000):  # by hand
        a -= h * slope(a * b) * b
        b += h * slope(a * b) * a
    end = radius(run)[-1]
    assert end == pytest.approx(np.hypot(a, b), rel=1e-3)
    assert (end < 2e-3) if is_bounded else (end > 5)


def test_the_penalty_of_wasserstein_gans_ends_in_a_cycle_that_grows_with_its_slope():
    """The field of twice the slope at twice the position is twice as large."""
    sizes = []
    for factor in (1, 2):
        start = {"theta": 1.0 * factor, "psi": 0.0}
        game = dirac("wgan_gp", gamma=1.0, slope=0.3 * factor)
        late = iterate(SGD(0.01), game, 40_000, x0=start, save_every=10).x
        sizes.append([np.abs(late[player][-2000:]).max() for player in ("psi", "theta")])
    np.testing.assert_allclose(sizes[0], [0.40, 0.42], atol=0.01)
    np.testing.assert_allclose(sizes[1], 2 * np.array(sizes[0]), rtol=1e-12)


@pytest.mark.parametrize("make", [lambda v: bilinear(v), lambda v: dirac_gan("r1", gamma=v)])
def test_other_numbers_of_a_game_compile_nothing_anew(make):
    traced = []

    class Counted(SGD):
        def step(self, t, y, grad):
            traced.append(1)
            return super().step(t, y, grad)

    iterate(Counted(0.1), make(1.0), 10)
    count = len(traced)
    iterate(Counted(0.2), make(2.0), 10)
    assert len(traced) == count == 1


@pytest.mark.parametrize(
    ("make", "error", "sentence"),
    [
        (lambda: dirac_gan("wgan-gp"), UnknownName, "did you mean wgan_gp"),
        (lambda: dirac_gan(gamma=1.0), InvalidValue, "the kind 'gan' has no penalty; leave `gamma` out"),
        (lambda: dirac_gan("r1", slope=1.0), InvalidValue, "the kind 'r1' has no `slope`; leave it out"),
        (lambda: dirac_gan("r1", gamma=-1.0), InvalidValue, "`gamma` is -1; use a positive number"),
        (lambda: ring_gan(1), InvalidValue, "`examples` must be a whole number of at least 2, got 1"),
        (lambda: ring_gan(key="a"), InvalidType, "`key` must be a whole number, got 'a'"),
    ],
)  # fmt: skip
def test_wrong_input_is_refused_in_one_sentence(make, error, sentence, as_users_see_it):
    with pytest.raises(error, match=sentence):
        make()


# --- the ring


@cache
def ring(examples=64) -> Game:
    return ring_gan(examples)


def numpy_losses(x, data):
    """The losses of the discriminator and of the generator, as their docstring writes them."""

    def net(a, layers):
        for name in ("layer1", "layer2"):
            a = np.tanh(a @ layers[name]["w"] + layers[name]["b"])
        return a @ layers["layer3"]["w"] + layers["layer3"]["b"]

    z, real = data
    of_real = 1 / (1 + np.exp(-net(real, x["d"])))
    of_fake = 1 / (1 + np.exp(-net(net(z, x["g"]), x["d"])))
    return {"d": -(np.log(of_real) + np.log(1 - of_fake)).mean(), "g": -np.log(of_fake).mean()}


def test_the_field_of_the_ring_is_the_slope_of_each_players_own_loss():
    game = ring()
    data = jax.tree.map(np.asarray, game.loss.data)
    draw, x = np.random.default_rng(0), jax.tree.map(np.asarray, game.start())
    field = game.field(x)
    for player in game.players:
        way = jax.tree.map(lambda leaf: draw.normal(size=leaf.shape), x[player])

        def loss_at(h, player=player, way=way):
            moved = jax.tree.map(lambda *pair: pair[0] + h * pair[1], x[player], way)
            return numpy_losses(x | {player: moved}, data)[player]

        pairs = zip(jax.tree.leaves(field[player]), jax.tree.leaves(way), strict=True)
        along = sum(np.vdot(a, v) for a, v in pairs)
        assert along == pytest.approx((loss_at(1e-5) - loss_at(-1e-5)) / 2e-5, rel=1e-7)


def test_the_data_of_the_ring_are_eight_clusters_on_the_circle_whatever_the_key_is():
    z, real = ring_gan(128, key=3).loss.data
    angles = np.arange(128) % 8 * np.pi / 4
    offset = np.asarray(real) - np.stack([np.cos(angles), np.sin(angles)], 1)
    assert offset.std() == pytest.approx(0.05, rel=0.1) and abs(offset.mean()) < 0.01
    assert z.shape == (128, 2) and np.asarray(z).std() == pytest.approx(1, rel=0.1)
    np.testing.assert_array_equal(real, ring_gan(128).loss.data[1])
    assert ring().dim == 691 and ring().players == ("d", "g")


def test_the_ring_shows_the_energy_distance_of_the_generated_points():
    game = ring()
    z, real = map(np.asarray, game.loss.data)
    x = jax.tree.map(np.asarray, game.start())

    def mean_distance(a, b):
        return np.mean([np.hypot(*(u - v)) for u in a for v in b])

    hidden = np.tanh(z @ x["g"]["layer1"]["w"]) @ x["g"]["layer2"]["w"]  # biases start at 0
    made = np.tanh(hidden) @ x["g"]["layer3"]["w"]
    expected = 2 * mean_distance(made, real) - mean_distance(made, made) - mean_distance(real, real)
    assert float(game.loss.value(game.start())) == pytest.approx(expected, rel=1e-10)


def test_alternation_bears_a_learning_rate_at_which_simultaneous_descent_loses_the_ring():
    """The energy distance at the time 300, for four starts: at h = 0.4 that of both is small for some."""
    game, h = ring(), 0.8
    for key in range(4):
        simultaneous, alternate = (
            float(iterate(optimizer, game, 375, x0=start, save_every=375).loss[-1])
            for start in (ring_gan(64, key).x0,)
            for optimizer in (SGD(h), alternating(h, game))
        )
        assert simultaneous > 3 * alternate and alternate < 0.03


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", [SGD(0.1), alternating(0.1, ring())], ids=["sim", "alt"])
def test_on_the_ring_the_modified_equation_has_one_order_more(optimizer):
    def last(optimizer):
        return analysis.order(optimizer, ring(), time=1.0, refinements=4).pairwise[-1]

    assert last(optimizer) == pytest.approx(1, abs=0.02)
    assert last(Modified(optimizer)) == pytest.approx(2, abs=0.02)
