"""The learning rates that are chosen when none is typed, and what the bare command draws."""

from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest

from dynopt import Problem, iterate, optimizers, problems
from dynopt.compare import gallery
from dynopt.compare.options import READERS, typed
from dynopt.errors import ProblemError

PAGES = {name: optimizers.catalogue[name] for name in gallery.OPTIMIZERS}
LINEAR, NORMED = ("sgd", "momentum"), ("rmsprop", "adam")


def rates(problem, steps=100, x0=None):
    return gallery.learning_rates(problem, PAGES, steps, x0)


def test_pages_that_follow_the_gradient_get_half_the_inverse_curvature():
    found = rates(problems.quadratic((2.0, 50.0), rotation=0.3))
    assert [found[name] for name in LINEAR] == [0.01, 0.01]


def test_pages_that_norm_the_gradient_cover_twice_the_way():
    found = rates(problems.quadratic((2.0, 50.0)), steps=80)  # from (-2, 1.5) to 0
    assert [found[name] for name in NORMED] == [0.05, 0.05]


def test_the_rates_have_the_units_they_should():
    """Four times the loss: a quarter of the rate, or the same. Twice the lengths: four times the rate, or twice."""
    bowl = problems.quadratic((2.0, 50.0))
    steep = Problem(lambda x: 4 * bowl.loss(x), bowl.x0, minimizers=bowl.minimizers)
    wide = Problem(lambda x: bowl.loss(x / 2), 2 * bowl.x0, minimizers=bowl.minimizers)
    own, steeper, wider = (rates(problem, steps=80) for problem in (bowl, steep, wide))
    assert [steeper[n] / own[n] for n in (*LINEAR, *NORMED)] == [0.25, 0.25, 1, 1]
    assert [wider[n] / own[n] for n in (*LINEAR, *NORMED)] == [4, 4, 2, 2]


def test_the_curvature_is_the_largest_of_start_and_minimizers():
    well = Problem(
        lambda x: jnp.where(jnp.abs(x) < 1, 10 * x**2, x**2).sum(), [3.0], minimizers=[0.0]
    )
    assert rates(well)["sgd"] == 1 / 40
    assert rates(Problem(well.loss, [3.0]))["sgd"] == 1 / 4


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_the_power_method_finds_the_largest_eigenvalue(dim):
    random = np.random.default_rng(dim)
    for _ in range(3):
        matrix = random.normal(size=(dim, dim))
        matrix = matrix + matrix.T
        found = float(
            gallery._largest_curvature(partial(jnp.matmul, jnp.asarray(matrix)), jnp.ones(dim))
        )
        largest = np.abs(np.linalg.eigvalsh(matrix)).max()
        assert 0.97 * largest < found < 1.001 * largest


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
    run = iterate(
        optimizers.SGD(rates(problem)["sgd"]), problem, gallery.STEPS
    )  # which raises if it diverges
    assert run.loss[-1] < run.loss[0]


def test_a_start_where_nothing_is_finite_is_refused():
    with pytest.raises(
        ProblemError,
        match="log starts where its loss is -inf and the norm of its gradient inf; start where",
    ):
        rates(Problem(lambda x: jnp.log(x).sum(), [0.0], name="log"))


@pytest.mark.parametrize("name", gallery.STUDIES)
def test_what_is_chosen_for_the_gallery_could_be_typed(name):
    assert name in problems.catalogue
    for option, value in gallery.STUDIES[name].items():
        assert READERS[option](typed(value)) == value
