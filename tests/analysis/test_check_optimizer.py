"""Every optimizer of dynopt keeps the contract, and a stranger that breaks a part of it is told which."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jaxtyping import Array

import dynopt
from dynopt import (
    SGD,
    Accumulated,
    Adam,
    Averaged,
    Layerwise,
    Memoryless,
    Modified,
    Momentum,
    Optax,
    Problem,
    Schedule,
    WithGradient,
    check_optimizer,
    problems,
)
from dynopt.analysis.contract import PARTS
from dynopt.errors import InvalidType, InvalidValue
from dynopt.optimizers import AbstractOptimizer, catalogue
from dynopt.optimizers.base import Regularity

BY_NAME = {
    "an optimizer by optax": Optax(lambda h: optax.adabelief(h, b1=1 - h / 0.1, b2=1 - h), 0.01),
    "memoryless": Memoryless(Momentum(0.01)),
    "modified": Modified(Momentum(0.01)),
    "a schedule": Schedule(Momentum(0.01), optax.cosine_decay_schedule(1.0, 100, 0.1)),
    "averaged": Averaged(Adam(0.01), 0.2),
    "accumulated": Accumulated(SGD(0.01), 3),
    "a changed gradient": WithGradient(Momentum(0.01), lambda g: jnp.tanh(g)),
    "a wrapper around optax": Averaged(Optax(lambda h: optax.sgd(h), 0.01), 0.2),
}
layers = Problem(
    lambda x: (x["a"] ** 2).sum() + 2 * (x["b"] ** 4).sum() + x["a"][0] * x["b"],
    {"a": np.array([1.0, -0.5]), "b": np.array(0.7)},
    name="layers",
)
data = Problem(
    lambda x, data: ((data - x) ** 2).mean(), 1.0, data=np.linspace(-1, 1, 12), name="data"
)


@pytest.mark.parametrize("name", catalogue)
def test_every_optimizer_of_the_catalogue_keeps_the_contract(name):
    result = check_optimizer(catalogue[name](0.01))
    assert result and not result.failures, result
    statuses = {finding.part: finding.status for finding in result.findings}
    assert list(statuses) == list(PARTS)
    unchecked = {"order"} if name in ("signum", "lion") else set()
    assert {part for part, status in statuses.items() if status == "not checked"} == unchecked


@pytest.mark.parametrize("optimizer", BY_NAME.values(), ids=BY_NAME)
def test_optax_and_the_wrappers_keep_the_contract(optimizer):
    result = check_optimizer(optimizer)
    assert result and not result.failures, result


@pytest.mark.parametrize(
    "optimizer, problem",
    [
        (Layerwise(Momentum(0.01), {"b": 2.0}), layers),
        (Accumulated(Momentum(0.01), 4), data),
        (WithGradient(Accumulated(SGD(0.01), 3), jnp.tanh), data),
    ],
    ids=["layers", "parts of data", "every part changed"],
)
def test_a_problem_may_be_chosen_that_fits_the_optimizer(optimizer, problem):
    result = check_optimizer(optimizer, problem)
    assert result and not result.failures, result


# --- strangers


class Point(NamedTuple):
    x: Array
    m: Array


class Stranger(AbstractOptimizer[Point]):
    """Momentum as a running mean, written from scratch; each class below breaks one part of it."""

    h: float
    tau: float

    def __init__(self, learning_rate, beta=0.9):
        self.h = learning_rate
        self.tau = learning_rate / (1 - beta)

    learning_rate = property(lambda self: self.h)
    beta = property(lambda self: 1 - self.h / self.tau)

    def init(self, x, grad):
        return Point(x, jnp.zeros_like(x))

    def step(self, t, y, grad):
        m = y.m + self.h / self.tau * (grad(y.x) - y.m)
        return Point(y.x - self.h * m, m)

    def vector_field(self, t, y, grad):
        return Point(-y.m, (grad(y.x) - y.m) / self.tau)


class PlainTuple(Stranger):
    def init(self, x, grad):
        return x, jnp.zeros_like(x)


class MemoryFirst(Stranger):
    class Swapped(NamedTuple):
        m: Array
        x: Array

    def init(self, x, grad):
        return self.Swapped(jnp.zeros_like(x), x)


class WholeTimeStep(Stranger):
    def __init__(self, learning_rate, beta=0.9):
        super().__init__(learning_rate, beta)
        self.h = 1


class NumberForMemory(Stranger):
    def init(self, x, grad):
        return Point(x, 0.0)


class Elsewhere(Stranger):
    def init(self, x, grad):
        return Point(x - self.h * grad(x), jnp.zeros_like(x))


class OtherState(Stranger):
    def vector_field(self, t, y, grad):
        return tuple(super().vector_field(t, y, grad))


class SummedMemory(Stranger):
    def step(self, t, y, grad):
        y = super().step(t, y, grad)
        return y._replace(m=y.m.sum())


class Diverging(Stranger):
    def step(self, t, y, grad):
        return Point(y.x / 0, y.m)


class Raising(Stranger):
    def vector_field(self, t, y, grad):
        raise KeyError("friction")


class DoublePrecision(Stranger):
    def step(self, t, y, grad):
        y = super().step(t, y, grad)
        return y._replace(m=y.m * jnp.ones((), "float64"))


class SinglePrecision(Stranger):
    def init(self, x, grad):
        return Point(x, jnp.zeros(x.shape, "float32"))


class Restless(Stranger):
    def step(self, t, y, grad):
        y = super().step(t, y, grad)
        return y._replace(x=y.x + 1e-3)


class Uphill(Stranger):
    def vector_field(self, t, y, grad):
        y = super().vector_field(t, y, grad)
        return y._replace(x=-y.x)


class FixedDecay(Stranger):
    """It stores the decay rate, so that its memory time shrinks with the time step."""

    decay: float

    def __init__(self, learning_rate, beta=0.9):
        super().__init__(learning_rate, beta)
        self.decay = beta

    beta = property(lambda self: self.decay)

    def step(self, t, y, grad):
        m = self.beta * y.m + (1 - self.beta) * grad(y.x)
        return Point(y.x - self.h * m, m)

    def vector_field(self, t, y, grad):
        return Point(-y.m, (1 - self.beta) / self.h * (grad(y.x) - y.m))


class ScaledTimeStep(Stranger):
    def with_time_step(self, h):
        return super().with_time_step(2 * h)


class WrongRate(Stranger):
    learning_rate = property(lambda self: 2 * self.h)


class SilentlyOther(Stranger):
    """It prints as the optimizer that is made again, which is another one."""

    def hyperparameters(self):
        return {"learning_rate": self.h, "beta": 0.5}

    def __repr__(self):
        return "SilentlyOther(...)"


class Leafless(Stranger):
    def for_leaves(self, x0):
        raise KeyError("w")


class NoOptimizerForLeaves(Stranger):
    def for_leaves(self, x0):
        pass


class NoRegularity(Stranger):
    regularity = None


class Unprintable(Stranger):
    def __repr__(self):
        raise AttributeError("no name")


class WrongTwin(Stranger):
    def optax(self):
        return optax.sgd(self.h)


class DeclaredSecondOrder(Stranger):
    regularity = property(lambda self: Regularity(order=2.0))


class Midpoint(SGD):
    """Second order, which it does not declare."""

    def step(self, t, y, grad):
        return type(y)(y.x - self.h * grad(y.x - self.h / 2 * grad(y.x)))

    optax = AbstractOptimizer.optax


BROKEN = [
    (PlainTuple, "state", "`init` returns tuple, but a point of phase space must be a NamedTuple whose first field is `x`."),
    (MemoryFirst, "state", "`init` returns Swapped, but a point of phase space must be a NamedTuple whose first field"),
    (WholeTimeStep, "state", "`h` must be a float or a scalar array of floats, got 1."),
    (NumberForMemory, "state", "the field `m` of `init` must be an array, got 0.0."),
    (Elsewhere, "state", "`init` does not start at the position `x` that it was given."),
    (OtherState, "state", "`vector_field` returns tuple, but `init` returns Point; return a point of the same"),
    (SummedMemory, "state", "`step` returns the field `m` of shape (), but that of `init` has shape (2,); return a field"),
    (Diverging, "state", "the map on booth is not finite after 1 steps; use a smaller learning rate"),
    (Raising, "state", "the optimizer raises KeyError: 'friction'"),
    (DoublePrecision, "dtype", "`step` returns the field `m` in float64 for a position in float32; use Python"),
    (SinglePrecision, "dtype", "`init` returns the field `m` in float32 for a position in float64; use Python"),
    (Restless, "identity", "with h = 0 a step changes the field `x` by 0.001; every change must go to 0 with `h`."),
    (Uphill, "limit", "the vector field differs by "),
    (FixedDecay, "time step", "with_time_step(h/2) changes the vector field by "),
    (ScaledTimeStep, "time step", "with_time_step(h) must return the same optimizer with the time step `h`."),
    (WrongRate, "hyperparameters", "made again from its hyperparameters it is WrongRate(learning_rate=0.04, "),
    (SilentlyOther, "hyperparameters", "made again from its hyperparameters its step differs by "),
    (Leafless, "state", "the optimizer raises KeyError: 'w'"),
    (NoOptimizerForLeaves, "state", "`for_leaves` returns NoneType; return an optimizer, such as self."),
    (NoRegularity, "state", "`regularity` must be a dynopt.optimizers.regularity.Regularity, got None; leave it out"),
    (Unprintable, "hyperparameters", "the optimizer raises AttributeError: no name"),
    (WrongTwin, "twin", "after 1 steps the transformation of optax and the map differ by "),
    (DeclaredSecondOrder, "order", "the global error on booth goes to 0 as h^1.0"),
    (Midpoint, "order", "the global error on booth goes to 0 as h^2.0"),
]  # fmt: skip


def test_a_stranger_that_keeps_the_contract_passes_without_a_twin():
    result = check_optimizer(Stranger(0.01))
    assert result and repr(result) == (
        "Stranger(learning_rate=0.01, beta=0.9) keeps the contract of an optimizer, as checked on "
        "booth.\n"
        "- These parts hold: state, dtype, identity, limit, time step, hyperparameters, order.\n"
        "- twin was not checked: it defines no `optax()`."
    )


@pytest.mark.parametrize("kind, part, sentence", BROKEN, ids=[kind.__name__ for kind, *_ in BROKEN])
def test_a_stranger_that_breaks_a_part_is_told_which_and_how(kind, part, sentence, as_users_see_it):
    result = check_optimizer(kind(0.01))
    assert not result and sentence in result.failures[part], result
    assert f"- {part} fails: " in repr(result) and "breaks the contract" in repr(result)
    assert {f.part for f in result.findings if f.status == "fails"} == set(result.failures)
    if part == "state":
        unchecked = {f.part for f in result.findings if f.status == "not checked"}
        assert unchecked >= set(PARTS) - {"state", "hyperparameters"}
    if kind in (
        Restless,
        WrongTwin,
        DoublePrecision,
        Unprintable,
    ):  # one broken part does not break the others
        assert set(result.failures) == {part}
        assert "- order was not checked: it is measured once all other parts hold." in repr(result)


def test_an_optimizer_that_does_not_keep_its_arguments_is_not_made_again():
    class Forgetful(SGD):
        def __init__(self, gain):
            self.h = gain

        learning_rate = property(lambda self: self.h)

    (finding,) = (
        f for f in check_optimizer(Forgetful(0.01)).findings if f.part == "hyperparameters"
    )
    assert finding.status == "not checked"
    assert finding.sentence == "the optimizer does not keep its argument `gain`."


def test_hyperparameters_in_float32_break_no_contract():
    """A memory time in float32 gives the decay rate 0.999 to five digits only."""
    assert check_optimizer(Adam(jnp.float32(0.01)))


def test_throw_raises_the_sentences_as_one_error():
    with pytest.raises(InvalidValue, match=r"(?s)Uphill\(.*breaks the contract.*- limit fails: in"):
        check_optimizer(Uphill(0.01), throw=True)
    assert check_optimizer(SGD(0.01), throw=True)


def test_float64_is_used_whatever_jax_is_set_to():
    with jax.enable_x64(False):
        assert check_optimizer(Momentum(1e-4), problems.rosenbrock())
        assert jnp.zeros(1).dtype == jnp.float32


def test_it_stands_at_the_front_door_and_refuses_what_is_no_optimizer(as_users_see_it):
    assert dynopt.check_optimizer is dynopt.analysis.check_optimizer
    with pytest.raises(InvalidType, match="`optimizer` must be an optimizer of dynopt"):
        check_optimizer(optax.sgd(0.1))
    with pytest.raises(InvalidType, match="`problem` must be a dynopt.Problem"):
        check_optimizer(SGD(0.1), problems.booth().loss)
    with pytest.raises(InvalidType, match="`throw` must be True or False, got 'yes'"):
        check_optimizer(SGD(0.1), throw="yes")


@pytest.mark.parametrize("run", [dynopt.iterate, dynopt.integrate, dynopt.sweep])
@pytest.mark.parametrize("kind, returned", [(PlainTuple, "tuple"), (MemoryFirst, "Swapped")])
def test_a_run_tells_a_stranger_what_a_point_of_phase_space_is(run, kind, returned):
    sentence = f"`init` returns {returned}, but a point of phase space must be a NamedTuple whose"
    with pytest.raises(InvalidType, match=f"{sentence} first field is `x`.*check_optimizer"):
        run(kind(0.01), problems.booth(), 3)
