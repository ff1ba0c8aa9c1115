"""The suggested learning rates follow from curvatures, distances and the lengths of steps."""

from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest

from dynopt import Problem, analysis, iterate, optimizers, problems
from dynopt.analysis.sharpness import largest_curvature
from dynopt.errors import InvalidType, InvalidValue, ProblemError

LINEAR, NORMALIZED = ("sgd", "momentum"), ("rmsprop", "adam")
OPTIMIZERS = {name: optimizers.catalogue[name] for name in (*LINEAR, *NORMALIZED)}
STEPS = 100


def rates(problem, steps=STEPS, x0=None):
    return analysis.suggested_rates(problem, OPTIMIZERS, steps, x0)


def test_optimizers_linear_in_the_gradient_get_half_the_inverse_curvature():
    suggested = rates(problems.quadratic((2.0, 50.0), rotation=0.3))
    assert [suggested[name] for name in LINEAR] == [0.01, 0.01]


def test_optimizers_that_normalize_the_gradient_cover_twice_the_distance():
    suggested = rates(problems.quadratic((2.0, 50.0)), steps=80)  # from (-2, 1.5) to 0
    assert [suggested[name] for name in NORMALIZED] == [0.05, 0.05]


def test_the_rates_have_the_units_they_should():
    """Four times the loss: a quarter of the rate, or the same. Twice the lengths: four times the rate, or twice."""
    bowl = problems.quadratic((2.0, 50.0))
    steep = Problem(lambda x: 4 * bowl.loss(x), bowl.x0, minimizers=bowl.minimizers)
    wide = Problem(lambda x: bowl.loss(x / 2), 2 * bowl.x0, minimizers=bowl.minimizers)
    plain, steeper, wider = (rates(problem, steps=80) for problem in (bowl, steep, wide))
    assert [steeper[n] / plain[n] for n in (*LINEAR, *NORMALIZED)] == [0.25, 0.25, 1, 1]
    assert [wider[n] / plain[n] for n in (*LINEAR, *NORMALIZED)] == [4, 4, 2, 2]


def test_the_curvature_is_the_largest_of_start_and_minimizers():
    well = Problem(
        lambda x: jnp.where(jnp.abs(x) < 1, 10 * x**2, x**2).sum(), [3.0], minimizers=[0.0]
    )
    assert rates(well)["sgd"] == 1 / 40
    assert rates(Problem(well.loss, [3.0]))["sgd"] == 1 / 4


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_the_largest_curvature_is_that_of_numpy_with_its_sign_or_without(dim):
    random = np.random.default_rng(dim)
    for _ in range(3):
        matrix = random.normal(size=(dim, dim))
        matrix = matrix + matrix.T
        grad, x = partial(jnp.matmul, jnp.asarray(matrix)), jnp.ones(dim)
        eigenvalues = np.linalg.eigvalsh(matrix)
        assert largest_curvature(grad, x) == pytest.approx(eigenvalues[-1], rel=1e-12)
        assert largest_curvature(grad, x, absolute=True) == pytest.approx(
            np.abs(eigenvalues).max(), rel=1e-12
        )


@pytest.mark.parametrize(
    "separated, largest",
    [([-7.0, 3.0], 7.0), ([7.0, -3.0], 7.0), ([-2.0], 2.0), ([2.0], 2.0), ([], 0.0)],
)
def test_beyond_1000_coordinates_the_largest_absolute_curvature_is_found_by_products(
    separated, largest
):
    diagonal = jnp.asarray(np.r_[separated, np.zeros(1001 - len(separated))])
    curvature = largest_curvature(lambda x: diagonal * x, jnp.ones(1001), absolute=True)
    assert curvature == pytest.approx(largest, abs=1e-12)


def test_a_slope_without_curvature_is_walked_down_in_the_time_given():
    assert rates(Problem(lambda x: 4 * x.sum(), [0.0]), steps=50)["sgd"] == 2 / 50 / 4


def test_a_flat_loss_and_a_start_at_the_minimizer_have_rates_too():
    for problem in (
        Problem(lambda x: 0 * x.sum(), [1.0]),
        Problem(lambda x: (x**2).sum(), [0.0], minimizers=[0.0]),
    ):
        assert all(0 < rate < np.inf for rate in rates(problem).values())


def test_the_rates_have_two_digits():
    for rate in rates(problems.rosenbrock(), steps=77).values():
        assert rate == float(f"{rate:.2g}")


def test_another_start_has_rates_of_its_own():
    assert (
        rates(problems.rosenbrock(), x0=[0.0, 0.0])["adam"] < rates(problems.rosenbrock())["adam"]
    )


@pytest.mark.parametrize(
    "name", ["rosenbrock", "ravine", "goldstein_price", "styblinski_tang", "easom"]
)
def test_gradient_descent_stays_near_where_curvature_changes_much(name):
    problem = problems.catalogue[name]()
    run = iterate(optimizers.SGD(rates(problem)["sgd"]), problem, STEPS)  # raises if it diverges
    assert run.loss[-1] < run.loss[0]


def test_a_list_of_classes_is_refused(as_users_see_it):
    with pytest.raises(InvalidType, match=r"a dict of classes by their names.*\{'sgd': dynopt.SGD"):
        analysis.suggested_rates(problems.booth(), [optimizers.SGD], 10)  # pyright: ignore


def test_a_start_where_nothing_is_finite_is_refused():
    with pytest.raises(
        ProblemError,
        match="log starts where its loss is -inf and the norm of its gradient inf; start where",
    ):
        rates(Problem(lambda x: jnp.log(x).sum(), [0.0], name="log"))


@pytest.mark.parametrize("kind", [optimizers.SGD(0.1), optimizers.Schedule, "sgd"])
def test_rates_are_suggested_for_classes_that_are_made_from_one(kind, as_users_see_it):
    with pytest.raises(
        InvalidType, match="`optimizers` must map .*, got 'a': .*; pass for example"
    ):
        analysis.suggested_rates(problems.booth(), {"a": kind}, STEPS)


def test_the_number_of_steps_is_at_least_one():
    for steps in (0, -5):
        with pytest.raises(InvalidValue, match="`steps` must be a whole number of at least 1"):
            rates(problems.booth(), steps)


def test_rates_are_suggested_for_a_problem_only(as_users_see_it):
    with pytest.raises(InvalidType, match="`problem`"):
        rates(lambda x: x)
