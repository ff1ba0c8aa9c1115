"""The moments of noisy maps and flows are those of matrices in numpy and of formulas in closed form."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dynopt import (
    SGD,
    Extragradient,
    Langevin,
    Minibatch,
    Modified,
    Momentum,
    Noisy,
    Problem,
    Schedule,
)
from dynopt.analysis import affine_law, moments
from dynopt.errors import InvalidType, InvalidValue

HESSIAN = np.array([[1.5, 0.5], [0.5, 2.5]])
START = np.array([1.0, -2.0])
H, SIGMA, STEPS = 0.1, 0.5, 12


class Quadratic(eqx.Module):
    """Its Hessian matrix is data, so that one compilation serves all."""

    hessian: Any = eqx.field(converter=jnp.asarray)

    def __call__(self, x):
        return x @ self.hessian @ x / 2


QUADRATIC = Problem(Quadratic(HESSIAN), START, name="quadratic")
ROUND = Problem(Quadratic(np.eye(2)), START, name="round")

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(40, 3))
LABELS = FEATURES @ [1.0, -2.0, 0.5] + 0.5 * RNG.normal(size=40)
LEAST_SQUARES = Problem(
    lambda x, data: ((data[0] @ x - data[1]) ** 2).mean() / 2,
    np.zeros(3),
    data=(FEATURES, LABELS),
    name="least squares",
)
NOISY, LANGEVIN = Noisy(SGD(H), SIGMA), Langevin(Momentum(0.01, momentum=0.9), 0.3)


def of_gradient_descent():
    """M and the covariance of the noise of x - h (H x + σ ξ)."""
    return np.eye(2) - H * HESSIAN, (H * SIGMA) ** 2 * np.eye(2)


def of_heavy_ball():
    """The same for p' = μ p - h (H x + σ ξ) and x + h p', with h = 0.1, a = 1 and σ² = 2aT/h."""
    one, h, mu = np.eye(2), 0.1, 0.9
    velocity, noise = np.block([[-h * HESSIAN, mu * one]]), np.vstack([-h * h * one, -h * one])
    position = np.block([[one, 0 * one]]) + h * velocity
    return np.vstack([position, velocity]), 2 * 0.3 / h * noise @ noise.T


@pytest.mark.parametrize(
    ("optimizer", "matrices"), [(NOISY, of_gradient_descent), (LANGEVIN, of_heavy_ball)]
)
def test_the_map_has_the_moments_of_its_matrices(optimizer, matrices):
    matrix, noise = matrices()
    z, cov = np.concatenate([START, np.zeros(len(matrix) - 2)]), 0 * matrix
    result = moments(optimizer, QUADRATIC, STEPS)
    for k in range(STEPS + 1):
        np.testing.assert_allclose(result.map.mean[k], z, atol=1e-13)
        np.testing.assert_allclose(result.map.cov[k], cov, atol=1e-15)
        second = cov + np.outer(z, z)
        np.testing.assert_allclose(result.map.second[k], second, atol=1e-13)
        z, cov = matrix @ z, matrix @ cov @ matrix.T + noise
    np.testing.assert_allclose(result.t, 0.1 * np.arange(STEPS + 1))
    assert repr(result).endswith(f"13 times, {len(z)} coordinates of phase space)")


def test_the_flow_of_gradient_descent_is_a_process_of_ornstein_and_uhlenbeck():
    """dx = -H x dt + σ√h dW, and modified dx = -(H + h/2 H²) x dt + σ√h (1 + h/2 H) dW."""
    result = moments(NOISY, QUADRATIC, STEPS)
    curvatures, axes = np.linalg.eigh(HESSIAN)
    t = H * np.arange(STEPS + 1)[:, None]
    corrected = 1 + H / 2 * curvatures
    for flow, rate, diffusion in (
        (result.flow, curvatures, SIGMA * H**0.5),
        (result.modified, curvatures * corrected, SIGMA * H**0.5 * corrected),
    ):
        mean = np.exp(-rate * t) * (START @ axes) @ axes.T
        np.testing.assert_allclose(flow.mean, mean, rtol=1e-11)
        variance = diffusion**2 / (2 * rate) * (1 - np.exp(-2 * rate * t))
        cov = np.einsum("ki,ai,bi->kab", variance, axes, axes)
        np.testing.assert_allclose(flow.cov, cov, rtol=1e-11, atol=1e-16)
    again = moments(Modified(NOISY), QUADRATIC, STEPS, x0=1.5 * START)
    np.testing.assert_allclose(again.flow.mean, 1.5 * result.flow.mean, rtol=1e-12)
    np.testing.assert_allclose(again.modified.cov, result.modified.cov, rtol=1e-12, atol=1e-17)


def test_the_flow_of_momentum_at_temperature_t_has_the_second_moments_of_the_gibbs_law():
    """E p pᵀ = T and E x xᵀ = T H⁻¹, and Momentum begins at p = 0."""
    law, zero = moments(LANGEVIN, QUADRATIC, 400), np.zeros((2, 2))
    gibbs = 0.3 * np.block([[np.linalg.inv(HESSIAN), zero], [zero, np.eye(2)]])
    np.testing.assert_allclose(law.flow.cov[-1], gibbs, atol=1e-8)
    np.testing.assert_allclose(law.flow.mean[0], [*START, 0, 0])
    assert np.abs(law.map.cov[-1] - gibbs).max() > 1e-3


def test_a_stiff_flow_has_its_moments_to_round_off():
    stiff = Problem(Quadratic(1e4 * np.eye(2)), START, name="stiff")
    result = moments(NOISY, stiff, 1)
    expected = H * SIGMA**2 / 2e4 * np.eye(2)
    np.testing.assert_allclose(result.flow.cov[-1], expected, rtol=1e-12)


def test_multiplicative_noise_makes_a_geometric_brownian_motion():
    """dx = -x dt + s x dW in the sense of Ito has E x = e^(-t) x₀ and E x xᵀ = e^((s² - 2) t) x₀ x₀ᵀ."""
    s = 0.8
    result = moments(Noisy(SGD(H), root=lambda x: s / H**0.5 * x[:, None]), ROUND, STEPS)
    k, first = np.arange(STEPS + 1)[:, None], np.outer(START, START)
    np.testing.assert_allclose(result.flow.mean, np.exp(-H * k) * START, rtol=1e-12)
    factor = np.exp((s**2 - 2) * H * k[..., None])
    np.testing.assert_allclose(result.flow.second, factor * first, rtol=1e-12)
    of_map = ((1 - H) ** 2 + H * s**2) ** k[..., None]
    np.testing.assert_allclose(result.map.second, of_map * first, rtol=1e-12)
    assert result.modified is None


def gradients_of_examples():
    """The matrices Gᵢ with -∇fᵢ = Gᵢ (x, 1)."""
    G = np.zeros((40, 4, 4))
    G[:, :3, :3] = -FEATURES[:, :, None] * FEATURES[:, None, :]
    G[:, :3, 3] = FEATURES * LABELS[:, None]
    return G


def second_moments(deviations, mean, h, steps):
    """E z zᵀ for z ← z + h (mean + deviation) z with one of the deviations, all equally likely."""
    Q = np.outer(np.eye(4)[3], np.eye(4)[3])
    for _ in range(steps):
        P = np.eye(4) + h * (mean + deviations)
        Q = np.einsum("jab,bc,jdc->ad", P, Q, P) / len(P)
    return Q


@pytest.mark.parametrize("refinement", [1, 4])
def test_minibatches_of_a_quadratic_loss_have_the_mean_over_all_examples(refinement):
    G = gradients_of_examples()
    mean, h = G.mean(0), 0.04 / refinement
    noisy = Minibatch(SGD(0.04), 1).refine(refinement)
    result = moments(noisy, LEAST_SQUARES, 50)
    expected = second_moments(refinement**0.5 * (G - mean), mean, h, 50)
    np.testing.assert_allclose(result.map.second[-1], expected[:3, :3], rtol=1e-12)
    np.testing.assert_allclose(result.map.mean[-1], expected[:3, 3], rtol=1e-12)


def test_the_flow_of_minibatches_has_the_covariance_of_the_gradients_at_each_position():
    """By Euler's method with halved steps, extrapolated twice: dQ/dt = A Q + Q Aᵀ + h Σ Bⱼ Q Bⱼᵀ / n."""
    G = gradients_of_examples()
    mean, h = G.mean(0), 0.04
    result = moments(Minibatch(SGD(h), 1), LEAST_SQUARES, 10)

    def by_small_steps(n):
        return second_moments((h * n / 0.4) ** 0.5 * (G - mean), mean, 0.4 / n, n)

    coarse, middle, fine = map(by_small_steps, (400, 800, 1600))
    once = 2 * middle - coarse, 2 * fine - middle
    expected = (4 * once[1] - once[0]) / 3
    np.testing.assert_allclose(result.flow.second[-1], expected[:3, :3], atol=1e-8)


