"""Entity linking: scores are their formula, and the mentions are what the docstring says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dynopt.analysis import linking
from dynopt.errors import InvalidType, InvalidValue, UnknownName
from dynopt.problems import entity_linking
from dynopt.problems.knowledge_base import NAMES, TOPICS, WORDS

names, entities = entity_linking(), entity_linking("entities", "all", mentions=512)


def entity_of(mentions):
    _, candidates, labels = map(np.asarray, mentions)
    return candidates[np.arange(len(labels)), labels]


def topic_of(words):
    return np.asarray(words) // (len(WORDS) // len(TOPICS))


def test_the_words_are_twelve_of_each_of_twelve_topics():
    assert len(TOPICS) == 12 and len(set(NAMES)) == 30 and len(set(WORDS)) == 144
    for topic, words in enumerate(TOPICS.values()):
        assert [topic_of(WORDS.index(word)) for word in words.split()] == [topic] * 12


def test_the_scores_are_the_formula_of_the_docstring_and_padding_has_none():
    x = jax.tree.map(lambda a: a + np.random.default_rng(0).normal(size=a.shape), entities.x0)
    contexts, candidates, labels = (np.asarray(a)[:50] for a in entities.loss.data)
    scores = np.asarray(entities.loss.scores(x, contexts, candidates))
    described = np.asarray(entities.loss.descriptions)
    losses = entities.loss.each(x, (contexts, candidates, labels))
    for context, some, label, row, loss in zip(
        contexts, candidates, labels, scores, losses, strict=True
    ):
        z = []
        for c in some[some >= 0]:
            vector = x["entity"][c] + x["word"][described[c]].mean(0) @ x["bridge"]
            z.append(x["word"][context].mean(0) @ vector + x["prior"][c])
        np.testing.assert_allclose(row[some >= 0], z, rtol=1e-12)
        assert (row[some < 0] == -np.inf).all()
        assert loss == pytest.approx(np.log(np.exp(z).sum()) - z[label], rel=1e-12)
    assert (candidates < 0).any() and (candidates[:, 1] >= 0).all()


def test_a_padded_candidate_passes_no_gradient_and_no_curvature():
    """The entity that padding points to, the last one, moves only by its own name."""
    loss, x = entities.loss, entities.start()
    rows = np.flatnonzero(np.asarray(loss.data[1])[:, 3] < 0)[:5]
    data = tuple(a[rows] for a in loss.data)

    def mean(prior):
        return loss.loss(x | {"prior": prior}, data)

    gradient, hessian = jax.grad(mean)(x["prior"]), jax.hessian(mean)(x["prior"])
    used = np.unique(np.asarray(data[1])[np.asarray(data[1]) >= 0])
    unused = np.setdiff1d(np.arange(len(gradient)), used)
    assert (np.asarray(gradient)[unused] == 0).all() and np.isfinite(hessian).all()
    assert (np.asarray(hessian)[unused] == 0).all() and np.abs(hessian).max() > 0.01


@pytest.mark.parametrize("problem, most", [(names, 2), (entities, 4)], ids=["names", "entities"])
def test_mentions_are_in_proportion_to_one_over_rank(problem, most):
    entity = entity_of(problem.loss.data)
    count = np.bincount(entity)
    units = count.reshape(-1, 2)[:, 0] if most == 2 else np.sort(count)[::-1]
    shares = 1 / (1 + np.arange(len(units)))
    total = len(entity) / 2 if most == 2 else len(entity)
    assert np.abs(units - total * shares / shares.sum()).max() < 1.5
    if most == 2:  # namesakes are equally frequent
        assert (count[::2] == count[1::2]).all() and count.max() == 513 and count.min() == 17
    numbers = (np.asarray(problem.loss.data[1]) >= 0).sum(1)
    assert {2, most} <= set(numbers) and numbers.max() == most
    np.testing.assert_array_equal(problem.loss.groups(problem.loss.data), entity)


def test_contexts_are_words_of_the_topic_and_noise():
    """A word is of another topic with the probability 0.35 × 11/12."""
    for noise, share in ((0.35, 1 - 0.35 * 11 / 12), (0.0, 1.0), (1.0, 1 / 12)):
        problem = entity_linking(mentions=2048, noise=noise)
        topic = np.asarray(problem.loss.topic)[entity_of(problem.loss.data)]
        is_own = topic_of(problem.loss.data[0]) == topic[:, None]
        error = 4 * np.sqrt(share * (1 - share) / is_own.size)
        assert abs(is_own.mean() - share) <= error


def test_unseen_mentions_are_others_of_the_same_entities():
    def rows(mentions):
        pairs = zip(np.asarray(mentions[0]), entity_of(mentions), strict=True)
        return {(*map(int, context), int(entity)) for context, entity in pairs}

    loss = names.loss
    assert not rows(loss.data) & rows(loss.unseen) and not rows(loss.data) & rows(loss.uniform)
    frequent = [(entity_of(some) < 2).mean() for some in (loss.data, loss.unseen, loss.uniform)]
    assert frequent == pytest.approx([0.25, 0.25, 1 / 30], abs=0.04)
    assert (topic_of(loss.descriptions) == np.asarray(loss.topic)[:, None]).all()


def test_mentions_can_be_read():
    entity = int(entity_of(names.loss.data)[0])
    name, topic = names.loss.entity_name(entity).rstrip(")").split(" (")
    assert name == NAMES[entity // 2] and topic == list(TOPICS)[int(names.loss.topic[entity])]
    assert names.loss.text(names.loss.data[0][0]).split()[0] == WORDS[int(names.loss.data[0][0, 0])]


def test_another_key_draws_other_topics_words_and_contexts():
    other = entity_linking(key=1).loss
    for part in ("topic", "descriptions"):
        assert (np.asarray(getattr(other, part)) != np.asarray(getattr(names.loss, part))).any()
    assert (other.data[0] != names.loss.data[0]).any()
    assert (other.fixed["word"] != names.loss.fixed["word"]).any()


def test_the_variants_have_names_of_their_own():
    assert [entity_linking(a, b, mentions=100).name for a in ("names", "entities") for b in
            ("entities", "all")] == [
        "entity_linking", "entity_linking_all", "entity_linking_within_names",
        "entity_linking_within_names_all",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"imbalance": "topics"}, UnknownName, "no `imbalance` of entity_linking 'topics'"),
        ({"learn": "none"}, UnknownName, "no `learn` of entity_linking 'none'"),
        ({"mentions": 0}, InvalidValue, "`mentions` must be a whole number of at least 2, got 0"),
        ({"noise": 1.5}, InvalidValue, r"`noise` is 1.5, which is outside \[0, 1\]"),
        ({"key": -1}, InvalidValue, "`key` must be a whole number of at least 0"),
        ({"key": 2**32}, InvalidValue, "`key` must be a whole number of at most 4294967295"),
    ],
)
def test_what_makes_no_mentions_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        entity_linking(**arguments)


def test_a_traced_noise_is_refused():
    with pytest.raises(InvalidType, match="`noise` is traced, so no words can be drawn; make"):
        jax.jit(lambda noise: entity_linking(noise=noise).loss(names.start()))(jnp.array(0.1))


@pytest.mark.parametrize(
    "contexts, candidates, labels, message",
    [
        ([[0] * 8], [[0, 1]] * 2, [0, 0], "have the shapes"),
        ([[0] * 8], [[0, 60]], [0], "candidates below 60"),  # entities 0 ... 59
        ([[144] * 8], [[0, 1]], [0], "words below 144"),
        ([[0] * 8], [[0, 1]], [2], "columns of candidates as labels"),
        ([[0] * 8], [[0, -1]], [1], "columns of candidates as labels"),
        ([[0.0] * 8], [[0, 1]], [0], "all whole numbers"),
    ],
)
def test_mentions_of_another_knowledge_base_are_refused(contexts, candidates, labels, message):
    with pytest.raises(InvalidValue, match=message):
        linking(names, data=(contexts, candidates, labels))
