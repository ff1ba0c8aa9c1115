"""The largest singular value: its power iteration, its derivatives, and two bowls made with it."""

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dynopt import SGD, Modified, Problem, analysis, integrate, iterate, problems
from dynopt.errors import InvalidType, InvalidValue
from dynopt.problems import spectral_norm
from dynopt.problems.spectral import Shrinkage

hold = jax.lax.stop_gradient


def turned(singular_values):
    """A square matrix with these singular values, and singular vectors in no special direction."""
    draw, n = np.random.RandomState(0).normal, len(singular_values)
    left, right = (np.linalg.qr(draw(size=(n, n)))[0] for _ in range(2))
    return left @ np.diag(singular_values) @ right


def singular(matrices):
    return np.linalg.svd(np.asarray(matrices), compute_uv=False)


def top_pair(matrix):
    """u vᵀ of the largest singular value, which is its gradient."""
    left, _, right = np.linalg.svd(matrix, full_matrices=False)
    return np.outer(left[:, 0], right[0])


# the power iteration and its derivatives, for a matrix with the singular values 3, 2, 1 and ½

W = turned([3.0, 2.0, 1.0, 0.5])
DIRECTION = np.random.RandomState(5).normal(size=(4, 4)) / 4
CURVATURE = (top_pair(W + 1e-5 * DIRECTION) - top_pair(W - 1e-5 * DIRECTION)) / 2e-5
COUNTS = np.array([4, 8, 12, 16])
value_and_slope = jax.value_and_grad(spectral_norm)


def pair_after(matrix, count):
    """u and v of the power iteration."""
    v: Any = None
    u = np.random.RandomState(0).normal(size=len(matrix))
    for _ in range(count):
        v = matrix.T @ u
        v = v / (v @ v) ** 0.5
        u = matrix @ v
        u = u / (u @ u) ** 0.5
    return u, v


def cut(matrix, count):
    """As in spectral normalization of deep-learning libraries: u and v are constants."""
    u, v = pair_after(hold(matrix), count)
    return hold(u) @ matrix @ hold(v)


def product(function):
    """Of the Hessian and the direction, at W."""
    return jax.jvp(jax.grad(function), (jnp.asarray(W),), (jnp.asarray(DIRECTION),))[1]


def factors(errors):
    """By which the errors shrink in one iteration."""
    return np.exp(np.diff(np.log(errors)) / np.diff(COUNTS))


def test_each_iteration_multiplies_the_errors_by_powers_of_the_ratio_of_singular_values():
    values, slopes = zip(*(value_and_slope(W, count) for count in COUNTS), strict=True)
    cut_slopes = [np.outer(*pair_after(W, count)) for count in COUNTS]
    of_slopes = [np.linalg.norm(slope - top_pair(W)) for slope in slopes]
    of_cut_slopes = [np.linalg.norm(slope - top_pair(W)) for slope in cut_slopes]
    np.testing.assert_allclose(factors(3 - np.array(values)), (2 / 3) ** 4, rtol=0.01)
    np.testing.assert_allclose(factors(of_cut_slopes), (2 / 3) ** 2, rtol=0.01)
    np.testing.assert_allclose(factors(of_slopes / COUNTS), (2 / 3) ** 4, rtol=0.03)


def test_the_curvature_is_right_through_the_iteration_and_all_lost_if_its_vectors_are_cut():
    assert np.linalg.norm(CURVATURE) > 0.1
    exact, through = product(spectral_norm), product(lambda W: spectral_norm(W, 30))
    np.testing.assert_allclose(exact, CURVATURE, atol=1e-9)
    np.testing.assert_allclose(through, exact, atol=2e-15)
    np.testing.assert_allclose(jax.grad(cut)(jnp.asarray(W), 30), top_pair(W), atol=1e-9)
    assert not product(lambda W: cut(W, 30)).any()


