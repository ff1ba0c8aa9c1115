"""Stationary laws are those of formulas and of matrices in numpy."""

from functools import cache

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dynopt import (
    SGD,
    Adam,
    Minibatch,
    Modified,
    Momentum,
    Nesterov,
    Noisy,
    Optax,
    Problem,
    ensemble,
)
from dynopt.analysis import stationary
from dynopt.errors import InvalidValue

BOWL = Problem(lambda x: (x**2).sum() / 2, [1.0], name="bowl")
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


# --- Adam, by simulation; the other laws of the literature are in tests/literature/noise.py


@cache
def of_adam():
    """Paths of 200 coordinates on a bowl, which are 200 paths each."""
    bowl = Problem(lambda x: (x**2).sum() / 2, np.zeros(200), name="wide bowl")
    return ensemble(Noisy(Adam(0.02), sigma=1.0), bowl, 400, paths=20, save_every=400)


def test_adam_has_the_variance_of_malladi_et_al():
    """η σ/(2λ) to first order in η, S. Malladi et al. (2022)."""
    paths, expected = of_adam(), 0.02 / 2
    measured, stderr = paths.average((paths.x[:, -1] ** 2).mean(-1))
    assert stderr < 0.05 * expected
    assert abs(measured - expected) < 4 * stderr + 0.06 * expected


def test_a_map_that_is_not_affine_is_refused_with_what_to_type():
    paths = of_adam()
    with pytest.raises(
        InvalidValue, match=r"dynopt.ensemble\(optimizer, problem, steps\).cov\[-1\]"
    ):
        stationary(paths.optimizer, paths.problem)
    assert paths.cov[-1].shape == (200, 200)
