"""The drift and the columns of stochastic equations are those of formulas derived by hand."""

from functools import partial
from math import erf

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dynopt import (
    SGD,
    AdaGrad,
    Adam,
    Lion,
    Memoryless,
    Minibatch,
    Modified,
    Momentum,
    NAdam,
    Nesterov,
    Noisy,
    Problem,
    RMSprop,
    WithGradient,
    ensemble,
    integrate,
)
from dynopt.derivations.stochastic import StochasticEquation
from dynopt.errors import InvalidValue
from dynopt.optimizers.gradient import BatchGradient

H, MU = 0.04, 0.6
HESSIAN = np.array([[1.5, 0.5], [0.5, 2.5]])
ROOT = np.array([[0.3, 0.1], [0.0, 0.4]])
X, P = np.array([1.0, -2.0]), np.array([0.5, 0.7])
ONE = np.eye(2)


def linear_gradient(x):
    return jnp.asarray(HESSIAN) @ x


def drift_and_columns(optimizer, grad, x, p=None):
    """The drift, and the covariance of the columns, at one point as one vector."""
    y = optimizer.init(jnp.asarray(x), grad)
    if p is not None:
        y = y._replace(p=jnp.asarray(p))
    equation = StochasticEquation(optimizer, y.x)
    drift, columns = jax.jit(
        lambda y: (equation.drift(0.0, y, grad), equation.columns(0.0, y, grad))
    )(y)
    return np.concatenate(drift), np.concatenate(columns, -1)


def test_the_modified_equation_of_gradient_descent_on_a_quadratic():
    """dx = -(Λ + (h/2) Λ²) x dt - √h (1 + (h/2) Λ) S dW."""
    noisy = Modified(Noisy(SGD(H), root=ROOT))
    drift, columns = drift_and_columns(noisy, linear_gradient, X)
    np.testing.assert_allclose(drift, -(HESSIAN + H / 2 * HESSIAN @ HESSIAN) @ X, rtol=1e-12)
    expected = -(H**0.5) * (ONE + H / 2 * HESSIAN) @ ROOT
    np.testing.assert_allclose(columns.T, expected, rtol=1e-12)


@pytest.mark.parametrize("kind", [Momentum, Nesterov])
def test_the_modified_equation_of_momentum_on_a_quadratic(kind):
    """From the matrix of the step, M = 1 + h A + h² B + ..., and its noise h N + h² R: with h = √η and a friction,

    drift A + h (B - ½ A²), diffusion √h (N + h (R - ½ A N)).
    """
    optimizer, zero = kind(H, momentum=MU), np.zeros((2, 2))
    h = H**0.5
    a = (1 - MU) / h
    A = np.block([[zero, ONE], [-HESSIAN, -a * ONE]])
    N = np.vstack([zero, -ONE])
    if kind is Momentum:  # x + h p', p' = (1 - a h) p - h (Λ x + ξ)
        B = np.block([[-HESSIAN, -a * ONE], [zero, zero]])
        R = np.vstack([-ONE, zero])
    else:  # x + h ((1 - a h) p' - h (Λ x + ξ))
        B = np.block([[-2 * HESSIAN, -2 * a * ONE], [zero, zero]])
        R = np.vstack([-2 * ONE, zero])
    noisy = Modified(Noisy(optimizer, root=ROOT))
    drift, columns = drift_and_columns(noisy, linear_gradient, X, P)
    np.testing.assert_allclose(drift, (A + h * (B - A @ A / 2)) @ np.append(X, P), rtol=1e-11)
    expected = h**0.5 * (N + h * (R - A @ N / 2)) @ ROOT
    np.testing.assert_allclose(columns.T, expected, rtol=1e-11, atol=1e-14)


def test_on_a_loss_that_is_not_quadratic_the_noise_moves_the_drift():
    """f = x⁴/4 has F = -x³, so -(h/2) F′F - (h/4) F″ h σ² = -(3/2) h x⁵ + (3/2) h² σ² x."""
    sigma, x = 2.0, np.array([0.7, -1.1])
    noisy = Modified(Noisy(SGD(H), sigma))
    drift, columns = drift_and_columns(noisy, lambda x: x**3, x)
    expected = -(x**3) - 3 / 2 * H * x**5 + 3 / 2 * H**2 * sigma**2 * x
    np.testing.assert_allclose(drift, expected, rtol=1e-12)
    expected = -(H**0.5) * sigma * np.diag(1 + H / 2 * 3 * x**2)
    np.testing.assert_allclose(columns, expected, rtol=1e-12, atol=1e-15)


