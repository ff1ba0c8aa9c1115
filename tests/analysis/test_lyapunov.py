"""A Lyapunov function falls along the flow as its optimizer declares, and its rises along the map are found."""

import dataclasses
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dynopt import SGD, Adam, Momentum, Problem, RMSprop, Status, analysis, iterate
from dynopt.errors import InvalidType, InvalidValue, SolverFailure
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

# Points of phase space at times from 0.01 to 10: positions, momenta, positive means of squares.
random = np.random.default_rng(3)
t = 10 ** random.uniform(-2, 1, 200)
x, m = 2 * random.normal(size=(200, 3)), random.normal(size=(200, 3))
v = np.exp(3 * random.normal(size=(200, 3)))
g = jax.vmap(grad)(x)


@eqx.filter_jit
def rates(optimizer, y):
    """dE/dt along the flow, by automatic differentiation, at every point."""

    def rate(t, y):
        return jax.jvp(
            lambda t, y: optimizer.lyapunov(t, y, f),
            (t, y),
            (jnp.ones_like(t), optimizer.vector_field(t, y, grad)),
        )[1]

    return jax.vmap(rate)(t, y)


# --- the identities


def test_the_loss_falls_at_the_squared_gradient():
    np.testing.assert_allclose(rates(SGD(0.1), SGDState(x)), -np.sum(g**2, 1), rtol=1e-12)


def test_friction_alone_lowers_the_lyapunov_function_of_the_heavy_ball():
    """d/dt (f + |p|²/2) = -a |p|²: what the gradient adds to one term it takes from the other."""
    optimizer = Momentum(0.04, 0.7)
    np.testing.assert_allclose(
        rates(optimizer, MomentumState(x, m)), -1.5 * np.sum(m**2, 1), rtol=1e-10
    )
    assert optimizer.friction == pytest.approx(1.5)


def test_the_function_of_rmsprop_falls_at_the_sum_of_v_over_its_root():
    """d/dt (f + 2τ Σ√(v+ε)) = -Σ v/√(v+ε), whatever f is."""
    eps = 1e-3
    rate = rates(RMSprop(0.01, eps=eps), RMSpropState(x, v))
    np.testing.assert_allclose(rate, -np.sum(v / np.sqrt(v + eps), 1), rtol=1e-10)


def test_the_function_of_corrected_rmsprop_falls_at_the_sum_of_squared_gradients_over_its_root():
    """d/dt f = -Σ g²/√(v̂+ε)."""
    optimizer = RMSprop(0.01, eps=1e-3, bias_correction=True)
    v_hat = v / (1 - np.exp(-t / optimizer.tau))[:, None]
    np.testing.assert_allclose(
        rates(optimizer, RMSpropState(x, v)), -np.sum(g**2 / np.sqrt(v_hat + 1e-3), 1), rtol=1e-10
    )


@pytest.mark.parametrize(("b1", "b2"), [(0.9, 0.999), (0.95, 0.8), (0.5, 0.0)])
def test_the_function_of_adam_never_rises_while_tau1_is_at_most_four_tau2(b1, b2):
    optimizer = Adam(0.01, b1, b2)
    assert optimizer.tau1 <= 4 * optimizer.tau2 * (1 + 1e-12)
    assert (rates(optimizer, AdamState(x, m, v)) <= 0).all()


# --- along runs


@pytest.mark.parametrize("name", ["momentum", "adam"])
def test_the_values_are_those_of_the_optimizer_at_every_point(name):
    optimizer = catalogue[name](0.02)
    result = analysis.lyapunov(optimizer, bowl, 20)
    for run, values in ((result.map, result.map_value), (result.flow, result.flow_value)):
        expected = [
            optimizer.lyapunov(t, type(run.y)(*y), bowl.loss)
            for t, *y in zip(run.t[:6], *run.y, strict=False)
        ]
        np.testing.assert_allclose(values[:6], expected, rtol=1e-13)
        np.testing.assert_array_equal(result.t, run.t)
    rises = np.diff(result.map_value, prepend=result.map_value[0])
    np.testing.assert_array_equal(result.map_rises, np.where(rises > 1e-12, rises, 0))
    assert (result.map.kind, result.flow.kind) == ("map", "flow")


