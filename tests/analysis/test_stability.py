"""The stability map of the heavy ball is that of its closed forms, and Adam's has its boundary."""

import numpy as np
import pytest

from dynopt import SGD, Adam, Momentum, Optax, RMSprop, analysis
from dynopt.errors import InvalidType, InvalidValue, UnknownName

MU = np.linspace(0, 0.98, 15)


@pytest.fixture(scope="module")
def heavy():
    return analysis.stability(Momentum(0.1), "momentum", values=MU, curvature=5.0)


def test_the_heavy_ball_is_stable_up_to_two_plus_two_mu(heavy):
    np.testing.assert_allclose(heavy.boundary * 5, 2 + 2 * MU, rtol=1e-10)


def test_the_best_momentum_is_one_minus_the_root_of_eta_lambda_squared(heavy):
    """And none is stable from ηλ = 2 + 2μ on, with the largest μ of the axis."""
    rate = heavy.learning_rate * 5
    best = (1 - np.sqrt(rate)) ** 2
    np.testing.assert_allclose(heavy.optimal[best < MU[-1]], best[best < MU[-1]], atol=1e-6)
    np.testing.assert_array_equal(np.isnan(heavy.optimal), rate >= 2 + 2 * MU[-1])


def test_the_radius_is_the_root_of_mu_while_it_oscillates_and_that_of_the_companion_matrix_elsewhere(
    heavy,
):
    mu, rate = MU[:, None], heavy.learning_rate * 5
    oscillates = ((1 - np.sqrt(mu)) ** 2 < rate) & (rate < (1 + np.sqrt(mu)) ** 2)
    root = np.sqrt(np.abs((1 + mu - rate) ** 2 - 4 * mu))
    real = np.maximum(np.abs(1 + mu - rate + root), np.abs(1 + mu - rate - root)) / 2
    np.testing.assert_allclose(heavy.radius, np.where(oscillates, np.sqrt(mu), real), atol=1e-7)
    assert oscillates.any() and not oscillates.all()


def test_the_optimum_has_the_smallest_radius(heavy):
    for j in (5, 60, 120):
        nearby = np.clip(heavy.optimal[j] + np.linspace(-0.02, 0.02, 9), 0, 0.98)
        radii = [
            analysis.spectral_radius(Momentum(heavy.learning_rate[j], mu), 5.0) for mu in nearby
        ]
        best = analysis.spectral_radius(Momentum(heavy.learning_rate[j], heavy.optimal[j]), 5.0)
        assert best <= min(radii) + 1e-7


def test_the_axis_reaches_a_tenth_beyond_the_critical_learning_rate_of_the_optimizer():
    result = analysis.stability(Momentum(0.1, momentum=0.5), curvature=2.0)
    assert (
        result.learning_rate[-1] == pytest.approx(1.1 * 3 / 2, rel=1e-10)
        and result.learning_rate[0] > 0
    )
    assert (
        result.value[0] == 0 and 0.99 < result.value[-1] < 1 and result.radius.shape == (121, 160)
    )


@pytest.mark.parametrize("curvature", [1e-9, 1e9])
def test_the_boundary_scales_with_the_curvature(curvature):
    result = analysis.stability(Momentum(0.1), values=[0.0, 0.5], curvature=curvature)
    np.testing.assert_allclose(result.boundary * curvature, [2, 3], rtol=1e-10)


def test_adam_is_stable_up_to_two_plus_two_b1_over_one_minus_b1():
    b1 = np.array([0.0, 0.5, 0.9])
    result = analysis.stability(
        Adam(0.1, eps=0.5), "b1", values=b1, learning_rates=[1.0, 20.0, 70.0]
    )
    np.testing.assert_allclose(result.boundary, 1.5 * (2 + 2 * b1) / (1 - b1), rtol=1e-10)
    np.testing.assert_array_equal(
        result.radius > 1, result.learning_rate > result.boundary[:, None]
    )