def test_the_equation_of_minibatches_has_the_covariance_of_the_examples():
    """C = Σᵢ (gᵢ - ḡ)(gᵢ - ḡ)ᵀ/(n b) with the gradients gᵢ = aᵢ (aᵢ·x - bᵢ) in numpy."""
    rng = np.random.default_rng(0)
    A, b, x, size = rng.normal(size=(12, 3)), rng.normal(size=12), rng.normal(size=3), 4
    g = A * (A @ x - b)[:, None]
    covariance = np.cov(g.T, bias=True) / size

    def part(x, i, k):
        return jnp.asarray(A)[i] * (jnp.asarray(A)[i] @ x - jnp.asarray(b)[i])

    grad = BatchGradient(lambda x: jnp.asarray(A.T @ A) @ x / 12 - A.T @ b / 12, part, examples=12)
    drift, columns = drift_and_columns(Minibatch(SGD(H), size), grad, x)
    np.testing.assert_allclose(drift, -g.mean(0), rtol=1e-12)
    np.testing.assert_allclose(columns.T @ columns, H * covariance, rtol=1e-12)
    refined = Minibatch(SGD(H), size).refine(4)
    _, columns = drift_and_columns(refined, grad, x)
    np.testing.assert_allclose(columns.T @ columns, H * covariance, rtol=1e-12)


@pytest.mark.parametrize("optimizer", [RMSprop(0.02, decay=0.99, initial_scale=1.0), Adam(0.02)])
def test_noise_is_pushed_through_the_fields_of_adaptive_optimizers(optimizer):
    """The field of v is (g² - v)/τ: its mean has E g² + σ², and h Cov(m′, v′) = h (2 ḡ σ²)/(τ₁ τ₂)."""
    sigma, g, v = 0.5, 2.0, 3.0
    noisy, tau2 = (
        Noisy(optimizer, sigma),
        float(getattr(optimizer, "tau2", getattr(optimizer, "tau", 0))),
    )

    def grad(x):
        return jnp.full_like(x, g)

    y = noisy.init(jnp.zeros(1), grad)._replace(v=jnp.full(1, v))
    equation = StochasticEquation(noisy, y.x)
    t, h = 50.0, float(optimizer.h)
    drift, columns = jax.jit(lambda y: (equation.drift(t, y, grad), equation.columns(t, y, grad)))(
        y
    )
    assert not equation.affine and equation.separable
    assert drift.v[0] == pytest.approx((g**2 + sigma**2 - v) / tau2, rel=1e-12)
    variance = float((columns.v**2).sum())
    assert variance == pytest.approx(h * (4 * g**2 * sigma**2 + 2 * sigma**4) / tau2**2, rel=1e-11)
    if isinstance(optimizer, Adam):
        tau1 = float(optimizer.tau1)
        covariance = float((columns.m * columns.v).sum())
        assert covariance == pytest.approx(h * 2 * g * sigma**2 / (tau1 * tau2), rel=1e-11)
    else:  # x′ = -g/√v
        assert float((columns.x**2).sum()) == pytest.approx(h * sigma**2 / v, rel=1e-6)


def quartic_well(x):
    return ((x**2 - 1) ** 2).sum() / 4


ONE_WELL = Problem(lambda x: (x**2).sum() / 2, [1.0], name="bowl")
WELL = Problem(quartic_well, np.full(4, 0.5), name="wells")


@pytest.mark.parametrize("sigma", [0.3, 2.0])
def test_noise_under_a_sign_has_the_mean_and_the_variance_of_the_error_function(sigma):
    """E sign(g + σξ) = erf(g/(σ√2)), which three nodes of quadrature would miss; Var = 1 - erf²."""
    g = np.array([0.1, -0.4])
    noisy = Noisy(WithGradient(SGD(H), jnp.sign), sigma)
    equation = StochasticEquation(noisy, jnp.zeros(2))
    y = noisy.init(jnp.zeros(2), lambda x: jnp.asarray(g))

    def draw(key):
        one = equation.with_key(key)
        columns = one.columns(0.0, y, lambda x: jnp.asarray(g)).x
        return one.drift(0.0, y, lambda x: jnp.asarray(g)).x, (columns**2).sum(0)

    drifts, variances = jax.vmap(draw)(jax.random.split(jax.random.key(0), 4000))
    mean = np.array([erf(each / (sigma * 2**0.5)) for each in g])
    for found, expected in ((drifts, -mean), (variances, H * (1 - mean**2))):
        error = np.asarray(found).std(0) / len(found) ** 0.5
        assert (np.abs(found.mean(0) - expected) < 4 * error).all()
    assert error.max() < 0.01 * H


