"""Sentence similarity: losses by their formulas, what a margin does, and what negatives do."""

from functools import cache

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import sentences_in_numpy
from jax.flatten_util import ravel_pytree
from jaxtyping import Array
from scipy.optimize import brentq

from dynopt import SGD, Adam, Problem, WithGradient, analysis, integrate, iterate
from dynopt.errors import InvalidType, InvalidValue
from dynopt.problems import MeanLoss, sentence_similarity
from dynopt.problems.sentences import LOSSES, indices
from dynopt.problems.sentences.losses import AngularLoss, ArcLoss, MarginLoss


@cache
def made(*arguments, **options):
    return sentence_similarity(*arguments, **options)


def with_numbers(loss, s, m):
    """The loss with another scale and margin."""
    replaced = jnp.asarray(s, float), jnp.asarray(m, float)
    return eqx.tree_at(lambda loss: (loss.loss.s, loss.loss.m), loss, replaced)


# the losses


@pytest.mark.parametrize("kind", LOSSES)
def test_each_loss_is_its_formula(kind):
    random = np.random.RandomState(0)
    tokens = np.where(np.arange(5) < random.randint(0, 4, (8, 1)), -1, random.randint(0, 9, (8, 5)))
    labels = np.repeat(np.arange(4), 2)
    pair = jnp.asarray(tokens), jnp.asarray(labels)
    shapes = {"embed": (9, 16), "gru": {"w": (16, 72), "u": (24, 72), "b": (72,)}, "class": (24, 4)}
    x = jax.tree.map(
        lambda shape: random.normal(size=shape), shapes, is_leaf=lambda a: isinstance(a, tuple)
    )
    has_classes = kind in ("softmax", "cosine", "am", "arc", "angular")
    data = pair if has_classes else indices(labels, 3, 2, random)
    value = eqx.filter_jit(lambda loss, x, data: loss(x, data))
    for s, m in ((16.0, 0.3), (2.0, 2.0)):  # with 2, angles lie on both sides of π - m
        m = 0.0 if kind == "cosine" else m
        loss = LOSSES[kind](pair, pair, pair, s=jnp.array(s), m=jnp.array(m))
        training = None if has_classes else tokens
        expected = sentences_in_numpy.loss(kind, x, data, training, s, m)
        assert float(value(loss, x, data)) == pytest.approx(expected, rel=1e-10)


def test_cosine_is_the_margin_zero_and_other_numbers_compile_nothing_new():
    traced = []

    @eqx.filter_jit
    def value(loss, x):
        traced.append(loss)
        return loss(x)

    problem, cosine = made(), made("cosine")
    x = problem.start()
    without = value(with_numbers(problem.loss, 16, 0), x)
    assert float(without) == float(value(cosine.loss, x))
    assert float(without) < float(value(with_numbers(problem.loss, 16, 0.1), x))
    assert len(traced) == 1


def own(kind, m):
    nothing = (jnp.zeros(1, int),) * 2
    return kind(nothing, nothing, nothing, s=jnp.array(1.0), m=jnp.array(m)).of_own


@pytest.mark.parametrize("kind", [MarginLoss, ArcLoss, AngularLoss])
def test_the_own_score_falls_with_the_angle_without_a_jump(kind):
    cosines = jnp.linspace(-1, 1, 2001)
    rises = np.diff(own(kind, 0.3)(cosines))
    assert (rises > 0).all() or (kind is AngularLoss and (rises >= 0).all())
    assert rises.max() < 0.02


def test_an_encoding_on_its_class_vector_has_a_finite_slope():
    slope = jax.grad(own(ArcLoss, 0.3))
    for dtype in (np.float32, np.float64):
        assert np.isfinite(slope(jnp.ones((), dtype)))
        assert np.isfinite(slope(-jnp.ones((), dtype)))


