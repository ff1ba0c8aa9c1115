"""Each problem of the catalogue has the minimizers, minimum, start, window and formula it states.

The test functions of the plane are tested here in full; of the problems of learning only what they
have in common with them, and the rest in `test_learning.py` and in files of their own.
"""

import math
from functools import cache

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.optimize
from every_problem import FORMULAS, LEARNING, ON_A_LINE, made

from dynopt import problems
from dynopt.errors import InvalidType, InvalidValue
from dynopt.problems import Problem, catalogue

ANY_DIMENSION = ["rosenbrock", "styblinski_tang", "rastrigin", "ackley", "levy", "griewank"]
in_the_plane = pytest.mark.parametrize("name", FORMULAS)
everywhere = pytest.mark.parametrize("name", catalogue)
in_any_dimension = pytest.mark.parametrize("name", ANY_DIMENSION)


@cache
def derivatives(name):
    loss = made(name).loss
    return eqx.filter_jit(loss), jax.jit(jax.grad(loss)), jax.jit(jax.hessian(loss))


@cache
def in_five_dimensions(name):
    return jax.jit(jax.vmap(made(name, 5).loss))


@cache
def landscape(name):
    """Heights on a fine grid over the window, and the points: (401, 401) and (401, 401, 2)."""
    problem = made(name)
    axes = [np.linspace(low, high, 401) for low, high in window(problem)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    return np.asarray(jax.jit(jax.vmap(jax.vmap(problem.loss)))(points)), points


def with_dtype(x0, dtype):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), x0)


def minimizers(problem: Problem) -> np.ndarray:
    assert problem.minimizers is not None
    return problem.minimizers


def minimum(problem: Problem) -> float:
    assert problem.minimum is not None
    return problem.minimum


def window(problem: Problem):
    assert problem.window is not None
    return problem.window


# the minimizers


@in_the_plane
def test_every_minimizer_has_the_stated_minimum_no_slope_and_no_negative_curvature(name):
    problem = made(name)
    f, grad, hessian = derivatives(name)
    for point in minimizers(problem):
        assert float(f(point)) == pytest.approx(minimum(problem), rel=1e-12, abs=1e-12)
        rounding = np.abs(hessian(point)).max() * (1 + np.abs(point).max()) * 1e-15
        assert np.abs(grad(point)).max() <= 10 * rounding
        curvatures = np.linalg.eigvalsh(hessian(point))
        assert curvatures[0] >= 0 and curvatures[-1] > 0


@in_the_plane
def test_the_lowest_points_of_the_window_are_the_stated_minimizers(name):
    problem = made(name)
    heights, points = landscape(name)
    f, grad, hessian = derivatives(name)
    assert heights.min() >= minimum(problem) - 1e-12
    inner = heights[1:-1, 1:-1]
    shifts = [(i, j) for i in range(3) for j in range(3) if (i, j) != (1, 1)]
    is_lowest = np.all([inner <= heights[i : i + 399, j : j + 399] for i, j in shifts], axis=0)
    is_low = inner < minimum(problem) + 0.5  # 0.5 is more than a cell of the grid can hide
    polished = []
    for x in points[1:-1, 1:-1][is_lowest & is_low][:50]:
        for _ in range(8):  # Newton's method, where it lowers f
            step = x - np.linalg.solve(hessian(x), grad(x))
            x = step if f(step) < f(x) else x
        if f(x) < minimum(problem) + 1e-6:
            polished.append(x)
    distance = np.linalg.norm(np.array(polished)[:, None] - minimizers(problem)[None], axis=-1)
    assert distance.min(axis=1).max() < 1e-3, "a minimizer is missing from the list"
    assert distance.min(axis=0).max() < 1e-3, "a listed minimizer is not a lowest point"


@in_any_dimension
def test_in_five_dimensions_the_minimizers_hold(name, n=5):
    problem = made(name, n)
    (point,) = minimizers(problem)
    assert problem.dim == n and problem.window is None
    value, gradient = jax.jit(jax.value_and_grad(problem.loss))(point)
    assert float(value) == pytest.approx(minimum(problem), rel=1e-12, abs=1e-12)
    assert np.abs(gradient).max() < 1e-12
    generator = np.random.default_rng(n)
    others = point + generator.normal(size=(1000, n)) * generator.choice(
        [0.01, 1, 3], size=(1000, 1)
    )
    assert np.min(in_five_dimensions(name)(others)) > minimum(problem)


