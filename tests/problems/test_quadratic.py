"""On a quadratic every run has a closed form: the steps, the matrix exponential, the ODE solver."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.linalg
from hypothesis import given, settings, strategies as st

from dynopt.errors import InvalidType, InvalidValue
from dynopt.problems import Quadratic, quadratic

X0 = np.array([2.0, -1.5])
fixed = settings(derandomize=True, deadline=None, max_examples=30)
curvature = st.floats(-2, 20)
angle = st.floats(-7, 7)


def bowl(*eigenvalues, rotation=None) -> Quadratic:
    loss = quadratic(eigenvalues, rotation).loss
    assert isinstance(loss, Quadratic)
    return loss


@eqx.filter_jit
def _run(loss, method, numbers):
    return getattr(loss, method)(*numbers)


def run(loss: Quadratic, method: str, *numbers) -> np.ndarray:
    """loss.method(*numbers), compiled once for each shape."""
    return np.asarray(_run(loss, method, [jnp.asarray(number) for number in numbers]))


def hessian(loss: Quadratic) -> np.ndarray:
    q = np.asarray(loss.basis)
    return q @ np.diag(np.asarray(loss.eigenvalues)) @ q.T


# the function


@eqx.filter_jit
def value_and_grad(loss, x):
    return jax.value_and_grad(loss)(x)


@fixed
@given(curvature, curvature, angle)
def test_the_loss_is_half_the_quadratic_form(a, b, turn):
    c, s = np.cos(turn), np.sin(turn)
    h = np.array([[a * c**2 + b * s**2, (a - b) * s * c], [(a - b) * s * c, a * s**2 + b * c**2]])
    loss = bowl(a, b, rotation=turn)
    value, gradient = value_and_grad(loss, X0)
    assert float(value) == pytest.approx(X0 @ h @ X0 / 2, rel=1e-12, abs=1e-12)
    np.testing.assert_allclose(gradient, h @ X0, atol=1e-12)


def test_a_quadratic_may_have_any_dimension():
    q = np.linalg.qr(np.random.default_rng(0).normal(size=(7, 7)))[0]
    problem = quadratic(range(1, 8), rotation=q)
    assert problem.dim == 7 and problem.window is None
    curvatures = np.linalg.eigvalsh(jax.jit(jax.hessian(problem.loss))(problem.x0))
    np.testing.assert_allclose(curvatures, range(1, 8), rtol=1e-12)
    assert quadratic(3.0).dim == 1


@fixed
@given(angle)
def test_the_start_turns_with_the_bowl_and_stays_in_the_window(turn):
    problem, level = quadratic((1, 10), rotation=turn), quadratic((1, 10))
    assert float(problem.loss(problem.x0)) == pytest.approx(float(level.loss(level.x0)), rel=1e-12)
    assert np.abs(problem.x0).max() < 3


def test_a_saddle_has_no_minimizer_and_a_bowl_has_one():
    saddle, flat = quadratic((1.0, -1.0)), quadratic((0.0, 1.0))
    assert saddle.minimizers is None and saddle.minimum is None
    assert (
        flat.minimum == 0
        and flat.minimizers is not None
        and flat.minimizers.tolist() == [[0.0, 0.0]]
    )


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.float32, jnp.float64])
def test_every_method_keeps_the_dtype_of_the_start(dtype):
    loss, x0 = bowl(1.0, 10.0, rotation=0.3), jnp.asarray(X0, dtype)
    for run in (
        lambda: loss(x0),
        lambda: loss.sgd(3, x0, 0.1),
        lambda: loss.momentum(3, x0, 0.1, 0.9),
        lambda: loss.gradient_flow(1.0, x0),
        lambda: loss.oscillator(1.0, x0, 1.0),
    ):
        assert jax.eval_shape(run).dtype == dtype


def test_whole_numbers_are_a_position_too():
    loss = bowl(1, 10, rotation=0.5)
    assert float(loss(np.array([1, 2]))) == float(loss(np.array([1.0, 2.0])))
    assert bowl(1, 10).sgd(0, [1, 2], 0.1).tolist() == [1.0, 2.0]


def test_new_curvatures_angles_and_rates_compile_nothing_new():
    traced = []

    @eqx.filter_jit
    def end(problem, rate):
        traced.append(rate)
        return problem.loss.momentum(5, problem.start(), rate, rate)

    ends = [
        end(quadratic((1, b), rotation=turn), jnp.asarray(0.1))
        for b, turn in ((2, 0.2), (3, 0.2), (3, 0.4))
    ]
    assert len(traced) == 1 and len({float(x[0]) for x in ends}) == 3


def test_a_batch_of_bowls_is_made_by_vmap():
    curvatures = jnp.array([[1.0, 2.0], [3.0, 4.0], [5.0, -6.0]])
    values = eqx.filter_vmap(lambda c: quadratic(c, rotation=0.3).loss(X0))(curvatures)
    np.testing.assert_allclose(
        values, [float(bowl(*c, rotation=0.3)(X0)) for c in curvatures.tolist()], rtol=1e-12
    )


# gradient descent: (1 - ηλ)ᵏ


@fixed
@given(curvature, curvature, angle, st.floats(0.001, 0.15), st.integers(0, 40))
def test_sgd_is_k_steps_of_gradient_descent(a, b, turn, rate, k):
    loss = bowl(a, b, rotation=turn)
    h, x = hessian(loss), X0
    for _ in range(k):
        x = x - rate * h @ x
    np.testing.assert_allclose(
        run(loss, "sgd", k, X0, rate), x, rtol=1e-9, atol=1e-9 * np.abs(X0).max()
    )


def test_sgd_takes_all_steps_at_once():
    loss, k = bowl(1.0, 30.0, rotation=1.0), np.arange(6).reshape(2, 3)
    path = run(loss, "sgd", k, X0, 0.05)
    assert path.shape == (2, 3, 2)
    np.testing.assert_allclose(
        path.reshape(6, 2), [run(loss, "sgd", i, X0, 0.05) for i in range(6)], rtol=1e-12
    )


# momentum: powers of the companion matrix


@fixed
@given(curvature, curvature, angle, st.floats(0.001, 0.15), st.floats(0, 0.99), st.integers(0, 60))
def test_momentum_is_k_steps_of_the_heavy_ball(a, b, turn, rate, mu, k):
    loss = bowl(a, b, rotation=turn)
    h, x, p = hessian(loss), X0, 0 * X0
    for _ in range(k):
        p = mu * p - np.sqrt(rate) * h @ x
        x = x + np.sqrt(rate) * p
    tiny = 1e-10 * max(1, np.abs(x).max())
    np.testing.assert_allclose(run(loss, "momentum", k, X0, rate, mu), x, rtol=1e-8, atol=tiny)


def test_momentum_takes_all_steps_at_once():
    loss, k = bowl(1.0, 30.0, rotation=1.0), np.arange(20)
    path = loss.momentum(k, X0, 0.02, 0.9)
    assert path.shape == (20, 2)
    np.testing.assert_allclose(
        path, [run(loss, "momentum", i, X0, 0.02, 0.9) for i in k], rtol=1e-11, atol=1e-13
    )


def test_without_momentum_the_heavy_ball_is_gradient_descent():
    loss = bowl(1.0, 30.0, rotation=1.0)
    np.testing.assert_allclose(
        run(loss, "momentum", 9, X0, 0.02, 0.0), run(loss, "sgd", 9, X0, 0.02), rtol=1e-12
    )


def test_momentum_at_its_double_root():
    # (1 + μ - ηλ)² = 4μ at λ = (1 - √μ)²/η, where Mᵏ is √μᵏ⁻¹ (k M - (k-1) √μ 1)
    rate, mu, k = 0.01, 0.81, 25
    lam = (1 - np.sqrt(mu)) ** 2 / rate
    factor = np.sqrt(mu) ** (k - 1) * (k * (1 - rate * lam) - (k - 1) * np.sqrt(mu))
    np.testing.assert_allclose(
        run(bowl(lam, lam), "momentum", k, X0, rate, mu), factor * X0, rtol=1e-9
    )


def test_the_runs_can_be_differentiated_in_their_rates():
    loss = bowl(1.0, 30.0, rotation=1.0)
    for run in (
        lambda rate: loss.sgd(7, X0, rate)[0],
        lambda rate: loss.momentum(7, X0, rate, 0.9)[0],
        lambda rate: loss.momentum(7, X0, 0.02, rate)[0],
        lambda rate: loss.oscillator(1.3, X0, rate)[0],
    ):
        value_and_slope = jax.jit(jax.value_and_grad(run))
        (below, _), (_, slope), (above, _) = (value_and_slope(0.02 + d) for d in (-1e-6, 0, 1e-6))
        assert float(slope) == pytest.approx(float(above - below) / 2e-6, rel=1e-6)


# the flows: e^(-λt), and the damped oscillator


@fixed
@given(curvature, curvature, angle, st.floats(0, 3))
def test_gradient_flow_is_the_exponential_of_the_hessian(a, b, turn, t):
    loss = bowl(a, b, rotation=turn)
    expected = scipy.linalg.expm(-t * hessian(loss)) @ X0
    np.testing.assert_allclose(
        run(loss, "gradient_flow", t, X0), expected, atol=1e-11 * max(1, np.abs(expected).max())
    )


@fixed
@given(curvature, curvature, angle, st.floats(0, 2), st.floats(0, 2))
def test_gradient_flow_for_two_times_is_the_flow_for_their_sum(a, b, turn, s, t):
    loss = bowl(a, b, rotation=turn)
    once = run(loss, "gradient_flow", s + t, X0)
    twice = run(loss, "gradient_flow", t, run(loss, "gradient_flow", s, X0))
    np.testing.assert_allclose(twice, once, rtol=1e-9, atol=1e-11)


def oscillated(lam, a, t):
    """The factor of the oscillator, by the matrix exponential of (x, x′)."""
    return scipy.linalg.expm(t * np.array([[0, 1], [-lam, -a]]))[0, 0]


REGIMES = {
    "undamped": (4.0, 0.0),
    "underdamped": (4.0, 0.5),
    "almost critical from below": (4.0, 4.0 - 1e-9),
    "critical": (4.0, 4.0),
    "almost critical from above": (4.0, 4.0 + 1e-9),
    "overdamped": (4.0, 9.0),
    "far overdamped": (0.01, 30.0),
    "free": (0.0, 0.0),
    "free with friction": (0.0, 2.0),
    "saddle": (-3.0, 0.0),
    "saddle with friction": (-3.0, 2.0),
}


@pytest.mark.parametrize("regime", REGIMES)
def test_the_oscillator_is_the_matrix_exponential_in_every_regime(regime):
    lam, a = REGIMES[regime]
    times = np.array([0.0, 1e-8, 0.1, 0.49, 0.51, 1.0, 3.0, 8.0])
    path = run(bowl(lam, lam), "oscillator", times, np.ones(2), a)
    np.testing.assert_allclose(
        path[:, 0], [oscillated(lam, a, t) for t in times], rtol=1e-11, atol=1e-14
    )


@fixed
@given(curvature, st.floats(0, 10), st.floats(0, 4))
def test_the_oscillator_is_the_matrix_exponential_everywhere(lam, a, t):
    expected = oscillated(lam, a, t)
    position = run(bowl(lam, 1.0), "oscillator", t, np.array([1.0, 0.0]), a)
    assert float(position[0]) == pytest.approx(expected, rel=1e-9, abs=1e-11)


@pytest.mark.parametrize("a", [0.5, 2.0, 9.0])
def test_the_oscillator_is_the_solution_of_an_ode_solver(a):
    loss = bowl(1.0, 10.0, rotation=0.7)
    h, times = hessian(loss), np.linspace(0, 5, 11)

    def field(_, y):
        return np.concatenate([y[2:], -a * y[2:] - h @ y[:2]])

    y0 = np.concatenate([X0, [0, 0]])
    solved = scipy.integrate.solve_ivp(
        field, (0, 5), y0, method="DOP853", t_eval=times, rtol=1e-11, atol=1e-12
    )
    np.testing.assert_allclose(run(loss, "oscillator", times, X0, a), solved.y[:2].T, atol=1e-9)


@pytest.mark.parametrize("lam, a", [(4.0, 4.0), (0.0, 0.0), (4.0, 4.0 * (1 + 1e-12))])
def test_the_oscillator_is_smooth_through_the_critical_friction(lam, a):
    def end(lam, a):
        return Quadratic(lam[None], jnp.eye(1)).oscillator(1.0, jnp.ones(1), a)[0]

    value, slopes = jax.jit(jax.value_and_grad(end, (0, 1)))(jnp.asarray(lam), jnp.asarray(a))
    d = 1e-5
    by_hand = [(oscillated(lam + d, a, 1) - oscillated(lam - d, a, 1)) / (2 * d)]
    by_hand += [(oscillated(lam, a + d, 1) - oscillated(lam, a - d, 1)) / (2 * d)]
    np.testing.assert_allclose(slopes, by_hand, rtol=1e-8, atol=1e-10)
    assert float(value) == pytest.approx(oscillated(lam, a, 1), rel=1e-12)


@pytest.mark.parametrize("a", [50.0, 1e3])
def test_far_overdamped_and_long_runs_keep_their_digits_and_their_gradients(a):
    lam, t = 1e-6, 1e7 * a
    value, slope = jax.jit(
        jax.value_and_grad(lambda a: bowl(lam, 1.0).oscillator(t, np.ones(2), a)[0])
    )(a)
    slow = lam / (a / 2 + np.sqrt(a**2 / 4 - lam))  # a/2 - ω would have lost them
    assert float(value) == pytest.approx(np.exp(-slow * t), rel=1e-8)
    assert float(slope) == pytest.approx(np.exp(-slow * t) * slow * t / a, rel=1e-6)


# what is refused


@pytest.mark.parametrize(
    "eigenvalues, rotation, kind, words",
    [
        ([], None, InvalidValue, "`eigenvalues` has shape"),
        ([[1.0]], None, InvalidValue, r"`eigenvalues` has shape \(1, 1\); pass a list of numbers"),
        ([1.0, np.nan], None, InvalidValue, "`eigenvalues` is nan at coordinate 1"),
        ("1, 2", None, InvalidType, "`eigenvalues` must hold real numbers"),
        ([1, 2j], None, InvalidType, "`eigenvalues` must hold real numbers, got complex128"),
        (
            [1, 2, 3],
            0.5,
            InvalidValue,
            r"`rotation` is an angle but there are 3 eigenvalues; pass a \(3, 3\) matrix",
        ),
        ([1, 2], np.inf, InvalidValue, "`rotation` must be finite"),
        ([1, 2], "north", InvalidType, "`rotation` must be a number"),
        ([1, 2], np.eye(3), InvalidValue, r"`rotation` has shape \(3, 3\); pass \(2, 2\)"),
        ([1, 2], [[1, 1], [0, 1]], InvalidValue, "`rotation` is not orthogonal by 1; pass numpy"),
        ([1, 2], [[1, np.nan], [0, 1]], InvalidValue, r"`rotation` is nan at coordinate \(0, 1\)"),
    ],
)
def test_a_quadratic_that_is_none_is_refused(eigenvalues, rotation, kind, words):
    with pytest.raises(kind, match=words):
        quadratic(eigenvalues, rotation)


def test_negative_friction_is_refused():
    with pytest.raises(InvalidValue, match="`friction` is -1"):
        bowl(1.0, 2.0).oscillator(1.0, X0, -1.0)