def test_both_gradients_of_a_wrapper_outside_have_the_same_noise():
    """Extragradient multiplies by 1 - hH + h²H² and adds -h (1 - hH) σ ξ."""
    result = moments(Extragradient(NOISY), ROUND, 1)
    np.testing.assert_allclose(result.map.mean[1], (1 - H + H**2) * START)
    np.testing.assert_allclose(result.map.cov[1], (H * (1 - H) * SIGMA) ** 2 * np.eye(2))


def test_it_is_computed_in_float64_whatever_jax_is_set_to():
    with jax.enable_x64(False):
        result = moments(NOISY, QUADRATIC, 1)
    assert result.map.cov[1, 0, 0] == pytest.approx((H * SIGMA) ** 2, rel=1e-7)
    assert result.map.cov.dtype == np.float64


def test_other_values_of_hyperparameters_and_of_the_problem_do_not_recompile():
    for h, curvature in ((0.1, 1.0), (0.2, 3.0)):
        problem = Problem(Quadratic(curvature * np.eye(2)), START)
        result = moments(Noisy(SGD(h), 1.0), problem, 2)
        np.testing.assert_allclose(result.map.mean[1], (1 - h * curvature) * START, rtol=1e-14)
        if h == 0.1:
            count = affine_law._evaluate._cached._cache_size()
    assert affine_law._evaluate._cached._cache_size() == count > 0