@pytest.mark.parametrize("diagonal", [(1.0, 1.0, 0.5), (3.0, 1.0, 1.0)])
def test_at_equal_singular_values_the_decomposition_has_a_slope_and_no_curvature(diagonal):
    x, direction = jnp.diag(jnp.array(diagonal)), jnp.ones((3, 3))
    for iterations, is_finite in ((None, False), (20, True)):
        slope = jax.grad(spectral_norm)
        value, curvature = jax.jvp(lambda x: slope(x, iterations), (x,), (direction,))  # noqa: B023
        assert np.isfinite(curvature).all() == is_finite
        assert np.vdot(value, x) == pytest.approx(diagonal[0])  # a subgradient is in the dual ball
        assert singular(value).sum() == pytest.approx(1)


@pytest.mark.parametrize("iterations", [None, 60])
def test_the_norm_is_that_of_numpy_for_every_shape_and_keeps_the_dtype(iterations):
    draw = np.random.RandomState(1).normal
    for shape in ((1, 3), (4, 3)):
        matrix = draw(size=shape).astype(np.float32)
        norm = spectral_norm(matrix, iterations)
        assert norm.dtype == jnp.float32
        assert float(norm) == pytest.approx(np.linalg.norm(matrix, 2), rel=1e-6)
    assert spectral_norm(jnp.zeros((2, 3)), iterations) == 0
    assert np.isfinite(jax.grad(spectral_norm)(jnp.zeros((2, 3)), iterations)).all()
    assert spectral_norm([[3, 0], [0, 4]], iterations) == pytest.approx(4, rel=1e-12)


@pytest.mark.parametrize("iterations", [None, 3])
def test_the_norm_is_jitted_mapped_and_differentiated_in_both_modes(iterations):
    def norm(matrix):
        return spectral_norm(matrix, iterations)

    mapped = jax.jit(jax.vmap(norm))(jnp.stack([W, 2 * W]))
    np.testing.assert_allclose(mapped, norm(W) * np.array([1, 2]), rtol=1e-14)
    np.testing.assert_allclose(jax.jacfwd(norm)(W), jax.jacrev(norm)(W), atol=1e-14)


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        (([3.0, 4.0],), InvalidValue, r"`W` has shape \(2,\); pass one matrix, such as"),
        ((np.ones((2, 2, 2)),), InvalidValue, "use jax.vmap for many"),
        ((np.ones((0, 2)),), InvalidValue, r"`W` has shape \(0, 2\)"),
        (([[1.0, np.nan]],), InvalidValue, r"`W` is nan at coordinate \(0, 1\)"),
        ((np.eye(2) * 1j,), InvalidType, "`W` must hold real numbers"),
        ((np.eye(2), 0), InvalidValue, "`iterations` must be a whole number of at least 1, got 0"),
        ((np.eye(2), "SVD"), InvalidType, "pass for example iterations=10"),
    ],
)
def test_what_has_no_spectral_norm_is_refused(arguments, kind, words):
    with pytest.raises(kind, match=words):
        spectral_norm(*arguments)


# Oja's flow, the limit of the power iteration


def rayleigh(v):
    """-½ |Wv|²/|v|², whose gradient flow on the unit sphere is Oja's."""
    return -jnp.sum((W @ v) ** 2) / jnp.sum(v**2) / 2


def test_a_step_of_the_power_iteration_is_a_step_of_euler_along_the_flow_of_oja():
    """Of the time 1/(v·Cv), C = WᵀW, and put back on the sphere, where the flow stays."""
    for count in (1, 2, 5):
        v, after = (pair_after(W, k)[1] for k in (count, count + 1))
        c = W.T @ W
        field = c @ v - (v @ c @ v) * v
        np.testing.assert_allclose(-jax.grad(rayleigh)(v), field, atol=1e-14)
        step = v + field / (v @ c @ v)
        np.testing.assert_allclose(step / np.linalg.norm(step), after, atol=1e-14)
        assert abs(v @ field) < 1e-14


