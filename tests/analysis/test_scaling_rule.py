"""The scaling rules keep the curve of the mean loss, and the others do not."""

import jax.numpy as jnp
import numpy as np
import pytest

from dynopt import SGD, Adam, Minibatch, Momentum, Noisy, Problem, RMSprop
from dynopt.analysis import scaling_rule
from dynopt.errors import InvalidValue
from dynopt.problems import quadratic

BOWL = Problem(lambda x: (x**2).sum() / 2, [1.0], name="bowl")
TURNED = quadratic(eigenvalues=[1.0, 3.0], rotation=0.4)
WIDE = Problem(lambda x: (x**2).sum() / 2, np.full(50, 0.5), name="wide bowl")


def test_the_linear_rule_keeps_the_loss_of_gradient_descent_and_others_halve_or_quarter_its_noise():
    """3.1 %, 49 % and 75 %, from exact moments in numpy."""
    result = scaling_rule(Noisy(SGD(0.01), 6.0), TURNED, 400)
    deviations = [curve.deviation for curve in (result.scaled, *result.others)]
    np.testing.assert_allclose(deviations, [0.031, 0.49, 0.75], atol=0.005)
    assert not result.paths and result.scaled.deviation_stderr == 0
    assert float(result.scaled.optimizer.h) == pytest.approx(0.04)
    assert float(result.scaled.optimizer.sigma) == pytest.approx(3.0)
    np.testing.assert_allclose(result.t, 0.4 * np.arange(11))
    assert "learning rate × 4: off by 3.12 %" in repr(result)


@pytest.mark.parametrize(("steps", "factor"), [(60, 4), (50, 4), (1000, 3), (90, 2.5)])
def test_the_curves_have_common_times_whatever_the_factor(steps, factor):
    """Without noise the mean loss is e^(-2t)/2 up to O(η), by which learning rates differ."""
    result = scaling_rule(Noisy(SGD(1e-3), 0.0), BOWL, steps, factor)
    for curve in (result.original, result.scaled, *result.others):
        np.testing.assert_allclose(curve.loss, np.exp(-2 * result.t) / 2, rtol=0.006)


def test_the_curves_are_those_of_a_closed_form():
    """E x² = q²ᵏ + η² σ² (1 - q²ᵏ)/(1 - q²) with q = 1 - η, from x = 1."""
    result = scaling_rule(Noisy(SGD(0.02), 3.0), BOWL, 200, factor=2)
    for curve, eta, sigma2, every in (
        (result.original, 0.02, 9.0, 20),
        (result.scaled, 0.04, 4.5, 10),
        (result.others[1], 0.02, 4.5, 20),
    ):
        decay = (1 - eta) ** (2 * every * np.arange(11))
        expected = decay + eta * sigma2 * (1 - decay) / (2 - eta)
        np.testing.assert_allclose(curve.loss, expected / 2, rtol=1e-12)
    deviation = np.abs(result.scaled.loss[1:] / result.original.loss[1:] - 1).max()
    assert result.scaled.deviation == pytest.approx(deviation)


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        (
            Adam(0.005),
            {"learning_rate": 0.01, "b1": 0.6, "b2": 0.996, "eps": 5e-9, "eps_root": 0.0},
        ),
        (RMSprop(0.005, decay=0.99), {"learning_rate": 0.01, "decay": 0.96}),
    ],
)
def test_the_square_root_rule_scales_the_memories(optimizer, expected):
    """That it keeps the loss of Adam, and the linear rule does not, is in tests/literature/noise.py."""
    result = scaling_rule(Noisy(optimizer, 4.0), WIDE, 40, paths=10)
    rule, (linear, none) = result.scaled, result.others
    values = rule.optimizer.optimizer.hyperparameters()
    assert {name: values[name] for name in expected} == pytest.approx(expected)
    assert linear.optimizer.optimizer.hyperparameters() == pytest.approx(
        optimizer.hyperparameters() | {"learning_rate": 0.02}
    )
    assert none.optimizer.optimizer.hyperparameters() == optimizer.hyperparameters()
    sigmas = [float(curve.optimizer.sigma) for curve in (result.original, rule, linear, none)]
    assert sigmas == pytest.approx([4, 2, 2, 2])
    assert "learning rate × 2, 1 - b × 4" in rule.rule and result.paths == 10
    assert rule.deviation_stderr > 0


def squares(x, data):
    return (data * x**2 - x).mean()


FIT = Problem(squares, 0.5, data=jnp.linspace(0.5, 2.0, 8), name="fit")


def test_batches_of_data_grow_with_the_factor():
    result = scaling_rule(Minibatch(SGD(0.05), 2), FIT, 40, factor=4)
    assert result.scaled.optimizer.size == 8 and not result.paths
    assert result.others[1].deviation > 0


@pytest.mark.parametrize(
    ("optimizer", "problem", "factor", "sentence"),
    [
        (Noisy(Momentum(0.1), 1.0), BOWL, 4, "are known for SGD, Adam and RMSprop"),
        (SGD(0.1), BOWL, 4, "with noise outside of them"),
        (Noisy(Adam(0.1), 1.0), BOWL, 20, "`b1` of Adam.* becomes -1, which is negative"),
        (Minibatch(SGD(0.1), 1), FIT, 1.5, "batches of 1 become batches of 1.5; use a factor"),
        (Minibatch(SGD(0.1), 4), FIT, 4, "`size` is 16, but the problem has 8 examples"),
    ],
)
def test_what_has_no_rule_is_refused_in_one_sentence(optimizer, problem, factor, sentence):
    with pytest.raises(InvalidValue, match=sentence):
        scaling_rule(optimizer, problem, 20, factor, paths=2)


def test_what_the_refusal_says_to_type_can_be_typed():
    assert scaling_rule(Noisy(SGD(0.1), sigma=1.0), BOWL, 40).scaled.deviation < 0.5