QUARTIC = Problem(lambda x: (x**4).sum() / 4, [1.0], name="quartic")
WIDE = Problem(Quadratic(np.eye(301)), np.zeros(301), name="wide")


@pytest.mark.parametrize(
    ("optimizer", "problem", "sentence"),
    [
        (NOISY, QUARTIC, "but the step of .* on quartic is not affine in"),
        (Noisy(SGD(0.1), root=lambda x: x[:, None] ** 2), ROUND, "is not affine"),
        (Noisy(Schedule(SGD(0.1), lambda t: 1 / (1 + t)), 1.0), ROUND, "depends on the time"),
        (Minibatch(SGD(0.1), 1, replace=False), LEAST_SQUARES, "draws without replacement"),
        (Minibatch(Extragradient(SGD(0.1)), 1), LEAST_SQUARES, "and in the noise"),
        (SGD(0.1), ROUND, "has no noise"),
        (NOISY, WIDE, "has 301 coordinates, but exact moments .* up to 300"),
    ],
)  # fmt: skip
def test_what_has_no_exact_moments_is_refused_in_one_sentence(optimizer, problem, sentence):
    with pytest.raises(InvalidValue, match=sentence):
        moments(optimizer, problem, 3)


def test_wrong_types_are_refused(as_users_see_it):
    with pytest.raises(InvalidType, match="`optimizer` must be an optimizer of dynopt"):
        moments("sgd", ROUND, 3)
    with pytest.raises(InvalidValue, match="moments needs numbers"):
        jax.jit(lambda h: moments(Noisy(SGD(h), 1.0), ROUND, 3).map.cov)(0.1)
    with pytest.raises(InvalidType, match="is a batch of 2"):
        batch = eqx.filter_vmap(lambda h: Noisy(SGD(h), 1.0))(jnp.array([0.1, 0.2]))
        moments(batch, ROUND, 3)
