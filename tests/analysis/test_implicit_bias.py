"""What an optimizer minimizes in addition to the loss: (h/4)|g|² for gradient descent; Adam maximizes |g|₁."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dynopt import SGD, Adam, Memoryless, Modified, Momentum, Problem, RMSprop, problems
from dynopt.analysis import implicit_bias
from dynopt.errors import InvalidValue

rosenbrock = problems.rosenbrock()
x = jnp.array([-0.7, 1.3])
g = jax.grad(rosenbrock.loss)(x)
h = 0.01


def test_gradient_descent_minimizes_a_quarter_of_h_times_the_squared_gradient():
    bias = implicit_bias(SGD(h), rosenbrock, x)
    assert bias.scalar == pytest.approx(h / 4 * float(g @ g), rel=1e-12)
    expected = -h / 4 * jax.grad(lambda x: jnp.sum(jax.grad(rosenbrock.loss)(x) ** 2))(x)
    np.testing.assert_allclose(bias.gradient, expected, rtol=1e-12)
    assert np.abs(bias.remainder).max() < 1e-12 * np.abs(bias.correction).max()


@pytest.mark.parametrize("mu", [0.5, 0.9])
def test_heavy_ball_minimizes_it_more_strongly_than_gradient_descent_of_its_speed(mu):
    """By (1+μ)/(1-μ)."""
    ball, descent = (
        implicit_bias(Momentum(h, mu), rosenbrock, x),
        implicit_bias(SGD(h / (1 - mu)), rosenbrock, x),
    )
    assert ball.scalar / descent.scalar == pytest.approx((1 + mu) / (1 - mu), rel=1e-10)
    assert np.abs(ball.remainder).max() < 1e-10 * np.abs(ball.correction).max()


@pytest.mark.parametrize(("b1", "b2"), [(0.9, 0.999), (0.99, 0.9), (0.9, 0.9)])
def test_adam_maximizes_the_one_norm_of_the_gradient_if_its_second_memory_is_longer(b1, b2):
    """κ = (h/2) ((1+β₁)/(1-β₁) - (1+β₂)/(1-β₂)) as ε → 0."""
    bias = implicit_bias(Adam(h, b1, b2), rosenbrock, x)
    lags = (1 + b1) / (1 - b1), (1 + b2) / (1 - b2)
    assert bias.strength == pytest.approx(h / 2 * (lags[0] - lags[1]), abs=1e-8 * h * max(lags))
    assert bias.norm == pytest.approx(np.abs(g).sum(), rel=1e-6)
    if b1 != b2:
        assert (bias.scalar < 0) == (lags[0] < lags[1])
        assert np.abs(bias.remainder).max() < 1e-6 * np.abs(bias.correction).max()


def test_the_two_parts_are_the_correction_and_a_large_eps_leaves_a_rest():
    optimizer = Adam(h, eps=10.0)
    bias, modified = implicit_bias(optimizer, rosenbrock, x), Modified(Memoryless(optimizer))
    grad = jax.grad(rosenbrock.loss)
    y = modified.init(x, grad)
    first, second = jax.jit(
        lambda y: [o.vector_field(0.0, y, grad).x for o in (modified.optimizer, modified)]
    )(y)
    np.testing.assert_allclose(bias.gradient + bias.remainder, second - first, rtol=1e-9)
    assert np.abs(bias.remainder).max() > 1e-3 * np.abs(bias.correction).max()


def test_a_zero_gradient_in_one_coordinate_gives_nan_only_if_a_root_has_no_derivative_there():
    flat = Problem(lambda x: jnp.sum(x[:1] ** 2), [1.0, 2.0], name="flat")
    inside = implicit_bias(RMSprop(h), flat)
    assert np.isfinite(inside.gradient).all() and inside.gradient[1] == 0
    assert np.isnan(implicit_bias(Adam(h), flat).scalar)


def test_positions_may_be_pytrees():
    bowl = Problem(
        lambda x: (x["a"] ** 2).sum() + 2 * (x["b"] ** 2).sum(),
        {"a": np.ones(2), "b": np.ones((1, 1))},
    )
    bias = implicit_bias(SGD(h), bowl)
    np.testing.assert_allclose(bias.correction["b"], [[-8 * h]], rtol=1e-12)  # -(h/2) 4 · 4


def test_of_a_modified_optimizer_the_inner_one_is_analyzed():
    assert (
        implicit_bias(Modified(SGD(h)), rosenbrock, x).scalar
        == implicit_bias(SGD(h), rosenbrock, x).scalar
    )


def test_it_prints_the_scalar_as_a_product():
    text = repr(implicit_bias(SGD(h), rosenbrock, x))
    assert (
        text
        == f"ImplicitBias(0.005 × {float(g @ g) / 2:.4g}, SGD(learning_rate=0.01) on rosenbrock)"
    )


def test_the_position_must_fit():
    with pytest.raises(InvalidValue, match=r"`x0` has shape \(3,\) but rosenbrock wants \(2,\)"):
        implicit_bias(SGD(h), rosenbrock, [1.0, 2.0, 3.0])
