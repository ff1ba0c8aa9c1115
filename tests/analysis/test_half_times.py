"""Half-times are those of the theory: 1/count for gradient flow, all alike for sign descent."""

from functools import cache

import equinox as eqx
import jax
import numpy as np
import pytest

from dynopt import SGD, Adam, Momentum, Problem, Signum, analysis, integrate, iterate, problems
from dynopt.errors import InvalidType, InvalidValue

COUNT = np.array([1, 2, 4, 8, 16, 33])
DATA = np.repeat(np.arange(6), COUNT)
SHARE = COUNT / COUNT.sum()


class Bowls(eqx.Module):
    """x²/2 in the coordinate of each example: coordinates are independent."""

    def __call__(self, x, data):
        return self.each(x, data).mean()

    def each(self, x, data):
        return x[data] ** 2 / 2

    def groups(self, data):
        return data


bowls = Problem(Bowls(), np.ones(6), data=DATA, name="bowls")
plain = Problem(lambda x, data: (x[data] ** 2).mean() / 2, np.ones(6), data=DATA, name="plain")


@cache
def linked(optimizer, steps, every):
    problem = problems.entity_linking()
    return analysis.half_times(iterate(optimizer, problem, steps, save_every=every))


def test_gradient_flow_takes_a_time_in_proportion_to_one_over_the_count():
    """x_c = exp(-share t), so that x_c²/2 is halved at t = log 2 / (2 share)."""
    measured = analysis.half_times(integrate(SGD(0.5), bowls, 60))
    exact = np.log(2) / (2 * SHARE) / 0.5
    np.testing.assert_allclose(measured.steps, exact, rtol=1e-8)
    assert measured.slope == pytest.approx(-1, abs=1e-6) and measured.stderr < 1e-6
    assert measured.count.tolist() == COUNT.tolist() and measured.unreached == 0
    assert repr(measured).startswith("HalfTimes(slope -1.000 ± ")


@pytest.mark.parametrize("every", [1, 20])
def test_exponential_decay_is_interpolated_exactly_however_few_points_are_saved(every):
    """(1 - η share)^2k = 1/2."""
    run = iterate(SGD(0.5), bowls, 60, save_every=every)
    exact = np.log(0.5) / (2 * np.log(1 - 0.5 * SHARE))
    np.testing.assert_allclose(analysis.half_times(run).steps, exact, rtol=1e-12)


def test_sign_descent_takes_as_long_for_every_count_up_to_the_error_of_interpolation():
    """1 - 0.01 k = √½; log(loss) = 2 log(1 - 0.01 k) is curved, which the docstring bounds."""
    exact = 100 * (1 - np.sqrt(0.5))
    for every in (1, 10):
        run = iterate(Signum(0.01, beta=0.0), bowls, 40, save_every=every)
        measured = analysis.half_times(run)
        assert measured.slope == pytest.approx(0, abs=1e-12)
        bound = every**2 / 8 * 0.01 / (1 - 0.01 * (exact + every))
        error = np.abs(measured.steps - exact)
        assert (error < bound).all() and (error > bound / 30).all()


def test_groups_that_are_not_halved_are_counted_and_have_no_steps():
    measured = analysis.half_times(iterate(SGD(0.5), bowls, 12))
    exact = np.log(0.5) / (2 * np.log(1 - 0.5 * SHARE))
    assert np.isnan(measured.steps).tolist() == (exact > 12).tolist()
    assert measured.unreached == (exact > 12).sum() > 0
    assert np.isnan(analysis.half_times(iterate(SGD(0.5), bowls, 2)).slope)


def test_each_group_is_measured_against_its_own_start():
    start = np.array([1e-6, 1.0, 1e3, 0.0, 1.0, 1.0])
    measured = analysis.half_times(iterate(SGD(0.5), bowls, 60, x0=start))
    exact = np.where(start > 0, np.log(0.5) / (2 * np.log(1 - 0.5 * SHARE)), np.nan)
    np.testing.assert_allclose(measured.steps, exact, rtol=1e-12)
    assert measured.unreached == 1


def test_a_loss_of_the_user_needs_groups_and_may_have_losses_of_examples():
    run = iterate(SGD(0.5), plain, 60)
    own = analysis.half_times(iterate(SGD(0.5), bowls, 60))
    given = analysis.half_times(run, groups=10 * DATA)
    np.testing.assert_allclose(given.steps, own.steps, rtol=1e-12)
    assert given.group.tolist() == [0, 10, 20, 30, 40, 50]
    with pytest.raises(InvalidValue, match=r"plain has no function groups\(data\); pass `groups`"):
        analysis.half_times(run)


def test_other_examples_are_measured_and_those_of_the_run_are_counted():
    few = Problem(Bowls(), np.ones(6), data=np.array([0, 5]), name="few")
    measured = analysis.half_times(iterate(SGD(0.5), bowls, 60), few)
    assert measured.group.tolist() == [0, 5] and measured.count.tolist() == [1, 33]