def test_along_the_flow_of_oja_the_error_falls_at_twice_the_difference_of_the_eigenvalues():
    start = pair_after(W, 1)[1]
    run = integrate(SGD(0.05), Problem(rayleigh, start, name="oja"), 40)
    values, vectors = np.linalg.eigh(W.T @ W)
    powers = np.exp(np.asarray(run.t)[:, None] * values) * (vectors.T @ start) @ vectors.T
    exact = powers / np.linalg.norm(powers, axis=1)[:, None]
    np.testing.assert_allclose(run.x, exact, atol=1e-8)  # e^(Ct) v, on the sphere
    stretch = np.linalg.norm(run.x @ W.T, axis=1) / np.linalg.norm(run.x, axis=1)
    slope = np.polyfit(run.t[20:], np.log(3 - stretch[20:]), 1)[0]
    assert slope == pytest.approx(-2 * (9 - 4), rel=0.01)


# the bowl that ignores the length of a matrix

_gaussian = np.random.RandomState(1).normal(size=(4, 3))
TARGET = _gaussian / np.linalg.norm(_gaussian, 2)
START = np.random.RandomState(2).normal(size=(4, 3))


@cache
def bowl(iterations=None):
    return problems.spectral_normalised(TARGET, iterations)


def squares(run):
    return (np.asarray(run.x) ** 2).sum((1, 2))


def slope_of_bowl(matrix):
    pair, norm = top_pair(matrix), singular(matrix)[0]
    residual = matrix / norm - TARGET
    return (residual - np.vdot(residual, matrix) / norm * pair) / norm


@pytest.mark.parametrize("iterations", [None, 3])
def test_the_gradient_is_orthogonal_to_the_matrix(iterations):
    gradient = bowl(iterations).field(START)
    assert np.linalg.norm(gradient) > 0.05 and abs(np.vdot(START, gradient)) < 1e-14


def test_gradient_descent_lengthens_the_matrix_and_its_flow_does_not():
    h, steps = 0.5, 60
    x, length = START, [np.sum(START**2)]
    for _ in range(steps):
        g = slope_of_bowl(x)
        x = x - h * g
        length.append(length[-1] + h**2 * np.sum(g**2))
    run = iterate(SGD(h), bowl(), steps, x0=START)
    np.testing.assert_allclose(run.x[-1], x, rtol=1e-12)
    np.testing.assert_allclose(squares(run), length, rtol=1e-13)
    assert f"{length[0]:.4f} {length[-1]:.4f}" == "20.6631 21.3766"
    flow = integrate(SGD(h), bowl(), steps, x0=START)
    np.testing.assert_allclose(squares(flow), length[0], rtol=1e-9)
    modified = squares(integrate(Modified(SGD(h)), bowl(), steps, x0=START))[-1]
    assert 0.96 < (modified - length[0]) / (length[-1] - length[0]) < 0.98


def modified_velocity(iterations):
    optimizer, grad = Modified(SGD(0.5)), jax.grad(bowl(iterations).loss)
    return jax.jit(lambda x: optimizer.vector_field(0.0, optimizer.init(x, grad), grad).x)(
        jnp.asarray(START)
    )


def test_along_the_modified_flow_the_squared_length_grows_at_h_times_the_squared_gradient():
    growth, g = 2 * np.vdot(START, modified_velocity(None)), slope_of_bowl(START)
    assert growth == pytest.approx(0.5 * np.sum(g**2), rel=1e-12)


def test_through_thirty_iterations_the_modified_flow_is_the_same():
    velocities = [modified_velocity(iterations) for iterations in (None, 30)]
    np.testing.assert_allclose(*velocities, atol=1e-13)


def test_twice_the_start_with_four_times_the_learning_rate_takes_the_same_steps_twice_as_large():
    run = iterate(SGD(0.5), bowl(), 60, x0=START)
    larger = iterate(SGD(2.0), bowl(), 60, x0=2 * START)
    np.testing.assert_allclose(larger.x, 2 * run.x, rtol=1e-12)
    np.testing.assert_allclose(larger.loss, run.loss, rtol=1e-12)


