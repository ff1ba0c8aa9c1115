"""Deep linear networks: the exact solution, what the flow conserves, what the map loses of it."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

from dynopt import SGD, integrate, iterate
from dynopt.errors import InvalidType, InvalidValue
from dynopt.problems import DeepLinear, Problem, deep_linear

TARGET = 2 * np.random.default_rng(0).normal(size=(3, 2))
STEPS, RATE = 20, 0.1


@cache
def made(depth=2) -> Problem:
    return deep_linear(TARGET, depth=depth)


def loss(problem: Problem) -> DeepLinear:
    assert isinstance(problem.loss, DeepLinear)
    return problem.loss


def unbalanced(depth=2):
    draw = np.random.default_rng(1)
    return tuple(layer + 0.3 * draw.normal(size=layer.shape) for layer in made(depth).x0)


@cache
def flow(depth, balanced=True):
    return integrate(
        SGD(RATE),
        made(depth),
        STEPS,
        x0=None if balanced else unbalanced(depth),
        rtol=1e-12,
        atol=1e-13,
    )


def largest_change(run, problem) -> float:
    """Of the conserved matrices, from their values at the start."""
    conserved = jax.vmap(loss(problem).conserved)(run.x)
    return max(float(np.abs(matrix - matrix[:1]).max()) for matrix in conserved)


# the exact solution


def test_saxe_gives_the_gradient_flow_of_two_layers():
    problem, run = made(), flow(2)
    exact = loss(problem).gradient_flow(run.t, problem.x0)
    for expected, solved in zip(exact, run.x, strict=True):
        np.testing.assert_allclose(expected, solved, rtol=0, atol=1e-8)
    assert np.abs(run.x[0][-1] - run.x[0][0]).max() > 0.5


def test_saxe_gives_the_modes_of_two_layers():
    problem, run = made(), flow(2)
    s = np.linalg.svd(TARGET)[1]
    modes = jax.vmap(loss(problem).modes)(run.x)
    t, grown = np.asarray(run.t)[:, None], np.exp(2 * s * np.asarray(run.t)[:, None])
    assert t.shape == (STEPS + 1, 1)
    np.testing.assert_allclose(
        loss(problem).learned(run.t, 0.01), s * grown / (grown - 1 + s / 0.01), rtol=1e-12
    )
    np.testing.assert_allclose(modes, loss(problem).learned(run.t, 0.01), rtol=0, atol=1e-8)


def test_strong_modes_are_learned_first():
    halfway = [float(np.log(s / 0.01 - 1) / (2 * s)) for s in (3.0, 1.0)]  # where u = s/2
    learned = [np.asarray(loss(deep_linear()).learned(t, 0.01)) for t in halfway]
    assert learned[0][0] == pytest.approx(1.5, rel=1e-12) and learned[1][1] == pytest.approx(
        0.5, rel=1e-12
    )
    assert halfway[0] < halfway[1] / 2


def test_a_mode_without_strength_or_without_a_start_has_a_solution_too():
    rank_one = loss(deep_linear((2.0, 0.0)))
    np.testing.assert_allclose(
        rank_one.learned(3.0, 0.5)[1], 0.5 / (1 + 2 * 0.5 * 3), rtol=1e-14
    )  # u' = -2u²
    assert rank_one.learned(3.0, jnp.zeros(2)).tolist() == [0, 0]
    assert rank_one.learned(jnp.asarray(1e4), 0.01)[0] == 2  # no overflow
    slope = jax.grad(lambda t: rank_one.learned(t, 0.5)[1])(3.0)
    assert float(slope) == pytest.approx(-2 * 0.125**2, rel=1e-12)


def test_starts_that_the_closed_form_does_not_cover_are_refused():
    with pytest.raises(
        InvalidValue,
        match=r"this closed form is that of two layers, got 3; use deep_linear\(depth=2\)",
    ):
        loss(made(3)).gradient_flow(1.0, made(3).x0)
    with pytest.raises(
        InvalidValue, match=r"`x0` is not balanced, off by .*; pass the start of deep_linear\(\)"
    ):
        loss(made()).gradient_flow(1.0, unbalanced())
    diagonal, w1 = loss(deep_linear()), np.array([[1.0, 0.5], [0.5, 1.0]])  # W₂ = W₁ᵀ is balanced
    with pytest.raises(
        InvalidValue, match="`x0` is not in the singular vectors of the target, off by 1"
    ):
        diagonal.gradient_flow(1.0, (w1, w1.T))
    with pytest.raises(
        InvalidValue, match="`x0` has the mode -1; pass a start whose modes are >= 0"
    ):
        diagonal.gradient_flow(1.0, (np.eye(2), -np.eye(2)))


# what is conserved


@pytest.mark.parametrize("depth", [2, 3])
def test_the_flow_conserves_what_the_docstring_says(depth):
    assert largest_change(flow(depth, balanced=False), made(depth)) < 1e-9
    balance = loss(made(depth)).conserved(unbalanced(depth))
    assert len(balance) == depth - 1 and max(np.abs(matrix).max() for matrix in balance) > 0.1


def test_each_conserved_matrix_is_its_formula():
    w1, w2, w3 = unbalanced(3)
    first, second = loss(made(3)).conserved((w1, w2, w3))
    np.testing.assert_allclose(first, w2.T @ w2 - w1 @ w1.T, atol=1e-14)
    np.testing.assert_allclose(second, w3.T @ w3 - w2 @ w2.T, atol=1e-14)


@pytest.mark.parametrize("depth", [2, 3])
def test_the_start_is_balanced_and_its_product_lies_in_the_singular_pairs(depth):
    problem = made(depth)
    assert max(np.abs(matrix).max() for matrix in loss(problem).conserved(problem.x0)) < 1e-15
    np.testing.assert_allclose(loss(problem).modes(problem.x0), 0.01, rtol=1e-12)
    u, _, vt = np.linalg.svd(TARGET, full_matrices=False)
    product = problem.x0[0]
    for layer in problem.x0[1:]:
        product = layer @ product
    np.testing.assert_allclose(product, 0.01 * u @ vt, atol=1e-15)


def test_the_map_changes_it_in_proportion_to_the_learning_rate():
    x0, rates = unbalanced(), (0.02, 0.01, 0.005)
    changes = [
        largest_change(iterate(SGD(rate), made(), round(2 / rate), x0=x0, save_every=20), made())
        for rate in rates
    ]
    slopes = np.diff(np.log(changes)) / np.diff(np.log(rates))
    np.testing.assert_allclose(slopes, 1, atol=0.1)


def test_one_step_changes_it_by_the_square_of_the_learning_rate_times_the_gradients():
    x0, eta = unbalanced(), 0.1
    g1, g2 = jax.grad(loss(made()))(x0)
    stepped = tuple(x - eta * g for x, g in zip(x0, (g1, g2), strict=True))
    change = loss(made()).conserved(stepped)[0] - loss(made()).conserved(x0)[0]
    np.testing.assert_allclose(change, eta**2 * (g2.T @ g2 - g1 @ g1.T), atol=1e-14)


# stationary points, dtypes and refusals


def test_the_origin_is_a_saddle():
    f, s = loss(deep_linear()), 3.0
    hessian = jax.hessian(lambda flat: f((flat[:4].reshape(2, 2), flat[4:].reshape(2, 2))))(
        jnp.zeros(8)
    )
    curvatures = np.linalg.eigvalsh(hessian)
    assert curvatures[0] == pytest.approx(-s) and curvatures[-1] == pytest.approx(s)


@pytest.mark.parametrize("width, minimum", [(1, 1 / 2), (2, 0.0), (3, 0.0)])
def test_the_minimum_is_what_the_layers_are_too_narrow_for(width, minimum):
    problem = deep_linear((3.0, 1.0), width=width)
    assert (
        problem.minimum == minimum
        and problem.x0[0].shape == (width, 2)
        and problem.x0[1].shape == (2, width)
    )
    end = iterate(SGD(0.1), problem, 400, save_every=400)
    assert float(end.loss[-1]) == pytest.approx(minimum, abs=1e-12)
    w1, _ = loss(problem).gradient_flow(1.0, problem.x0)
    assert w1.shape == (width, 2) and np.isfinite(w1).all()


def test_a_solver_of_scipy_gives_the_same():
    problem = made()
    sizes = [layer.shape for layer in problem.x0]

    def field(_, flat):
        w1, w2 = flat[:4].reshape(sizes[0]), flat[4:].reshape(sizes[1])
        residual = w2 @ w1 - TARGET
        return -np.concatenate([(w2.T @ residual).ravel(), (residual @ w1.T).ravel()])

    start = np.concatenate([layer.ravel() for layer in problem.x0])
    end = scipy.integrate.solve_ivp(
        field, (0, 2), start, rtol=1e-12, atol=1e-13, method="DOP853"
    ).y[:, -1]
    exact = np.concatenate(
        [np.ravel(layer) for layer in loss(problem).gradient_flow(2.0, problem.x0)]
    )
    np.testing.assert_allclose(exact, end, atol=1e-9)


def test_every_method_keeps_the_dtype_of_the_layers():
    single = tuple(layer.astype(np.float32) for layer in made().x0)
    f = loss(made())
    outputs = jax.eval_shape(
        lambda x: (f(x), f.conserved(x), f.modes(x), f.gradient_flow(1.0, x)), single
    )
    assert {leaf.dtype for leaf in jax.tree.leaves(outputs)} == {jnp.dtype(jnp.float32)}


@pytest.mark.parametrize(
    "options, kind, words",
    [
        (
            {"target": 3.0},
            InvalidValue,
            r"`target` has shape \(\); pass a matrix, or a list for its diagonal",
        ),
        ({"target": []}, InvalidValue, r"`target` has shape \(0, 0\)"),
        ({"target": [[1.0, np.nan]]}, InvalidValue, r"`target` is nan at coordinate \(0, 1\)"),
        ({"target": "digits"}, InvalidType, "`target` must hold real numbers"),
        ({"depth": 1}, InvalidValue, "`depth` must be a whole number of at least 2, got 1"),
        ({"width": 0}, InvalidValue, "`width` must be a whole number of at least 1, got 0"),
        ({"start": 0.0}, InvalidValue, "`start` is 0; use a positive number"),
    ],
)
def test_a_network_that_is_none_is_refused(options, kind, words):
    with pytest.raises(kind, match=words):
        deep_linear(**options)
