"""Programs on lanes: many points at once, one scalar after another, are those of `jax.vmap`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from every_problem import made

from dynopt import RMSprop
from dynopt.errors import InvalidValue
from dynopt.optimizers import RMSpropState
from dynopt.scalar import evaluate, opaque_gradient, to_lanes, trace

GRAD = jax.grad(made("himmelblau").loss)
POINTS = np.random.default_rng(0).normal(size=(2, 2, 5)) ** 2
RATES = np.linspace(0.1, 0.5, 5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_lanes_are_the_runs_of_vmap(dtype):
    def step(rate, y):
        return RMSprop(rate).step(0.2, y, GRAD)

    rates, *fields = (jnp.asarray(array, dtype) for array in (RATES, *POINTS))
    first = rates[0], RMSpropState(*(field[:, 0] for field in fields))
    lanes, runs = to_lanes(trace(step, *first)), jax.vmap(step, -1, -1)
    got, right = jax.jit(lambda *a: (lanes(*a), runs(*a)))(rates, RMSpropState(*fields))
    for a, b in zip(got, right, strict=True):
        assert a.dtype == b.dtype == dtype
        np.testing.assert_allclose(a, b, rtol=100 * jnp.finfo(dtype).eps)


def test_lanes_of_a_program_with_an_open_gradient_take_the_gradient_later():
    program = trace(lambda h, x: x - h * opaque_gradient(x), 0.1, np.ones(2))
    x, _ = POINTS
    moved = to_lanes(program, [lambda x: x**3])(RATES, x)
    np.testing.assert_allclose(moved, x - RATES * x**3, rtol=1e-15)


def test_lanes_are_differentiable_in_both_modes():
    lanes = to_lanes(trace(lambda a, x: jnp.sum(jnp.sin(a * x)), 1.0, np.ones(2)))
    x, _ = POINTS
    right = (x * np.cos(RATES * x)).sum(0)
    _, forward = jax.jvp(lambda a: lanes(a, x), (RATES,), (np.ones(5),))
    reverse = jax.grad(lambda a: jnp.sum(lanes(a, x)))(RATES)
    np.testing.assert_allclose([forward, reverse], [right, right], rtol=1e-14)


def test_a_constant_result_is_one_on_every_lane():
    ones = to_lanes(trace(lambda x: (x, jnp.ones(2, int)), 1.0))(RATES)[1]
    assert ones.shape == (2, 5) and ones.dtype == int
    np.testing.assert_array_equal(ones, 1)


def test_a_boolean_chooses_among_three_on_every_lane():
    def choice(x):
        return jax.lax.select_n(jnp.int32(x > 0), x, 2 * x, 3 * x)

    np.testing.assert_array_equal(to_lanes(trace(choice, 1.0))(RATES - 0.3), choice(RATES - 0.3))


def test_too_few_gradients_and_arguments_without_lanes_are_refused():
    program = trace(lambda h, x: x - h * opaque_gradient(x), 0.1, np.ones(2))
    x, _ = POINTS
    with pytest.raises(InvalidValue, match="asks for 1 functions in `gradients`, got 0; pass the"):
        to_lanes(program)
    lanes = to_lanes(program, [jnp.sin])
    with pytest.raises(
        InvalidValue, match=r"with 5 lanes .* must be \[\(5,\), \(2, 5\)\]; use jnp.b"
    ):
        lanes(0.1, x)
    assert lanes(jnp.broadcast_to(0.1, 5), x).shape == (2, 5)  # the remedy


def test_divisions_by_a_divisor_that_is_named_are_products_with_its_reciprocal():
    program = trace(lambda h, x: x / h, 0.1, np.ones(2))
    x = jnp.asarray(POINTS[0])

    def divided(h, x):
        return evaluate(program, [h, *x], divisors={0})

    np.testing.assert_allclose(divided(jnp.asarray(0.7), x), x / 0.7, rtol=4.5e-16)
    shapes = [
        equation.outvars[0].aval.shape
        for equation in jax.make_jaxpr(divided)(0.7, x).eqns
        if equation.primitive.name == "div"
    ]
    assert shapes == [()]


def test_a_program_knows_what_depends_on_an_input():
    program = trace(lambda h, x: x / jnp.exp(h), 0.1, 1.0)
    exponential, quotient = 2, 3
    assert program.depends_on([1]) == {1, quotient}
    assert program.depends_on([0]) == {0, exponential, quotient}
