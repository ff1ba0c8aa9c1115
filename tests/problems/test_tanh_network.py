"""The tanh network: its data, its start from a key, and the edge of stability."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from dynopt import SGD, analysis, iterate
from dynopt.errors import InvalidType, InvalidValue
from dynopt.problems import Problem, tanh_network


@cache
def made() -> Problem:
    return tanh_network()


@pytest.mark.parametrize("rate", [0.2, 0.4])
def test_gradient_descent_works_at_the_edge_of_stability(rate):
    run = iterate(SGD(rate), made(), 8000, save_every=1000)
    edge = jax.vmap(lambda x: analysis.sharpness(made(), x))(run.x)[3:] * rate / 2
    assert 0.95 < edge.min() and edge.max() < 1.05
    assert run.loss[-1] < 0.02 * run.loss[0]


def test_curvature_rises_to_the_edge_from_below():
    run = iterate(SGD(0.2), made(), 1000, save_every=1000)
    start, later = jax.vmap(lambda x: analysis.sharpness(made(), x))(run.x) * 0.2 / 2
    assert start < 0.6 < later < 1


def test_the_points_are_chebyshevs_and_the_targets_are_his_fourth_polynomial():
    points, targets = map(np.asarray, made().loss.data)
    assert points.shape == (20, 1)
    np.testing.assert_allclose(np.cos(20 * np.arccos(points)), 0, atol=1e-13)  # the zeros of T₂₀
    np.testing.assert_allclose(
        targets, np.polynomial.chebyshev.Chebyshev.basis(4)(points[:, 0]), atol=1e-14
    )


def test_the_start_is_drawn_evenly_within_the_bounds_of_each_layer():
    widths = (1, 30, 20, 1)
    for layer, before, after in zip(made().x0.values(), widths, widths[1:], strict=False):
        assert layer["w"].shape == (before, after) and layer["b"].shape == (after,)
        numbers, bound = np.concatenate([layer["w"].ravel(), layer["b"]]), before**-0.5
        assert np.abs(numbers).max() < bound
        assert numbers.std() == pytest.approx(bound / np.sqrt(3), rel=0.25)


def test_a_number_and_its_key_give_one_start_and_another_number_another():
    first, again, other = (
        ravel_pytree(tanh_network(key).start())[0] for key in (3, jax.random.key(3), 4)
    )
    assert np.array_equal(first, again) and not np.isin(first, other).any()


def test_the_start_is_the_same_with_and_without_x64():
    with jax.enable_x64(False):
        single = ravel_pytree(tanh_network().start())[0]
    assert single.dtype == jnp.float32
    np.testing.assert_array_equal(single, ravel_pytree(made().start())[0].astype(jnp.float32))


def test_many_starts_are_drawn_by_vmap():
    starts = jax.vmap(lambda key: tanh_network(key).start())(jax.random.split(jax.random.key(0), 3))
    assert starts["layer2"]["w"].shape == (3, 30, 20)


def test_units_may_be_exchanged_and_change_sign_without_effect():
    x = jax.tree.map(lambda leaf: leaf + 0.1, made().start())
    order, sign = np.random.default_rng(0).permutation(30), np.where(np.arange(30) % 2, 1.0, -1.0)
    first, second = x["layer1"], x["layer2"]
    y = x | {
        "layer1": {"w": first["w"][:, order] * sign[None], "b": first["b"][order] * sign},
        "layer2": {"w": second["w"][order] * sign[:, None], "b": second["b"]},
    }
    assert float(made().loss(y)) == pytest.approx(float(made().loss(x)), rel=1e-13)


@pytest.mark.parametrize(
    "key, kind",
    [(-1, InvalidValue), (0.5, InvalidValue), ("seed", InvalidType), (np.arange(2), InvalidType)],
)
def test_a_key_that_is_none_is_refused(key, kind):
    with pytest.raises(kind, match="`key` must be a whole number"):
        tanh_network(key)
