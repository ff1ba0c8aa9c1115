"""Stationary laws are those of the literature, and the variances of simulated runs within their errors."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dynopt import (
    SGD,
    Adam,
    AdamW,
    Minibatch,
    Modified,
    Momentum,
    Nesterov,
    Noisy,
    Optax,
    Problem,
    RMSprop,
    Signum,
    ensemble,
)
from dynopt.analysis import stationary
from dynopt.errors import InvalidValue

BOWL = Problem(lambda x: (x**2).sum() / 2, [1.0], name="bowl")
QUARTIC = Problem(lambda x: (x**4).sum() / 4, [1.0], name="quartic")
ETA, MU = 0.1, 0.9
HEAVY_BALL = (1 + MU) * ETA / ((1 - MU) * (2 * (1 + MU) - ETA))


def variances(optimizer):
    law = stationary(Noisy(optimizer, 1.0), BOWL)
    return [float(moments.cov[0, 0]) for moments in (law.map, law.flow, law.modified)]


def test_gradient_descent_has_the_variance_of_its_geometric_series():
    """Map η/(2 - η), flow η/2; the modified flow has the rate 1 + η/2 and 1 + η/2 times the noise."""
    expected = [ETA / (2 - ETA), ETA / 2, ETA / 2 * (1 + ETA / 2)]
    np.testing.assert_allclose(variances(SGD(ETA)), expected, rtol=1e-12)


def test_momentum_has_the_variance_of_liu_ziyin_and_ueda():
    of_map, flow, modified = variances(Momentum(ETA, momentum=MU))
    assert of_map == pytest.approx(HEAVY_BALL, abs=1e-12)
    assert flow == pytest.approx(ETA / (2 * (1 - MU)), abs=1e-12)
    assert modified == pytest.approx(0.5, abs=1e-9)


def test_nesterov_s_curvature_damps_the_noise_of_its_map_and_of_its_modified_flow():
    """By x_{k+1} = M x_k + N ξ in numpy; the flow is that of the heavy ball."""
    h, matrix = ETA**0.5, np.array([[1 - ETA * (1 + MU), ETA**0.5 * MU**2], [-(ETA**0.5), MU]])
    noise = np.array([-ETA * (1 + MU), -h])
    cov = np.zeros((2, 2))
    for _ in range(1000):
        cov = matrix @ cov @ matrix.T + np.outer(noise, noise)
    of_map, flow, modified = variances(Nesterov(ETA, momentum=MU))
    assert of_map == pytest.approx(cov[0, 0], abs=1e-12) == pytest.approx(0.321770, abs=1e-6)
    assert flow == pytest.approx(0.5, abs=1e-12)
    assert modified == pytest.approx(0.292683, abs=1e-6)


def test_on_a_quadratic_the_covariance_solves_the_matrix_equation():
    """Λ S + S Λ - η Λ S Λ = η C, K. Liu, L. Ziyin and M. Ueda (2021), with a minimizer at (1, -1)."""
    hessian = np.array([[1.5, 0.5], [0.5, 2.5]])
    root = np.array([[1.0, 0.0], [0.5, 0.3]])
    centre = np.array([1.0, -1.0])
    problem = Problem(
        lambda x: (x - centre) @ jnp.asarray(hessian) @ (x - centre) / 2, [3.0, 3.0], name="shifted"
    )
    law = stationary(Noisy(SGD(ETA), root=root), problem)
    S = law.map.cov
    left = hessian @ S + S @ hessian - ETA * hessian @ S @ hessian
    np.testing.assert_allclose(left, ETA * root @ root.T, atol=1e-13)
    flow = law.flow.cov
    np.testing.assert_allclose(hessian @ flow + flow @ hessian, ETA * root @ root.T, atol=1e-13)
    np.testing.assert_allclose(law.map.mean, centre, atol=1e-12)
    assert f"{np.trace(S):.6g} of the map" in repr(law)


def test_a_chain_of_optax_has_the_law_of_the_same_optimizer():
    law = stationary(Noisy(Optax(lambda h: optax.sgd(h, momentum=MU), ETA), 1.0), BOWL)
    assert law.map.cov[0, 0] == pytest.approx(HEAVY_BALL, abs=1e-12)
    assert law.flow is None and law.modified is None


def test_minibatches_have_a_law_in_which_the_noise_depends_on_the_position():
    """f = mean of aᵢ (x - cᵢ)²/2 with batches of 1: x ← x - h aᵢ (x - cᵢ), whose moments have a closed form."""
    a, c = np.array([0.5, 1.0, 3.0]), np.array([1.0, 2.0, -1.0])
    problem = Problem(
        lambda x, data: (data[0] * (x - data[1]) ** 2).mean() / 2, 0.0, data=(a, c), name="three"
    )
    law = stationary(Minibatch(SGD(ETA), 1), problem)
    mean = (a * c).mean() / a.mean()
    factor, shift = 1 - ETA * a, ETA * a * c
    second = ((shift**2).mean() + 2 * (factor * shift).mean() * mean) / (1 - (factor**2).mean())
    assert law.map.mean[0] == pytest.approx(mean, rel=1e-12)
    assert law.map.cov[0, 0] == pytest.approx(second - mean**2, rel=1e-11)
    # 0 = -2 E x² a + 2 E x (ac) + η E (a x - a c - E(a x - a c))²
    b = a * c
    quadratic = 2 * a.mean() - ETA * a.var()
    cross = 2 * b.mean() - 2 * ETA * ((a * b).mean() - a.mean() * b.mean())
    second = (cross * mean + ETA * b.var()) / quadratic
    assert law.flow.cov[0, 0] == pytest.approx(second - mean**2, rel=1e-11)
    assert law.modified is None


@pytest.mark.parametrize("rate", [2.0, 2.5])
def test_without_a_stationary_law_the_numbers_are_nan(rate):
    law = stationary(Noisy(SGD(rate), 1.0), BOWL)
    assert np.isnan(law.map.cov).all() and np.isnan(law.map.mean).all()
    assert law.flow.cov[0, 0] == pytest.approx(rate / 2)
    assert "none of the map" in repr(law)


def test_a_modified_optimizer_has_the_laws_of_the_original():
    law = stationary(Modified(Noisy(SGD(ETA), 1.0)), BOWL)
    assert law.flow.cov[0, 0] == pytest.approx(ETA / 2)
    assert law.modified.cov[0, 0] == pytest.approx(ETA / 2 * (1 + ETA / 2))


def test_a_map_that_is_not_affine_is_refused_with_what_to_type():
    with pytest.raises(
        InvalidValue, match=r"dynopt.ensemble\(optimizer, problem, steps\).cov\[-1\]"
    ):
        stationary(Noisy(Adam(0.1), 1.0), BOWL)
    assert ensemble(Noisy(Adam(0.1), 1.0), BOWL, 3, paths=10).cov[-1].shape == (1, 1)


# --- adaptive optimizers, by simulation: 200 coordinates are 200 paths in one

WIDE = Problem(lambda x: (x**2).sum() / 2, np.zeros(200), name="wide bowl")


@pytest.mark.parametrize(
    ("optimizer", "steps", "variance", "bias"),
    [
        (SGD(ETA), 60, ETA / (2 - ETA), 0),
        (Signum(0.02, beta=0.0), 300, 0.02 * (np.pi / 2) ** 0.5 / 2, 0.02),
        (RMSprop(0.02, decay=0.999, initial_scale=1.0), 300, 0.02 / 2, 0.03),
        (Adam(0.02), 400, 0.02 / 2, 0.06),
    ],
    ids=lambda value: getattr(value, "name", None),
)  # fmt: skip
def test_simulated_variances_are_those_of_the_formulas(optimizer, steps, variance, bias):
    """Within four standard errors, and for formulas of first order in η a part of `bias`.

    Sign descent η σ √(π/2)/(2λ), E. Monzio Compagnoni et al. (2025); RMSprop and Adam η σ/(2λ), S. Malladi et al. (2022).
    """
    paths = ensemble(Noisy(optimizer, sigma=1.0), WIDE, steps, paths=20, save_every=steps)
    measured, stderr = paths.average((paths.x[:, -1] ** 2).mean(-1))
    assert stderr < 0.05 * variance
    assert abs(measured - variance) < 4 * stderr + bias * variance


# --- weights that decay


def tangents(x):
    """Noise orthogonal to x whose size is 1/|x|, as of a loss that ignores the length of x."""
    direction = x / jnp.linalg.norm(x)
    return (jnp.eye(x.size) - direction[:, None] * direction[None]) / jnp.linalg.norm(x)


def test_weights_without_a_scale_come_to_rest_where_noise_and_decay_balance():
    """|x|⁴ = η (d - 1)/(2λ - ηλ²) with E|g|² = (d - 1)/|x|², R. Wan et al., "Spherical motion dynamics" (2021)."""
    dim, decay, eta = 50, 0.1, 0.1
    problem = Problem(lambda x: decay * (x**2).sum() / 2, np.full(dim, 0.6), name="decay")
    noisy = Noisy(SGD(eta), root=tangents)
    paths = ensemble(noisy, problem, 400, paths=40, save_every=400)
    squares, stderr = paths.average((paths.x[:, -1] ** 2).sum(-1))
    expected = (eta * (dim - 1) / (2 * decay - eta * decay**2)) ** 0.5
    assert abs(squares - expected) < 4 * stderr + 0.01 * expected
    assert stderr < 0.02 * expected


def test_adamw_under_noise_alone_has_weights_of_mean_square_eta_over_twice_the_decay():
    """η/(2λ - ηλ²) to 3 %, A. Kosson, B. Messmer and M. Jaggi, "Rotational equilibrium" (2024)."""
    eta, decay = 0.05, 0.1
    flat = Problem(lambda x: 0 * x.sum(), np.zeros(200), name="flat")
    paths = ensemble(
        Noisy(AdamW(eta, weight_decay=decay), 1.0), flat, 1000, paths=20, save_every=1000
    )
    measured, stderr = paths.average((paths.x[:, -1] ** 2).mean(-1))
    expected = eta / (2 * decay - eta * decay**2)
    assert abs(measured - expected) < 4 * stderr + 0.03 * expected
    assert stderr < 0.03 * expected