@pytest.mark.parametrize(("optimizer", "expected"), [(SGD(0.5), 1), (Modified(SGD(0.5)), 2)])
def test_the_bowl_has_the_orders_of_theory(optimizer, expected):
    measured = analysis.order(optimizer, bowl(), time=10.0, refinements=4, x0=START)
    assert measured.slope == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize(
    ("values", "minimum"), [((2.0, 0.5, 0.3), 0.5), ((0.5, 0.3, 0.2), 0.125), ((1, 0.5, 0), 0.0)]
)
def test_the_minimum_is_the_distance_to_the_matrices_of_norm_one(values, minimum):
    problem = problems.spectral_normalised(turned(values))
    assert problem.minimum == pytest.approx(minimum, abs=1e-14)
    end = iterate(SGD(1.0), problem, 400, save_every=400).loss[-1]
    assert end == pytest.approx(minimum, abs=1e-6) and end > minimum - 1e-14


def test_no_minimum_is_known_from_a_lower_bound_of_the_norm():
    problem = problems.spectral_normalised(turned((2.0, 0.5, 0.3)), iterations=1)
    end = iterate(SGD(0.1), problem, 400, save_every=400).loss[-1]
    assert problem.minimum is None and end < 0.5 - 0.01  # that of the exact norm is 0.5


# the bowl with a penalty on the largest singular value

CROSSING = -np.log(0.8)  # where 3 - (1 - e^(-t)) = 2.8


@cache
def shrinkage(smooth=None, strength=1.0):
    return problems.spectral_shrinkage(strength=strength, smooth=smooth)


def sliding(t, smooth=None):
    """By the closed form of the library."""
    loss = shrinkage(smooth).loss
    assert isinstance(loss, Shrinkage)
    return loss.gradient_flow(t)


def exact_flow(t):
    """Of the singular values from 3, 2.8 and 1: the first falls, and meets the second."""
    t = np.asarray(t)[..., None]
    before = np.concatenate([2 + np.exp(-t), 2.8 + 0 * t, 1 + 0 * t], -1)
    together = 2.4 + 0.4 * np.exp(CROSSING - t)
    return np.where(t < CROSSING, before, np.concatenate([together, together, 1 + 0 * t], -1))


def test_two_singular_values_fall_together_from_where_they_meet():
    problem, times = shrinkage(), np.linspace(0, 4, 41)
    flow = sliding(times)
    np.testing.assert_allclose(singular(flow), exact_flow(times), atol=1e-14)
    before = integrate(SGD(0.02), problem, 10)
    np.testing.assert_allclose(before.x, sliding(before.t), atol=1e-8)
    limit = sliding(np.inf)
    assert problem.minimizers is not None
    np.testing.assert_allclose(limit.ravel(), problem.minimizers[0], atol=1e-14)
    np.testing.assert_allclose(singular(limit), [2.4, 2.4, 1], atol=1e-14)
    assert problem.minimum == pytest.approx(0.5 * (0.6**2 + 0.4**2) + 2.4, abs=1e-14)
    assert problem.loss(limit) == pytest.approx(problem.minimum, abs=1e-14)


def test_gradient_descent_chatters_around_the_flow_that_slides(h=0.02):
    run = iterate(SGD(h), shrinkage(), round(4 / h))
    values = singular(run.x)
    error = np.abs(run.x - sliding(run.t)).max()
    assert 0.4 * h < error < 0.6 * h
    late = values[run.t > 3]
    assert 0.6 * h < (late[:, 0] - late[:, 1]).max() < 1.2 * h
    assert values[-1, :2].mean() == pytest.approx(2.4 + 0.4 * np.exp(CROSSING - 4), abs=0.02 * h)


def test_before_the_singular_values_meet_the_modified_flow_has_order_two():
    measured = analysis.order(Modified(SGD(0.01)), shrinkage(), time=0.15, refinements=4)
    assert measured.slope == pytest.approx(2, abs=0.01)


@pytest.mark.parametrize("smooth", [8, 32])
def test_a_smooth_norm_lets_solvers_pass_where_the_singular_values_meet(smooth):
    run = integrate(SGD(0.01), shrinkage(smooth), 200)
    assert run.stats["solver_steps"] < 100
    values = singular(run.x[-1])
    assert 0 < (values - exact_flow(2.0))[0] < 0.3 / smooth**0.5 and values[0] - values[1] < 0.1


