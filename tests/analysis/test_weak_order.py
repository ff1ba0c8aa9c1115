"""Weak errors are those of closed forms and of densities on a grid, and no order is told from noise."""

from functools import cache
from math import comb

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from dynopt import (
    SGD,
    Adam,
    Minibatch,
    Momentum,
    Nesterov,
    Noisy,
    Problem,
)
from dynopt.analysis import WeakError, moments, weak_order
from dynopt.errors import InvalidType, InvalidValue
from dynopt.problems import quadratic

SIGMA = 0.5
TURNED = quadratic(eigenvalues=[1.0, 3.0], rotation=0.4)
BOWL = Problem(lambda x: (x**2).sum() / 2, [2.0], name="bowl")


@pytest.mark.parametrize(
    ("optimizer", "flow", "modified", "tolerance"),
    [
        (SGD(0.1), [0.96, 0.98, 0.99, 0.995], [1.84, 1.92, 1.96, 1.98], 0.01),
        (Momentum(0.04, 0.6), [0.957, 0.960, 0.978, 0.989], [2.00, 1.84, 1.81, 1.90], 0.01),
        (Nesterov(0.04, 0.6), [0.76, 0.93, 0.98, 0.98], [2.17, 2.13, 2.04, 1.94], 0.01),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_at_one_temperature_the_weak_order_is_one_and_that_of_the_modified_flow_two(
    optimizer, flow, modified, tolerance
):
    """The numbers are those of matrices and matrix exponentials in numpy and scipy."""
    result = weak_order(Noisy(optimizer, SIGMA), TURNED)
    np.testing.assert_allclose(result.flow.pairwise, flow, atol=tolerance)
    np.testing.assert_allclose(result.modified.pairwise, modified, atol=tolerance)
    assert (result.noiseless.error > 4e-3).all()  # a flow without noise stays as far
    assert abs(result.noiseless.order) < 0.2
    assert not result.paths and "by exact moments" in repr(result)


@cache
def moments_at_one_sigma(n):
    """Those of x²/2 from 2 until the time 2, with the time step 0.2/n and σ = 1 for all n."""
    return moments(Noisy(SGD(0.2 / n), 1.0), BOWL, 10 * n)


def errors_at_one_sigma(x0, time):
    """The errors of E x² with σ held: those of the ODE, of the flow and of the modified flow.

    The mean is proportional to the start, and the covariance does not depend on it.
    """
    rows = []
    for n in (1, 2, 4, 8, 16):
        result, k = moments_at_one_sigma(n), round(time * n / 0.2)
        of_map, of_flow, of_modified = (
            ((x0 / 2 * law.mean[k]) ** 2 + law.cov[k, 0]).item()
            for law in (result.map, result.flow, result.modified)
        )
        ends = (x0 / 2 * result.flow.mean[k]).item() ** 2, of_flow, of_modified
        rows.append([abs(end - of_map) for end in ends])
    errors = np.transpose(rows)
    return errors, np.log2(errors[:, :-1] / errors[:, 1:])


def test_at_one_sigma_the_stochastic_equation_is_no_better_than_the_one_without_noise():
    """Both have order 1, and the closed form of the map is (1 - h)²ⁿ x₀² + h (1 - (1 - h)²ⁿ)/(2 - h)."""
    errors, slopes = errors_at_one_sigma(2.0, 1.0)
    np.testing.assert_allclose(slopes[1], [0.93, 0.97, 0.99, 0.99], atol=0.006)
    assert slopes[0][-1] == pytest.approx(1, abs=0.05)
    assert slopes[2][-1] == pytest.approx(2, abs=0.1)
    assert errors[0][-1] < 2 * errors[1][-1]
    decay = 0.8**10
    flow = 4 * np.exp(-2) + 0.1 * (1 - np.exp(-2))
    assert errors[1][0] == pytest.approx(abs(4 * decay + 0.2 / 1.8 * (1 - decay) - flow), rel=1e-9)


def test_where_two_errors_cancel_slopes_tell_no_order():
    """From x₀ = 1 at T = 2 the error of the mean and that of the variance have opposite signs."""
    _, slopes = errors_at_one_sigma(1.0, 2.0)
    np.testing.assert_allclose(slopes[1][:3], [2.67, -0.56, 0.60], atol=0.01)


RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(40, 3))
LABELS = FEATURES @ [1.0, -2.0, 0.5] + 0.5 * RNG.normal(size=40)
DATA = FEATURES, LABELS


def squared_errors(x, data):
    return ((data[0] @ x - data[1]) ** 2).mean() / 2


LEAST_SQUARES = Problem(squared_errors, np.zeros(3), data=DATA, name="least squares")


def first_and_second_moments(x):
    z = jnp.append(x, 1.0)
    return jnp.outer(z, z)


def moments_of_minibatches(h, amplification, steps):
    """E x xᵀ and E x of batches of 1, after steps with so many times their covariance."""
    G = np.zeros((40, 4, 4))  # with -∇fᵢ = Gᵢ (x, 1)
    G[:, :3] = FEATURES[:, :, None] * np.c_[-FEATURES, LABELS][:, None, :]
    P = np.eye(4) + h * (G.mean(0) + amplification**0.5 * (G - G.mean(0)))
    Q = np.outer(np.eye(4)[3], np.eye(4)[3])
    for _ in range(steps):
        Q = (P @ Q @ P.transpose(0, 2, 1)).mean(0)
    return Q[:3, :3], Q[:3, 3]


def test_a_constant_covariance_is_as_wrong_as_no_noise():
    """Minibatches of 1 at one temperature against flows with C(x), with C at the minimizer, and without noise."""
    noisy = Minibatch(SGD(0.04), 1)
    result = weak_order(noisy, LEAST_SQUARES, first_and_second_moments, time=2.0)
    np.testing.assert_allclose(result.flow.pairwise, [1.009, 1.004, 1.002, 1.001], atol=1e-3)
    np.testing.assert_allclose(result.noiseless.pairwise, [0.42, 0.26, 0.15, 0.08], atol=6e-3)
    assert result.modified is None

    minimizer = np.linalg.lstsq(*DATA, rcond=None)[0]
    residuals = FEATURES @ minimizer - LABELS
    root = (FEATURES * residuals[:, None]).T / 40**0.5  # the mean gradient is 0 there
    flow = moments(Noisy(SGD(0.04), root=root), LEAST_SQUARES, 50).flow
    errors = []
    for n in (1, 2, 4, 8, 16):
        second, mean = moments_of_minibatches(0.04 / n, n, 50 * n)
        errors.append(
            max(np.abs(second - flow.second[-1]).max(), np.abs(mean - flow.mean[-1]).max())
        )
    slopes = np.log2(np.divide(errors[:-1], errors[1:]))
    np.testing.assert_allclose(slopes, [0.46, 0.30, 0.18, 0.10], atol=6e-3)


# --- errors from paths


TIME = 0.5


def double_well(x):
    return ((x**2 - 1) ** 2).sum() / 4 + 0.1 * x.sum()


WELL = Problem(double_well, [0.5], name="double well")


def square(x):
    return x[0] ** 2


def second_moment_on_a_grid(step, steps):
    """E x² on the double well after steps with a normal law, from its density on a grid.

    - `step`: the function x ↦ (mean, standard deviation) of the next position.
    """
    x = np.linspace(-3, 3, 401)
    mean, deviation = step(x)
    kernel = np.exp(-(((x[:, None] - mean) / deviation) ** 2) / 2)
    kernel /= kernel.sum(0)
    first, spread = step(np.array(0.5))
    density = np.exp(-(((x - first) / spread) ** 2) / 2)
    density /= density.sum()
    for _ in range(steps - 1):
        density = kernel @ density
    return x**2 @ density


def test_on_a_double_well_the_errors_are_those_of_the_densities_of_map_and_flows():
    """The modified equation has the drift F - (h/2) F′F - (h/4) F″b² and the diffusion (1 - (h/2) F′) b."""

    def force(x):
        return -x * (x**2 - 1) - 0.1

    def of_map(h, b):
        return second_moment_on_a_grid(
            lambda x: (x + h * force(x), h**0.5 * b * np.ones_like(x)), round(TIME / h)
        )

    def of_modified_flow(h, b, dt):
        slope, curvature = (lambda x: 1 - 3 * x**2), (lambda x: -6 * x)

        def step(x):
            drift = force(x) - h / 2 * slope(x) * force(x) - h / 4 * curvature(x) * b**2
            return x + dt * drift, dt**0.5 * (1 - h / 2 * slope(x)) * b

        return second_moment_on_a_grid(step, round(TIME / dt))

    b = 1.5 * 0.1**0.5  # σ √h
    result = weak_order(Noisy(SGD(0.1), 1.5), WELL, square, time=TIME, refinements=2, paths=1000)
    flow = 2 * of_map(0.005, b) - of_map(0.01, b)
    for i, h in enumerate((0.1, 0.05)):
        modified = 2 * of_modified_flow(h, b, 0.005) - of_modified_flow(h, b, 0.01)
        error, of_modified = abs(of_map(h, b) - flow), abs(of_map(h, b) - modified)
        assert abs(result.flow.error[i] - error) < 4 * result.flow.stderr[i]
        assert abs(result.modified.error[i] - of_modified) < 4 * result.modified.stderr[i]
        assert 0 < 8 * result.flow.stderr[i] < result.flow.error[i]
        assert of_modified < 5 * h * error
    assert result.flow.order == pytest.approx(1, abs=4 * result.flow.pairwise_stderr[0])


@pytest.mark.parametrize(("sigma", "few"), [(16.0, False), (1e6, True)])
def test_paths_that_fail_are_left_out_with_a_warning(sigma, few):
    """The force -x³ of the well throws x beyond all bounds once |x| is above √(2/h) = 4.5."""
    with pytest.warns(UserWarning, match=r"of 1000 paths of Noisy.* on double well failed and are"):
        result = weak_order(
            Noisy(SGD(0.1), sigma), WELL, square, time=1.0, refinements=2, paths=1000
        )
    assert np.isnan(result.flow.error[0]) == few
    if few:
        assert "<= nan" in repr(result.flow) and "order" not in repr(result.flow)


def fourth_power(x):
    return x[0] ** 4


def proportional(x):
    return 2.0 * x[:, None]


def test_multiplicative_noise_is_understood_in_the_sense_of_ito():
    """dx = -x dt + s x dW: E x⁴ = e^((6s² - 4) t), and that of the map is E (1 - h + √h s ξ)⁴ to the k."""
    h, s2 = 0.1, 0.4
    result = weak_order(
        Noisy(SGD(h), root=proportional),
        BOWL,
        fourth_power,
        time=0.5,
        refinements=2,
        paths=1000,
        x0=[1.0],
    )
    of_map = ((1 - h) ** 4 + 6 * (1 - h) ** 2 * h * s2 + 3 * h**2 * s2**2) ** 5
    error = abs(of_map - np.exp((6 * s2 - 4) * 0.5))
    measured, stderr = result.flow.error[0], result.flow.stderr[0]
    assert abs(measured - error) < 4 * stderr + error / 8  # Euler's method with 16 steps
    assert result.modified is None


def powers_after_minibatches(a, b, h, steps, x0):
    """E xᵖ for p = 0, ..., 8 of map and flow on aᵢ x²/2 - bᵢ x with batches of one.

    A step of the map is (1 - h aᵢ) x + h bᵢ; the flow is dx = (E b - E a x) dt + √h S(x) dW with
    the variance S² of aᵢ x - bᵢ.
    """
    step, generator, variance = np.zeros((9, 9)), np.zeros((9, 9)), h * np.cov(a, b, bias=True)
    for p in range(9):
        for q in range(p + 1):
            step[p, q] = comb(p, q) * ((1 - h * a) ** q * (h * b) ** (p - q)).mean()
        pairs = p * (p - 1) / 2
        generator[p, p] = pairs * variance[0, 0] - p * a.mean()
        generator[p, p - 1] += p * b.mean() - 2 * pairs * variance[0, 1]
        generator[p, p - 2] += pairs * variance[1, 1]
    start = x0 ** np.arange(9)
    of_flow = scipy.linalg.expm(steps * h * generator)
    return np.linalg.matrix_power(step, steps) @ start, of_flow @ start


def test_a_fourth_power_after_minibatches_is_that_of_independent_ensembles():
    a, b, h = np.array([0.5, 1.0, 1.5]), np.array([0.5, 1.0, -1.0]), 0.4
    problem = Problem(
        lambda x, data: (data[0] * x**2 / 2 - data[1] * x).mean(), 3.0, data=(a, b), name="three"
    )
    result = weak_order(
        Minibatch(SGD(h), 1), problem, lambda x: x**4, time=2 * h, refinements=2, paths=1000
    )
    of_map, of_flow = powers_after_minibatches(a, b, h, 2, 3.0)
    error, variances = abs(of_map - of_flow)[4], [law[8] - law[4] ** 2 for law in (of_map, of_flow)]
    measured, stderr = result.flow.error[0], result.flow.stderr[0]
    assert stderr == pytest.approx((sum(variances) / 1000) ** 0.5, rel=0.3)
    assert abs(measured - error) < 4 * stderr + error / 8  # Euler's method with 16 steps
    assert 4 * stderr < error
    assert result.paths == 1000 and result.modified is None and result.noiseless is None


def test_no_order_is_told_from_errors_below_two_standard_errors():
    h = np.array([0.4, 0.2, 0.1])
    result = WeakError(h, np.array([0.4, 0.1, 0.01]), np.array([0.01, 0.01, 0.02]))
    assert result.is_resolved.tolist() == [True, True, False]
    assert result.order == pytest.approx(2) and np.isnan(result.pairwise[1])
    assert result.pairwise_stderr[0] == pytest.approx(np.hypot(0.1, 0.025) / np.log(2))
    assert repr(result) == "WeakError(0.4 ± 0.01, 0.1 ± 0.01, <= 0.05, order 2.000 ± 0.15)"


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: weak_order(Noisy(Adam(0.1), 1.0), BOWL), InvalidValue, "not affine in the gradient"),
        (lambda: weak_order(SGD(0.1), BOWL), InvalidValue, "has no noise"),
        (lambda: weak_order(Noisy(SGD(0.1), 1.0), BOWL, 3), InvalidType, "`test` must be a function"),
        (lambda: weak_order(Noisy(SGD(0.1), 1.0), BOWL, refinements=1), InvalidValue, "from 2 to 12"),
        (lambda: weak_order(Noisy(SGD(0.1), 1.0), BOWL, time=1e9), InvalidValue, "shorter `time`"),
    ],
)  # fmt: skip
def test_wrong_input_is_refused_in_one_sentence(call, error, sentence, as_users_see_it):
    with pytest.raises(error, match=sentence):
        call()


def test_what_the_refusal_says_to_type_can_be_typed():
    result = weak_order(Noisy(SGD(0.1), 1.0), BOWL, test=lambda x: (x**2).sum(), refinements=2)
    assert result.flow.error.shape == (2,)
