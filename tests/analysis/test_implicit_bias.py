"""What an optimizer minimizes in addition to the loss: (h/4)|g|² for gradient descent; Adam maximizes |g|₁."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dynopt import (
    SGD,
    Adam,
    Averaged,
    Lion,
    Memoryless,
    Modified,
    Momentum,
    Muon,
    Problem,
    RMSprop,
    Schedule,
    WithGradient,
    problems,
)
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
        lambda y: [o.vector_field(1e9, y, grad).x for o in (modified.optimizer, modified)]
    )(y)
    np.testing.assert_allclose(bias.gradient + bias.remainder, second - first, rtol=1e-9)
    assert np.abs(bias.remainder).max() > 1e-3 * np.abs(bias.correction).max()


@pytest.mark.parametrize("step", [0, 9, 1000, 10**6])
def test_at_step_n_adam_has_averaged_over_n_steps_only(step, b1=0.9, b2=0.999):
    """κₙ = h (kₙ(β₁) - kₙ(β₂)), where kₙ(β) = Σ j βʲ / Σ βʲ over j = 0, ..., n."""
    age = np.arange(step + 1)
    means = [np.sum(age * b**age) / np.sum(b**age) for b in (b1, b2)]
    bias = implicit_bias(Adam(h, b1, b2), rosenbrock, x, step=step)
    assert bias.strength == pytest.approx(h * (means[0] - means[1]), abs=1e-8)


def test_after_many_steps_the_bias_is_that_of_no_step():
    late, limit = (implicit_bias(Adam(h), rosenbrock, x, step=step) for step in (10**6, None))
    assert late.strength == pytest.approx(float(limit.strength), rel=1e-12)
    for step in (0, 7):  # a memory without bias correction, and none at all
        for optimizer in (Momentum(h), SGD(h)):
            bias = implicit_bias(optimizer, rosenbrock, x, step=step)
            assert bias.strength == implicit_bias(optimizer, rosenbrock, x).strength


class Couple(eqx.Module):
    """Two players: the gradient that JAX takes is (x₁, -x₀), and JAX differentiates it rightly."""

    def __call__(self, x):
        return players(x, x)


@jax.custom_jvp
def players(x, held):
    return x[0] * held[1] - held[0] * x[1]


@players.defjvp
def _(points, tangents):
    x, held = points
    return players(x, held), jnp.vdot(jnp.stack([held[1], -held[0]]), tangents[0])


@pytest.mark.filterwarnings("ignore:the gradient of game is not the derivative of its value")
def test_in_a_bilinear_game_gradient_descent_climbs_the_squared_field():
    """x′ = -F - (h/2) DF F with DF = [[0, 1], [-1, 0]] is x′ = -F + ∇(h/4)|F|²."""
    bias = implicit_bias(SGD(h), Problem(Couple(), [0.6, -0.8], name="game"))
    assert bias.norm == pytest.approx(0.5, rel=1e-12)
    assert bias.strength == pytest.approx(-h / 2, rel=1e-12)
    np.testing.assert_allclose(bias.gradient, [h / 2 * 0.6, -h / 2 * 0.8], rtol=1e-12)
    np.testing.assert_allclose(bias.remainder, 0, atol=1e-17)


class Saddle(eqx.Module):
    """x₁ sin x₀: at x₀ = 0 the gradient is (x₁, 0), with the Hessian [[0, 1], [1, 0]]."""

    def __call__(self, x):
        return x[1] * jnp.sin(x[0])


saddle = Problem(Saddle(), [0.0, 2.0], name="saddle")


@pytest.mark.parametrize(
    ("optimizer", "factor"), [(Adam(h, eps=0.1), 9.5 / 0.1), (RMSprop(h, eps=0.01), 0.5 / 0.1)]
)
def test_where_one_coordinate_of_the_gradient_is_zero_eps_alone_is_under_the_root(
    optimizer, factor
):
    """With R = ε (or √ε) and u = (x₁/(x₁ + ε), 0) the correction is -h (0, u₀/R) (k(β₁) + 1/2)."""
    u = 2 / 2.1 if isinstance(optimizer, Adam) else 2 / np.sqrt(4.01)
    bias = implicit_bias(optimizer, saddle)
    np.testing.assert_allclose(bias.correction, [0, -h * factor * u], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(bias.gradient + bias.remainder, bias.correction, rtol=1e-12)


@pytest.mark.parametrize("optimizer", [Adam(h, eps=0.0), Lion(h, weight_decay=0.0)])
@pytest.mark.filterwarnings("ignore:the map of Memoryless.Lion")
def test_where_a_step_jumps_there_is_no_bias(optimizer):
    with pytest.raises(
        InvalidValue, match="jumps where a coordinate of the gradient is 0, .* pass"
    ):
        implicit_bias(optimizer, saddle)
    assert np.isfinite(implicit_bias(optimizer, saddle, [0.1, 2.0]).scalar)  # the remedy
    if isinstance(optimizer, Lion):
        smooth = Lion(h, weight_decay=0.0, smoothing=1.0)
        assert np.isfinite(implicit_bias(smooth, saddle).scalar)


A = np.array([[3.0, 0.0], [4.0, 5.0]])
SINGULAR_VALUES = np.sqrt([45.0, 5.0])  # of A Aᵀ = [[9, 12], [12, 41]]: 45 and 5


def newton_schulz(sigma):
    """Five steps of the iteration on the singular values of a matrix of norm 1."""
    for _ in range(5):
        sigma = 3.4445 * sigma - 4.7750 * sigma**3 + 2.0315 * sigma**5
    return sigma


@pytest.mark.filterwarnings("ignore:the map of Memoryless.Muon")
def test_muon_minimizes_a_norm_of_the_matrix(beta=0.8):
    """K = Σ σ p(σ/|G|), with κ = h (β²/(1-β) + 1/2): m̂ lags by β/(1-β) steps with weight β."""
    bowl = Problem(squares, A, name="bowl")
    bias = implicit_bias(Muon(h, beta), bowl)
    norm = SINGULAR_VALUES @ newton_schulz(SINGULAR_VALUES / np.linalg.norm(A))
    assert bias.norm == pytest.approx(norm, rel=1e-7)
    assert bias.strength == pytest.approx(h * (beta**2 / (1 - beta) + 0.5), rel=1e-6)
    assert np.abs(bias.remainder).max() < 1e-6 * np.abs(bias.correction).max()


def squares(x):
    return (x**2).sum() / 2


def test_the_steps_of_a_wrapped_memoryless_optimizer_must_be_its_own():
    inner = Memoryless(Momentum(h))
    clipped = WithGradient(inner, double)
    assert implicit_bias(clipped, rosenbrock, x).scalar == pytest.approx(
        2 * float(implicit_bias(inner, rosenbrock, x).scalar), rel=1e-9
    )
    with pytest.raises(
        InvalidValue, match="scales the steps of a memoryless .* without dynopt.Mod"
    ):
        implicit_bias(Schedule(inner, optax.constant_schedule(0.5)), rosenbrock, x)
    with pytest.raises(InvalidValue, match="holds a position, so x alone has no flow; pass its"):
        implicit_bias(Averaged(inner, 1.0), rosenbrock, x)


def double(g):
    return 2 * g


def test_the_step_must_be_a_whole_number():
    with pytest.raises(InvalidValue, match="`step`"):
        implicit_bias(SGD(h), rosenbrock, x, step=-1)


def test_positions_may_be_pytrees():
    bowl = Problem(
        lambda x: (x["a"] ** 2).sum() + 2 * (x["b"] ** 2).sum(),
        {"a": np.ones(2), "b": np.ones((1, 1))},
    )
    bias = implicit_bias(SGD(h), bowl)
    np.testing.assert_allclose(bias.correction["b"], [[-8 * h]], rtol=1e-12)  # -(h/2) 4 · 4


@pytest.mark.parametrize(("loss", "at"), [(jnp.sum, [1.0, 2.0]), (squares, [0.0, 0.0])])
def test_where_the_norm_of_the_gradient_is_stationary_its_strength_is_undetermined(loss, at):
    """On a linear loss, where the Hessian is 0, and at a minimizer, where the gradient is."""
    bias = implicit_bias(SGD(h), Problem(loss, at))
    assert np.isnan(bias.strength) and np.isnan(bias.scalar)
    for part in (bias.gradient, bias.correction, bias.remainder):
        np.testing.assert_array_equal(part, [0.0, 0.0])


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