@pytest.mark.parametrize("name", ANY_DIMENSION[1:])
def test_one_dimension_is_enough(name):
    problem = catalogue[name](1)
    value_and_grad = jax.jit(jax.value_and_grad(problem.loss))
    value, gradient = value_and_grad(minimizers(problem)[0])
    assert (
        float(value) == pytest.approx(minimum(problem), abs=1e-12)
        and np.abs(gradient).max() < 1e-12
    )
    assert np.abs(value_and_grad(problem.start())[1]).max() > 0.01


# the start, the window, the docstring


@in_the_plane
def test_the_start_lies_in_the_window_with_the_minimizers_and_has_a_slope(name):
    problem = made(name)
    assert problem.dim == 2
    low, high = np.array(window(problem)).T
    for point in [problem.x0, *minimizers(problem)]:
        assert (low < point).all() and (point < high).all()
    f, grad, hessian = derivatives(name)
    g = np.asarray(grad(problem.x0))
    assert np.isfinite(g).all() and np.linalg.norm(g) > 0.01
    assert np.isfinite(hessian(problem.x0)).all()
    assert f(problem.x0) > minimum(problem) + 0.01
    assert f(problem.x0 - 1e-6 * g) < f(problem.x0)


@everywhere
def test_the_docstring_names_domain_minimizer_and_source_and_shows_an_example(name):
    docstring = catalogue[name].__doc__ or ""
    for word in ("Domain:", "Minimizer", "Source:", ">>>"):
        assert word in docstring
    source = made(name).source
    assert len(source) > 20 and source in " ".join(docstring.split())


def test_each_line_of_the_catalogue_has_the_name_of_its_problem():
    for name, make in catalogue.items():
        assert made(name).name == name and getattr(problems, name) is make


def test_the_catalogue_lists_test_functions_with_a_window_and_then_problems_of_learning():
    assert set(catalogue) == {*FORMULAS, *ON_A_LINE, *LEARNING}
    without_window = [*ON_A_LINE, *LEARNING]
    assert list(catalogue)[len(FORMULAS) :] == without_window
    assert [name for name in catalogue if made(name).window is None] == without_window


# dtypes and compilation


@everywhere
def test_the_loss_keeps_every_dtype_of_the_position(name):
    problem = made(name)
    for dtype in (jnp.bfloat16, jnp.float16, jnp.float32, jnp.float64):
        x0 = with_dtype(problem.x0, dtype)
        value, gradient = jax.eval_shape(jax.value_and_grad(problem.loss), x0)
        assert {leaf.dtype for leaf in (value, *jax.tree.leaves(gradient))} == {jnp.dtype(dtype)}


@everywhere
def test_without_x64_single_precision_agrees_with_double(name):
    expected = float(derivatives(name)[0](made(name).x0))
    with jax.enable_x64(False):
        problem = catalogue[name]()
        value = eqx.filter_jit(problem.loss)(with_dtype(problem.x0, jnp.float32))
        assert value.dtype == jnp.float32
        assert float(value) == pytest.approx(expected, rel=1e-5)
        assert {leaf.dtype for leaf in jax.tree.leaves(problem.start())} == {jnp.dtype(jnp.float32)}


def test_the_loss_of_the_plane_is_one_function_however_often_a_problem_is_made():
    for name in FORMULAS:
        if name != "quadratic":  # its loss is a Module of arrays
            assert catalogue[name]().loss is catalogue[name]().loss


@pytest.mark.parametrize("name", ["quadratic", "rosenbrock", *LEARNING])
def test_a_problem_made_twice_compiles_once(name):
    traced = []

    @eqx.filter_jit
    def value(problem):
        traced.append(problem)
        return problem.loss(problem.x0)

    value(catalogue[name]())
    value(catalogue[name]())
    assert len(traced) == 1


@in_any_dimension
def test_a_dimension_that_is_no_count_is_refused(name):
    for n in (0, -1, 2.5, math.inf):
        with pytest.raises(InvalidValue, match="`n` must be a whole number of at least"):
            catalogue[name](n)