@pytest.mark.parametrize(
    ("optimizer", "steps"),
    [(WithGradient(SGD(0.1), lambda g: jnp.clip(g, -0.5, 0.5)), 10), (Lion(0.02), 20)],
    ids=["clipped", "Lion"],
)
def test_the_laws_of_map_and_flow_are_near_for_vector_fields_with_kinks(optimizer, steps):
    """Means within four standard errors and 0.02, which is O(h); variances within a quarter."""
    noisy = Noisy(optimizer, sigma=1.0)
    of_map, of_flow = (
        ensemble(noisy, ONE_WELL, steps, paths=400, of=of, save_every=steps)
        for of in ("map", "flow")
    )
    assert of_map.num_ok == of_flow.num_ok == 400
    error = np.hypot(of_map.stderr[-1], of_flow.stderr[-1])
    assert np.abs(of_map.mean[-1] - of_flow.mean[-1]) < 4 * error + 0.02
    ratio = of_map.cov[-1, 0, 0] / of_flow.cov[-1, 0, 0]
    assert 0.75 < ratio < 1.35


def test_minibatches_are_pushed_through_adaptive_optimizers_as_they_are():
    """E v′ = (E g_B² - v)/τ with E g_B² = ∇f² + Var gᵢ/b, h Var x′ = h Var g_B/v, h Var v′ = h Var g_B²/τ²."""
    values, size, v, tau = np.array([1.0, 2.0, 6.0]), 2, 4.0, 2.0
    optimizer = Minibatch(RMSprop(0.02, decay=0.99, initial_scale=1.0), size)

    def part(x, i, k):
        return x - jnp.asarray(values)[i]

    grad = BatchGradient(lambda x: x - values.mean(), part, examples=3)
    equation = StochasticEquation(optimizer, jnp.zeros(1))
    y = optimizer.init(jnp.zeros(1), grad)._replace(v=jnp.full(1, v))

    def draw(key):
        one = equation.with_key(key)
        columns = one.columns(0.0, y, grad)
        return one.drift(0.0, y, grad).v[0], (columns.x**2).sum(), (columns.v**2).sum()

    drifts, variances, of_v = jax.vmap(draw)(jax.random.split(jax.random.key(0), 4000))
    variance = values.var() / size
    means = (values[:, None] + values).ravel() / 2  # of all batches of two
    for found, expected in (
        (drifts, (values.mean() ** 2 + variance - v) / tau),
        (variances, 0.02 * variance / v),
        (of_v, 0.02 * (means**2).var() / tau**2),
    ):
        error = np.asarray(found).std() / len(found) ** 0.5
        assert abs(found.mean() - expected) < 4 * error


@pytest.mark.parametrize("of", ["map", "flow"])
def test_noise_in_the_second_moment_acts_against_that_in_the_gradient(of):
    """On a slope g, x′ = -(g + ξ)/√v and v′ = (g² + 2gξ + ξ² - v)/τ, to first order in δv: with v = g² + σ²,
    a = g²/v and q = e^{-u/τ}, Var x = h ∫₀ᵗ (σ²/v) (1 - a + a q)² + (g²σ⁴/2v³) (1 - q)² du."""
    g, sigma, h, decay, steps = 1.0, 1.0, 0.01, 0.98, 200
    v, a, tau, t = g**2 + sigma**2, 0.5, h / (1 - decay), steps * h
    slope = Problem(lambda x: g * x.sum(), np.zeros(200), name="slope")
    noisy = Noisy(RMSprop(h, decay=decay, initial_scale=v), sigma)
    paths = ensemble(noisy, slope, steps, paths=10, of=of, save_every=steps)
    q = np.exp(-np.linspace(0, t, 2001) / tau)
    both = sigma**2 / v * (1 - a + a * q) ** 2 + g**2 * sigma**4 / (2 * v**3) * (1 - q) ** 2
    expected = h * np.trapezoid(both, dx=t / 2000)
    assert np.asarray(paths.x[:, -1]).var() == pytest.approx(expected, rel=0.1)
    assert expected < 0.5 * h * sigma**2 / v * t  # that without noise in v


