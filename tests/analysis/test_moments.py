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
    Nesterov,
    Noisy,
    Problem,
    Schedule,
    ensemble,
)
from dynopt.analysis import affine_law, moments
from dynopt.errors import InvalidType, InvalidValue

HESSIAN = np.array([[1.5, 0.5], [0.5, 2.5]])
START = np.array([1.0, -2.0])
SIGMA, STEPS = 0.5, 12


class Parabola(eqx.Module):
    """Its curvature is data, so that one compilation serves all."""

    curvature: Any = eqx.field(converter=jnp.asarray)

    def __call__(self, x):
        return self.curvature * (x**2).sum() / 2


def bent(x):
    return x @ jnp.asarray(HESSIAN) @ x / 2


BOWL = Problem(Parabola(1.0), [2.0], name="bowl")
QUADRATIC = Problem(bent, START, name="quadratic")

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(40, 3))
LABELS = FEATURES @ [1.0, -2.0, 0.5] + 0.5 * RNG.normal(size=40)
LEAST_SQUARES = Problem(
    lambda x, data: ((data[0] @ x - data[1]) ** 2).mean() / 2,
    np.zeros(3),
    data=(FEATURES, LABELS),
    name="least squares",
)


def matrices(optimizer):
    """M and N of one step on the quadratic, from the equations in the docstring of the optimizer."""
    one, zero, h = np.eye(2), np.zeros((2, 2)), float(optimizer.h)
    if isinstance(optimizer, SGD):
        return one - h * HESSIAN, -h * one
    mu = optimizer.momentum
    velocity = np.block([[-h * HESSIAN, mu * one]])
    if isinstance(optimizer, Momentum):  # x + h p' with p' = μ p - h g
        position, noise = np.block([[one, zero]]) + h * velocity, -h * h
    else:  # x + h (μ p' - h g)
        position = np.block([[one - h * h * HESSIAN, zero]]) + h * mu * velocity
        noise = -h * h * (1 + mu)
    return np.vstack([position, velocity]), np.vstack([noise * one, -h * one])


@pytest.mark.parametrize("kind", [SGD, Nesterov])
def test_the_map_has_the_moments_of_its_matrices(kind):
    optimizer = kind(0.04) if kind is SGD else kind(0.04, momentum=0.6)
    matrix, noise = matrices(optimizer)
    z = np.concatenate([START, np.zeros(len(matrix) - 2)])
    cov = 0 * matrix
    result = moments(Noisy(optimizer, SIGMA), QUADRATIC, STEPS)
    for k in range(STEPS + 1):
        np.testing.assert_allclose(result.map.mean[k], z, atol=1e-13)
        np.testing.assert_allclose(result.map.cov[k], cov, atol=1e-15)
        second = cov + np.outer(z, z)
        np.testing.assert_allclose(result.map.second[k], second, atol=1e-13)
        z, cov = matrix @ z, matrix @ cov @ matrix.T + SIGMA**2 * noise @ noise.T
    np.testing.assert_allclose(result.t, np.arange(STEPS + 1) * float(optimizer.h))
    assert repr(result).endswith(f"13 times, {len(z)} coordinates of phase space)")


def test_the_flow_of_gradient_descent_is_a_process_of_ornstein_and_uhlenbeck():
    """dx = -x dt + σ√h dW, and modified dx = -(1 + h/2) x dt + σ√h (1 + h/2) dW."""
    h, noisy = 0.1, Noisy(SGD(0.1), SIGMA)
    result = moments(noisy, BOWL, STEPS)
    t = h * np.arange(STEPS + 1)
    for flow, rate, diffusion in (
        (result.flow, 1, SIGMA * h**0.5),
        (result.modified, 1 + h / 2, SIGMA * h**0.5 * (1 + h / 2)),
    ):
        np.testing.assert_allclose(flow.mean[:, 0], 2 * np.exp(-rate * t), rtol=1e-12)
        variance = diffusion**2 / (2 * rate) * (1 - np.exp(-2 * rate * t))
        np.testing.assert_allclose(flow.cov[:, 0, 0], variance, rtol=1e-12, atol=1e-17)
    again = moments(Modified(noisy), BOWL, STEPS, x0=[3.0])
    np.testing.assert_allclose(again.flow.mean, 1.5 * result.flow.mean, rtol=1e-12)
    np.testing.assert_allclose(again.modified.cov, result.modified.cov, rtol=1e-12, atol=1e-17)


def test_the_flow_of_momentum_at_temperature_t_has_the_second_moments_of_the_gibbs_law():
    """E p² = T and E x² = T/λ, and Momentum begins at p = 0."""
    law = moments(Langevin(Momentum(0.01, momentum=0.9), 0.3), BOWL, 400)
    np.testing.assert_allclose(law.flow.cov[-1], 0.3 * np.eye(2), atol=1e-8)
    np.testing.assert_allclose(law.flow.mean[0], [2, 0])
    assert np.abs(law.map.cov[-1] - 0.3 * np.eye(2)).max() > 1e-3


