"""Attacks change features as far as they may, and no change within a certified radius a class."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dynopt import SGD, Adam, Problem, Status, iterate, problems
from dynopt.analysis import robustness
from dynopt.errors import InvalidType, InvalidValue

SIZES = (0.0, 0.05, 0.1, 0.3)


class Linear(eqx.Module):
    """Two classes with the scores v·a and -v·a, of a user's own making."""

    unseen: Any

    def __call__(self, x, data):
        a, y = data
        return jax.nn.softplus(-2 * (2 * y - 1) * (a @ x)).mean()

    def scores(self, x, features):
        z = features @ x
        return jnp.stack([-z, z], 1)


class Bounded(Linear):
    def lipschitz(self, x):
        return jnp.sqrt(2.0) * jnp.linalg.norm(x)  # the spectral norm of the rows v and -v


DRAW = np.random.default_rng(0)
A = DRAW.uniform(size=(300, 5))
V = np.array([1.0, -0.5, 0.3, 0.8, -1.2])
Y = (A @ V + 0.1 * DRAW.normal(size=300) > 0).astype(int)
SIDES = 2 * Y - 1
LINEAR = Problem(Bounded((A, Y)), V, data=(A, Y), name="linear")
NETWORK = problems.digits_network("normalised", width=8, examples=200)
RUN = iterate(Adam(0.02), NETWORK, 150, save_every=150)
TRAINED = robustness(NETWORK, RUN)


def right(a):
    return (SIDES * (a @ V) > 0).mean()


def test_scores_that_are_nan_are_right_about_nothing():
    class Broken(Linear):
        def scores(self, x, features):
            return super().scores(x, features).at[:, 1].set(jnp.nan)

    broken = robustness(Problem(Broken((A, 0 * Y)), V, data=(A, Y)), eps=SIZES)
    assert broken.clean == 0 == broken.accuracy.max()


def test_of_a_linear_classifier_both_attacks_are_the_worst_change_that_is_allowed():
    in_box = robustness(LINEAR, eps=SIZES)
    anywhere = robustness(LINEAR, eps=SIZES, bounds=None)
    for i, size in enumerate(SIZES):
        worst = A - size * SIDES[:, None] * np.sign(V)
        for result, moved in ((anywhere, worst), (in_box, np.clip(worst, 0, 1))):
            assert result.accuracy[i] == result.pgd[i] == pytest.approx(right(moved))
    assert anywhere.accuracy[-1] < in_box.accuracy[-1] < in_box.clean == pytest.approx(right(A))


def test_of_a_linear_classifier_the_radius_is_the_distance_to_the_other_class():
    result = robustness(LINEAR, eps=SIZES)
    distance = np.maximum(SIDES * (A @ V), 0) / np.linalg.norm(V)
    np.testing.assert_allclose(result.radii, distance, rtol=1e-12)
    assert float(result.certified) == pytest.approx(np.median(distance))
    for share, kept in ((0.999, 1.0), (1.001, 0.0)):
        moved = A - share * (distance * SIDES)[:, None] * V / np.linalg.norm(V)
        assert (SIDES * (moved @ V) > 0)[distance > 0].mean() == kept


def classes(a):
    return np.asarray(NETWORK.loss.scores(position(RUN), a).argmax(1))


def position(run, k=-1):
    return jax.tree.map(lambda leaf: leaf[k], run.x)


def steepest(a, y):
    """Unit directions along which the margin to the strongest other class falls fastest."""
    scores = NETWORK.loss.scores(position(RUN), a)
    other = jnp.where(jax.nn.one_hot(y, 10, dtype=bool), -jnp.inf, scores).argmax(1)

    def margin(a):
        z = NETWORK.loss.scores(position(RUN), a)
        return (
            jnp.take_along_axis(z, y[:, None], 1).sum()
            - jnp.take_along_axis(z, other[:, None], 1).sum()
        )

    slope = -np.asarray(jax.grad(margin)(a))
    return slope / np.linalg.norm(slope, axis=1, keepdims=True)


def test_within_the_certified_radius_no_change_of_the_image_changes_its_class_and_beyond_some_do():
    a, y = map(np.asarray, NETWORK.loss.unseen)
    radii = np.asarray(TRAINED.radii)
    assert (radii[classes(a) != y] == 0).all() and (radii[classes(a) == y] > 0).all()
    draw = np.random.default_rng(0).normal(size=a.shape)
    ways = [draw / np.linalg.norm(draw, axis=1, keepdims=True), steepest(a, y)]
    for way in ways:
        assert (classes(a + 0.999 * radii[:, None] * way) == classes(a)).all()
    changed = classes(a + 3 * radii[:, None] * ways[1]) != classes(a)
    assert 0.1 < changed.mean() < 1  # the radius is a bound from below