def test_the_map_of_momentum_raises_a_function_that_falls_along_its_flow():
    result = analysis.lyapunov(Momentum(0.1), bowl, 20)
    assert (result.map_rises > 0).sum() >= 5 and (result.flow_rises == 0).all()
    assert result.flow_value[-1] < 0.2 * result.flow_value[0]


def test_gradient_descent_raises_its_loss_beyond_two_over_lambda():
    """xₖ = (-2)ᵏ on f = x²/2 with η = 3: the loss rises by (3/2) 4ᵏ."""
    result = analysis.lyapunov(SGD(3.0), line, 6)
    np.testing.assert_array_equal(result.map_rises, [0, *(1.5 * 4.0 ** np.arange(6))])


def test_rises_within_round_off_do_not_count():
    """The positions are those on x²/2, and the loss is a constant with an ulp of noise."""
    noise = Problem(lambda x: 7.3 + jnp.sin(1e9 * x[0]) * 1e-15 + 0 * x[0], [1.0], name="noise")
    x = iterate(SGD(0.01), line, 6).x
    values = jax.vmap(noise.loss)(x)
    result = dataclasses.replace(analysis.lyapunov(SGD(0.01), line, 6), map_value=values)
    assert (np.diff(values) > 0).any() and (result.map_rises == 0).all()


@pytest.mark.parametrize(
    ("lift", "flow_rises", "map_rises"), [(1e-4, 0, 1), (1e-2, 1, 1), (1e-16, 0, 0)]
)
def test_rises_of_a_flow_within_the_tolerance_of_its_solver_do_not_count(
    lift, flow_rises, map_rises
):
    lifted = jnp.array([1, 1, 1, (1 + lift) ** 2, 1, 1, 1]) / 2
    result = analysis.lyapunov(SGD(0.01), line, 6)
    result = eqx.tree_at(
        lambda r: (r.map_value, r.flow_value, r.flow.stats["rtol"]),
        result,
        (lifted, lifted, jnp.asarray(1e-4)),
    )
    assert int((result.flow_rises > 0).sum()) == flow_rises
    assert int((result.map_rises > 0).sum()) == map_rises


def test_the_values_along_any_other_run_are_one_vmap():
    optimizer = Momentum(0.02)
    run = iterate(optimizer, bowl, 20, save_every=5)
    values = jax.vmap(lambda t, y: optimizer.lyapunov(t, y, bowl.loss))(run.t, run.y)
    result = analysis.lyapunov(optimizer, bowl, 20)
    np.testing.assert_allclose(values, result.map_value[::5], rtol=1e-12)


def test_round_off_is_measured_by_the_largest_value_so_far():
    """A diverging run ends in values compared with which all earlier rises would be round-off."""
    result = analysis.lyapunov(SGD(2.5), line, 60, throw=False)
    values, rises = np.asarray(result.map_value), np.asarray(result.map_rises)
    assert values[-1] * np.finfo(float).eps > rises[1] > 0
    assert (rises[1:] > 0).all()


def test_a_failed_run_keeps_its_beginning_and_is_nan_from_there():
    steep = Problem(lambda x: jnp.sum(x**4), [3.0], name="steep")
    result = analysis.lyapunov(SGD(1.0), steep, 20, throw=False)
    is_finite = np.isfinite(result.map_value)
    np.testing.assert_array_equal(is_finite, result.map.finite)
    assert is_finite[:3].all() and not is_finite[-1]
    assert (np.diff(is_finite.astype(int)) <= 0).all()
    np.testing.assert_array_equal(np.isnan(result.map_rises), ~is_finite)
    with pytest.raises(SolverFailure):
        analysis.lyapunov(SGD(1.0), steep, 20)


