"""What single notebooks measure: directions of steepest descent, round-off in float32, bounds."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dynopt import SGD, Modified, Muon, Problem, Signum, analysis, integrate, iterate, problems
from dynopt.course import bound, precision, steepest
from dynopt.errors import EnvironmentProblem, InvalidType, InvalidValue, UnknownName

booth = problems.booth()
bowl = Problem(lambda x: (x**2).sum() / 2, [1.0], name="bowl", minimum=0.0)


# --- steepest


@pytest.mark.parametrize("norm", steepest.NORMS)
def test_no_direction_of_length_one_is_steeper(norm):
    random = np.random.default_rng(0)
    g = random.normal(size=(3, 4))
    best = steepest.measure(g, norm)
    assert steepest.length(best.direction, norm) == pytest.approx(1)
    assert best.slope == pytest.approx(float((g * best.direction).sum()))
    for d in random.normal(size=(2000, 3, 4)):
        near = best.direction + 0.1 * d
        for other in (d, near):
            assert (g * other).sum() / steepest.length(other, norm) >= best.slope - 1e-12


def test_the_slopes_are_minus_the_dual_norms():
    g = np.array([[3.0, 0.0], [4.0, 5.0]])
    singular = np.linalg.svd(g, compute_uv=False)
    assert steepest.measure(g).slope == pytest.approx(-np.sqrt(50))
    assert steepest.measure(g, "max").slope == pytest.approx(-12)
    assert steepest.measure(g, "spectral").slope == pytest.approx(-singular.sum())


def test_the_optimizers_step_along_the_steepest_direction():
    matrix = Problem(
        lambda x: (x**2).sum() / 2 + (x**4).sum(),
        jnp.array([[1.0, -2.0], [0.3, 0.7]]),
        name="matrix",
    )
    g = np.asarray(jax.grad(matrix.loss)(matrix.x0))
    for optimizer, norm in (
        (SGD(0.01), "euclidean"),
        (Signum(0.01, 0.0), "max"),
        (Muon(0.01, beta=0.0), "spectral"),
    ):
        step = np.asarray(jnp.diff(iterate(optimizer, matrix, 1).x, axis=0)).reshape(2, 2)
        d = steepest.measure(g, norm).direction
        cosine = np.vdot(step, d) / np.linalg.norm(step) / np.linalg.norm(d)
        assert cosine == pytest.approx(
            1, abs=2e-3 if norm == "spectral" else 1e-12
        )  # Muon takes five rounds for msign


def test_only_the_nonzero_singular_values_of_a_matrix_without_full_rank_move():
    d = steepest.measure(np.outer([3.0, 4.0], [1.0, 0.0]), "spectral").direction
    np.testing.assert_allclose(d, -np.outer([0.6, 0.8], [1.0, 0.0]), atol=1e-12)


def test_tiny_and_huge_gradients_have_a_steepest_direction_too():
    for size in (1e-200, 1e200):
        np.testing.assert_allclose(
            steepest.measure([3 * size, -4 * size]).direction, [-0.6, 0.8], rtol=1e-14
        )


def test_a_traced_gradient_is_refused_by_name():
    with pytest.raises(
        InvalidType, match="`gradient` is traced by jax, .*; call this outside of jit"
    ):
        jax.jit(lambda g: steepest.measure(g).slope)(jnp.array([1.0, 2.0]))


@pytest.mark.parametrize(
    "gradient, norm, kind, says",
    [
        ([1.0, 2.0], "taxi", UnknownName, "no norm 'taxi'"),
        (
            [1.0, 2.0],
            "spectral",
            InvalidValue,
            r"a norm of matrices, but `gradient` has shape \(2,\); pass a matrix",
        ),
        (
            [0.0, 0.0],
            "max",
            InvalidValue,
            "must be finite and not 0; pass a point that is no minimizer",
        ),
        (
            "uphill",
            "max",
            InvalidType,
            "`gradient` must be an array, got 'uphill'; pass for example",
        ),
    ],
)
def test_a_gradient_without_a_steepest_direction_is_refused(
    as_users_see_it, gradient, norm, kind, says
):
    with pytest.raises(kind, match=says):
        steepest.measure(gradient, norm)


# --- precision


def test_on_the_bowl_the_error_at_the_end_is_that_of_eulers_method():
    measured = precision.measure(SGD(0.1), bowl, 1.0, 5)
    np.testing.assert_allclose(
        measured.double, np.exp(-1) - (1 - measured.h) ** (1 / measured.h), atol=1e-11
    )
    np.testing.assert_allclose(measured.single, measured.double, atol=1e-5)
    assert 0 < measured.solver_error < 1e-11 and measured.time == pytest.approx(1.0)


def test_in_float32_the_error_on_rosenbrock_is_smallest_at_a_hundred_thousandth():
    measured = precision.measure(SGD(4e-4), problems.rosenbrock(), 0.5, 8)
    assert measured.turn == pytest.approx(1.25e-5)
    assert measured.single.min() == pytest.approx(7.8e-5, rel=0.2) and measured.single[
        -1
    ] == pytest.approx(1.1e-3, rel=0.2)
    assert (np.diff(measured.double) < 0).all()


@pytest.mark.parametrize(
    "optimizer, flows", [(SGD(0.1), 1), (Modified(SGD(0.1)), 3)], ids=["one flow", "a flow each"]
)
def test_a_flow_is_solved_once_unless_it_depends_on_the_time_step(optimizer, flows, monkeypatch):
    module, solved = sys.modules["dynopt.course.precision"], []
    monkeypatch.setattr(
        module, "integrate", lambda *given, **how: solved.append(given) or integrate(*given, **how)
    )
    precision.measure(optimizer, bowl, 1.0, 3)
    assert len(solved) == 2 * flows  # at a looser tolerance, too


def test_precision_needs_float64(as_users_see_it):
    with (
        jax.enable_x64(False),
        pytest.raises(EnvironmentProblem, match="float64 is off; call jax.config.update"),
    ):
        precision.measure(SGD(0.1), booth, 1.0)


def test_wrong_input_of_precision_is_refused(as_users_see_it):
    for given, kind, says in (
        (("sgd", booth, 1.0), InvalidType, "'sgd'"),
        ((SGD(0.1), "booth", 1.0), InvalidType, "'booth'"),
        ((SGD(0.1), booth, -1.0), InvalidValue, "`time` is -1; use a positive number.$"),
        (
            (SGD(0.1), booth, 1.0, 2),
            InvalidValue,
            "whole number from 3 to 20, got 2; pass refinements=8, say",
        ),
        (
            (SGD(0.1), booth, 1.0, 21),
            InvalidValue,
            "whole number from 3 to 20, got 21; pass refinements=8, say",
        ),
    ):
        with pytest.raises(kind, match=says):
            precision.measure(*given)


# --- bounds


def inverse_of_time(t):
    return 1 / np.asarray(t)


def test_the_largest_fraction_of_a_bound_is_that_of_the_closed_forms():
    """f(x(t)) t = t e^(-2t)/2 along the flow on f = x²/2, and t (1-h)^(2t/h)/2 along the map."""
    comparison = analysis.compare(SGD(0.1), bowl, 20)
    t = np.asarray(comparison.t)[1:]
    flow, map = bound.largest_fractions(comparison, inverse_of_time)
    assert flow == pytest.approx(float((t * np.exp(-2 * t) / 2).max()), rel=1e-9)
    assert map == pytest.approx(float((t * 0.9 ** (2 * np.arange(1, 21)) / 2).max()), rel=1e-12)


def test_a_run_that_fails_exceeds_every_bound():
    comparison = analysis.compare(SGD(2.5), bowl, 2000, throw=False)
    flow, map = bound.largest_fractions(comparison, inverse_of_time)
    assert flow < 1 and map == np.inf


def test_the_values_above_the_minimum_begin_with_the_first_step():
    run = iterate(SGD(0.5), bowl, 3)
    t, values = bound.above_minimum(run, 0.1)
    np.testing.assert_allclose(t, [0.5, 1.0, 1.5])
    np.testing.assert_allclose(values, np.array([0.125, 0.03125, 0.0078125]) - 0.1)


@pytest.mark.parametrize(
    "function, kind, says",
    [
        (
            lambda t: "high",
            InvalidType,
            "`bound` must give a number for each time, got 'high' for 2",
        ),
        (lambda t: np.ones(3), InvalidType, "`bound` must give a number for each time"),
        (lambda t: 1 - t, InvalidValue, "a bound must be positive, got -1; pass lambda t"),
    ],
)
def test_a_bound_that_is_no_positive_number_is_refused(function, kind, says):
    with pytest.raises(kind, match=says):
        bound.evaluate(function, np.array([1.0, 2.0]))