def test_angular_is_smooth_but_for_its_curvature_at_a_right_angle():
    f, e = own(AngularLoss, 0.3), 1e-9
    slope, curvature = jax.grad(f), jax.grad(jax.grad(f))
    assert abs(slope(e) - slope(-e)) < 1e-7
    assert curvature(e) - curvature(-e) == pytest.approx(8)


# the sentences and the indices


def test_unseen_sentences_are_none_of_those_that_are_learned():
    loss = made().loss
    sentences = [
        {tuple(line) for line in np.asarray(tokens).tolist()}
        for tokens, _ in (loss.training, loss.unseen, loss.unseen_intents)
    ]
    assert [len(one) for one in sentences] == [96, 24, 80]
    assert len(set.union(*sentences)) == 200
    learned, unseen, others = (
        set(np.asarray(part[1]).tolist())
        for part in (loss.training, loss.unseen, loss.unseen_intents)
    )
    assert learned == unseen == set(range(12)) and others == set(range(12, 20))


def test_the_full_version_has_a_hundred_intents_and_its_words():
    problem = made(intents=100)
    assert problem.x0["embed"].shape == (176, 16) and problem.x0["class"].shape == (24, 60)
    assert problem.name == "sentence_similarity_am"


def test_positives_share_the_intent_of_the_anchor_and_negatives_do_not():
    labels = np.random.RandomState(0).permutation(np.repeat(np.arange(6), 8))
    anchor, positive, negatives = indices(labels, 5, 100, np.random.RandomState(1))
    assert (anchor.reshape(100, 48) == np.arange(48)).all() and negatives.shape == (4800, 5)
    assert (labels[anchor] == labels[positive]).all() and (anchor != positive).all()
    assert (labels[anchor][:, None] != labels[negatives]).all()
    for i in range(48):  # in 100 draws all 7 positives and all 40 negatives come
        mine = anchor == i
        assert len(set(positive[mine])) == 7 and len(set(negatives[mine].ravel())) == 40


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"loss": "triplets"}, InvalidValue, "did you mean triplet"),
        ({"loss": 3}, InvalidType, '"am"'),
        ({"s": 0.0}, InvalidValue, "`s`"),
        ({"m": -0.1}, InvalidValue, "`m`"),
        ({"m": 1.6}, InvalidValue, r"`m` is 1.6, which is outside \[0, π/2\]"),
        ({"negatives": 0}, InvalidValue, "`negatives`"),
        ({"draws": 0}, InvalidValue, "`draws`"),
        ({"intents": 9}, InvalidValue, "from 10 to 144"),
        ({"key": -1}, InvalidValue, "`key`"),
    ],
)
@pytest.mark.usefixtures("as_users_see_it")
def test_what_is_no_setting_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        sentence_similarity(**options)


# how long the gradient lives


class OneAngle(eqx.Module):
    """log(1 + A e^(-s(γ - m))) for the difference γ of two cosines, A = C - 1."""

    m: Array
    s: float = 16.0
    others: int = 59

    def __call__(self, x):
        return jnp.log1p(self.others * jnp.exp(-self.s * (x - self.m)))


def test_a_margin_is_a_gain_of_itself_at_any_late_time():
    s, others = 16.0, 59
    ends = []
    for m in (0.0, 0.3):
        problem = Problem(OneAngle(jnp.array(m)), 0.0, name="one_angle")
        flow = integrate(SGD(0.04), problem, 100, rtol=1e-11, atol=1e-13)
        u, t = s * (np.asarray(flow.x) - m), np.asarray(flow.t)
        constant = np.exp(u) / others + u - s**2 * t
        assert np.ptp(constant) < 1e-7 * s**2 * t[-1]
        c = np.exp(-s * m) / others - s * m
        exact = m + brentq(lambda u: np.exp(u) / others + u - s**2 * 4 - c, 0, 50) / s  # noqa: B023
        assert flow.x[-1] == pytest.approx(exact, abs=1e-9)
        ends.append(exact)
    assert ends == pytest.approx([0.6874, 0.9871], abs=5e-5)
    assert np.exp(s * 0.3) == pytest.approx(121, abs=1)  # without a margin it takes so much longer