def test_attacks_are_stronger_the_farther_they_go_and_never_beat_a_certificate():
    assert TRAINED.clean == TRAINED.accuracy[0] == TRAINED.pgd[0] > 0.8
    assert (np.diff(TRAINED.accuracy) < 0).all() and (TRAINED.pgd <= TRAINED.accuracy).all()
    assert TRAINED.pgd[4] < TRAINED.accuracy[4] - 0.01
    certain = [(TRAINED.radii > size * 8).mean() for size in TRAINED.eps]  # |change| <= ε √64
    assert (np.array(certain) <= TRAINED.pgd).all() and certain[1] > 0.3
    assert float(TRAINED.lipschitz) == pytest.approx(8, rel=1e-12)


def test_of_a_run_the_last_finite_position_is_attacked():
    at_end = robustness(NETWORK, position(RUN))
    np.testing.assert_array_equal(at_end.pgd, TRAINED.pgd)
    assert TRAINED.optimizer == RUN.optimizer and at_end.optimizer is None
    steep = Problem(lambda x, data: (x**4).sum() + 0 * data[0].mean(), V, data=(A, Y))
    diverged = iterate(SGD(1.0), steep, 20, throw=False)
    assert diverged.status == Status.diverged
    last = diverged.x[np.flatnonzero(np.isfinite(diverged.loss))[-1]]
    np.testing.assert_array_equal(
        robustness(LINEAR, diverged, SIZES).radii, robustness(LINEAR, last, SIZES).radii
    )


def test_positions_are_measured_under_vmap_and_the_dtype_is_kept():
    many = np.stack([V, V + 0.3])
    accuracies = jax.vmap(lambda x: robustness(LINEAR, x, SIZES).accuracy)(many)
    for x, accuracy in zip(many, accuracies, strict=True):
        np.testing.assert_array_equal(accuracy, robustness(LINEAR, x, SIZES).accuracy)
    assert not np.array_equal(*accuracies)
    single = robustness(LINEAR, V.astype("float32"), SIZES)
    arrays = (single.eps, single.accuracy, single.pgd, single.clean, single.lipschitz, single.radii)
    assert {array.dtype for array in arrays} == {jnp.dtype("float32")}


def test_a_loss_without_a_bound_has_no_certified_radius():
    result = robustness(Problem(Linear((A, Y)), V, data=(A, Y), name="mine"), eps=SIZES)
    assert np.isnan(result.lipschitz) and np.isnan(result.certified)
    assert (
        repr(result)
        == f"Robustness(of mine, accuracy {right(A):.3g}, {result.accuracy[-1]:.3g} under FGSM of 0.3)"
    )
    assert "certified radius 0." in repr(TRAINED) and "Adam" in repr(TRAINED)


def test_a_loss_that_jax_differentiates_wrongly_has_its_scores_still():
    class Cut(Bounded):
        def __call__(self, x, data):
            return super().__call__(x, data) * jax.lax.stop_gradient(x @ x)

    with pytest.warns(UserWarning, match="is not the derivative of its value"):
        cut = Problem(Cut((A, Y)), V, data=(A, Y))
    assert not cut.derivable and robustness(cut, eps=SIZES).clean == right(A)


def test_what_does_not_fit_is_refused_in_one_sentence(as_users_see_it):
    with pytest.raises(
        InvalidValue, match="which booth does not have; use problems.digits_network"
    ):
        robustness(problems.booth())
    with pytest.raises(InvalidValue, match="but its loss has no `unseen`; pass data="):
        robustness(Problem(Linear(None), V, data=(A, Y), name="seen"))
    with pytest.raises(InvalidType, match="`data` must be \\(features, labels\\), got ndarray"):
        robustness(LINEAR, data=A)
    with pytest.raises(InvalidValue, match="`labels` holds 7, but there are 2 classes; pass"):
        robustness(LINEAR, data=(A, 7 * Y))
    with pytest.raises(
        InvalidValue, match="shapes \\(300, 5\\) and \\(2,\\); pass \\(n, features\\)"
    ):
        robustness(LINEAR, data=(A, Y[:2]))
    with pytest.raises(
        InvalidValue, match="shape \\(300, 4\\), which the scores of .*; pass as many features"
    ):
        robustness(LINEAR, data=(A[:, :4], Y))
    with pytest.raises(InvalidValue, match="from .* to .*, but `bounds` are .*or bounds=None"):
        robustness(LINEAR, data=(3 * A, Y))
    assert robustness(LINEAR, eps=SIZES, data=(3 * A, Y), bounds=None).clean == right(A)
    with pytest.raises(InvalidValue, match="`bounds` is 1.0; pass \\(low, high\\)"):
        robustness(LINEAR, bounds=1.0)
    for eps in (0.1, [], [-0.1]):
        with pytest.raises(InvalidValue, match="`eps` is .*; pass sizes of at least 0"):
            robustness(LINEAR, eps=eps)
    runs = eqx.filter_vmap(lambda h: iterate(SGD(h), LINEAR, 2))(jnp.array([0.1, 0.2]))
    with pytest.raises(
        InvalidType, match="is that of one run, got a batch of 2 runs; take one of them"
    ):
        robustness(LINEAR, runs)