@pytest.mark.parametrize("n", [None, "3", True, [2], 2j])
def test_a_dimension_that_is_no_number_is_refused(n):
    with pytest.raises((InvalidType, InvalidValue), match="`n` must be a whole number"):
        problems.rastrigin(n)


def test_rosenbrock_needs_two_coordinates():
    with pytest.raises(InvalidValue, match="`n` must be a whole number of at least 2, got 1"):
        problems.rosenbrock(1)


# each loss is its formula


@in_the_plane
def test_the_loss_is_its_formula(name):
    heights, points = (grid[7::19, 3::19].reshape(441, -1) for grid in landscape(name))
    expected = [[FORMULAS[name](*point)] for point in points.tolist()]
    np.testing.assert_allclose(heights, expected, rtol=1e-11, atol=1e-13)


@in_any_dimension
def test_the_loss_is_its_formula_in_five_dimensions(name):
    points = np.random.default_rng(0).uniform(-3, 3, size=(1000, 5))
    expected = [FORMULAS[name](*point) for point in points.tolist()]
    np.testing.assert_allclose(in_five_dimensions(name)(points), expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize(
    "name, point, value",
    [
        ("rosenbrock", (-1.2, 1.0), 24.2),
        ("booth", (0.0, 0.0), 74.0),
        ("matyas", (1.0, 1.0), 0.04),
        ("beale", (1.0, 1.0), 14.203125),
        ("himmelblau", (0.0, 0.0), 170.0),
        ("three_hump_camel", (1.0, 1.0), 3.1166666666666667),
        ("goldstein_price", (-0.6, -0.4), 30.0),
        ("goldstein_price", (1.8, 0.2), 84.0),
        ("goldstein_price", (1.2, 0.8), 840.0),
        ("mccormick", (0.0, 0.0), 1.0),
        ("rastrigin", (1.0, 1.0), 2.0),
        ("ackley", (1.0, 1.0), 3.6253849384403627),  # 20 (1 - e^-0.2)
    ],
)
def test_known_values(name, point, value):
    assert float(derivatives(name)[0](jnp.array(point))) == pytest.approx(value, rel=1e-12)


# what single docstrings say


def test_the_double_well_has_two_equal_minima_and_a_hump_between_them():
    problem, (f, grad, hessian) = made("double_well"), derivatives("double_well")
    for x in np.linspace(-2, 2, 9)[:, None]:
        assert float(f(x)) == pytest.approx(ON_A_LINE["double_well"](x[0]), abs=1e-15)
    assert minimizers(problem).tolist() == [[-1.0], [1.0]] and minimum(problem) == 0
    for x, height, curvature in ((-1.0, 0.0, 2.0), (0.0, 0.25, -1.0), (1.0, 0.0, 2.0)):
        point = np.array([x])
        assert (f(point), grad(point), hessian(point)) == (height, 0.0, curvature)
    assert problem.dim == 1 and np.abs(grad(problem.x0)) > 0.01


def curvatures(name, point):
    return np.linalg.eigvalsh(derivatives(name)[2](jnp.asarray(point)))


def test_rosenbrock_is_that_of_scipy():
    x = np.random.default_rng(1).normal(size=6)
    loss = problems.rosenbrock(6).loss
    assert float(jax.jit(loss)(x)) == pytest.approx(scipy.optimize.rosen(x), rel=1e-13)
    np.testing.assert_allclose(jax.jit(jax.grad(loss))(x), scipy.optimize.rosen_der(x), rtol=1e-11)
    np.testing.assert_allclose(
        jax.jit(jax.hessian(loss))(x), scipy.optimize.rosen_hess(x), rtol=1e-11
    )


def test_rosenbrock_curves_2508_times_more_across_its_valley_than_along():
    slow, fast = curvatures("rosenbrock", (1.0, 1.0))
    assert slow == pytest.approx(0.3994, abs=1e-4) and fast == pytest.approx(1001.6, abs=1e-2)
    assert slow * fast == pytest.approx(400, rel=1e-10)


@pytest.mark.parametrize("n, other", [(3, False), (4, True), (5, True)])
def test_rosenbrock_has_a_worse_minimum_near_minus_one_from_four_dimensions_on(n, other):
    loss = problems.rosenbrock(n).loss
    x = np.ones(n)
    x[0] = -1
    end = scipy.optimize.minimize(
        scipy.optimize.rosen, x, jac=scipy.optimize.rosen_der, method="BFGS"
    ).x
    assert (float(jax.jit(loss)(end)) > 3.5) == other
    assert np.linalg.eigvalsh(jax.jit(jax.hessian(loss))(end))[0] > 0


@pytest.mark.parametrize(
    "name, point, expected",
    [
        ("booth", (1.0, 3.0), (2, 18)),
        ("booth", (-4.0, 7.0), (2, 18)),
        ("matyas", (0.0, 0.0), (0.04, 1)),
        ("ravine", (0.0, 0.0), (0.124, 20.126)),
        ("saddle", (0.0, 0.0), (-1, 1)),
    ],
)
def test_the_curvatures_are_those_of_the_docstring(name, point, expected):
    np.testing.assert_allclose(curvatures(name, point), expected, atol=5e-4)


def test_the_ravine_is_stationary_at_its_minimizer_only():
    # ∂f/∂y = 0 on the curve y = sin x only, and there ∂f/∂x = x/4
    x = np.linspace(-5, 5, 101)
    slope = jax.jit(jax.vmap(jax.grad(problems.ravine().loss)))
    np.testing.assert_allclose(
        slope(np.stack([x, np.sin(x)], -1)), np.stack([x / 4, 0 * x], -1), atol=1e-14
    )
    shifted = slope(np.stack([x, np.sin(x) + 0.1], -1))
    np.testing.assert_allclose(shifted[:, 1], 1.0, rtol=1e-12)


@pytest.mark.parametrize(
    "name, point, value",
    [
        ("three_hump_camel", (1.7475523, -0.8737762), 0.2986),
        ("three_hump_camel", (-1.7475523, 0.8737762), 0.2986),
        ("six_hump_camel", (1.6071048, 0.5686515), 2.1043),
        ("six_hump_camel", (-1.7036067, 0.7960836), -0.2155),
        ("goldstein_price", (-0.6, -0.4), 30.0),
        ("goldstein_price", (1.8, 0.2), 84.0),
        ("goldstein_price", (1.2, 0.8), 840.0),
        ("styblinski_tang", (2.7468028, -2.9035340), -64.1956),
    ],
)
def test_worse_minima_are_minima_too(name, point, value):
    f, grad, _ = derivatives(name)
    assert float(f(jnp.array(point))) == pytest.approx(value, abs=1e-4)
    assert np.abs(grad(jnp.array(point))).max() < 1e-5 * (1 + curvatures(name, point)[-1])
    assert curvatures(name, point)[0] > 0


def test_mccormick_repeats_outside_its_domain_deeper_by_pi_each_time():
    f, grad, _ = derivatives("mccormick")
    x = minimizers(problems.mccormick())[0]
    for k in range(4):
        assert float(f(x - k * math.pi)) == pytest.approx(
            -1.9132229549810362 - k * math.pi, rel=1e-12
        )
        assert np.abs(grad(x - k * math.pi)).max() < 1e-12


def test_ackley_is_steep_up_to_its_tip_and_has_gradient_zero_there():
    _, grad, _ = derivatives("ackley")
    assert (grad(jnp.zeros(2)) == 0).all()
    for r in (1e-3, 1e-8, 1e-100):  # 20 · 0.2 / √2
        assert float(jnp.linalg.norm(grad(jnp.array([r, 0.0])))) == pytest.approx(
            4 / math.sqrt(2), abs=0.1
        )


def test_easom_is_flat_far_from_its_well():
    assert np.abs(derivatives("easom")[1](jnp.array([-3.0, -3.0]))).max() < 1e-25


def test_from_the_start_of_himmelblau_three_optimizers_go_to_three_wells():
    problem = problems.himmelblau()
    wells = set()
    for optimizer in (optax.sgd(0.01), optax.sgd(0.01, momentum=0.9), optax.adam(0.05)):

        def step(carry, _, optimizer=optimizer):
            x, state = carry
            change, state = optimizer.update(jax.grad(problem.loss)(x), state)
            return (optax.apply_updates(x, change), state), None

        x = problem.start()
        (x, _), _ = jax.lax.scan(step, (x, optimizer.init(x)), length=800)
        distances = np.linalg.norm(minimizers(problem) - np.asarray(x), axis=1)
        assert distances.min() < 1e-2
        wells.add(int(distances.argmin()))
    assert len(wells) == 3