def test_a_run_that_diverges_is_measured_up_to_there():
    run = iterate(SGD(150.0), bowls, 400, throw=False)
    measured = analysis.half_times(run)
    assert len(measured.step) == run.finite.sum() < 401 and np.isfinite(measured.loss).all()


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda run: analysis.half_times(bowls), InvalidType, "result of iterate or integrate"),
        (
            lambda run: analysis.half_times(run, problems.booth()),
            InvalidValue,
            "booth is no mean over examples; pass `data`",
        ),
        (
            lambda run: analysis.half_times(run, groups=DATA / 2),
            InvalidType,
            r"`groups` must be 64 whole numbers.*got float64 of shape \(64,\)",
        ),
        (
            lambda run: analysis.half_times(run, Problem(Bowls(), np.ones(7), data=DATA)),
            InvalidValue,
            r"has shape \(6,\) but .* wants \(7,\)",
        ),
    ],
)
def test_what_is_no_run_over_groups_is_refused(call, error, message, as_users_see_it):
    with pytest.raises(error, match=message):
        call(iterate(SGD(0.5), bowls, 2))


def test_a_batch_of_runs_is_refused():
    batch = eqx.filter_vmap(lambda rate: iterate(SGD(rate), bowls, 2))(np.array([0.1, 0.2]))
    with pytest.raises(InvalidType, match="`run` holds 2 runs; pass one of them"):
        analysis.half_times(batch)


# Entity linking


def test_gradient_descent_learns_rare_entities_late_and_momentum_does_not_help():
    sgd, momentum = linked(SGD(12.0), 900, 3), linked(Momentum(1.2), 900, 3)
    assert -1.05 < sgd.slope < -0.8 and sgd.unreached == 0
    assert momentum.slope == pytest.approx(sgd.slope, abs=0.03)


def test_adam_and_sign_descent_learn_all_entities_about_alike():
    for optimizer in (Adam(0.03), Signum(0.01)):
        measured = linked(optimizer, 150, 1)
        assert -0.15 < measured.slope < 0.15 and measured.unreached == 0


def test_what_remains_to_minus_one_is_the_contrast_of_the_mean_contexts():
    """At the start the margin of an entity grows as count × m·(m - m′), of its mean contexts m.

    m′ is that of its namesake. Rare entities have noisier means, so that |m|² is larger.
    """
    problem, measured = problems.entity_linking(), linked(SGD(12.0), 900, 3)
    contexts, _, _ = map(np.asarray, problem.loss.data)
    query = np.asarray(problem.loss.fixed["word"])[contexts].mean(1)
    entity = np.asarray(problem.loss.groups(problem.loss.data))
    mean = np.stack([query[entity == k].mean(0) for k in range(60)])
    contrast = (mean * (mean - mean[np.arange(60) ^ 1])).sum(1)
    slope = np.polyfit(np.log(measured.count), np.log(measured.steps * contrast), 1)[0]
    assert abs(slope + 1) < 0.03 < abs(measured.slope + 1)


def test_linking_is_measured_beside_the_prior(as_users_see_it):
    sklearn = pytest.importorskip("sklearn.metrics")
    problem = problems.entity_linking("entities", mentions=512)
    x = jax.tree.map(lambda a: a + np.random.default_rng(0).normal(size=a.shape), problem.x0)
    result = analysis.linking(problem, x, data=problem.loss.uniform)
    contexts, candidates, labels = map(np.asarray, problem.loss.uniform)
    right = candidates[np.arange(len(labels)), labels]
    word, count = np.asarray(problem.loss.fixed["word"]), np.zeros(len(x["prior"]))
    np.add.at(count, np.asarray(problem.loss.groups(problem.loss.data)), 1)
    predicted, prior = [], []
    for context, some in zip(contexts, candidates, strict=True):
        some = some[some >= 0]
        scores = x["entity"][some] @ word[context].mean(0) + x["prior"][some]
        predicted.append(some[np.argmax(scores)])
        prior.append(some[np.argmax(count[some])])
    assert result.predicted.tolist() == predicted and result.prior.tolist() == prior
    assert result.accuracy == sklearn.accuracy_score(right, predicted)
    assert result.prior_macro_f1 == pytest.approx(
        sklearn.f1_score(right, prior, average="macro", zero_division=0)
    )
    assert 0.2 < result.prior_accuracy < 0.5 and result.optimizer is None
    with pytest.raises(InvalidValue, match="which bowls does not have; use problems.entity_l"):
        analysis.linking(bowls)
    with pytest.raises(InvalidType, match=r"`data` must be \(contexts, candidates, labels\)"):
        analysis.linking(problem, data=3)