def test_noise_does_not_enter_memories_that_are_left_out():
    with pytest.raises(InvalidValue, match="average the noise of many steps.*without dynopt.Memo"):
        ensemble(Noisy(Memoryless(RMSprop(0.1)), 1.0), ONE_WELL, 3, of="flow")
    assert StochasticEquation(Noisy(Memoryless(Momentum(0.1)), 1.0), jnp.zeros(1)).affine


def test_the_noise_of_a_second_moment_is_at_most_half_of_it_in_one_step():
    noisy = Noisy(RMSprop(0.02, initial_scale=1.0, decay=0.99), 1.0)

    def grad(x):
        return jnp.ones_like(x)

    equation = StochasticEquation(noisy, jnp.zeros(2))
    y = noisy.init(jnp.zeros(2), grad)._replace(v=jnp.array([1e-6, 3.0]))
    columns = equation.columns(1.0, y, grad).v
    np.testing.assert_allclose(0.02 * (columns[:, 0] ** 2).sum(), (1e-6 / 2) ** 2, rtol=1e-12)
    exact = 0.02 * (4 + 2) / 2.0**2  # h Var (1 + ξ)²/τ²
    np.testing.assert_allclose((columns[:, 1] ** 2).sum(), exact, rtol=1e-10)


@pytest.mark.parametrize("run", [integrate, partial(ensemble, paths=2, of="flow")])
def test_flows_with_short_memories_of_second_moments_warn(run):
    short = Noisy(RMSprop(0.02, initial_scale=1.0), 1.0)
    with pytest.warns(UserWarning, match="noise in a second moment .* is 32% of it.*decay=0.99"):
        run(short, ONE_WELL, 1)
    run(Noisy(RMSprop(0.02, decay=0.99, initial_scale=1.0), 1.0), ONE_WELL, 1)


@pytest.mark.parametrize("optimizer", [RMSprop(0.1), AdaGrad(0.1, initial_accumulator_value=0.0)])
def test_a_flow_that_divides_by_the_root_of_zero_has_no_stochastic_equation(optimizer):
    with pytest.raises(InvalidValue, match="has no finite variance; begin with v > 0"):
        ensemble(Noisy(optimizer, 1.0), WELL, 3, of="flow")
    for corrected in (RMSprop(0.1, decay=0.99, bias_correction=True), NAdam(0.1)):
        assert ensemble(Noisy(corrected, 1.0), ONE_WELL, 3, paths=20, of="flow").num_ok == 20


def test_the_modified_flow_is_solved_in_the_sense_of_ito_where_its_noise_depends_on_the_point():
    """Each coordinate is a path; E x² comes from one density on a grid, with the diffusion (1 - (h/2) F′) b."""
    h, sigma, time = 0.1, 3.0, 0.5
    b = sigma * h**0.5

    def second_moment(dt):
        x = np.linspace(-3.5, 3.5, 351)

        def step(x):
            force, slope = x - x**3, 1 - 3 * x**2
            drift = force - h / 2 * slope * force + h / 4 * 6 * x * b**2
            return x + dt * drift, dt**0.5 * (1 - h / 2 * slope) * b

        mean, deviation = step(x)
        kernel = np.exp(-(((x[:, None] - mean) / deviation) ** 2) / 2)
        kernel /= kernel.sum(0)
        first, spread = step(0.5)
        density = np.exp(-(((x - first) / spread) ** 2) / 2)
        return x**2 @ np.linalg.matrix_power(kernel, round(time / dt) - 1) @ density / density.sum()

    expected = 2 * second_moment(0.005) - second_moment(0.01)
    paths = ensemble(Modified(Noisy(SGD(h), sigma)), WELL, 5, paths=2000, of="flow", save_every=5)
    measured, stderr = paths.average((paths.x[:, -1] ** 2).mean(-1))
    assert abs(measured - expected) < 4 * stderr
    assert stderr < 0.03 * expected
    with pytest.raises(InvalidValue, match="one of Ito whose noise depends on the point"):
        ensemble(Modified(Noisy(SGD(h), sigma)), WELL, 5, of="flow", solver=diffrax.EulerHeun())
