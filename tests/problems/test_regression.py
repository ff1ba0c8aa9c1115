"""Logistic and softmax regression: convexity, curvature, minimizers, and the data they accept."""

import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from jax.flatten_util import ravel_pytree

from dynopt import SGD, iterate
from dynopt.errors import DynoptError, EnvironmentProblem, InvalidType, InvalidValue, UnknownName
from dynopt.problems import Problem, logistic_regression, softmax_regression

BOTH = pytest.mark.parametrize(
    "make, factor", [(logistic_regression, 1 / 4), (softmax_regression, 1 / 2)]
)
SETS = {
    "breast_cancer": (logistic_regression, 569, 30, 2),
    "iris": (softmax_regression, 150, 4, 3),
    "wine": (softmax_regression, 178, 13, 3),
    "digits": (softmax_regression, 1797, 64, 10),
}


@eqx.filter_jit
def derivatives(loss, x):
    """f, ∇f and the Hessian in one compilation for each shape."""
    flat, unravel = ravel_pytree(x)

    def f(flat):
        return loss(unravel(flat))

    return f(flat), jax.grad(f)(flat), jax.hessian(f)(flat)


def bound(problem: Problem, factor) -> float:
    features, _ = problem.loss.data
    return factor * np.mean(1 + np.sum(np.asarray(features) ** 2, 1)) + 0.01


def minimizer(problem: Problem):
    assert problem.minimizers is not None
    return ravel_pytree(problem.start())[1](jnp.asarray(problem.minimizers[0]))


# the curvature


@BOTH
def test_the_curvatures_lie_between_zero_and_the_bound(make, factor):
    problem = make()
    for seed in range(5):
        draw = np.random.default_rng(seed)
        x = jax.tree.map(lambda leaf: draw.normal(size=leaf.shape) * seed, problem.start())  # noqa: B023
        curvatures = np.linalg.eigvalsh(derivatives(problem.loss, x)[2])
        assert curvatures[0] > -1e-15 and curvatures[-1] <= bound(problem, factor)


@BOTH
def test_gradient_descent_goes_down_up_to_twice_the_reciprocal_of_the_bound(make, factor):
    problem = make()
    far = jax.tree.map(lambda leaf: leaf + 5.0, problem.start())
    run = iterate(SGD(1.99 / bound(problem, factor)), problem, 30, x0=far)
    assert (np.diff(run.loss) < 0).all()


# the minimizer


@pytest.mark.parametrize("data", ["clouds", "breast_cancer"])
def test_at_the_minimizer_of_logistic_regression_labels_and_probabilities_have_the_same_mean(data):
    problem = logistic_regression(data)
    x = minimizer(problem)
    value, gradient, hessian = derivatives(problem.loss, x)
    assert float(value) == pytest.approx(problem.minimum, rel=1e-13)
    assert np.abs(gradient).max() < 1e-15 and np.linalg.eigvalsh(hessian)[0] > 1e-4
    features, labels = map(np.asarray, problem.loss.data)
    probabilities = 1 / (1 + np.exp(-(features @ x["w"] + x["b"])))
    assert probabilities.mean() == pytest.approx(labels.mean(), rel=1e-13)
    np.testing.assert_allclose(
        0.01 * x["w"], features.T @ (labels - probabilities) / len(labels), atol=1e-14
    )


def test_gradient_descent_arrives_at_the_minimizer():
    problem = logistic_regression()
    end = iterate(SGD(2.0), problem, 1000, save_every=1000).y.x[-1]
    assert problem.minimizers is not None
    np.testing.assert_allclose(end, problem.minimizers[0], atol=1e-9)


def test_without_penalty_separable_classes_have_no_minimizer():
    features = np.array([[-2.0, 0.0], [-1.0, 1.0], [1.0, 0.0], [2.0, 3.0]])
    problem = logistic_regression((features, [0, 0, 1, 1]), penalty=0)
    assert problem.minimizers is None and problem.minimum is None
    values = [float(problem.loss({"w": np.array([s, 0.0]), "b": 0.0})) for s in (1, 10, 100)]
    assert values[0] > values[1] > values[2] > 0 and values[2] < 1e-40
    assert (
        logistic_regression((features, [0, 0, 1, 1]), penalty=1e-15).minimizers is None
    )  # out of reach of doubles


