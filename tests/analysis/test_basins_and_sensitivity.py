"""Which minimizer a run reaches from each start, and which loss at each learning rate, compared with theory."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from losses import mixture

from dynopt import SGD, Adam, Momentum, Problem, Status, analysis, iterate, problems
from dynopt.errors import InvalidType, InvalidValue, UnknownName

SQUARE = ((-5, 5), (-5, 5))
well = problems.himmelblau()


@pytest.fixture(scope="module")
def fine():
    return analysis.basins(SGD(0.001), well, 5000, window=SQUARE)


def test_with_a_short_time_step_gradient_descent_has_the_basins_of_its_flow(fine):
    assert fine.map.shape == (201, 201) and f"{100 * fine.disagreement:.1f}" == "0.0"
    assert set(np.unique(fine.flow)) == {0, 1, 2, 3} and not fine.failed.any()


@pytest.mark.parametrize(
    "optimizer, steps, percent",
    [
        (SGD(0.013), 385, "2.6"),
        (Momentum(0.001), 632, "12.2"),
        (Momentum(0.005), 424, "24.0"),
        (Adam(0.01), 4000, "7.0"),
    ],
    ids=str,
)
def test_how_many_of_40401_starts_end_elsewhere_than_the_gradient_flow(
    fine, optimizer, steps, percent
):
    result = analysis.basins(optimizer, well, steps, window=SQUARE, flow=fine)
    assert result.map.size == 40401 and f"{100 * result.disagreement:.1f}" == percent
    assert result.disagreement == result.differs.mean() and f"{percent} % end elsewhere" in repr(
        result
    )
    np.testing.assert_array_equal(result.flow, fine.flow)


def test_the_basins_of_two_symmetric_wells_meet_in_the_middle():
    """f = (x² - 1)²/4 + y²: starts on the right reach the right well, and starts on the axis reach none."""
    twin = Problem(
        lambda x: (x[0] ** 2 - 1) ** 2 / 4 + x[1] ** 2,
        [1.0, 1.0],
        minimizers=[[1, 0], [-1, 0]],
        name="twin",
    )
    result = analysis.basins(SGD(0.05), twin, 400, window=((-2, 2), (-1, 1)), points=9)
    expected = np.broadcast_to(np.array([1, 1, 1, 1, -1, 0, 0, 0, 0]), (9, 9))
    np.testing.assert_array_equal(result.map, expected)
    np.testing.assert_array_equal(result.flow, expected)


def test_a_stiff_flow_is_solved_to_its_end_by_an_implicit_solver():
    """Rosenbrock's valley attracts at 1001.6 and is followed at 0.4: all starts reach (1, 1), which Tsit5 alone does not."""
    result = analysis.basins(SGD(1e-4), problems.rosenbrock(), 1, points=9)
    assert (result.flow == 0).all()


def test_runs_that_diverge_reach_no_minimizer():
    result = analysis.basins(SGD(0.1), well, 50, window=SQUARE, points=11)
    assert (
        result.failed.any() and (result.map[result.failed] == -1).all() and (result.flow >= 0).all()
    )
    assert result.differs[result.failed].all()


@pytest.mark.parametrize(
    "problem, options, kind, says",
    [
        (
            problems.rosenbrock(3),
            {},
            InvalidValue,
            "basins fill a plane, but rosenbrock has 3 coordinates",
        ),
        (
            Problem(lambda x: x @ x, [1.0, 1.0], name="bare"),
            {},
            InvalidValue,
            "bare knows no minimizers",
        ),
        (mixture("booth", [1.0, 1.0], "bare"), {}, InvalidValue, "bare knows no minimizers"),
        (well, {"points": 1}, InvalidValue, "`points` must be a whole number of at least 2"),
        (well, {"window": (0, 1)}, InvalidValue, "`window` is"),
        (well, {"flow": 3}, InvalidType, "`flow` must be a result of analysis.basins, got 3"),
    ],
)
def test_what_has_no_basins_in_a_plane_is_refused(as_users_see_it, problem, options, kind, says):
    with pytest.raises(kind, match=says):
        analysis.basins(SGD(0.01), problem, 10, **options)


def test_too_many_points_and_a_batch_of_optimizers_are_refused(as_users_see_it):
    with pytest.raises(
        InvalidValue, match="`points` is 5000 along each side, more than 4096; pass points=201, say"
    ):
        analysis.basins(SGD(0.01), well, 10, points=5000)
    with pytest.raises(InvalidType, match="`optimizer` is a batch of 2 optimizers"):
        analysis.basins(eqx.filter_vmap(SGD)(np.array([0.1, 0.2])), well, 10)


