"""Retrieval: the share of nearest neighbours with the same intent, and what it refuses."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dynopt import SGD, Problem, analysis, integrate, iterate
from dynopt.errors import InvalidValue
from dynopt.problems import booth


class Turned(eqx.Module):
    """A loss of the user: the vectors (a, x b) of sentences (a, b), and a loss of x alone."""

    training: tuple
    unseen: tuple
    unseen_intents: tuple

    def __call__(self, x):
        return (x - 2) ** 2 / 2

    def encode(self, x, tokens):
        return jnp.stack([tokens[:, 0], x * tokens[:, 1]], 1)


def sentences(number, seed):
    random = np.random.RandomState(seed)
    return jnp.asarray(random.normal(size=(number, 2))), jnp.asarray(random.randint(3, size=number))


PROBLEM = Problem(Turned(sentences(40, 0), sentences(30, 1), sentences(20, 2)), 0.0, name="turned")


def by_hand(x):
    """Both accuracies, sentence by sentence."""
    training, unseen, others = (
        [
            (np.array([a, x * b]), label)
            for (a, b), label in zip(*map(np.asarray, part), strict=True)
        ]
        for part in (PROBLEM.loss.training, PROBLEM.loss.unseen, PROBLEM.loss.unseen_intents)
    )

    def right(i, query, label, known, is_one_of_them):
        cosines = [
            -2 if is_one_of_them and i == j else query @ h / np.linalg.norm(h)
            for j, (h, _) in enumerate(known)
        ]
        return known[int(np.argmax(cosines))][1] == label

    closed = [right(i, *one, training, False) for i, one in enumerate(unseen)]
    opened = [right(i, *one, others, True) for i, one in enumerate(others)]
    return np.mean(closed), np.mean(opened)


def test_it_is_the_share_of_nearest_neighbours_with_the_same_label():
    for x in (0.3, 1.0, 5.0):
        result = analysis.retrieval(PROBLEM, x)
        assert (float(result.closed), float(result.open)) == pytest.approx(by_hand(x))
        assert result.steps is None and result.optimizer is None
    assert by_hand(0.3) != by_hand(5.0)


@pytest.mark.parametrize("follow", [iterate, integrate])
def test_along_a_run_it_is_measured_at_each_saved_point(follow):
    run = follow(SGD(0.25), PROBLEM, 12, x0=0.5, save_every=4)
    result = analysis.retrieval(PROBLEM, run)
    assert result.steps.tolist() == [0, 4, 8, 12] and result.optimizer is run.optimizer
    expected = np.array([by_hand(float(x)) for x in run.x]).T
    np.testing.assert_allclose([result.closed, result.open], expected)
    assert "after 12 steps" in repr(result) and "turned" in repr(result)


def test_after_a_failure_both_shares_are_nan():
    run = iterate(SGD(1e200), PROBLEM, 4, x0=0.5, throw=False)
    result = analysis.retrieval(PROBLEM, run)
    assert np.isfinite(result.open[0]) and np.isnan(result.open[-1]) and np.isnan(result.closed[-1])


def test_it_maps_over_positions_in_every_dtype():
    xs = jnp.array([0.3, 1.0, 5.0])
    opened = jax.vmap(lambda x: analysis.retrieval(PROBLEM, x).open)(xs)
    assert opened.tolist() == pytest.approx([by_hand(float(x))[1] for x in xs])
    assert analysis.retrieval(PROBLEM, jnp.float32(1.0)).open.dtype == jnp.float32


def test_another_problem_is_refused_in_one_sentence():
    with pytest.raises(InvalidValue, match=r"booth has no `encode`; use problems\.sentence_sim"):
        analysis.retrieval(booth())


def test_sentences_without_a_label_each_are_refused():
    tokens, labels = sentences(4, 0)
    for pair in ((tokens, labels[:3]), (tokens, labels[:, None]), tokens):
        mine = Problem(Turned(pair, (tokens, labels), (tokens, labels)), 0.0, name="mine")
        with pytest.raises(InvalidValue, match="`training` of the loss of mine is no pair of"):
            analysis.retrieval(mine)


def test_a_batch_of_runs_is_refused():
    run = eqx.filter_vmap(lambda h: iterate(SGD(h), PROBLEM, 4))(jnp.array([0.1, 0.2]))
    with pytest.raises(InvalidValue, match="`x` holds 2 runs"):
        analysis.retrieval(PROBLEM, run)
