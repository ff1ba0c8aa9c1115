"""One sentence for each wrong hyperparameter: what was given, what is allowed, what to type."""

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
    NAdam,
    Nesterov,
    RMSprop,
    Signum,
)
from dynopt.checks import decay_rate, positive
from dynopt.errors import DynoptError, InvalidType, InvalidValue, UnknownName
from dynopt.optimizers import catalogue

kinds = pytest.mark.parametrize("kind", catalogue.values(), ids=catalogue)


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
        (lambda k: 0.1, InvalidType, "got a schedule; .* wrap the optimizer in dynopt.Schedule"),
    ],
)
def test_a_learning_rate_is_one_positive_number(rate, error, words):
    with pytest.raises(error, match=words) as caught:
        positive("learning_rate", rate)
    assert isinstance(caught.value, DynoptError)
    assert "\n" not in str(caught.value)


@kinds
def test_every_optimizer_checks_its_learning_rate(kind):
    with pytest.raises(InvalidValue, match="`learning_rate` is 0: nothing would move"):
        kind(0)
    with pytest.raises(InvalidType, match="must be a number, got the text '0.1'"):
        kind("0.1")


@kinds
def test_whole_numbers_and_numpy_scalars_are_numbers(kind):
    for one in (1, np.float32(1), np.int64(1), jnp.array(1)):
        assert repr(kind(one)) == repr(kind(1.0))


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
def test_a_decay_rate_is_at_least_0_and_less_than_1(rate, error, words):
    with pytest.raises(error, match=words):
        decay_rate("b1", rate)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda rate: Momentum(0.1, rate), "momentum"),
        (lambda rate: Nesterov(0.1, rate), "momentum"),
        (lambda rate: RMSprop(0.1, rate), "decay"),
        (lambda rate: Adam(0.1, rate), "b1"),
        (lambda rate: Adam(0.1, 0.9, rate), "b2"),
    ],
)
def test_every_decay_rate_is_checked(make, name):
    with pytest.raises(InvalidValue, match=rf"`{name}` is 1, which is outside \[0, 1\)"):
        make(1.0)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda value: RMSprop(0.1, eps=value), "eps"),
        (lambda value: Adam(0.1, eps=value), "eps"),
        (lambda value: Adam(0.1, eps_root=value), "eps_root"),
        (lambda value: NAdam(0.1, eps_root=value), "eps_root"),
        (lambda value: AdamW(0.1, eps_root=value), "eps_root"),
        (lambda value: AdamW(0.1, weight_decay=value), "weight_decay"),
        (lambda value: AdaGrad(0.1, value), "initial_accumulator_value"),
        (lambda value: Lion(0.1, smoothing=value), "smoothing"),
    ],
)
def test_numbers_that_must_not_be_negative(make, name):
    with pytest.raises(InvalidValue, match=rf"`{name}` is -1, which is outside \[0, inf\)"):
        make(-1)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
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
        (
            lambda: RMSprop(0.1, initial_scale=0.5, bias_correction=True),
            InvalidValue,
            "`bias_correction` corrects a start from 0, got `initial_scale` = 0.5",
        ),
        (
            lambda: RMSprop(0.1, bias_correction="no"),
            InvalidType,
            "`bias_correction` must be True or False, got 'no'",
        ),
    ],
)
def test_options_of_single_optimizers(make, error, words):
    with pytest.raises(error, match=words):
        make()


@pytest.mark.parametrize(
    ("kind", "option", "words"),
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
def test_options_of_other_libraries_and_of_other_optimizers(kind, option, words):
    with pytest.raises(UnknownName, match=words):
        kind(0.1, **option)


@pytest.mark.parametrize("optimizer", [RMSprop(0.01), Adam(0.01)], ids=["rmsprop", "adam"])
def test_a_time_step_longer_than_the_memory_time_is_refused(optimizer):
    with pytest.raises(
        InvalidValue,
        match="the time step `h` = 0.2 is longer than the memory time `tau1?` = 0.1; use h <= 0.1",
    ):
        optimizer.with_time_step(0.2)


@pytest.mark.parametrize("n", [0, -2, float("nan"), "2"])
def test_refinements_must_be_positive(n):
    with pytest.raises((InvalidValue, InvalidType)):
        SGD(0.1).refine(n)


@kinds
def test_a_known_array_inside_jit_is_still_a_known_number(kind):
    rate = jnp.array(0.25)
    assert jax.jit(lambda: kind(rate).h)() == kind(0.25).h


@kinds
def test_traced_hyperparameters_are_accepted(kind):
    assert jax.jit(lambda r: kind(r).h)(0.25) == kind(0.25).h
    assert np.isfinite(jax.grad(lambda r: kind(r).h)(0.25))