def test_a_flow_is_taken_from_basins_on_the_same_grid_only(fine):
    with pytest.raises(
        InvalidValue,
        match="`flow` belongs to himmelblau on another grid; pass basins of himmelblau with",
    ):
        analysis.basins(SGD(0.01), well, 10, flow=fine)
    bare = Problem(well.loss, well.x0, minimizers=well.minimizers, name="bare")
    with pytest.raises(InvalidValue, match="bare knows no window; pass window="):
        analysis.basins(SGD(0.01), bare, 10)


# --- sensitivity


@pytest.fixture(scope="module")
def swept():
    bowl = problems.quadratic([1.0, 4.0])
    rates, values = np.geomspace(0.01, 1.5, 41), np.array([0.0, 0.3, 0.6, 0.9])
    return analysis.sensitivity(Momentum(0.1), bowl, 400, learning_rates=rates, values=values)


def test_the_boundary_on_a_quadratic_is_two_plus_two_mu_over_lambda(swept):
    np.testing.assert_allclose(swept.boundary, (2 + 2 * swept.value) / 4, rtol=1e-10)
    assert swept.curvature == pytest.approx(4, rel=1e-12)


def test_on_a_quadratic_runs_rise_beyond_the_boundary_and_only_there(swept):
    ratio = swept.learning_rate / swept.boundary[:, None]
    risen = ~(swept.loss <= swept.start)
    assert risen[ratio > 1.02].all() and not risen[ratio < 0.98].any()
    assert (swept.result[ratio > 1.2] == Status.diverged).all() and (
        swept.result[ratio < 1] == Status.ok
    ).all()


def test_each_run_is_that_of_iterate_with_its_rate_and_value(swept):
    optimizer = Momentum(swept.learning_rate[7], swept.value[2])
    end = iterate(optimizer, swept.problem, 400, save_every=400)
    assert swept.loss[2, 7] == pytest.approx(float(end.loss[-1]), rel=1e-9)
    assert swept.start == float(end.loss[0])


def test_of_several_minimizers_the_flattest_gives_the_boundary():
    result = analysis.sensitivity(Momentum(0.001), well, 5, values=[0.0, 0.5])
    largest = [np.linalg.eigvalsh(hessian)[-1] for hessian in map(_hessian, well.minimizers)]
    assert result.curvature == pytest.approx(min(largest), rel=1e-9)
    np.testing.assert_allclose(result.boundary, np.array([2, 3]) / min(largest), rtol=1e-9)
    assert (
        result.learning_rate[-1] == pytest.approx(3 * 3.8 / min(largest))
        and len(result.learning_rate) == 96
    )


def _hessian(x):
    a, b = x
    return np.array([[12 * a**2 + 4 * b - 42, 4 * (a + b)], [4 * (a + b), 4 * a + 12 * b**2 - 26]])


@pytest.mark.parametrize("optimizer, option", [(Adam(0.1), "b1"), (Momentum(0.1), "momentum")])
def test_where_theory_knows_no_boundary_it_is_nan(optimizer, option):
    """Adam's steps do not shrink with the gradient; and of this problem no minimizer is known."""
    problem = well if option == "b1" else mixture("booth", [1.0, -1.0])
    result = analysis.sensitivity(optimizer, problem, 5, option, values=[0.1, 0.5])
    assert np.isnan(result.boundary).all() and np.isnan(result.curvature)
    assert result.learning_rate[-1] == pytest.approx(30 * 0.1)


@pytest.mark.parametrize(
    "optimizer, option, options, kind, says",
    [
        (SGD(0.1), "momentum", {}, InvalidValue, "has no option besides its learning rate"),
        (Momentum(0.1), "friction", {}, UnknownName, "no second option of Momentum 'friction'"),
        (
            Momentum(0.1),
            "momentum",
            {"values": [0.5, 0.1]},
            InvalidValue,
            "`values` must be a row of rising numbers",
        ),
        (
            Momentum(0.1),
            "momentum",
            {"values": [0.5, 1.5]},
            InvalidValue,
            r"`momentum` is 1.5, which is outside \[0, 1\)",
        ),
        (
            Momentum(0.1),
            "momentum",
            {"learning_rates": [0, 1]},
            InvalidValue,
            "`learning_rates` must be positive, got 0",
        ),
    ],
)
def test_what_cannot_be_swept_is_refused(as_users_see_it, optimizer, option, options, kind, says):
    with pytest.raises(kind, match=says):
        analysis.sensitivity(optimizer, well, 5, option, **options)


def test_a_sensitivity_prints_its_axes(swept):
    assert repr(swept).startswith(
        "Sensitivity(Momentum on quadratic, 41 learning rates x 4 values of momentum, 400 steps"
    )
    assert jnp.isfinite(swept.start)
