"""An energy is what its page declares; along the flow it obeys the page's identity, and its rises are found."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dynopt import SGD, Adam, Momentum, Problem, RMSprop, analysis, integrate, iterate
from dynopt.errors import InvalidType, InvalidValue
from dynopt.optimizers import AbstractOptimizer, catalogue
from dynopt.optimizers.adam import AdamState
from dynopt.optimizers.momentum import MomentumState
from dynopt.optimizers.rmsprop import RMSpropState
from dynopt.optimizers.sgd import SGDState


def f(x):
    return jnp.sum(x**2 * jnp.array([0.5, 2.0, 0.1])) + jnp.cos(x[0] * x[1]) + x[1] * x[2] ** 3


grad = jax.grad(f)
line = Problem(lambda x: jnp.sum(x**2) / 2, [1.0], name="line")
bowl = Problem(lambda x: (x[0] ** 2 + 10 * x[1] ** 2) / 2, [-2.0, 1.5], name="bowl")

# Points of phase space, at times from 0.01 to 10: positions, momenta of either sign, and positive means of squares.
random = np.random.default_rng(3)
t = 10 ** random.uniform(-2, 1, 200)
x, m = 2 * random.normal(size=(200, 3)), random.normal(size=(200, 3))
v = np.exp(3 * random.normal(size=(200, 3)))
g = jax.vmap(grad)(x)


@eqx.filter_jit
def rates(optimizer, y):
    """dE/dt along the flow, by automatic differentiation, at every point."""

    def one(t, y):
        return jax.jvp(
            lambda t, y: optimizer.lyapunov(t, y, f),
            (t, y),
            (jnp.ones_like(t), optimizer.vector_field(t, y, grad)),
        )[1]

    return jax.vmap(one)(t, y)


# --- the identities


def test_the_loss_falls_at_the_squared_gradient():
    np.testing.assert_allclose(rates(SGD(0.1), SGDState(x)), -np.sum(g**2, 1), rtol=1e-12)


def test_friction_alone_drains_the_heavy_ball():
    """d/dt (f + |p|²/2) = -a |p|²: what the slope gives to one it takes from the other."""
    optimizer = Momentum(0.04, 0.7)
    np.testing.assert_allclose(
        rates(optimizer, MomentumState(x, m)), -1.5 * np.sum(m**2, 1), rtol=1e-10
    )
    assert optimizer.friction == pytest.approx(1.5)


def test_rmsprop_falls_at_the_sum_of_v_over_its_root():
    """d/dt (f + 2τ Σ√(v+ε)) = -Σ v/√(v+ε), whatever f is."""
    eps = 1e-3
    seen = rates(RMSprop(0.01, eps=eps), RMSpropState(x, v))
    np.testing.assert_allclose(seen, -np.sum(v / np.sqrt(v + eps), 1), rtol=1e-10)


def test_corrected_rmsprop_falls_at_the_sum_of_squared_gradients_over_its_root():
    """d/dt f = -Σ g²/√(v̂+ε)."""
    optimizer = RMSprop(0.01, eps=1e-3, bias_correction=True)
    v_hat = v / (1 - np.exp(-t / optimizer.tau))[:, None]
    np.testing.assert_allclose(
        rates(optimizer, RMSpropState(x, v)), -np.sum(g**2 / np.sqrt(v_hat + 1e-3), 1), rtol=1e-10
    )


@pytest.mark.parametrize(("b1", "b2"), [(0.9, 0.999), (0.95, 0.8), (0.5, 0.0)])
def test_adam_never_rises_while_tau1_is_at_most_four_tau2(b1, b2):
    optimizer = Adam(0.01, b1, b2)
    assert optimizer.tau1 <= 4 * optimizer.tau2 * (1 + 1e-12)
    assert (rates(optimizer, AdamState(x, m, v)) <= 0).all()


# --- along runs


@pytest.mark.parametrize("name", ["momentum", "adam"])
def test_the_energy_is_that_of_the_page_at_every_point(name):
    optimizer = catalogue[name](0.02)
    run = iterate(optimizer, bowl, 20)
    seen = analysis.lyapunov(optimizer, bowl, run)
    expected = [
        optimizer.lyapunov(t, type(run.y)(*y), bowl.loss)
        for t, *y in zip(run.t[:6], *run.y, strict=False)
    ]
    np.testing.assert_allclose(seen.energy[:6], expected, rtol=1e-13)
    np.testing.assert_array_equal(seen.t, run.t)
    rise = np.diff(seen.energy, prepend=seen.energy[0])
    np.testing.assert_array_equal(seen.violation, np.where(rise > 1e-12, rise, 0))


def test_the_map_of_momentum_lifts_an_energy_that_its_flow_only_spends():
    optimizer = Momentum(0.1)
    map, flow = (
        analysis.lyapunov(optimizer, bowl, run(optimizer, bowl, 20)) for run in (iterate, integrate)
    )
    assert (map.violation > 0).sum() >= 5 and (flow.violation == 0).all()
    assert flow.energy[-1] < 0.2 * flow.energy[0]


def test_gradient_descent_lifts_its_loss_beyond_two_over_lambda():
    """xₖ = (-2)ᵏ on f = x²/2 with η = 3: the loss rises by (3/2) 4ᵏ."""
    seen = analysis.lyapunov(SGD(3.0), line, iterate(SGD(3.0), line, 6))
    np.testing.assert_array_equal(seen.violation, [0, *(1.5 * 4.0 ** np.arange(6))])


def test_rises_within_round_off_are_none():
    """At rest the loss is a constant with an ulp of noise."""
    optimizer = SGD(0.01)
    shaky = Problem(lambda x: 7.3 + jnp.sin(1e9 * x[0]) * 1e-15 + 0 * x[0], [1.0], name="shaky")
    run = dataclasses.replace(iterate(optimizer, line, 6), problem="shaky")
    seen = analysis.lyapunov(optimizer, shaky, run)
    assert (np.diff(seen.energy) > 0).any() and (seen.violation == 0).all()


@pytest.mark.parametrize(
    ("lift", "flow_rises", "map_rises"), [(1e-4, 0, 1), (1e-2, 1, 1), (1e-16, 0, 0)]
)
def test_for_a_flow_so_are_rises_within_the_tolerance_of_its_solver(lift, flow_rises, map_rises):
    flow, map = integrate(SGD(0.01), line, 6, rtol=1e-4), iterate(SGD(0.01), line, 6)
    lifted = np.array([1, 1, 1, 1 + lift, 1, 1, 1])[:, None]
    for run, rises in ((flow, flow_rises), (map, map_rises)):
        run = eqx.tree_at(lambda run: run.y.x, run, jnp.asarray(lifted))
        assert int((analysis.lyapunov(SGD(0.01), line, run).violation > 0).sum()) == rises


def test_a_run_seen_seldom_shows_the_rises_between_its_points():
    every, fifth = (iterate(Momentum(0.02), bowl, 20, save_every=k) for k in (1, 5))
    fine, coarse = (analysis.lyapunov(Momentum(0.02), bowl, run) for run in (every, fifth))
    np.testing.assert_allclose(coarse.energy, fine.energy[::5], rtol=1e-12)
    rise = np.diff(coarse.energy, prepend=coarse.energy[0])
    np.testing.assert_array_equal(coarse.violation, np.maximum(rise, 0))


def test_round_off_is_that_of_the_energies_so_far():
    """A diverging run ends in energies beside which all that came before would be round-off."""
    run = iterate(SGD(2.5), line, 60, throw=False)
    seen = analysis.lyapunov(SGD(2.5), line, run)
    assert float(seen.energy[-1]) * np.finfo(float).eps > float(seen.violation[1]) > 0
    assert (np.asarray(seen.violation[1:]) > 0).all()


def test_a_failed_run_keeps_its_beginning_and_is_nan_from_there():
    steep = Problem(lambda x: jnp.sum(x**4), [3.0], name="steep")
    run = iterate(SGD(1.0), steep, 20, throw=False)
    seen = analysis.lyapunov(SGD(1.0), steep, run)
    finite = np.isfinite(seen.energy)
    np.testing.assert_array_equal(finite, run.finite)
    assert finite[:3].all() and not finite[-1] and (np.diff(finite.astype(int)) <= 0).all()
    np.testing.assert_array_equal(np.isnan(seen.violation), ~finite)


def test_what_comes_after_the_first_failure_does_not_count():
    run = iterate(SGD(0.1), line, 6)
    broken = eqx.tree_at(lambda run: run.loss, run, run.loss.at[3].set(jnp.nan))
    np.testing.assert_array_equal(
        np.isnan(analysis.lyapunov(SGD(0.1), line, broken).energy), np.arange(7) >= 3
    )


def test_energies_batch_and_differentiate():
    def last(rate):
        optimizer = SGD(rate)
        return analysis.lyapunov(optimizer, line, iterate(optimizer, line, 6)).energy[-1]

    learning_rates = jnp.array([0.1, 0.2, 0.3])
    np.testing.assert_allclose(
        eqx.filter_vmap(last)(learning_rates), 0.5 * (1 - learning_rates) ** 12, rtol=1e-12
    )
    np.testing.assert_allclose(jax.jit(jax.jacfwd(last))(0.1), -6 * 0.9**11, rtol=1e-12)


def test_a_position_of_many_leaves_has_an_energy():
    tree = Problem(
        lambda x: (x["a"] ** 2).sum() + x["b"] ** 2,
        {"a": np.ones(2), "b": np.array(1.0)},
        name="tree",
    )
    seen = analysis.lyapunov(Momentum(0.01), tree, iterate(Momentum(0.01), tree, 3))
    assert seen.energy[0] == 3.0


def test_float32_stays_float32():
    single = Problem(line.loss, np.array([1.0], np.float32), name="single")
    seen = analysis.lyapunov(SGD(0.1), single, iterate(SGD(0.1), single, 6))
    assert seen.energy.dtype == seen.violation.dtype == jnp.float32


def test_it_prints_how_often_it_rose():
    said = repr(analysis.lyapunov(SGD(3.0), line, iterate(SGD(3.0), line, 6)))
    assert (
        said
        == "Lyapunov(map of SGD(learning_rate=3) on line, rises 6 of 6 times by at most 1.54e+03)"
    )
    said = repr(analysis.lyapunov(SGD(0.1), line, iterate(SGD(0.1), line, 6)))
    assert said == "Lyapunov(map of SGD(learning_rate=0.1) on line, rises 0 of 6 times)"


# --- where there is none


def test_a_page_without_an_energy_says_so():
    class Lossless(SGD):
        energy = AbstractOptimizer.energy

    with pytest.raises(InvalidValue, match=r"no energy is known for Lossless\(learning_rate=0.1\)"):
        analysis.lyapunov(Lossless(0.1), line, iterate(Lossless(0.1), line, 6))


def test_a_run_of_something_else_is_refused(as_users_see_it):
    run = iterate(SGD(0.1), line, 6)
    with pytest.raises(
        InvalidValue,
        match=r"`trajectory` is of SGD\(.*\) on line, .* are Adam\(.*; pass those of the run",
    ):
        analysis.lyapunov(Adam(0.1), line, run)
    with pytest.raises(
        InvalidValue,
        match="`trajectory` is of SGD.* on line, but .* and bowl; pass those of the run",
    ):
        analysis.lyapunov(SGD(0.1), bowl, run)
    for optimizer, problem in (
        (SGD(0.2), line),
        (SGD(0.1), Problem(line.loss, [1.0], name="other")),
    ):
        with pytest.raises(
            InvalidValue, match=r"`trajectory` is of SGD\(learning_rate=0.1\) on line, but"
        ):
            analysis.lyapunov(optimizer, problem, run)
    assert (analysis.lyapunov(SGD(jnp.float32(0.1)), line, run).violation == 0).all()
    batch = eqx.filter_vmap(lambda rate: iterate(SGD(rate), line, 6))(jnp.array([0.1, 0.2]))
    with pytest.raises(InvalidValue, match="`trajectory` holds a batch; use equinox.filter_vmap"):
        analysis.lyapunov(SGD(0.1), line, batch)
    member = analysis.lyapunov(SGD(0.1), line, jax.tree.map(lambda a: a[0], batch))
    np.testing.assert_array_equal(member.energy, analysis.lyapunov(SGD(0.1), line, run).energy)
    for arguments, words in (
        ((0.1, line, run), "`optimizer` must be a page"),
        ((SGD(0.1), line.loss, run), "`problem` must be a dynopt.Problem"),
        ((SGD(0.1), line, run.y), "`trajectory` must come from iterate or integrate, got SGDState"),
    ):
        with pytest.raises(InvalidType, match=words):
            analysis.lyapunov(*arguments)