# what moves


@eqx.filter_jit
def gradient(loss, x):
    return jax.grad(loss)(x)


def trained(losses, x):
    """The position after a step of optax's Adam on each of the losses, one after another."""
    adam = optax.adam(0.03)
    state = adam.init(x)
    for loss in losses:
        update, state = adam.update(gradient(loss, x), state)
        x = optax.apply_updates(x, update)
    return x


def length(tree):
    return float(jnp.linalg.norm(ravel_pytree(tree)[0]))


def test_the_flow_keeps_the_lengths_of_class_vectors_and_each_step_raises_them(h=0.05):
    loss, x = made().loss, made().start()
    for _ in range(3):
        g = gradient(loss, x)
        w, dw = np.asarray(x["class"]), np.asarray(g["class"])
        cosine = (w * dw).sum(0) / np.linalg.norm(w, axis=0) / np.linalg.norm(dw, axis=0)
        assert np.abs(cosine).max() < 1e-12  # so |w|² is constant along the flow
        x = jax.tree.map(lambda a, da: a - h * da, x, g)
        rise = (np.asarray(x["class"]) ** 2).sum(0) - (w**2).sum(0)
        np.testing.assert_allclose(rise, h**2 * (dw**2).sum(0), rtol=1e-9)
        assert (rise > 1e-8).all()


def test_late_in_training_a_margin_multiplies_gradient_and_curvature_by_exp_of_sm():
    problem = made()
    x = trained([problem.loss] * 60, problem.start())
    without, margin = (with_numbers(problem.loss, 16.0, m) for m in (0.0, 0.3))
    factor = np.exp(16 * 0.3)
    ratio = length(gradient(margin, x)) / length(gradient(without, x))
    assert ratio == pytest.approx(factor, rel=0.05)
    curvatures = [
        float(analysis.sharpness(eqx.tree_at(lambda p: p.loss, problem, loss), x))
        for loss in (margin, without)
    ]
    assert curvatures[0] / curvatures[1] == pytest.approx(factor, rel=0.05)


def test_at_the_start_curvature_grows_with_the_scale_less_than_its_square():
    problem = made()
    curvatures = [
        float(analysis.sharpness(eqx.tree_at(lambda p: p.loss, problem, loss)))
        for loss in (with_numbers(problem.loss, s, 0.3) for s in (4.0, 8.0, 16.0, 32.0))
    ]
    slopes = np.diff(np.log2(curvatures))
    assert (1 < slopes).all() and (slopes < 2).all()


# what negatives do


class FreshNegatives(eqx.Module):
    """The gradient over the k-th draw, as the docstring of `sentence_similarity` shows it."""

    loss: MeanLoss
    draws: int

    def __call__(self, g, x, k):
        return jax.grad(self.loss.part)(x, k, self.draws)


def all_draws(g):
    return g


def test_negatives_that_are_drawn_once_starve_triplets_and_fresh_ones_do_not():
    draws = 60
    fresh = made("triplet", draws=draws, intents=60)
    assert fresh.name == "sentence_similarity_triplet_1_fresh"
    blocks = [
        MeanLoss(fresh.loss.loss, jax.tree.map(lambda a: jnp.split(a, draws)[k], fresh.loss.data))  # noqa: B023
        for k in range(draws)
    ]
    change = FreshNegatives(fresh.loss, draws)
    optimizer = WithGradient(Adam(0.03), change, mean=all_draws)
    run = iterate(optimizer, fresh, draws, save_every=draws)
    by_hand = trained(blocks, fresh.start())
    for ours, theirs in zip(jax.tree.leaves(run.x), jax.tree.leaves(by_hand), strict=True):
        np.testing.assert_allclose(ours[-1], theirs, rtol=1e-6, atol=1e-6)

    fixed = trained(blocks[:1] * draws, fresh.start())
    many, few = (float(analysis.retrieval(fresh, x).open) for x in (by_hand, fixed))
    assert many > few + 0.3