def test_values_after_the_first_failure_do_not_count():
    """The loss is NaN at the third step alone: x₃ = 0.9³."""

    def loss(x):
        is_third = jnp.abs(x[0] - 0.9**3) < 1e-9
        return jnp.sum(x**2) / 2 + jax.lax.stop_gradient(jnp.where(is_third, jnp.nan, 0.0))

    result = analysis.lyapunov(SGD(0.1), Problem(loss, [1.0], name="hole"), 6, throw=False)
    assert result.map.status == Status.nonfinite and np.isfinite(result.map.loss[4:]).all()
    np.testing.assert_array_equal(np.isnan(result.map_value), np.arange(7) >= 3)


def test_values_batch_and_differentiate():
    def last_values(rate):
        result = analysis.lyapunov(SGD(rate), line, 6)
        return jnp.stack([result.map_value[-1], result.flow_value[-1]])

    rates = jnp.array([0.1, 0.2, 0.3])
    values = eqx.filter_vmap(last_values)(rates)
    np.testing.assert_allclose(values[:, 0], 0.5 * (1 - rates) ** 12, rtol=1e-12)
    np.testing.assert_allclose(values[:, 1], 0.5 * np.exp(-12 * rates), rtol=1e-8)
    slopes = jax.jit(jax.jacrev(last_values))(0.1)
    np.testing.assert_allclose(slopes, [-6 * 0.9**11, -6 * np.exp(-1.2)], rtol=1e-8)


def test_a_batch_counts_rises_run_by_run():
    rates = jnp.array([0.1, 3.0])
    batch = eqx.filter_vmap(lambda rate: analysis.lyapunov(SGD(rate), line, 6))(rates)
    for i, rate in enumerate(rates):
        single = analysis.lyapunov(SGD(rate), line, 6)
        np.testing.assert_allclose(batch.map_rises[i], single.map_rises, rtol=1e-12)
        np.testing.assert_array_equal(batch.flow_rises[i], single.flow_rises)


def test_a_position_of_many_leaves_has_a_lyapunov_function():
    tree = Problem(
        lambda x: (x["a"] ** 2).sum() + x["b"] ** 2,
        {"a": np.ones(2), "b": np.array(1.0)},
        name="tree",
    )
    result = analysis.lyapunov(Momentum(0.01), tree, 3)
    assert result.map_value[0] == result.flow_value[0] == 3.0


def test_float32_stays_float32():
    single = Problem(line.loss, np.array([1.0], np.float32), name="single")
    result = analysis.lyapunov(SGD(0.1), single, 6)
    assert result.map_value.dtype == result.map_rises.dtype == jnp.float32
    assert result.flow_value.dtype == result.flow_rises.dtype == jnp.float32


def test_it_prints_how_often_the_function_rises():
    assert repr(analysis.lyapunov(SGD(3.0), line, 6)) == (
        "Lyapunov(SGD(learning_rate=3) on line, map rises in 6 of 6 steps by at most 1.54e+03, "
        "flow rises in 0 of 6 steps)"
    )
    assert repr(analysis.lyapunov(SGD(0.1), line, 6)) == (
        "Lyapunov(SGD(learning_rate=0.1) on line, map rises in 0 of 6 steps, "
        "flow rises in 0 of 6 steps)"
    )


# --- where there is none


def test_an_optimizer_without_a_lyapunov_function_is_refused_before_it_runs(monkeypatch):
    class Lossless(SGD):
        lyapunov = AbstractOptimizer.lyapunov

    monkeypatch.setattr(sys.modules["dynopt.analysis.lyapunov"], "iterate", None)
    with pytest.raises(
        InvalidValue, match=r"no Lyapunov function is known for Lossless\(learning_rate=0.1\)"
    ):
        analysis.lyapunov(Lossless(0.1), line, 6)


def test_wrong_input_is_refused(as_users_see_it):
    for arguments, sentence in (
        ((0.1, line, 6), "`optimizer` must be an optimizer"),
        ((SGD(0.1), line.loss, 6), "`problem` must be a dynopt.Problem"),
    ):
        with pytest.raises(InvalidType, match=sentence):
            analysis.lyapunov(*arguments)
    with pytest.raises(InvalidValue, match="`steps` must be a whole number"):
        analysis.lyapunov(SGD(0.1), line, -1)