def test_adding_one_number_to_all_of_b_changes_nothing_and_gradient_descent_keeps_their_sum():
    problem = softmax_regression()
    shifted = {"w": problem.x0["w"], "b": problem.x0["b"] + 7.0}
    value, gradient, _ = derivatives(problem.loss, problem.start())
    assert float(derivatives(problem.loss, shifted)[0]) == pytest.approx(float(value), rel=1e-14)
    assert abs(gradient[:3].sum()) < 1e-16
    b = iterate(SGD(1.0), problem, 50, x0=shifted).x["b"]
    np.testing.assert_allclose(b.sum(1), 21, rtol=1e-13)
    assert np.abs(b[-1] - b[0]).max() > 1e-3


def test_softmax_regression_has_one_minimizer_up_to_such_a_number():
    problem = softmax_regression("iris")
    flat, unravel = ravel_pytree(problem.start())
    ends = []
    for seed in range(2):
        x0 = np.random.default_rng(seed).normal(size=flat.shape)
        result = scipy.optimize.minimize(
            lambda x: tuple(map(np.asarray, derivatives(problem.loss, unravel(x))[:2])),
            x0,
            jac=True,
            tol=1e-12,
        )
        x = unravel(jnp.asarray(result.x))
        ends.append(np.concatenate([x["b"] - x["b"].mean(), x["w"].ravel()]))
        curvatures = np.linalg.eigvalsh(derivatives(problem.loss, x)[2])
        assert abs(curvatures[0]) < 1e-15 and curvatures[1] > 1e-3
    np.testing.assert_allclose(ends[0], ends[1], atol=1e-5)


def test_softmax_regression_of_two_classes_is_logistic_regression_of_their_difference():
    data = tuple(map(np.asarray, logistic_regression().loss.data))
    two, one = softmax_regression(data, penalty=0), logistic_regression(data, penalty=0)
    w, b = np.random.default_rng(0).normal(size=(2, 2)), np.array([0.3, -0.4])
    difference = {"w": w[:, 1] - w[:, 0], "b": b[1] - b[0]}
    assert float(two.loss({"w": w, "b": b})) == pytest.approx(
        float(one.loss(difference)), rel=1e-14
    )


def test_a_large_score_keeps_its_digits():
    loss = logistic_regression((np.array([[1.0], [-1.0]]), [1, 0]), penalty=0).loss
    assert float(loss({"w": np.array([50.0]), "b": 0.0})) == pytest.approx(np.exp(-50), rel=1e-12)
    assert float(loss({"w": np.array([-1e4]), "b": 0.0})) == 1e4


# the data


@pytest.mark.parametrize("name", SETS)
def test_the_sets_of_scikit_learn_are_complete_and_standardised(name):
    make, examples, features, classes = SETS[name]
    problem = make(name)
    a, labels = map(np.asarray, problem.loss.data)
    assert a.shape == (examples, features) and problem.loss.examples == examples
    assert problem.name == f"{make.__name__}_{name}"
    np.testing.assert_allclose(a.mean(0), 0, atol=1e-13)
    assert set(np.round(a.std(0), 10)) <= {0.0, 1.0}  # some pixels of the digits are never inked
    assert np.unique(labels).tolist() == list(range(classes)) and labels.dtype.kind == "i"
    assert float(problem.loss(problem.x0)) == pytest.approx(np.log(classes), rel=1e-14)


def test_the_digits_are_learned():
    problem = softmax_regression("digits")
    end = iterate(SGD(0.1), problem, 200, save_every=200).x
    features, labels, w, b = map(np.asarray, (*problem.loss.data, end["w"][-1], end["b"][-1]))
    guesses = np.argmax(features @ w + b, axis=1)
    assert (guesses == labels).mean() > 0.95


def test_the_clouds_are_always_the_same_and_overlap():
    first, again = (map(np.asarray, logistic_regression().loss.data) for _ in range(2))
    for a, b in zip(first, again, strict=True):
        assert np.array_equal(a, b)
    problem = logistic_regression()
    features, labels = map(np.asarray, problem.loss.data)
    x = minimizer(problem)
    assert 0 < ((features @ x["w"] + x["b"] > 0) != labels).sum() < 8


def test_another_penalty_and_other_data_of_the_same_shape_compile_nothing_new():
    traced = []

    @eqx.filter_jit
    def value(loss, x):
        traced.append(1)
        return loss(x)

    features, labels = map(np.asarray, logistic_regression().loss.data)
    for data, penalty in (((features, labels), 0.1), ((2 * features, labels), 0.2)):
        problem = logistic_regression(data, penalty)
        value(problem.loss, problem.start())
    assert len(traced) == 1


def test_without_scikit_learn_one_sentence_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(
        EnvironmentProblem, match="'iris' comes with scikit-learn, which is missing; .*pip install"
    ):
        softmax_regression("iris")
    assert softmax_regression().dim == 9


