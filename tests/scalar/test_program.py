"""A traced function as operations on scalars: nothing is computed twice, or in vain, or otherwise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from jax import lax

from dynopt.errors import InvalidType, InvalidValue
from dynopt.scalar import to_javascript, to_lanes, trace

X = np.array([0.3, -1.7, 2.2])
VALUES = np.array([-np.inf, -2.5, -1.0, -1e-3, 0.0, 0.7, 1.0, 3.0, 1e200, np.inf, np.nan])


def assert_program_computes(engine, function, *arguments):
    """The program has the result of the function, which JAX evaluates operation by operation."""
    engine.read(to_javascript(trace(function, *arguments), "f"))
    right = [np.ravel(leaf) for leaf in jax.tree.leaves(function(*map(jnp.asarray, arguments)))]
    np.testing.assert_allclose(engine.call("f", *arguments), np.concatenate(right), rtol=2e-15)


def operations(function, *arguments) -> list[str]:
    return [operation.primitive.name for operation in trace(function, *arguments).operations]


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x * 1, lambda x: 1 * x, lambda x: x / 1, lambda x: x + 0, lambda x: x - 0.0,
        lambda x: x**1, lambda x: jnp.negative(-x), lambda x: jnp.where(x > 0, x, x),
        lambda x: jnp.where(jnp.ones(3) > 0, x, jnp.exp(x)), lambda x: lax.stop_gradient(x),
        lambda x: x[::-1].reshape(3, 1)[:, 0], lambda x: x**0, lambda x: jnp.cumsum(jnp.ones(3)),
    ],
)  # fmt: skip
def test_what_needs_no_operation_takes_none(engine, function):
    assert operations(function, X) == []
    assert_program_computes(engine, function, X)


def test_zero_times_x_is_computed_because_it_may_be_nan():
    assert operations(lambda x: 0 * x, 1.0) == ["mul"]


def test_constants_are_computed():
    assert operations(lambda x: x * (jnp.exp(2.0) + jnp.arange(3.0)) ** 2, 1.0) == ["mul"] * 3


def test_equal_terms_are_computed_once():
    assert operations(lambda x, y: jnp.exp(x * y) / jnp.exp(y * x), 1.0, 2.0) == [
        "mul",
        "exp",
        "div",
    ]
    names = operations(lambda x: (-x, jnp.where(x == 0, 0.0, -0.0)), 1.0)
    assert names == ["neg", "eq", "select_n"]  # 0 and -0 are two constants


def test_what_no_output_needs_is_not_computed():
    assert operations(lambda x: (jnp.exp(x), jnp.sin(x))[1], 1.0) == ["sin"]


@pytest.mark.parametrize("exponent", [-3, -2, -1, 0, 1, 2, 3, 4, 7, 13])
def test_powers_are_the_products_of_jax_to_the_bit(exponent):
    power = to_lanes(trace(lambda x: x**exponent, 1.0))(VALUES)
    np.testing.assert_array_equal(power, jnp.asarray(VALUES) ** exponent)
    assert set(operations(lambda x: x**exponent, 1.0)) <= {"mul", "div"}


BINARY = {
    "add": jnp.add, "sub": jnp.subtract, "mul": jnp.multiply, "max": jnp.maximum,
    "below": lambda a, b: jnp.where(a < b, a, b * 2), "minus": lambda a, b: -a, "root": lambda a, b: jnp.sqrt(b),
}  # fmt: skip


@settings(max_examples=20, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(list(BINARY)), st.integers(0, 9), st.integers(0, 9)), max_size=8
    )
)
def test_no_rule_changes_a_bit_of_any_number(steps):
    """Zeros may change their sign, which these operations cannot tell."""

    def function(x, y):
        numbers = [x, y, *(jnp.full_like(x, c) for c in (1, 0, -1, 2, jnp.inf, jnp.nan))]
        for name, i, j in steps:
            numbers.append(BINARY[name](numbers[i % len(numbers)], numbers[j % len(numbers)]))
        return numbers[-1]

    x, y = map(jnp.asarray, (VALUES, VALUES[::-1]))
    np.testing.assert_array_equal(to_lanes(trace(function, 1.0, 1.0))(x, y), function(x, y))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: lax.fori_loop(0, 4, lambda i, y: y * x + i, x),
        lambda x: lax.scan(lambda c, a: (c + a, c * a), 0.5, x),
        lambda x: lax.scan(lambda c, a: (c + a, (c, a)), 0.5, x, reverse=True),
        lambda x: lax.while_loop(lambda c: c[0] < 5, lambda c: (c[0] + 2, c[1] * x), (0, x)),
        lambda x: lax.fori_loop(0, 3, lambda i, s: s + x[i] * i, 0.0),
        lambda x: lax.cond(x[0] > 0, jnp.sin, jnp.cos, x),
        lambda x: lax.cond(x[0] < 0, jnp.sin, jnp.cos, x),
        lambda x: [lax.switch(jnp.int32(c + 4 * (x[0] > 9)), [jnp.sin, jnp.cos, jnp.exp], x) for c in (-4, 0, 1, 2, 5)],
        lambda x: lax.select_n(jnp.array([0, 1, 2]) + 3 * (x > 9), x, 2 * x, 3 * x),
        lambda x: lax.select_n(jnp.int32(x > 0), x, 2 * x, 3 * x),
        jax.checkpoint(jnp.sin), jax.nn.relu, jax.nn.softplus, jax.nn.softmax, jax.nn.logsumexp,
        jax.grad(lambda x: jax.nn.softplus(x) @ x),
    ],
)  # fmt: skip
def test_calls_loops_and_branches_are_written_out(engine, function):
    assert_program_computes(engine, function, X)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x[jnp.array([2, 0, 0])], jax.grad(lambda x: jnp.sum(x[jnp.array([2, 0, 0])] ** 3)),
        lambda x: x.at[1].set(x[0]),
        lambda x: lax.dynamic_slice(x, [2], [2]), lambda x: lax.dynamic_update_slice(x, x[:2], [1]),
        lambda x: lax.pad(x, 9.0, [(-1, 2, 1)]), lambda x: jnp.split(x, [1]), jnp.flip,
        lambda x: jnp.concatenate([x, jnp.ones(1), x]), lambda x: jnp.stack([x, 2 * x], 1).T,
        lambda x: jnp.outer(x, x) @ x, lambda x: jnp.einsum("bij,bjk->ikb", x.reshape(3, 1, 1), x.reshape(3, 1, 1)),
        lambda x: x[:0] @ x[:0], lambda x: jnp.tile(x, 2), jnp.sum, jnp.prod, jnp.max, jnp.min, jnp.mean, jnp.cumprod, lax.cummax,
        lambda x: lax.cumsum(jnp.outer(x, x[:2]), 0, reverse=True), lambda x: lax.cumsum(jnp.outer(x, x[:2]), 1), lambda x: jnp.outer(x, x).sum(0),
        lambda x: jnp.all(x < 3) | jnp.any(x > 3) ^ (x[0] != 3), lambda x: jnp.clip(x, -1, 1),
        lambda x: jnp.linalg.norm(x), jnp.var, lambda x: x.astype(jnp.float32) * 0.1,
        lambda x: x[0] * jnp.sort(jnp.array([2.0, 1.0])),
    ],
)  # fmt: skip
def test_arrays_are_moved_and_summed_as_jax_does(engine, function):
    assert_program_computes(engine, function, X)


REFUSALS = {
    "sorting": (jnp.sort, "`sort` of JAX has no translation into scalars; use arithmetic, "),
    "a random number": (
        lambda x: jax.random.normal(jax.random.fold_in(jax.random.key(0), jnp.int32(x[0]))),
        "`random_seed` of JAX has no translation .*; leave the random numbers out",
    ),
    "a loop on values": (
        lambda x: lax.while_loop(lambda x: x[0] < 9, lambda x: 2 * x, x),
        "`while with a condition on values` .*; use jax.lax.fori_loop with a known number",
    ),
    "an index": (
        lambda x: x[jnp.int32(x[0])],
        "`dynamic_slice with indices that depend on values` .*; index by known numbers, or choose",
    ),
    "an index outside": (
        lambda x: x.at[jnp.array([7])].get(mode="fill"),
        "`gather outside of an array` .*; index inside of it",
    ),
    "a long scan": (
        lambda x: lax.fori_loop(0, 30, lambda i, x: x, x),
        "`scan with 30 repetitions` .*; use at most 20",
    ),
    "a long loop": (
        lambda x: lax.while_loop(lambda i: i < 30, lambda i: i + 1, 0),
        "`while with more than 20 repetitions` .*; use fewer repetitions",
    ),
    "a long program": (
        lambda x: jnp.outer(x, jnp.arange(50.0)),
        "more than 100 operations on scalars; use fewer coordinates, less data or fewer",
    ),
}  # fmt: skip


@pytest.mark.parametrize("function, message", REFUSALS.values(), ids=REFUSALS)
def test_what_has_no_translation_is_refused_by_name(function, message, monkeypatch):
    monkeypatch.setattr("dynopt.scalar.tracing.MAX_REPETITIONS", 20)
    monkeypatch.setattr("dynopt.scalar.program.MAX_OPERATIONS", 100)
    with pytest.raises(InvalidValue, match=message):
        trace(function, X)


def test_other_dtypes_are_refused_by_name():
    with pytest.raises(InvalidType, match=r"`complex` of JAX returns complex128, .* by \.astype"):
        trace(lambda x: lax.complex(x, x), X)
    with pytest.raises(InvalidType, match=r"an argument has the dtype float16, .* by \.astype"):
        trace(jnp.sum, X.astype(np.float16))


def test_a_value_from_outside_must_be_known():
    with pytest.raises(InvalidValue, match="traced outside of it, .*; pass this value as an arg"):
        jax.jit(lambda c: to_lanes(trace(lambda x: c * x, 1.0))(X))(2.0)
    product = jax.jit(lambda c: to_lanes(trace(jnp.multiply, c, 1.0))(jnp.full(3, c), X))(2.0)
    np.testing.assert_array_equal(product, 2 * X)


@pytest.mark.parametrize(
    "remedy",
    [
        lambda x: jnp.where(x[0] < x[1], x[::-1], x),
        lambda x: lax.fori_loop(0, 5, lambda i, x: jnp.where(x[0] < 9, 2 * x, x), x),
        lambda x: jnp.where(jnp.int32(x[0]) == 0, x[0], x[1]),
        lambda x: lax.fori_loop(0, 20, lambda i, x: x, x),
    ],
)  # fmt: skip
def test_the_remedies_are_translated(engine, remedy, monkeypatch):
    monkeypatch.setattr("dynopt.scalar.tracing.MAX_REPETITIONS", 20)
    assert_program_computes(engine, remedy, X)


def test_a_program_prints_its_sizes():
    assert repr(trace(lambda x: x + 1, X)) == "Program(inputs=3, operations=3, outputs=3)"


def test_the_caller_may_limit_the_operations_and_the_arrays():
    assert len(trace(lambda x: x * jnp.arange(1.0, 4.0), 1.0, max_operations=3).operations) == 2
    with pytest.raises(InvalidValue, match="more than 3 operations on scalars; use fewer coord"):
        trace(lambda x: jnp.sin(jnp.cos(jnp.sin(jnp.cos(x)))), 1.0, max_operations=3)
    with pytest.raises(InvalidValue, match="more than 3 operations on scalars; use fewer coord"):
        trace(lambda x: (x * jnp.arange(1.0, 5.0))[0], 1.0, max_operations=3)
