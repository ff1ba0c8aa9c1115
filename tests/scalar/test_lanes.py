"""Programs on lanes: many points at once, one scalar after another, are those of `jax.vmap`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from every_problem import made

from dynopt import Adam
from dynopt.optimizers import AdamState
from dynopt.scalar import opaque_gradient, to_lanes, trace

GRAD = jax.grad(made("himmelblau").loss)
POINTS = AdamState(*np.random.default_rng(0).normal(size=(3, 2, 5)) ** 2)
RATES = jnp.linspace(0.1, 0.5, 5)


def step(rate, y, grad=GRAD):
    return Adam(rate).step(0.2, y, grad)


def assert_same_points(got, right):
    for a, b in zip(got, right, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=100 * jnp.finfo(b.dtype).eps)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_lanes_are_the_runs_of_vmap(dtype):
    rates, points = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), (RATES, POINTS))
    first = jax.tree.map(lambda leaf: leaf[..., 0], (rates, points))
    lanes = jax.jit(to_lanes(trace(step, *first)))(rates, points)
    assert_same_points(lanes, jax.jit(jax.vmap(step, -1, -1))(rates, points))


def test_lanes_with_an_open_gradient_take_it_later():
    program = trace(
        lambda rate, y: step(rate, y, opaque_gradient), 0.1, AdamState(*np.ones((3, 2)))
    )
    lanes = to_lanes(program, [jax.vmap(GRAD, -1, -1)])
    assert_same_points(lanes(RATES, POINTS), jax.vmap(step, -1, -1)(RATES, POINTS))


def test_lanes_have_the_derivatives_of_vmap():
    lanes = to_lanes(trace(step, 0.1, AdamState(*np.ones((3, 2)))))

    def total(run, rates):
        return jnp.sum(run(rates, POINTS).x ** 2)

    reverse, right = (jax.grad(total, 1)(run, RATES) for run in (lanes, jax.vmap(step, -1, -1)))
    forward = jax.jvp(lambda rates: total(lanes, rates), (RATES,), (jnp.ones(5),))[1]
    np.testing.assert_allclose(reverse, right, rtol=1e-12)
    np.testing.assert_allclose(forward, jnp.sum(right), rtol=1e-12)