ROWS = np.arange(8.0).reshape(4, 2)
LOGISTIC, SOFTMAX = logistic_regression, softmax_regression


@pytest.mark.parametrize(
    "make, data, kind, words",
    [
        (SOFTMAX, "iriss", UnknownName, "no data set 'iriss'; did you mean iris"),
        (LOGISTIC, "iris", UnknownName, "no data set 'iris'.* Known: clouds, breast_cancer"),
        (SOFTMAX, ROWS, InvalidType, r"`data` must be a name or \(features, labels\), got array"),
        (SOFTMAX, None, InvalidType, r"`data` must be a name or \(features, labels\), got None"),
        (
            SOFTMAX,
            (ROWS[0], [0]),
            InvalidValue,
            r"`features` have shape \(2,\); pass \(examples, features\)",
        ),
        (SOFTMAX, (ROWS[:0], []), InvalidValue, r"`features` have shape \(0, 2\)"),
        (
            SOFTMAX,
            (ROWS * np.nan, [0, 1, 0, 1]),
            InvalidValue,
            r"`features` is nan at coordinate \(0, 0\)",
        ),
        (SOFTMAX, (ROWS, [0, 1, 0]), InvalidValue, r"`labels` have shape \(3,\); pass \(4,\)"),
        (
            SOFTMAX,
            (ROWS, [[0], [1], [0], [1]]),
            InvalidValue,
            r"`labels` have shape \(4, 1\); pass \(4,\)",
        ),
        (
            SOFTMAX,
            (ROWS, [0, 1, 0.5, 1]),
            InvalidValue,
            "`labels` is 0.5 at example 2; pass whole numbers",
        ),
        (
            SOFTMAX,
            (ROWS, [0, 1, -1, 1]),
            InvalidValue,
            "`labels` is -1 at example 2; pass whole numbers",
        ),
        (
            SOFTMAX,
            (ROWS, [0, 3, 3, 1]),
            InvalidValue,
            "`labels` never are 2, though 3 is the largest; pass 0",
        ),
        (
            SOFTMAX,
            (ROWS, [1, 2, 2, 1]),
            InvalidValue,
            "`labels` never are 0, though 2 is the largest",
        ),
        (
            SOFTMAX,
            (ROWS, [0, 0, 0, 10**12]),
            InvalidValue,
            "`labels` never are 1, though 1e.12 is the largest",
        ),
        (
            SOFTMAX,
            (ROWS, [0, 0, 0, 0]),
            InvalidValue,
            "`labels` never are 1, though 0 is the largest",
        ),
        (SOFTMAX, (ROWS, ["a", "b", "a", "b"]), InvalidType, "`labels` must hold real numbers"),
        (
            LOGISTIC,
            (ROWS, [0, 1, 2, 1]),
            InvalidValue,
            "`labels` go up to 2; pass 0 and 1, or use softmax",
        ),
    ],
)
def test_data_that_do_not_fit_are_refused_in_one_sentence(make, data, kind, words):
    with pytest.raises(kind, match=words) as caught:
        make(data)
    assert isinstance(caught.value, DynoptError) and "\n" not in str(caught.value)


@pytest.mark.parametrize("penalty", [-1.0, np.nan, "small"])
def test_a_penalty_that_rewards_is_refused(penalty):
    with pytest.raises((InvalidValue, InvalidType), match="`penalty`"):
        logistic_regression(penalty=penalty)


def test_features_may_be_traced_but_labels_must_be_concrete():
    def value(features):
        problem = logistic_regression((features, [0, 1, 0, 1]))
        assert problem.minimizers is None
        return problem.loss({"w": jnp.ones(2), "b": 0.0})

    values = jax.jit(jax.vmap(value))(jnp.stack([ROWS, 2 * ROWS]))
    assert float(values[0]) == pytest.approx(
        float(logistic_regression((ROWS, [0, 1, 0, 1])).loss({"w": jnp.ones(2), "b": 0.0}))
    )
    with pytest.raises(
        InvalidType,
        match="`labels` are traced, so the number of classes is unknown; make the problem outside",
    ):
        jax.jit(lambda labels: softmax_regression((ROWS, labels)).loss)(jnp.array([0, 1, 0, 1]))


def test_whole_labels_may_be_written_as_floats_or_booleans():
    values = {
        float(logistic_regression((ROWS, y)).loss({"w": np.ones(2), "b": 0.0}))
        for y in ([0, 1, 1, 0], [0.0, 1.0, 1.0, 0.0], [False, True, True, False])
    }
    assert len(values) == 1
