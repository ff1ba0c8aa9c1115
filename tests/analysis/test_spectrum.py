"""The eigenvalues of flow, map and modified flow are those of the books, and so are the largest stable rates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dynopt import (
    SGD,
    Adam,
    Alternating,
    Consensus,
    Extragradient,
    Game,
    Layerwise,
    Modified,
    Momentum,
    Optimistic,
    Problem,
    grid,
)
from dynopt.analysis import spectral_radius, spectrum
from dynopt.errors import InvalidType, InvalidValue, ProblemError
from dynopt.problems import bilinear, dirac_gan, quadratic, rosenbrock, saddle

H = 0.1
GAN, BILINEAR = dirac_gan(), bilinear()
PENALTIES = (0.1, 1.0, 2.0)
R1 = {gamma: dirac_gan("r1", gamma=gamma) for gamma in PENALTIES}
ALTERNATING = Alternating(SGD(H), ("theta", "psi"))


def falling(values):
    """By falling real part, then imaginary part; complex."""
    return np.array(sorted(np.asarray(values, complex), key=lambda v: (-v.real, -v.imag)))


# --- the table of L. Mescheder, A. Geiger and S. Nowozin (2018)


@pytest.mark.parametrize(
    ("game", "eigenvalues", "tolerance"),
    [
        (GAN, [0.5j, -0.5j], 1e-12),
        (dirac_gan("nsgan"), [0.5j, -0.5j], 1e-12),
        (dirac_gan("wgan"), [1j, -1j], 1e-12),
        *((R1[g], np.roots([1, g, 0.25]), 3e-8 if g == 1 else 1e-12) for g in PENALTIES),
    ],
    ids=["gan", "nsgan", "wgan", *(f"r1, {g:g}" for g in PENALTIES)],
)
def test_flow_map_and_modified_flow_of_gradient_descent_on_each_kind_of_gan(
    game, eigenvalues, tolerance
):
    """λ, 1 + hλ, and λ - hλ²/2, since the modified field is F - (h/2) DF F; a double root loses half of the digits."""
    result, values = spectrum(SGD(H), game), falling(eigenvalues)
    assert result.place == "equilibrium" and result.x == {"psi": 0, "theta": 0}
    np.testing.assert_allclose(falling(result.flow), values, atol=tolerance)
    np.testing.assert_allclose(falling(result.map), falling(1 + H * values), atol=tolerance)
    expected = falling(values - H / 2 * values**2)
    np.testing.assert_allclose(falling(result.modified), expected, atol=2 * tolerance)
    assert result.radius == pytest.approx(np.abs(1 + H * values).max(), rel=tolerance)


@pytest.mark.parametrize(("h", "is_stable"), [(3.9, True), (4.1, False)])
def test_alternating_descent_turns_up_to_the_rate_two_over_the_slope(h, is_stable):
    radius = spectrum(Alternating(SGD(h), ("theta", "psi")), GAN).radius
    assert radius == pytest.approx(1, abs=1e-12) if is_stable else radius > 1.2


@pytest.mark.parametrize("gamma", PENALTIES[:2])
def test_the_penalty_stabilises_simultaneous_descent_up_to_four_gamma(gamma):
    radii = [spectrum(SGD(f * gamma), R1[gamma]).radius for f in (3.99, 4.01)]
    assert radii[0] < 1 < radii[1]


# --- the largest stable learning rate


@pytest.mark.parametrize(
    ("optimizer", "game", "rate"),
    [
        (SGD(H), GAN, 0),
        (ALTERNATING, GAN, 4),
        (SGD(H), R1[0.1], 0.4),
        (SGD(H), R1[2.0], 2 / (1 + 3**0.5 / 2)),
        (Extragradient(SGD(H)), GAN, 2),
        (Optimistic(H), BILINEAR, 3**-0.5),
        (Consensus(SGD(H), 0.3), BILINEAR, 0.6 / 1.09),
        (Alternating(Layerwise(SGD(H), {"psi": 4.0}), GAN.players), GAN, 2),
    ],
    ids=lambda v: v.name if hasattr(v, "h") else None,
)  # fmt: skip
def test_the_largest_stable_rate_is_that_of_the_books(optimizer, game, rate):
    """Alternating: h f′ = 2. Extragradient: 1 - x² + x⁴ = 1. Optimistic: 1/√3, C. Daskalakis et al. (2018)."""
    result = spectrum(optimizer, game)
    assert result.stable_rate == pytest.approx(rate, rel=1e-7, abs=0)
    words = f"stable up to the learning rate {rate:.4g}" if rate else "unstable at every learning"
    assert words in repr(result)


def test_a_map_that_is_stable_at_every_rate_has_no_limit():
    """The implicit method of Euler divides by 1 + ηλ."""
    result = spectrum(Implicit(H), BOWL)
    assert result.stable_rate == np.inf and "stable at every learning rate" in repr(result)


def test_phase_spaces_of_more_than_a_hundred_coordinates_are_not_searched():
    wide = Problem(WAVES, np.zeros(101), name="wide")
    for h, word in ((0.5, "0.5, stable"), (2 / 3, "radius 1, stable"), (0.7, "1.1, unstable")):
        result = spectrum(SGD(h), wide)
        assert np.isnan(result.stable_rate)
        assert repr(result).endswith(f"{word} at this learning rate)")


# --- losses, memories and positions


class Implicit(SGD):
    """x ← x/(1 + h), on a loss of curvature 1."""

    def step(self, t, y, grad):
        return type(y)(y.x / (1 + self.h))


def WAVES(x):
    """The curvatures are 1, ..., 3 at 0."""
    return -(jnp.linspace(1, 3, x.size) * jnp.cos(x)).sum()


def hinge(x):
    """A corner of the field in the first coordinate, at 0, beside a coordinate without one."""
    return (x[0] * jnp.abs(x[0]) + x[1] ** 2).sum() / 2


BOWL = Problem(lambda x: (x**2).sum() / 2, [1.0, 2.0], name="bowl")
CORNER = Problem(hinge, [0.5, 1.0], name="corner")
HESSIAN = np.array([[802.0, -400.0], [-400.0, 200.0]])  # of Rosenbrock's function at (1, 1)


def test_on_a_loss_the_flow_of_gradient_descent_has_minus_the_curvatures():
    result = spectrum(SGD(1e-3), rosenbrock())
    curvatures = np.linalg.eigvalsh(HESSIAN)
    assert result.place == "minimizer" and result.x.tolist() == [1, 1]
    np.testing.assert_allclose(result.flow, -curvatures, rtol=1e-11)
    np.testing.assert_allclose(result.map, 1 - 1e-3 * curvatures, rtol=1e-11)
    assert result.stable_rate == pytest.approx(2 / curvatures[1], rel=1e-10)


def test_the_heavy_ball_has_the_roots_of_its_polynomials_for_each_eigenvalue_of_the_field():
    """Map: z² - (1 + μ - ηλ) z + μ. Flow, with h = √η and μ = 1 - friction h: s² + friction s + λ."""
    rate, mu = 0.04, 0.7
    result = spectrum(Momentum(rate, mu), R1[2.0])
    curvatures = -np.roots([1, 2.0, 0.25])
    roots = [np.roots([1, -(1 + mu - rate * c), mu]) for c in curvatures]
    np.testing.assert_allclose(falling(result.map), falling(np.ravel(roots)), rtol=1e-10)
    roots = [np.roots([1, (1 - mu) / rate**0.5, c]) for c in curvatures]
    np.testing.assert_allclose(falling(result.flow), falling(np.ravel(roots)), rtol=1e-10)
    radii = [spectral_radius(Momentum(rate, mu), c) for c in curvatures]
    assert result.radius == pytest.approx(max(radii), rel=1e-12)


def test_the_position_is_the_nearest_minimizer_unless_it_is_given():
    """The saddle x⁴/4 - x²/2 + y²/2 has the curvatures 2 and 1 at (±1, 0), -1 and 1 at (0, 0)."""
    start, result = saddle().x0, spectrum(SGD(H), saddle())
    assert result.x.tolist() == [np.sign(start[0]), 0]
    assert result.flow == pytest.approx([-1, -2]) and result.place == "minimizer"
    middle = spectrum(SGD(H), saddle(), [0.0, 0.0])
    assert middle.flow == pytest.approx([1, -1]) and middle.place == "position"
    assert middle.stable_rate == 0
    assert spectrum(SGD(H), BOWL).place == "start"


def test_a_modified_optimizer_has_the_flow_of_the_original_and_a_modified_one_of_its_order():
    """-log(1 - h)/h = 1 + h/2 + h²/3 + ..."""
    result = spectrum(Modified(SGD(H), order=3), BOWL)
    np.testing.assert_allclose(result.flow, -1)
    np.testing.assert_allclose(result.modified, -(1 + H / 2 + H**2 / 3), rtol=1e-13)


@pytest.mark.parametrize(
    ("optimizer", "problem"),
    [(SGD(H), dirac_gan("wgan_gp")), (SGD(H), CORNER), (Adam(H), BOWL)],
    ids=["a jump of the field", "a corner of the field", "a root in the step"],
)
def test_where_there_is_no_derivative_the_eigenvalues_are_not_numbers(optimizer, problem):
    x = None if problem.minimizers is not None else [0.0, 0.0]
    result = spectrum(optimizer, problem, x)
    assert np.isnan(result.map).all() and np.isnan(result.modified).all()
    assert np.isnan(result.stable_rate) and np.isnan(result.radius)
    assert repr(result).endswith(", without a derivative there)")


def test_beside_a_corner_there_are_eigenvalues():
    assert spectrum(SGD(H), CORNER, [1e-3, 0.0]).flow == pytest.approx([-1, -1])
    wgan_gp = spectrum(SGD(H), dirac_gan("wgan_gp", gamma=0.5), {"theta": 0.0, "psi": 1e-3})
    np.testing.assert_allclose(falling(wgan_gp.flow), falling(np.roots([1, 0.5, 1])), rtol=1e-12)


def test_it_is_computed_in_float64_whatever_jax_is_set_to():
    with jax.enable_x64(False):
        result = spectrum(SGD(H), R1[2.0])
        np.testing.assert_allclose(result.flow, np.roots([1, 2, 0.25])[::-1], rtol=1e-12)
        assert jnp.zeros(1).dtype == jnp.float32


def test_other_values_of_hyperparameters_and_of_the_problem_do_not_recompile():
    traced = []

    class Counted(SGD):
        def step(self, t, y, grad):
            traced.append(1)
            return super().step(t, y, grad)

    spectrum(Counted(0.1), R1[0.1])
    count = len(traced)
    spectrum(Counted(0.2), R1[2.0], {"theta": 0.0, "psi": 0.1})
    assert len(traced) == count > 0


def stopped(x):
    return x["a"] * jax.lax.stop_gradient(x["b"]) - jax.lax.stop_gradient(x["a"]) * x["b"]


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: spectrum("sgd", GAN), InvalidType, "`optimizer` must be an optimizer of dynopt"),
        (lambda: spectrum(SGD(H), stopped), InvalidType, "`problem` must be a dynopt.Problem"),
        (lambda: spectrum(SGD(H), GAN, [0.0, 0.0]), InvalidValue, "dirac_gan wants PyTreeDef"),
        (lambda: spectrum(grid(SGD, learning_rate=[0.1, 0.2]), GAN), InvalidType, "is a batch of 2"),
        (lambda: spectrum(SGD(H), Problem(WAVES, np.zeros(2001))), InvalidValue, "the phase space has 2001 coordinates, but"),
        (lambda: jax.jit(lambda h: spectrum(SGD(h), GAN).map)(H), InvalidValue, "spectrum needs numbers"),
    ],
)  # fmt: skip
def test_wrong_input_is_refused_in_one_sentence(call, error, sentence, as_users_see_it):
    with pytest.raises(error, match=sentence):
        call()


@pytest.mark.filterwarnings("ignore:the gradient of stopped")
def test_a_field_that_jax_differentiates_wrongly_is_refused():
    with pytest.raises(ProblemError, match="stopped"):
        spectrum(SGD(H), Problem(stopped, {"a": 1.0, "b": 1.0}))


def test_a_stated_equilibrium_at_which_the_field_is_not_zero_is_refused():
    losses = {"a": lambda x: x["a"] * x["b"], "b": lambda x: -x["a"] * x["b"]}
    game = Game(losses, {"a": 1.0, "b": 0.5}, equilibria={"a": 5.0, "b": 1.0}, name="wrong")
    with pytest.raises(InvalidValue, match="states a point as its equilibrium where .* is 5.1"):
        spectrum(SGD(0.1), game)
    assert spectrum(SGD(0.1), game, {"a": 0.0, "b": 0.0}).place == "position"


def test_a_step_that_reaches_the_minimizer_at_once_has_the_derivative_zero():
    for rate in (0.01, 0.02):
        result = spectrum(SGD(rate), quadratic([100.0, 100.0]))
        np.testing.assert_allclose(result.map, 1 - 100 * rate, atol=1e-12)
        assert result.stable_rate == pytest.approx(0.02)
