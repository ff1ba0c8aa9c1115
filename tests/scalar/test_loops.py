"""Sums of terms that are computed in the same way are loops in JavaScript, with the same numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dynopt.scalar import opaque_gradient, to_javascript, trace

X = jnp.array([0.5, -0.3])
REALS = np.linspace(-1.7, 2.3, 40)
WITH_NEUTRAL = np.where(np.arange(40) % 3, REALS, np.arange(40) % 2)  # 0 and 1 among the numbers


def squares(data):
    return lambda x: jnp.sum((x[0] * data + x[1] - (data + 1) ** 2) ** 2)


def logistic(data):
    labels = jnp.where(data > 0.4, 1.0, -1.0)
    return lambda x: jnp.mean(jnp.log1p(jnp.exp(-labels * (x[0] * data - x[1]))))


def normalized(data):
    """A sum of terms each of which divides by another such sum."""
    return lambda x: jnp.sum(jnp.sin(x[0] * data) / jnp.sum(jnp.exp(x[1] * data)))


def shifted(data):
    return lambda x: jnp.prod(x) + sum(jnp.exp(x[0] * float(c)) * x[1] for c in data)


def two_sums(data):
    return jax.grad(squares(data))


@pytest.mark.parametrize("data", [REALS, WITH_NEUTRAL], ids=["reals", "with 0 and 1"])
@pytest.mark.parametrize("loss", [squares, logistic, normalized, shifted, two_sums])
def test_a_sum_over_data_is_one_loop_with_the_numbers_of_jax(engine, loss, data):
    function = loss(data)
    text = to_javascript(trace(function, X), "f")
    engine.read(text)
    assert text.count(".map(") == (2 if loss is normalized else 1)
    assert text.count("Math.") <= 6  # not once for each number
    with jax.disable_jit():
        right = function(X)
    np.testing.assert_allclose(engine.call("f", X), np.ravel(right), rtol=1e-13)


def test_one_more_number_costs_the_bytes_of_this_number(engine):
    few, many = (
        len(to_javascript(trace(squares(np.linspace(-0.7, 0.9, n)), X), "f")) for n in (30, 60)
    )
    assert 0 < many - few < 30 * 2 * 25


def test_numbers_that_change_nothing_cost_no_column_of_their_own():
    """Where x · 1 and x + 0 were left out, they are put back."""
    lengths = [len(to_javascript(trace(two_sums(d), X), "f")) for d in (WITH_NEUTRAL, REALS)]
    assert lengths[0] < lengths[1]


def test_a_sum_begins_with_what_is_not_of_its_kind(engine):
    """The order of the sum is kept: 10¹⁷ + 3 - 10¹⁷ + 5 is 5, and in other orders it is not."""
    factors = [1e17, 3.0, -1e17, 5.0] * 5

    def function(x):
        total = jnp.tan(x[0])
        for factor in factors:
            total = total + factor * jnp.cos(x[1] * factor)
        return total

    x = np.array([1.0, 0.0])
    engine.read(text := to_javascript(trace(function, x), "f"))
    total = backwards = float(np.tan(1.0))
    for factor, last in zip(factors, reversed(factors), strict=True):
        total, backwards = total + factor, backwards + last
    assert ".reduce(" in text and total not in (backwards, np.tan(1.0) + sum(factors))
    assert engine.call("f", x) == pytest.approx(total, rel=1e-14)


@pytest.mark.parametrize("count", [3, 4, 12])
def test_short_sums_are_written_out(count):
    def function(x):
        return jnp.sum(x[0] * jnp.arange(1.0, count + 1) ** 2)

    assert ".map(" not in to_javascript(trace(function, X), "f")  # a table is no shorter


def test_each_point_of_a_sum_asks_for_its_own_gradient(engine):
    points = np.linspace(0.1, 2.0, 30)

    def function(x):
        return sum(jnp.sin(opaque_gradient(x * c)) ** 2 for c in points)

    text = to_javascript(trace(function, X), "f")
    engine.read(text)
    assert text.count("$[0](") == 1
    found = engine.call("f", X, gradients="[x => x.map(v => v * v * v)]")
    right = (np.sin((np.asarray(X) * points[:, None]) ** 3) ** 2).sum(0)
    np.testing.assert_allclose(found, right, rtol=1e-13)
