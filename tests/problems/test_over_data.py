"""A loss over data is a mean over the examples, in whole and in parts; other data are refused."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from dynopt import Momentum, iterate
from dynopt.errors import DynoptError, InvalidType, InvalidValue, ProblemError
from dynopt.problems import MeanLoss, Problem

FEATURES = np.random.default_rng(0).normal(size=(12, 3))
LABELS = np.arange(12) % 2
TARGETS = np.sin(np.arange(12.0))


def squares(x, data):
    features, targets = data
    return ((features @ x - targets) ** 2).mean()


def by_numpy(x, rows=slice(None)):
    return np.mean((FEATURES[rows] @ x - TARGETS[rows]) ** 2)


def fit(loss=squares, x0=(1.0, -2.0, 0.5), data=(FEATURES, TARGETS)) -> Problem:
    return Problem(loss, list(x0), data=data)


@eqx.filter_jit
def part(loss, x, i, k):
    return jax.value_and_grad(loss.part)(x, i, k)


# a mean, in whole and in parts


def test_the_loss_is_a_function_of_the_position_alone():
    problem = fit()
    assert (
        isinstance(problem.loss, MeanLoss)
        and problem.loss.examples == 12
        and problem.name == "squares"
    )
    assert float(problem.loss(problem.start())) == pytest.approx(by_numpy(problem.x0), rel=1e-14)


@pytest.mark.parametrize("k", [1, 2, 3, 12])
def test_the_mean_over_equal_parts_is_the_whole_and_so_is_the_mean_of_the_gradients(k):
    problem = fit()
    values, gradients = zip(
        *(part(problem.loss, problem.start(), jnp.asarray(i), k) for i in range(k)), strict=True
    )
    value, gradient = part(problem.loss, problem.start(), jnp.asarray(0), 1)
    assert np.mean(values) == pytest.approx(float(value), rel=1e-14)
    np.testing.assert_allclose(np.mean(gradients, 0), gradient, rtol=1e-13)


def test_the_parts_follow_one_another_and_repeat():
    problem = fit()
    for i in (0, 1, 2, 3, 4, 10**6, -1):
        rows = slice(3 * (i % 4), 3 * (i % 4) + 3)
        assert float(problem.loss.part(problem.x0, i, 4)) == pytest.approx(
            by_numpy(problem.x0, rows), rel=1e-14
        )


def test_which_part_may_be_traced():
    problem = fit()
    values = jax.vmap(lambda i: problem.loss.part(problem.start(), i, 3))(jnp.arange(3))
    np.testing.assert_allclose(
        values, [by_numpy(problem.x0, slice(4 * i, 4 * i + 4)) for i in range(3)], rtol=1e-14
    )


def scaled_mean(x, data):
    return data.mean() * x


@settings(derandomize=True, deadline=None, max_examples=50)
@given(st.integers(1, 40), st.integers(1, 45))
def test_a_number_of_parts_that_does_not_divide_is_refused_and_near_divisors_are_named(n, k):
    loss = MeanLoss(scaled_mean, jnp.ones(n))
    if n % k == 0:
        assert float(loss.part(2.0, 0, k)) == 2
        return
    with pytest.raises(
        InvalidValue, match=f"`k` is {k}, which does not divide the {n} examples; use "
    ) as caught:
        loss.part(1.0, 0, k)
    advice = str(caught.value).rstrip(".").split("use ")[1]
    divisors = [int(word) for word in advice.split(" or ")]
    assert divisors and all(n % d == 0 for d in divisors)
    assert not any(n % d == 0 for d in range(min(divisors[0], k) + 1, k))


@pytest.mark.parametrize(
    "k, kind", [(0, InvalidValue), (2.5, InvalidValue), (True, InvalidType), ("2", InvalidType)]
)
def test_a_number_of_parts_that_is_no_count_is_refused(k, kind):
    with pytest.raises(kind, match="`k` must be a whole number"):
        fit().loss.part(np.ones(3), 0, k)


def normalized(r):
    """The mean fourth power of the residuals after batch normalisation."""
    return ((r - r.mean()) ** 4 / (r.var() + 0.1) ** 2).mean()


A_SUM = r"must be a mean over its examples: .* in place of `.sum\(\)`\."
COUPLED = (
    r"must be a mean over its examples, which act on one another, as in batch normalisation or .*; "
    r"compare the shapes, or pass it as a loss of x alone, dynopt.Problem\(lambda x: loss\(x, data\), x0\)"
)


@pytest.mark.parametrize("n", [1, 2, 7, 1000])
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (lambda r: (r**2).sum(), A_SUM),
        (lambda r: (r**2).sum() + 3.0, A_SUM),
        (lambda r: (r**2).max(), COUPLED),
        (lambda r: (r**2).mean() ** 0.5, COUPLED),
        (normalized, COUPLED),
    ],
)
def test_a_loss_over_data_that_is_no_mean_is_refused(fault, words, n):
    data = np.exp(np.arange(n) / n)
    if n == 1 and float(fault(np.ones(2))) == float(fault(np.ones(1))):
        return  # over one example they are the same
    with pytest.raises(ProblemError, match=words):
        Problem(lambda x, data: fault(data - x), 0.0, data=data)
    Problem(lambda x: fault(data - x), 0.0)  # what the advice says


def test_residuals_that_broadcast_to_a_square_are_refused_at_a_start_of_zeros_too():
    """(n,) - (n, 1) has shape (n, n); at x = 0 the mean of its squares is the right one."""
    data = FEATURES, TARGETS[:, None]
    with jax.numpy_rank_promotion("allow"):  # as for users
        with pytest.raises(ProblemError, match=r"shapes such as \(n,\) and \(n, 1\) broadcast"):
            fit(x0=np.zeros(3), data=data)
        Problem(lambda x: squares(x, data), np.zeros(3))  # what the advice says


@pytest.mark.parametrize("n", [1, 2, 7, 1000])
def test_a_mean_plus_a_penalty_is_a_mean(n):
    Problem(lambda x, data: ((data - x) ** 2).mean() + 100 * x**2, 0.5, data=np.arange(float(n)))


# data as data


def test_new_data_of_the_same_shape_compile_nothing_new():
    traced = []

    def counted(x, data):
        traced.append(1)
        return squares(x, data)

    one, other = (fit(counted, data=(FEATURES, targets)) for targets in (TARGETS, TARGETS + 1))
    first, once = iterate(Momentum(0.01), one, 5).x[-1], len(traced)
    assert not np.array_equal(first, iterate(Momentum(0.01), other, 5).x[-1])
    assert len(traced) == once


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.float32, jnp.float64])
def test_floats_take_the_dtype_of_the_position(dtype):
    problem = fit()
    value, gradient = jax.eval_shape(jax.value_and_grad(problem.loss), jnp.ones(3, dtype))
    assert value.dtype == gradient.dtype == dtype
    assert jax.eval_shape(lambda x: problem.loss.part(x, 0, 2), jnp.ones(3, dtype)).dtype == dtype


@pytest.mark.parametrize(
    "labels", [LABELS, LABELS.astype(np.int32), LABELS.astype(bool), LABELS.tolist()]
)
def test_labels_stay_whole(labels):
    def chosen(x, data):
        assert jnp.issubdtype(data["y"].dtype, jnp.integer) or data["y"].dtype == bool
        return jnp.where(data["y"] == 1, data["x"] @ x, 0.0).mean()

    problem = fit(chosen, data={"x": FEATURES, "y": labels})
    assert float(problem.loss(problem.x0)) == pytest.approx(
        (FEATURES @ problem.x0 * LABELS).mean(), rel=1e-13
    )


def test_a_list_of_numbers_is_an_array_and_a_tuple_holds_arrays():
    rows, targets = FEATURES.tolist(), TARGETS.tolist()
    assert float(fit(data=(rows, targets)).loss(np.ones(3))) == pytest.approx(
        by_numpy(np.ones(3)), rel=1e-14
    )
    assert fit(lambda x, data: (data @ x).mean(), data=rows).loss.examples == 12


def test_the_data_are_copied_on_entry():
    targets = TARGETS.copy()
    problem = fit(data=(FEATURES, targets))
    before = float(problem.loss(problem.x0))
    targets[:] = 0
    assert float(problem.loss(problem.x0)) == before


def test_a_batch_of_data_goes_through_vmap():
    values = eqx.filter_vmap(lambda targets: fit(data=(FEATURES, targets)).loss(np.ones(3)))(
        jnp.stack([TARGETS, 0 * TARGETS])
    )
    assert (
        float(values[0]) == pytest.approx(by_numpy(np.ones(3)), rel=1e-13)
        and values[1] != values[0]
    )


# what is refused


WITH_NAN = np.where(FEATURES == FEATURES[2, 1], np.nan, FEATURES)


@pytest.mark.parametrize(
    "data, kind, words",
    [
        (
            3.0,
            InvalidValue,
            "`data` is one number; pass an array whose first axis counts the examples",
        ),
        ((FEATURES, 1.0), InvalidValue, r"`data\[1\]` is one number"),
        ([], InvalidValue, "`data` is empty; pass arrays of at least one example"),
        ((), InvalidValue, "`data` is empty"),
        ((np.ones((0, 3)), np.ones(0)), InvalidValue, "`data` is empty"),
        (
            (FEATURES, TARGETS[:-1]),
            InvalidValue,
            r"`data\[1\]` has 11 examples but `data\[0\]` has 12; pass arrays",
        ),
        (
            {"x": FEATURES, "y": TARGETS[1:]},
            InvalidValue,
            r"`data\['y'\]` has 11 examples but `data\['x'\]` has 12",
        ),
        ((WITH_NAN, TARGETS), InvalidValue, r"`data\[0\]` is nan at coordinate \(2, 1\)"),
        (
            (FEATURES, TARGETS * 1j),
            InvalidType,
            r"`data\[1\]` must hold real numbers, got complex128",
        ),
        ((FEATURES, ["yes"] * 12), InvalidType, r"`data\[1\]` must hold real numbers, got <U3"),
        ([[1.0, 2.0], [3.0]], InvalidType, "`data` must be one array of numbers"),
        ("iris", InvalidType, "`data` must hold real numbers"),
    ],
)
def test_data_that_do_not_fit_are_refused_in_one_sentence(data, kind, words):
    with pytest.raises(kind, match=words) as caught:
        fit(data=data)
    message = str(caught.value)
    assert (
        isinstance(caught.value, DynoptError)
        and "; " in message
        and ". " not in message
        and "\n" not in message
    )


def test_a_loss_that_takes_no_data_is_refused_and_one_that_cannot_be_traced_is_blamed_by_its_line():
    def by_hand(x, data):
        return np.sin(x).sum()

    with pytest.raises(
        ProblemError, match=r"must take two arguments, the position and the data: .*f\(x, data\)"
    ):
        fit(lambda x: x.sum())
    with pytest.raises(
        ProblemError, match=r"the loss of by_hand uses numpy .* on line \d+ of test_over_data.py"
    ):
        fit(by_hand)
    with pytest.raises(
        ProblemError, match=r"must return one number, returned shape \(12,\); .* take its mean"
    ):
        fit(lambda x, data: data[0] @ x)


class Squares(eqx.Module):
    """A loss with a function beside its value."""

    scale: jax.Array

    def predict(self, x, a):
        return self.scale * a * x

    def __call__(self, x, data):
        a, y = data
        return ((self.predict(x, a) - y) ** 2).mean()


def test_what_a_loss_has_beside_its_value_the_mean_over_the_data_has_too():
    mean = Problem(Squares(jnp.array(2.0)), 1.0, data=([1.0, 2.0], [2.0, 5.0])).loss
    assert mean.predict(3.0, jnp.array([1.0, 2.0])).tolist() == [6.0, 12.0] and mean.scale == 2
    assert jax.tree.map(lambda a: a, mean)(1.0) == mean(1.0) == 0.5
    with pytest.raises(AttributeError, match="'Squares' object has no attribute 'scores'"):
        mean.scores  # noqa: B018
