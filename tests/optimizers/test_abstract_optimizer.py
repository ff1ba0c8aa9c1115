"""The abstract class: its few names, and optimizers of users, which define only what they must."""

from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

import dynopt
from dynopt import SGD, AbstractOptimizer, AdaGrad, Averaged
from dynopt.checks import Scalar
from dynopt.errors import DynoptError, InvalidType, InvalidValue, UnknownName
from dynopt.optimizers.base import format_hyperparameter, hyperparameter_defaults
from dynopt.optimizers.wrappers import AbstractWrapper


class OnlyPosition(NamedTuple):
    x: jnp.ndarray


class Descent(AbstractOptimizer[OnlyPosition]):
    """Gradient descent with a constructor of its own."""

    h: Scalar

    def init(self, x, grad):
        return OnlyPosition(x)

    def step(self, t, y, grad):
        return OnlyPosition(y.x - self.h * grad(y.x))

    def vector_field(self, t, y, grad):
        return OnlyPosition(-grad(y.x))


class ForgetsItsArguments(Descent):
    def __init__(self, rate_per_hour, cooling):
        self.h = rate_per_hour / 3600 * cooling


class RefusesToTell(Descent):
    def __init__(self, learning_rate, step, secret):
        self.h = learning_rate

    @property
    def learning_rate(self):
        return 1 / 0

    @property
    def secret(self):
        class NoRepr:
            def __repr__(self):
                raise RuntimeError("no text for this")

        return NoRepr()


class Unprintable(AbstractWrapper):
    optimizer: AbstractOptimizer
    secret: object = eqx.field(static=True)

    def wrap_step(self, step, t, y, grad):
        return step(t, y, grad)

    def vector_field(self, t, y, grad):
        return self.optimizer.vector_field(t, y, grad)


class TakesOptions(Descent):
    def __init__(self, learning_rate, **options):
        self.h = learning_rate / options["speed"]

    learning_rate = property(lambda self: self.h)


def test_the_abstract_class_has_at_most_eighteen_public_names():
    names = {*vars(AbstractOptimizer), *AbstractOptimizer.__annotations__}
    public = sorted(name for name in names if not name.startswith("_"))
    assert len(public) <= 18, public


def test_an_optimizer_that_keeps_no_arguments_runs_and_prints_their_names():
    optimizer = ForgetsItsArguments(360, cooling=0.5)
    assert repr(optimizer) == "ForgetsItsArguments(rate_per_hour=..., cooling=...)"
    assert optimizer.hyperparameters() == {}
    run = dynopt.iterate(optimizer, dynopt.problems.booth(), 3)
    same = dynopt.iterate(SGD(0.05), dynopt.problems.booth(), 3)
    np.testing.assert_array_equal(run.x, same.x)
    assert repr(Averaged(optimizer, 2.0)) == f"Averaged({optimizer!r}, tau=2)"


def test_no_attribute_makes_a_repr_fail():
    """Neither one that raises, nor a method of that name, nor a value without a repr."""
    optimizer = RefusesToTell(0.1, None, None)
    assert repr(optimizer) == "RefusesToTell(learning_rate=..., step=..., secret=...)"
    assert (
        repr(Unprintable(SGD(0.1), optimizer.secret))
        == "Unprintable(SGD(learning_rate=0.1), secret=...)"
    )
    half_made = object.__new__(AdaGrad)
    assert repr(half_made) == "AdaGrad(learning_rate=..., initial_accumulator_value=..., eps=...)"
    assert repr(object.__new__(Averaged)) == "Averaged(None)"
    still = AdaGrad(0.1).with_time_step(0.0)
    assert repr(still) == "AdaGrad(learning_rate=0, initial_accumulator_value=..., eps=...)"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1 - 0.1 / (0.1 / (1 - 0.9)), "0.9"),
        (np.float32(0.5), "0.5"),
        (jnp.array(3), "3"),
        (True, "True"),
        ("cosine", "'cosine'"),
        (None, "None"),
        (1j, "1j"),
        (np.zeros(2), "f64[2](numpy)"),
        (jnp.zeros((2, 3)), "f64[2,3]"),
    ],
)
def test_a_hyperparameter_is_printed_as_one_types_it(value, text):
    assert format_hyperparameter(value) == text


def test_a_constructor_may_take_any_keyword():
    assert TakesOptions(0.1, speed=2).h == 0.05
    with pytest.raises(UnknownName, match="no option of ForgetsItsArguments 'cool'; did you mean"):
        ForgetsItsArguments(360, cool=0.5)


def test_defaults_are_those_of_the_constructor():
    assert hyperparameter_defaults(SGD) == {"learning_rate": None}
    assert hyperparameter_defaults(AdaGrad) == {
        "learning_rate": None,
        "initial_accumulator_value": 0.1,
        "eps": 1e-7,
    }


class Deforms(Descent):
    """It returns from `step` and `vector_field` what it was given."""

    value: Any = eqx.field(static=True)

    def step(self, t, y, grad):
        return self.value(y)

    def vector_field(self, t, y, grad):
        return self.value(y)


@pytest.mark.parametrize("run", [dynopt.iterate, dynopt.integrate, dynopt.sweep])
@pytest.mark.parametrize(
    ("value", "says"),
    [
        (lambda y: y.x, "returns an array, but `init` returns OnlyPosition"),
        (lambda y: None, "returns NoneType, but"),
        (lambda y: OnlyPosition(y.x[:1]), r"field `x` of shape \(1,\), but that of `init` has"),
        (
            lambda y: OnlyPosition(y.x.astype("float32")),
            "turns float64 into float32; keep the dtype",
        ),
    ],
)
def test_a_step_or_a_vector_field_of_another_form_is_refused_before_the_run(run, value, says):
    """A field of shape (1,) would be broadcast to all coordinates."""
    method = "vector_field" if run is dynopt.integrate else "step"
    if "float32" in says and method == "vector_field":
        return  # the solver keeps the dtype
    with pytest.raises(InvalidType, match=f"`{method}` .*{says}.*check_optimizer"):
        run(Deforms(0.1, value), dynopt.problems.booth(), 3)


@pytest.mark.parametrize("h", [-0.1, "0.1", None, np.nan])
def test_an_optimizer_whose_time_step_is_none_is_refused(h):
    with pytest.raises(DynoptError, match="^`h` "):
        dynopt.iterate(Descent(h), dynopt.problems.booth(), 3)


def test_a_blank_name_is_refused():
    with pytest.raises(InvalidValue, match="`name` is ' ', which shows nothing; pass None for"):
        SGD(0.1).named(" ")


def test_twin_and_lyapunov_function_are_optional():
    optimizer = Descent(0.1)
    with pytest.raises(InvalidValue, match=r"no optax transformation is known for Descent\(h=0.1"):
        optimizer.optax()
    with pytest.raises(InvalidValue, match=r"no Lyapunov function is known for Descent\(h=0.1"):
        optimizer.lyapunov(0.0, OnlyPosition(jnp.zeros(2)), jnp.sum)
