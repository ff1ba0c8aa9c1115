"""One clear sentence for each wrong hyperparameter: what was given, what is allowed, what to type next."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dynopt import (
    SGD,
    Accumulated,
    AdaGrad,
    Adam,
    AdamW,
    Lion,
    Momentum,
    Muon,
    Nesterov,
    RMSprop,
    Signum,
)
from dynopt.errors import DynoptError, InvalidType, InvalidValue, UnknownName
from dynopt.optimizers import catalogue

every_page = pytest.mark.parametrize("cls", catalogue.values(), ids=catalogue)


@every_page
@pytest.mark.parametrize(
    ("rate", "error", "words"),
    [
        (10**400, InvalidValue, "`learning_rate` must be finite, got inf"),
        (0, InvalidValue, "`learning_rate` is 0: nothing would move; use a positive number"),
        (-0.1, InvalidValue, "`learning_rate` is -0.1, which climbs the loss; .* negate the loss"),
        (float("nan"), InvalidValue, "`learning_rate` must be finite, got nan"),
        (float("inf"), InvalidValue, "`learning_rate` must be finite, got inf"),
        ("0.1", InvalidType, "must be a number, got the text '0.1'; remove the quotes"),
        (None, InvalidType, "`learning_rate` is required, got None"),
        (True, InvalidType, "must be a real number, got True"),
        (1j, InvalidType, "must be a real number, got 1j"),
        ({}, InvalidType, "must be a number, got {}"),
        (np.array([0.1, 0.2]), InvalidType, r"must be one number, got shape \(2,\); .*filter_vmap"),
        (lambda k: 0.1, InvalidType, "got a schedule"),
    ],
)
def test_wrong_learning_rates(cls, rate, error, words):
    with pytest.raises(error, match=words) as caught:
        cls(rate)
    assert isinstance(caught.value, DynoptError)
    assert "\n" not in str(caught.value)


@every_page
def test_whole_numbers_and_numpy_scalars_are_numbers(cls):
    for one in (1, np.float32(1), np.int64(1), jnp.array(1)):
        assert repr(cls(one)) == repr(cls(1.0))


@pytest.mark.parametrize("make", [lambda b: Momentum(0.1, b), lambda b: RMSprop(0.1, b), lambda b: Adam(0.1, b), lambda b: Adam(0.1, 0.9, b)])  # fmt: skip
@pytest.mark.parametrize(
    ("rate", "error", "words"),
    [
        (1.0, InvalidValue, r"is 1, which is outside \[0, 1\); 1 never forgets"),
        (1.5, InvalidValue, r"is 1.5, which is outside \[0, 1\)"),
        (-0.5, InvalidValue, r"is -0.5, which is outside \[0, 1\)"),
        (float("nan"), InvalidValue, "must be finite"),
        ("0.9", InvalidType, "remove the quotes"),
        (None, InvalidType, "is required"),
    ],
)
def test_wrong_decays(make, rate, error, words):
    with pytest.raises(error, match=words):
        make(rate)


@pytest.mark.parametrize("cls", [RMSprop, Adam])
def test_negative_eps(cls):
    with pytest.raises(InvalidValue, match=r"`eps` is -1, which is outside \[0, inf\)"):
        cls(0.1, eps=-1)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (
            lambda: AdamW(0.1, weight_decay=-1),
            InvalidValue,
            r"`weight_decay` is -1, which is outside \[0, inf\)",
        ),
        (
            lambda: AdaGrad(0.1, -1.0),
            InvalidValue,
            "`initial_accumulator_value` is -1, which is outside",
        ),
        (lambda: Lion(0.1, smoothing=-1), InvalidValue, "`smoothing` is -1, which is outside"),
        (
            lambda: Signum(0.1, beta=1),
            InvalidValue,
            "`beta` is 1, which is outside .* 1 never forgets",
        ),
        (lambda: Muon(0.1, exact="yes"), InvalidType, "`exact` must be True or False, got 'yes'"),
        (
            lambda: Nesterov.strongly_convex(0.1, 0.0),
            InvalidValue,
            "`curvature` is 0; use a positive number",
        ),
        (
            lambda: Nesterov.strongly_convex(0.1, 20.0),
            InvalidValue,
            "`momentum` is -0.17.*, which is outside",
        ),
        (
            lambda: Accumulated(SGD(0.1), 0),
            InvalidValue,
            "`k` must be a whole number of at least 1, got 0",
        ),
        (lambda: Accumulated(SGD(0.1), "4"), InvalidType, "`k` must be a whole number, got '4'"),
    ],
)
def test_options_of_single_pages(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_a_corrected_start_must_be_cold():
    with pytest.raises(
        InvalidValue, match="`bias_correction` corrects a start from 0, got `initial_scale` = 0.5"
    ):
        RMSprop(0.1, initial_scale=0.5, bias_correction=True)


def test_bias_correction_is_a_boolean():
    with pytest.raises(InvalidType, match="`bias_correction` must be True or False, got 'no'"):
        RMSprop(0.1, bias_correction="no")


@pytest.mark.parametrize(
    ("cls", "option", "words"),
    [
        (Adam, {"beta1": 0.8}, "no option of Adam 'beta1'; did you mean b1"),
        (Adam, {"betas": (0.8, 0.9)}, "no option of Adam 'betas'; did you mean b1"),
        (SGD, {"lr": 0.1}, "no option of SGD 'lr'; did you mean learning_rate"),
        (RMSprop, {"rho": 0.8}, "no option of RMSprop 'rho'; did you mean decay"),
        (Momentum, {"mu": 0.8}, "no option of Momentum 'mu'; did you mean momentum"),
        (SGD, {"b2": 0.8}, "no option of SGD 'b2'. Known: learning_rate"),
        (Adam, {"epsilon": 1e-8}, "no option of Adam 'epsilon'; did you mean eps"),
    ],
)
def test_options_of_other_libraries_and_other_pages(cls, option, words):
    with pytest.raises(UnknownName, match=words):
        cls(0.1, **option)


@pytest.mark.parametrize("optimizer", [RMSprop(0.01), Adam(0.01)], ids=repr)
def test_a_step_longer_than_the_memory_is_refused(optimizer):
    with pytest.raises(
        InvalidValue,
        match="the step `h` = 0.2 is longer than the memory time `tau1?` = 0.1; use h <= 0.1",
    ):
        optimizer.with_time_step(0.2)


@every_page
@pytest.mark.parametrize("n", [0, -2, float("nan"), "2"])
def test_refinements_must_be_positive(cls, n):
    with pytest.raises((InvalidValue, InvalidType)):
        cls(0.1).refine(n)


@every_page
def test_a_known_array_inside_jit_is_still_a_known_number(cls):
    rate = jnp.array(0.25)
    assert jax.jit(lambda: cls(rate).h)() == cls(0.25).h


@every_page
def test_traced_hyperparameters_are_accepted(cls):
    assert jax.jit(lambda r: cls(r).h)(0.25) == cls(0.25).h
    assert np.isfinite(jax.grad(lambda r: cls(r).h)(0.25))