def test_a_stiff_flow_has_its_moments_to_round_off():
    stiff = Problem(Parabola(1e4), [1.0], name="stiff")
    result = moments(Noisy(SGD(0.1), 1.0), stiff, 1)
    np.testing.assert_allclose(result.flow.cov[-1, 0, 0], 0.1 / 2e4, rtol=1e-12)


def test_multiplicative_noise_makes_a_geometric_brownian_motion():
    """dx = -x dt + s x dW in the sense of Ito has E x = e^(-t) and E x² = e^((s² - 2) t)."""
    h, s = 0.1, 0.8
    result = moments(Noisy(SGD(h), root=lambda x: s / h**0.5 * x[:, None]), BOWL, STEPS, x0=[1.0])
    k, t = np.arange(STEPS + 1), h * np.arange(STEPS + 1)
    np.testing.assert_allclose(result.flow.mean[:, 0], np.exp(-t), rtol=1e-12)
    np.testing.assert_allclose(result.flow.second[:, 0, 0], np.exp((s**2 - 2) * t), rtol=1e-12)
    np.testing.assert_allclose(result.map.second[:, 0, 0], ((1 - h) ** 2 + h * s**2) ** k)
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


def test_paths_of_momentum_with_minibatches_have_the_exact_moments():
    noisy = Minibatch(Momentum(0.04, momentum=0.5), 2).refine(2)
    exact, paths = moments(noisy, LEAST_SQUARES, 10), ensemble(noisy, LEAST_SQUARES, 10, 2000)
    squares, stderr = paths.average(paths.x[:, -1] ** 2)
    z = (np.asarray(squares) - np.diag(exact.map.second[-1])[:3]) / np.asarray(stderr)
    assert np.abs(z).max() < 4
    mean_z = (paths.mean[-1] - exact.map.mean[-1, :3]) / paths.stderr[-1]
    assert np.abs(mean_z).max() < 4


def test_both_gradients_of_a_wrapper_outside_have_the_same_noise():
    """Extragradient on x²/2 multiplies by 1 - h + h² and adds -h (1 - h) σ ξ."""
    h = 0.1
    result = moments(Extragradient(Noisy(SGD(h), SIGMA)), BOWL, 1)
    np.testing.assert_allclose(result.map.mean[1], 2 * (1 - h + h**2))
    np.testing.assert_allclose(result.map.cov[1], [[(h * (1 - h) * SIGMA) ** 2]])


def test_it_is_computed_in_float64_whatever_jax_is_set_to():
    with jax.enable_x64(False):
        result = moments(Noisy(SGD(0.1), 1.0), BOWL, 1)
    assert result.map.cov[1, 0, 0] == pytest.approx(0.01, rel=1e-7)
    assert result.map.cov.dtype == np.float64


def test_other_values_of_hyperparameters_and_of_the_problem_do_not_recompile():
    for h, curvature in ((0.1, 1.0), (0.2, 3.0)):
        result = moments(Noisy(SGD(h), 1.0), Problem(Parabola(curvature), [1.0]), 2)
        assert result.map.mean[1, 0] == pytest.approx(1 - h * curvature, rel=1e-14)
        if h == 0.1:
            count = affine_law._evaluate._cached._cache_size()
    assert affine_law._evaluate._cached._cache_size() == count > 0


QUARTIC = Problem(lambda x: (x**4).sum() / 4, [1.0], name="quartic")
WIDE = Problem(Parabola(1.0), np.zeros(301), name="wide")


@pytest.mark.parametrize(
    ("optimizer", "problem", "sentence"),
    [
        (Noisy(SGD(0.1), 1.0), QUARTIC, "but the step of .* on quartic is not affine in"),
        (Noisy(SGD(0.1), root=lambda x: x[:, None] ** 2), BOWL, "is not affine"),
        (Noisy(Schedule(SGD(0.1), lambda t: 1 / (1 + t)), 1.0), BOWL, "depends on the time"),
        (Minibatch(SGD(0.1), 1, replace=False), LEAST_SQUARES, "draws without replacement"),
        (Minibatch(Extragradient(SGD(0.1)), 1), LEAST_SQUARES, "and in the noise"),
        (SGD(0.1), BOWL, "has no noise"),
        (Noisy(SGD(0.1), 1.0), WIDE, "has 301 coordinates, but exact moments .* up to 300"),
    ],
)  # fmt: skip
def test_what_has_no_exact_moments_is_refused_in_one_sentence(optimizer, problem, sentence):
    with pytest.raises(InvalidValue, match=sentence):
        moments(optimizer, problem, 3)


def test_wrong_types_are_refused(as_users_see_it):
    with pytest.raises(InvalidType, match="`optimizer` must be an optimizer of dynopt"):
        moments("sgd", BOWL, 3)
    with pytest.raises(InvalidValue, match="moments needs numbers"):
        jax.jit(lambda h: moments(Noisy(SGD(h), 1.0), BOWL, 3).map.cov)(0.1)
    with pytest.raises(InvalidType, match="is a batch of 2"):
        batch = eqx.filter_vmap(lambda h: Noisy(SGD(h), 1.0))(jnp.array([0.1, 0.2]))
        moments(batch, BOWL, 3)
