"""Linearised at rest, a map has the eigenvalues of the textbook, and leaves a quadratic where the books say."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest

from dynopt import (
    SGD,
    AdaGrad,
    Adam,
    Modified,
    Momentum,
    Optax,
    Problem,
    RMSprop,
    Schedule,
    ScheduleFree,
    WithGradient,
    grid,
    iterate,
)
from dynopt.analysis import critical_curvature, spectral_radius
from dynopt.errors import InvalidType, InvalidValue

H = 0.01


# --- where the map becomes unstable (J. Cohen et al. 2021, Appendix B, and 2022)


@pytest.mark.parametrize("h", [1e-4, 0.3])
def test_gradient_descent_is_stable_up_to_two_over_eta(h):
    assert critical_curvature(SGD(h)) == pytest.approx(2 / h, rel=1e-11)


def test_the_best_rate_of_gradient_descent_contracts_by_kappa_minus_one_over_kappa_plus_one():
    """η = 2/(m + L) on curvatures from m = 1 to L = 100: 99/101 = 0.980198 at both ends."""
    np.testing.assert_allclose(spectral_radius(SGD(2 / 101), [1.0, 100.0]), 99 / 101, rtol=1e-12)


@pytest.mark.parametrize("mu", [0.0, 0.5, 0.9, 0.999])
def test_the_heavy_ball_is_stable_up_to_two_plus_two_mu_over_eta(mu):
    assert critical_curvature(Momentum(H, mu)) == pytest.approx((2 + 2 * mu) / H, rel=1e-11)


@pytest.mark.parametrize(
    "optimizer",
    [
        RMSprop(H, eps=0.0),
        RMSprop(H, 0.5, eps=0.0, initial_scale=3.0),
        RMSprop(H, eps=0.0, bias_correction=True),
    ],
)
def test_rmsprop_is_stable_up_to_two_over_eta_relative_to_its_preconditioner(optimizer):
    assert critical_curvature(optimizer) == pytest.approx(2 / H, rel=1e-11)


@pytest.mark.parametrize("b1", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("b2", [0.9, 0.999])
def test_adam_is_stable_up_to_two_plus_two_b1_over_one_minus_b1_eta(b1, b2):
    """38/η at the defaults."""
    assert critical_curvature(Adam(H, b1, b2, eps=0.0)) == pytest.approx(
        (2 + 2 * b1) / (1 - b1) / H, rel=1e-11
    )


def test_eps_adds_to_the_preconditioner():
    """P = 1 + ε outside of the root, √(1 + ε) inside."""
    assert critical_curvature(Adam(H, eps=0.5)) == pytest.approx(1.5 * 38 / H, rel=1e-11)
    assert critical_curvature(RMSprop(H, eps=0.44)) == pytest.approx(1.2 * 2 / H, rel=1e-11)


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        (lambda h: optax.sgd(h, momentum=0.9, nesterov=True), 3.8 / 2.8),
        (lambda h: optax.nadam(h, eps=0.0), 3.8 / 2.8 / 0.1),
        (lambda h: optax.adabelief(h, eps=0.0, eps_root=0.0), 38),
        (lambda h: optax.contrib.schedule_free_sgd(h, b1=0.9), 20),
    ],
    ids=["nesterov", "nadam", "adabelief", "schedule-free"],
)
def test_any_optax_transformation_is_linearised(family, expected):
    """Nesterov (2+2μ)/((1+2μ)η); NAdam that over 1-β₁; AdaBelief like Adam; schedule-free SGD 2/((1-β)η)."""
    assert critical_curvature(Optax(family, H)) == pytest.approx(expected / H, rel=2e-8)


def test_the_transformation_of_optax_has_the_same_critical_curvature():
    optimizer = Momentum(H, 0.8)
    assert critical_curvature(Optax(lambda h: optimizer.optax(), H)) == pytest.approx(
        critical_curvature(optimizer), rel=1e-11
    )


def test_a_modified_optimizer_has_the_same_map():
    assert critical_curvature(Modified(Momentum(H))) == critical_curvature(Momentum(H))


@pytest.mark.parametrize("optimizer", [SGD(H), Momentum(H)], ids=["sgd", "momentum"])
@pytest.mark.parametrize(("fraction", "shrinks"), [(0.99, True), (1.01, False)])
def test_runs_die_out_below_the_critical_curvature_and_grow_above(optimizer, fraction, shrinks):
    curvature = fraction * critical_curvature(optimizer)
    bowl = Problem(lambda x: curvature * (x**2).sum() / 2, [1.0], name="bowl")
    loss = np.asarray(iterate(optimizer, bowl, 3000, throw=False).loss)
    assert (loss[-1] < 1e-6 * loss[0]) if shrinks else not loss[-1] < 1e6 * loss[0]


@pytest.mark.parametrize("eta", [0.1, 0.01])
def test_adagrad_is_stable_up_to_two_over_eta_at_a_sum_of_one_in_the_units_of_optax(eta):
    """2 √(1+ε)/η, whether the sum is kept in units of optax or of its flow."""
    expected = pytest.approx(2 * np.sqrt(1 + 1e-7) / eta, rel=1e-11)
    assert critical_curvature(AdaGrad(eta)) == expected
    assert critical_curvature(Optax(optax.adagrad, eta)) == expected


@pytest.mark.parametrize(("fraction", "shrinks"), [(0.95, True), (1.05, False)])
def test_runs_of_adagrad_from_a_sum_of_one_shrink_below_that_curvature_and_grow_above(
    fraction, shrinks
):
    """They are so short and so small that the sum stays 1."""
    optimizer = AdaGrad(0.1, initial_accumulator_value=1.0)
    curvature = fraction * critical_curvature(optimizer)
    bowl = Problem(lambda x: curvature * ((x - 1) ** 2).sum() / 2, [1 + 1e-6], name="bowl")
    far = np.abs(np.asarray(iterate(optimizer, bowl, 60).x)[:, 0] - 1)
    assert (far[-1] < far[0] / 100) if shrinks else (far[-1] > 100 * far[0])


def test_schedule_free_is_stable_up_to_two_over_one_minus_beta_eta():
    """2/((1-β)η): after many steps x stands still, and z moves by (1-β) of its distance."""
    for b1 in (0.0, 0.5, 0.9):
        expected = 2 / ((1 - b1) * H)
        assert critical_curvature(ScheduleFree(H, b1)) == pytest.approx(expected, rel=1e-7)


def test_a_map_that_is_stable_everywhere_has_an_infinite_critical_curvature():
    class Implicit(SGD):
        """x ← x/(1 + η λ)."""

        def step(self, t, y, grad):
            return type(y)(y.x / (1 + self.h * grad(jnp.ones_like(y.x))))

    assert critical_curvature(Implicit(H)) == np.inf


# --- the spectral radius


def test_gradient_descent_multiplies_by_one_minus_eta_lambda():
    curvature = np.array([[-50.0, 0.0, 30.0], [100.0, 150.0, 300.0]])
    np.testing.assert_allclose(
        spectral_radius(SGD(H), curvature), np.abs(1 - H * curvature), rtol=1e-14, atol=1e-16
    )


def test_the_heavy_ball_has_the_eigenvalues_of_its_companion_matrix():
    """Roots of z² - (1 + μ - ηλ) z + μ: of modulus √μ while it oscillates."""
    for mu, curvature in ((0.5, 3.0), (0.5, 150.0), (0.5, 290.0), (0.9, 0.1), (0.9, 350.0)):
        roots = np.roots([1, -(1 + mu - H * curvature), mu])
        assert spectral_radius(Momentum(H, mu), curvature) == pytest.approx(
            np.abs(roots).max(), rel=1e-12
        )
        if (1 - np.sqrt(mu)) ** 2 < H * curvature < (1 + np.sqrt(mu)) ** 2:
            assert spectral_radius(Momentum(H, mu), curvature) == pytest.approx(
                np.sqrt(mu), rel=1e-13
            )


MODES = np.array([1j, 3 + 4j, -2 - 1j, 0.1 - 20j, 150 + 0j])  # λ = a + ib of a field


@pytest.mark.parametrize("mu", [0.0, 0.5])
def test_a_complex_curvature_has_the_roots_of_the_complex_companion_polynomial(mu):
    """|1 - ηλ| without momentum: the field A x with A = [[a, -b], [b, a]] has the eigenvalues a ± ib."""
    expected = [np.abs(np.roots([1, -(1 + mu - H * c), mu])).max() for c in MODES]
    optimizer = Momentum(H, mu) if mu else SGD(H)
    np.testing.assert_allclose(spectral_radius(optimizer, MODES), expected, rtol=1e-13)


@pytest.mark.parametrize("optimizer", [Momentum(H), Adam(H), AdaGrad(H)], ids=type)
def test_a_complex_curvature_without_an_imaginary_part_is_a_real_one(optimizer):
    """Also with memories of g², one for each coordinate of the plane, that are frozen."""
    curvature = np.array([0.5, 7.0, 400.0, 4000.0])
    radii = spectral_radius(optimizer, curvature + 0j)
    np.testing.assert_allclose(radii, spectral_radius(optimizer, curvature), rtol=1e-12)


def test_polyaks_choice_is_the_square_root_of_the_condition_number():
    """η = (2/(√m + √L))², μ = ((√k-1)/(√k+1))²: radius (√k-1)/(√k+1) for every λ in [m, L]; B. T. Polyak 1964."""
    m, L = 1.0, 100.0
    best = (np.sqrt(L / m) - 1) / (np.sqrt(L / m) + 1)
    optimizer = Momentum((2 / (np.sqrt(m) + np.sqrt(L))) ** 2, best**2)
    np.testing.assert_allclose(
        spectral_radius(optimizer, np.geomspace(1.01, 99.0, 20)), best, rtol=1e-12
    )
    np.testing.assert_allclose(
        spectral_radius(optimizer, [m, L]), best, rtol=1e-7
    )  # double roots lose half of the digits


def test_the_best_step_of_gradient_descent_is_two_over_m_plus_l():
    np.testing.assert_allclose(spectral_radius(SGD(2 / 101), [1.0, 100.0]), 99 / 101, rtol=1e-12)


def test_nesterovs_choice_is_one_minus_the_root_of_one_over_the_condition_number():
    """η = 1/L, μ = (√k-1)/(√k+1): radius 1 - 1/√k, at a double root."""
    optimizer = Optax(lambda h: optax.sgd(h, momentum=9 / 11, nesterov=True), 1 / 100)
    radii = spectral_radius(optimizer, np.linspace(1, 100, 40))
    assert radii.argmax() == 0 and radii[0] == pytest.approx(0.9, abs=1e-6)


def test_everything_is_computed_in_float64_whatever_jax_is_set_to():
    with jax.enable_x64(False):
        assert critical_curvature(Adam(H, eps=0.0)) == pytest.approx(38 / H, rel=1e-11)
        assert spectral_radius(Momentum(H, 0.5), 150.0) == pytest.approx(np.sqrt(0.5), rel=1e-13)
        assert jnp.zeros(1).dtype == jnp.float32


def test_other_values_of_the_hyperparameters_do_not_recompile():
    traced = []

    class Counted(Momentum):
        def step(self, t, y, grad):
            traced.append(1)
            return super().step(t, y, grad)

    critical_curvature(Counted(H))
    count = len(traced)
    critical_curvature(Counted(0.3, momentum=0.2))
    spectral_radius(Counted(0.1), np.ones((3, 5)))
    assert len(traced) == count


# --- where there is none


def cube(g):
    return g**3


cosine = optax.cosine_decay_schedule(1.0, 100)


class Sign(SGD):
    def step(self, t, y, grad):
        return type(y)(y.x - self.h * jnp.sign(grad(y.x)))


class Climbing(Momentum):
    def step(self, t, y, grad):
        return super().step(t, y, lambda x: -grad(x))


class Normalised(SGD):
    def step(self, t, y, grad):
        return type(y)(y.x - self.h * grad(y.x) / jnp.linalg.norm(grad(y.x)))


@pytest.mark.parametrize(
    ("optimizer", "sentence"),
    [
        (
            Sign(H),
            r"the map of Sign\(learning_rate=0.01\) takes steps of which no part is proportional to a small",
        ),
        (WithGradient(SGD(H), cube), "takes steps of which no part is proportional .* its cube"),
        (Schedule(SGD(H), cosine), "takes steps that vanish .*; use a schedule whose last factor"),
        (
            Climbing(H),
            r"the map of Climbing\(.*\) is unstable at every curvature near 0, as if it climbed, so none is the first; plot",
        ),
        (Normalised(H), r"the map of Normalised\(.*\) has no derivative at rest"),
        (
            Adam(H, b2=0.0),
            r"the map of Adam\(.*\) has no derivative at rest .* use a decay above 0",
        ),
    ],
    ids=["sign", "cube", "cosine", "climbing", "normalised", "no memory"],
)
def test_where_no_curvature_is_critical_one_sentence_says_why(optimizer, sentence):
    with pytest.raises(InvalidValue, match=sentence):
        critical_curvature(optimizer)


def test_a_schedule_counts_with_its_last_factor():
    assert critical_curvature(
        Schedule(SGD(H), optax.cosine_decay_schedule(1.0, 100, alpha=0.1))
    ) == (pytest.approx(20 / H, rel=1e-9))


SIZE = "takes steps that do not shrink with the gradient, or that depend on the size of the pos"
NO_CURVATURE = {
    "lars": (lambda h: optax.lars(h, momentum=0.0), SIZE),
    "lamb": (optax.lamb, SIZE),
    "fromage": (optax.fromage, SIZE),
    "trust ratio": (lambda h: optax.chain(optax.scale_by_trust_ratio(), optax.scale(-h)), SIZE),
    "dowg": (optax.contrib.dowg, SIZE),
    "madgrad": (optax.contrib.madgrad, "takes other steps the more steps came before"),
    "cocob": (optax.contrib.cocob, "or a memory that scales its steps measures no gradient"),
    "adadelta": (optax.adadelta, "or a memory that scales its steps measures no gradient"),
}


@pytest.mark.parametrize(("family", "sentence"), NO_CURVATURE.values(), ids=NO_CURVATURE)
def test_steps_of_another_scale_than_the_gradient_have_no_critical_curvature(family, sentence):
    with pytest.raises(InvalidValue, match=f"{sentence}.*, so no curvature is critical; "):
        critical_curvature(Optax(family, H))


def test_a_memory_with_a_summand_of_its_own_still_measures_gradients():
    """AdaBelief adds ε₀ to its memory in each step; frozen at 1, it is stable up to 38/η."""
    optimizer = Optax(lambda h: optax.adabelief(h, eps=0.0, eps_root=0.1), H)
    assert critical_curvature(optimizer) == pytest.approx(38 / H, rel=1e-7)


def test_a_map_of_labelled_positions_has_none():
    flipped = WithGradient(SGD(H), lambda g: {"d": -g["d"], "g": g["g"]})
    with pytest.raises(InvalidValue, match="cannot step a position of one number .*; pass an opt"):
        critical_curvature(flipped)


def test_wrong_input_is_refused(as_users_see_it):
    with pytest.raises(
        InvalidType, match="`optimizer` must be an optimizer of dynopt such as dynopt.SGD"
    ):
        critical_curvature(optax.adam(0.1))  # pyright: ignore
    for text in ("sharp", "5"):
        with pytest.raises(
            InvalidType, match=f"`curvature` must hold real numbers, .*'{text}'; pa"
        ):
            spectral_radius(SGD(H), text)
    with pytest.raises(InvalidType, match="`optimizer` is a batch of 2 optimizers; run them"):
        spectral_radius(grid(SGD, learning_rate=[0.1, 0.2]), 5.0)
    with pytest.raises(InvalidValue, match="`curvature` is nan at coordinate 1; pass finite numb"):
        spectral_radius(SGD(H), [1.0, np.nan])
    with pytest.raises(InvalidValue, match="`curvature` is inf at coordinate 0; pass finite num"):
        spectral_radius(SGD(H), [complex(1, np.inf), 1j])
    with pytest.raises(
        InvalidValue, match="spectral_radius needs numbers, .* call it outside of jax.jit"
    ):
        jax.jit(lambda curvature: spectral_radius(SGD(H), curvature))(1.0)


def test_no_curvatures_have_no_radii():
    assert spectral_radius(SGD(H), np.zeros((0, 3))).shape == (0, 3)