def test_across_that_place_gradient_descent_has_order_one():
    measured = analysis.order(SGD(0.01), shrinkage(8), time=1.0, refinements=4)
    assert measured.slope == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("smooth", [2, 8])
def test_the_smooth_norm_is_that_of_schatten_with_all_derivatives(smooth):
    problem, x = shrinkage(smooth), np.random.RandomState(3).normal(size=(3, 3))
    norm = (singular(x) ** smooth).sum() ** (1 / smooth)
    assert problem.loss(x) == pytest.approx(np.sum((x - problem.x0) ** 2) / 2 + norm, rel=1e-13)
    assert singular(x)[0] <= norm <= 3 ** (1 / smooth) * singular(x)[0]
    one = jnp.eye(3)
    curvature = jax.jvp(jax.grad(problem.loss), (one,), (one,))[1]
    np.testing.assert_allclose(curvature, one, atol=1e-12)  # the norm is linear in this direction
    zero = jnp.zeros((3, 3))
    np.testing.assert_array_equal(jax.grad(problem.loss)(zero), zero - problem.x0)


@pytest.mark.parametrize(("smooth", "strength"), [(8, 1.0), (32, 1.0), (2, 0.5), (8, 5.0)])
def test_the_minimizer_is_where_the_slope_is_zero(smooth, strength):
    problem = shrinkage(smooth, strength)
    shape = problem.x0.shape
    assert problem.minimizers is not None
    np.testing.assert_allclose(problem.field(problem.minimizers[0].reshape(shape)), 0, atol=1e-14)
    assert problem.loss(problem.minimizers[0].reshape(shape)) == pytest.approx(problem.minimum)


def test_the_largest_power_allowed_is_right_in_single_precision():
    n = 3  # equal singular values are the worst case
    problem = problems.spectral_shrinkage(np.eye(n, dtype=np.float32), smooth=158)
    assert problem.loss(problem.start()) == pytest.approx(n ** (1 / 158), rel=1e-5)
    np.testing.assert_allclose(
        np.diag(problem.field(problem.start())), n ** (1 / 158 - 1), rtol=1e-4
    )


@pytest.mark.parametrize("smooth", [None, 8])
def test_a_penalty_beyond_the_dual_norm_shrinks_all_to_zero(smooth):
    problem = shrinkage(smooth, 7.0)  # 3 + 2.8 + 1 = 6.8
    assert problem.minimizers is not None and not problem.minimizers.any()
    assert problem.minimum == pytest.approx((3**2 + 2.8**2 + 1) / 2)


def test_the_loss_has_derivatives_by_the_strength():
    def loss(strength):
        return problems.spectral_shrinkage(W, strength, smooth=None).loss(jnp.asarray(W))

    assert jax.grad(loss)(1.0) == pytest.approx(3)


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda: problems.spectral_shrinkage(smooth=7), InvalidValue, "pass smooth=8, or None"),
        (lambda: problems.spectral_shrinkage(smooth=0), InvalidValue, "`smooth` must be a whole"),
        (lambda: problems.spectral_shrinkage(smooth=160), InvalidValue, "from 2 to 158, got 160"),
        (lambda: problems.spectral_shrinkage(strength=-1.0), InvalidValue, "`strength` is -1"),
        (lambda: problems.spectral_shrinkage([3.0]), InvalidValue, r"`target` has shape \(1,\)"),
        (lambda: problems.spectral_normalised("S"), InvalidType, "`target` must hold real"),
        (lambda: problems.spectral_normalised(iterations=0), InvalidValue, "`iterations` must be"),
        (lambda: problems.spectral_normalised(key=-1), InvalidValue, "`key` must be a whole"),
        (lambda: problems.spectral_normalised(key=2**32), InvalidValue, "`key` must be a whole"),
        (
            lambda: sliding(1.0, smooth=8),
            InvalidValue,
            r"got smooth=8; use spectral_shrinkage\(smooth=None\)",
        ),
    ],
)
def test_bowls_that_are_none_are_refused(call, kind, words):
    with pytest.raises(kind, match=words):
        call()
