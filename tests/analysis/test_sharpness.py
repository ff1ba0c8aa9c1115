"""The sharpness is the largest eigenvalue of the Hessian, however many coordinates there are."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dynopt import SGD, Problem, analysis, iterate, problems
from dynopt.analysis import sharpness
from dynopt.errors import InvalidType, InvalidValue


class Bowl(eqx.Module):
    """f = x · A x / 2, by its eigenvalues and one reflection."""

    eigenvalues: jax.Array
    normal: jax.Array

    def __call__(self, x):
        z = x - 2 * self.normal * (self.normal @ x)
        return jnp.sum(self.eigenvalues * z**2) / 2


def bowl(eigenvalues) -> Problem:
    normal = np.random.default_rng(0).normal(size=len(eigenvalues))
    return Problem(
        Bowl(jnp.asarray(eigenvalues), jnp.asarray(normal / np.linalg.norm(normal))),
        np.ones(len(normal)),
    )


def test_of_a_quadratic_it_is_the_largest_eigenvalue_and_not_the_largest_in_size():
    assert sharpness(bowl([-30.0, 2.0, 7.0])) == pytest.approx(7.0, rel=1e-13)
    assert sharpness(bowl([-30.0, -2.0, -7.0])) == pytest.approx(-2.0, rel=1e-13)


@pytest.mark.parametrize("dim", [1000, 1001])
@pytest.mark.parametrize("separated", [[], [6.0], [-3.0], [6.0, 5.0, -9.0]])
def test_the_whole_hessian_and_its_products_give_the_same_sharpness(dim, separated):
    """For few eigenvalues that are separated from many that are 0."""
    eigenvalues = np.r_[separated, np.zeros(dim - len(separated))]
    assert sharpness(bowl(eigenvalues)) == pytest.approx(max([0.0, *separated]), abs=1e-12)


@pytest.mark.parametrize("spread", [0.0, 2.0])
def test_by_products_it_is_never_too_large(spread):
    """Nor much too small where eigenvalues lie dense; where all are equal, the first direction is the best."""
    estimate = sharpness(bowl(-3 + np.linspace(0, spread, 1001)))
    assert -3 + 0.999 * spread <= estimate + 1e-12 and estimate <= -3 + spread + 1e-12


def test_by_products_it_can_be_differentiated():
    """∂/∂s of the largest eigenvalue s² · 4 / 2 of ∇²(s² x · A x / 4), at s = 1."""
    stiff = bowl(np.r_[4.0, np.ones(1000)])
    assert jax.grad(lambda s: sharpness(Problem(lambda x: s**2 / 2 * stiff.loss(x), stiff.x0)))(
        1.0
    ) == pytest.approx(4)


def test_it_is_the_largest_eigenvalue_of_the_hessian_at_the_position():
    x, y = at = np.array([-1.2, 1.0])
    hessian = np.array([[1200 * x**2 - 400 * y + 2, -400 * x], [-400 * x, 200]])
    assert sharpness(problems.rosenbrock(), at) == pytest.approx(
        np.linalg.eigvalsh(hessian)[-1], rel=1e-13
    )
    assert sharpness(problems.rosenbrock()) == sharpness(
        problems.rosenbrock(), problems.rosenbrock().x0
    )


def test_gradient_descent_converges_while_the_sharpness_is_below_the_critical_curvature():
    problem = bowl([1.0, 10.0])
    for rate, converges in ((0.199, True), (0.201, False)):
        assert (sharpness(problem) < analysis.critical_curvature(SGD(rate))) == converges
        run = iterate(SGD(rate), problem, 2000, throw=False)
        assert bool(run.loss[-1] < run.loss[0]) == converges


@pytest.mark.parametrize(
    ("eta", "steps", "least", "most"), [(0.2, 2000, 1.0, 1.06), (0.02, 15000, 0.4, 0.45)]
)
def test_gradient_descent_raises_the_sharpness_of_a_network_to_its_edge_if_the_rate_is_large(
    eta, steps, least, most
):
    network = problems.tanh_network()
    end = jax.tree.map(lambda x: x[-1], iterate(SGD(eta), network, steps, save_every=steps).x)
    assert least < float(sharpness(network, end)) * eta / 2 < most


def test_it_is_computed_along_a_run_and_differentiated():
    well = problems.himmelblau()
    run = iterate(SGD(0.01), well, 3)
    along = jax.vmap(lambda x: sharpness(well, x))(run.x)
    np.testing.assert_allclose(along, [sharpness(well, x) for x in run.x], rtol=1e-13)
    slope = jax.grad(lambda x: sharpness(well, x))(run.x[0])
    step = 1e-5 * jnp.array([1.0, 0.0])
    assert slope[0] == pytest.approx(
        (sharpness(well, run.x[0] + step) - sharpness(well, run.x[0] - step)) / 2e-5
    )


def test_a_position_of_many_leaves_and_float32_are_kept():
    tree = Problem(
        lambda x: (3 * x["a"] ** 2).sum() + x["b"] ** 2,
        {"a": jnp.ones(2, "float32"), "b": jnp.float32(1)},
    )
    assert sharpness(tree) == 6 and sharpness(tree).dtype == jnp.float32
    for dim in (2, 1001):
        half = Problem(lambda x: 3 * x[0] ** 2, jnp.ones(dim, "bfloat16"))
        assert (
            sharpness(half) == pytest.approx(6, rel=1e-2) and sharpness(half).dtype == jnp.bfloat16
        )


def test_what_is_no_problem_or_no_position_is_refused(as_users_see_it):
    with pytest.raises(InvalidType, match="`problem`"):
        sharpness(lambda x: x, [1.0])
    with pytest.raises(InvalidValue, match="x0"):
        sharpness(problems.booth(), [1.0, 2.0, 3.0])
