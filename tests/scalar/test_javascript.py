"""Programs in JavaScript: a browser computes the numbers of JAX."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from jax import lax

from dynopt import Momentum
from dynopt.errors import InvalidValue
from dynopt.scalar import opaque_gradient, to_javascript, trace

REALS = np.array(
    [-np.inf, -3.0, -2.5, -1.5, -1.0, -0.5, -0.49999999999999994, -0.0, 0.0, 0.25, 0.5]
    + [0.49999999999999994, 1.0, 1.5, 2.5, 4.0, 1e15 + 0.5, 2.0**52 + 1, 1e200, np.inf, np.nan]
)
INTEGERS = np.array([-(2**31), -7, -2, -1, 0, 1, 2, 5, 9, 2**31 - 1])
BOOLEANS = np.array([False, True])


def away(x):
    return lax.round(x, lax.RoundingMethod.AWAY_FROM_ZERO)


# What rounds in one way only, and functions whose last bits each library has its own.
EXACT = [
    jnp.abs,
    jnp.negative,
    jnp.sign,
    jnp.floor,
    jnp.ceil,
    jnp.round,
    away,
    jnp.sqrt,
    jnp.isfinite,
    jnp.square,
]
SMOOTH = [
    jnp.exp, jnp.exp2, jnp.expm1, jnp.log, jnp.log1p, jnp.sin, jnp.cos, jnp.tan, jnp.tanh, jnp.sinh, jnp.cosh,
    jnp.arcsin, jnp.arccos, jnp.arctan, jnp.arcsinh, jnp.arccosh, jnp.arctanh, jnp.cbrt, lax.rsqrt, lax.logistic,
]  # fmt: skip
ARITHMETIC = [jnp.add, jnp.subtract, jnp.multiply, jnp.maximum, jnp.minimum]
COMPARISONS = [jnp.equal, jnp.not_equal, jnp.less, jnp.greater, jnp.less_equal, jnp.greater_equal]
LOGIC = [jnp.logical_and, jnp.logical_or, jnp.logical_xor, lambda a, b: ~a, jnp.equal]
BITS = [jnp.bitwise_and, jnp.bitwise_or, jnp.bitwise_xor, lambda a, b: ~a]


def assert_engine_computes(engine, functions, *columns, rtol=0.0):
    """On each row of the columns V8 has the numbers of JAX, the sign of zero included."""

    def all_of(*row):
        return [function(*row) for function in functions]

    engine.read(to_javascript(trace(all_of, *(column[0] for column in columns)), "all_of"))
    got = np.array([engine.call("all_of", *row) for row in zip(*columns, strict=True)]).T
    for function, numbers, right in zip(
        functions, got, all_of(*map(jnp.asarray, columns)), strict=True
    ):
        name = getattr(function, "__name__", "")
        right = np.asarray(right, float)
        np.testing.assert_allclose(numbers, right, rtol=rtol, err_msg=name)
        if not rtol:
            np.testing.assert_array_equal(
                np.signbit(numbers), np.signbit(right) & ~np.isnan(right), name
            )


def pairs(values):
    a, b = (np.ravel(c) for c in np.meshgrid(values, values))
    return a, b


def test_functions_of_one_number_are_those_of_jax(engine):
    assert_engine_computes(engine, [*EXACT, lambda x: x - (-2.0), lambda x: x * -0.0], REALS)
    assert_engine_computes(engine, SMOOTH, REALS[np.abs(REALS) != 1e15 + 0.5], rtol=1e-14)


def test_arithmetic_is_that_of_jax_also_at_infinity_and_nan(engine):
    assert_engine_computes(engine, [*ARITHMETIC, jnp.divide, *COMPARISONS], *pairs(REALS))
    finite = pairs([-2.5, -1.0, 0.5, 1.0, 3.0, np.inf])
    assert_engine_computes(engine, [lax.rem, lambda a, b: jnp.where(a < b, a, b)], *finite)
    assert_engine_computes(
        engine, [lambda a, b: lax.clamp(a, b, 1.5)], *pairs([-1.0, 0.5, 2.0, np.nan])
    )


def test_powers_are_those_of_ieee_754(engine):
    numbers = [-np.inf, -2.0, -1.0, 0.0, 0.5, 1.0, 2.0, np.inf, np.nan]
    assert_engine_computes(engine, [jnp.power], *pairs(numbers), rtol=1e-15)
    assert_engine_computes(engine, [jnp.arctan2], *pairs(numbers), rtol=1e-15)


def test_booleans_and_integers_are_exact_and_wrap(engine):
    assert_engine_computes(engine, LOGIC, *pairs(BOOLEANS))
    functions = [
        *ARITHMETIC,
        *COMPARISONS,
        lax.div,
        lax.rem,
        lambda a, b: -a,
        lambda a, b: jnp.sign(a),
    ]
    assert_engine_computes(engine, [*functions, *BITS], *pairs(INTEGERS.astype(np.int32)))
    assert_engine_computes(engine, functions, *pairs(INTEGERS[1:-1]))


def casts(*dtypes):
    return [lambda x, dtype=dtype: x.astype(dtype) for dtype in dtypes]


def test_casts_are_those_of_jax(engine):
    real = [bool, jnp.int32, jnp.float32]
    assert_engine_computes(engine, casts(*real), REALS)
    assert_engine_computes(engine, casts(*real), REALS[np.abs(REALS) < 9].astype(np.float32))
    assert_engine_computes(engine, casts(jnp.int64), REALS[~(np.abs(REALS) > 2**53)])
    whole = [*real, jnp.int64, jnp.float64]
    assert_engine_computes(engine, casts(*whole), np.append(INTEGERS, [2**40 + 1, -(2**33)]))
    assert_engine_computes(engine, casts(*whole), INTEGERS.astype(np.int32))
    assert_engine_computes(engine, casts(*whole), BOOLEANS)


def test_single_precision_is_rounded_after_each_operation(engine):
    numbers = np.array([0.1, -2.7, 1e-15, 3e30, 1 / 3], np.float32)
    assert_engine_computes(
        engine, [*ARITHMETIC[:3], jnp.divide, lambda a, b: a * b + a / b], *pairs(numbers)
    )


def test_without_double_precision_all_is_rounded_to_single(engine):
    with jax.enable_x64(False):
        momentum, x = Momentum(0.01), jnp.array([0.5, -0.3])
        y = momentum.init(x, lambda x: x)
        step = trace(lambda t, y: momentum.step(t, y, opaque_gradient), 0.02, y)
        right = np.ravel(momentum.step(0.02, y, lambda x: x**2))
    assert {operation.dtype.name for operation in step.operations} == {"float32"}
    engine.read(to_javascript(step, "step"))
    got = engine.call("step", 0.02, y, gradients="[x => x.map(x => Math.fround(x * x))]")
    np.testing.assert_array_equal(got, got.astype(np.float32))
    np.testing.assert_allclose(got, right, rtol=3e-7)


@settings(max_examples=100, deadline=None)
@given(st.floats() | st.floats(width=32) | st.integers(-(2**53) + 1, 2**53 - 1))
def test_a_literal_is_read_back_to_the_bit(engine, number):
    engine.read(to_javascript(trace(lambda: np.asarray(number)), "number"))
    (read,) = engine.call("number")
    np.testing.assert_array_equal(read, number)
    assert np.isnan(number) or np.signbit(read) == np.signbit(number)


def test_an_argument_is_a_number_or_the_list_of_its_numbers(engine):
    def function(number, pair, tree):
        return {"b": number * pair, "a": tree["m"].T + tree["n"][0]}

    arguments = (
        2.0,
        np.array([3.0, 4.0]),
        {"n": (np.array(0.5),), "m": np.arange(4.0).reshape(2, 2)},
    )
    engine.read(to_javascript(trace(function, *arguments), "function_"))
    right = [0.5, 2.5, 1.5, 3.5, 6, 8]
    np.testing.assert_array_equal(engine.call("function_", *arguments), right)
    assert (
        to_javascript(trace(lambda x: -x, 1.0), "f") == "function f($0){\nconst a=-$0;\nreturn a}"
    )
    assert to_javascript(trace(lambda x: x, [1.0]), "f") == "function f($0){\nreturn [$0[0]]}"


def test_a_program_of_many_operations_has_no_name_twice_and_no_reserved_one(engine):
    text = to_javascript(trace(lambda x: jnp.cumsum(jnp.full(700, x)), 1.0), "sums")
    names = re.findall(r"^(?:const )?(\w+)=", text, re.MULTILINE)
    assert len(set(names)) == len(names) == 699 and not {"do", "if", "in"} & set(names)
    engine.read(text)
    np.testing.assert_array_equal(engine.call("sums", 0.5), 0.5 * np.arange(1, 701))


def test_the_same_function_gives_the_same_bytes():
    def text():
        function = jax.value_and_grad(
            lambda x: jnp.sum(jnp.sin(x) * jnp.array([1.0, 2.0])) / (x @ x)
        )
        return to_javascript(trace(function, jnp.ones(2)), "f")

    assert text() == text()


@pytest.mark.parametrize("name", ["", "2x", "a b", "f(){}//", "ñ", "return", "Math", "x\n"])
def test_names_that_javascript_does_not_have_are_refused(name):
    with pytest.raises(InvalidValue, match='use letters, digits and _, such as "step"'):
        to_javascript(trace(lambda x: x, 1.0), name)
    assert to_javascript(trace(lambda x: x, 1.0), "step").startswith("function step(")


@pytest.mark.parametrize(
    "function, message",
    [
        (lax.erf, "no operation `erf` for float64; write it with arithmetic"),
        (lambda x: x.astype(int) & 3, "no operation `and` for int64"),
        (lambda x: x.astype(int) + 2**60, r"integer 1152921504606846976, .* use floating-point"),
    ],
)  # fmt: skip
def test_what_javascript_does_not_have_is_refused_by_name(function, message):
    program = trace(function, 1.0)
    with pytest.raises(InvalidValue, match=message):
        to_javascript(program, "f")