def test_at_a_complex_curvature_roots_of_the_companion_polynomial_leave_the_disc_at_the_boundary():
    """z² - (1 + μ - ηλ) z + μ; without momentum that is at η = 2a/|λ|²."""
    curvature, values = 0.3 + 1j, np.array([0.0, 0.1, 0.6])
    result = analysis.stability(Momentum(0.1), values=values, curvature=curvature)
    assert result.boundary[0] == pytest.approx(0.6 / 1.09, rel=1e-10)
    for mu, rate in zip(values, result.boundary, strict=True):
        roots = [np.roots([1, -(1 + mu - f * rate * curvature), mu]) for f in (0.99, 1, 1.01)]
        below, at, above = (np.abs(r).max() for r in roots)
        assert below < 1 < above and at == pytest.approx(1, abs=1e-10)


def test_where_every_rate_is_unstable_the_boundary_is_0():
    """|1 - ηλ|² = 1 + η²|λ|² > 1 on an imaginary λ, and no momentum from 0 to 1 helps."""
    result = analysis.stability(Momentum(0.1), values=[0.0, 0.5], curvature=2j)
    assert result.boundary.tolist() == [0, 0] and result.learning_rate[-1] == pytest.approx(1.1)
    assert result.radius.min() > 1
    assert "at curvature 0+2j" in repr(result)


def test_every_point_is_the_spectral_radius_of_its_optimizer(heavy):
    for i, j in ((0, 0), (7, 80), (14, 159)):
        optimizer = Momentum(heavy.learning_rate[j], momentum=MU[i])
        assert heavy.radius[i, j] == pytest.approx(
            analysis.spectral_radius(optimizer, 5.0), rel=1e-12
        )


def test_it_prints_what_it_maps(heavy):
    assert repr(heavy) == (
        "Stability(of Momentum(learning_rate=0.1, momentum=0.9) over momentum at curvature 5, 160 learning rates, 15 values)"
    )


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: analysis.stability(SGD(0.1)), InvalidValue, r"SGD\(.*\) has no option besides its learning rate"),
        (lambda: analysis.stability(Momentum(0.1), "moment"), UnknownName, "did you mean momentum"),
        (lambda: analysis.stability(Momentum(0.1), "learning_rate"), UnknownName, "Known: momentum"),
        (lambda: analysis.stability(Optax(_sgd, 0.1)), InvalidValue, r"Optax\(.*\) is not made from a `learning_rate`"),
        (lambda: analysis.stability(RMSprop(0.1), "decay", learning_rates=[0.5]), InvalidValue, "`decay` changes no radius of RMSprop"),
        (lambda: analysis.stability(Adam(0.1, b2=0.0), "b1", values=[0.5]), InvalidValue, "has no derivative at rest"),
        (lambda: analysis.stability(Momentum(0.1), values=[0.5, 0.1]), InvalidValue, "`values` must be a row of rising numbers"),
        (lambda: analysis.stability(Momentum(0.1), values=[0.5, 1.5]), InvalidValue, r"`momentum` is 1.5, which is outside \[0, 1\)"),
        (lambda: analysis.stability(Momentum(0.1), values=["a"]), InvalidType, "`values` must be numbers, got"),
        (lambda: analysis.stability(Momentum(0.1), learning_rates=[0.0, 1.0]), InvalidValue, "`learning_rates` must be positive, got 0"),
        (lambda: analysis.stability(Momentum(0.1), curvature=-1.0), InvalidValue, "`curvature` is -1"),
        (lambda: analysis.stability(Momentum(0.1), curvature=0j), InvalidValue, "`curvature` is 0j; pass one number other than 0"),
        (lambda: analysis.stability("momentum"), InvalidType, "`optimizer` must be an optimizer of dynopt such as dynopt.Momentum"),
    ],
)  # fmt: skip
def test_wrong_input_is_refused_in_one_sentence(call, error, sentence, as_users_see_it):
    with pytest.raises(error, match=sentence):
        call()


def _sgd(h):
    import optax

    return optax.sgd(h)
