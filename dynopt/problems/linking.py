"""Entity linking: which entity does an ambiguous name in a context mean?"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..checks import fraction, is_concrete, whole_number
from ..errors import InvalidType, InvalidValue, unknown_name
from .knowledge_base import NAMES, TOPICS, WORDS, Mentions, knowledge_base
from .over_data import with_dtype_of
from .problem import Problem, source_in_docstring

IMBALANCES = ("names", "entities")
LEARNED = ("entities", "all")
UNSEEN = 1024  # mentions in each of the two sets that no optimizer sees
DIM_OF_ENTITIES, DIM_OF_ALL = 32, 16  # of the vectors


class LinkingLoss(eqx.Module):
    """The mean of -log p(right entity) over mentions.

    - `fixed`: what of a position is not learned, by its names; empty if everything is.
    - `descriptions`: six words that describe each entity.
    - `name`, `topic`: for each entity the place of its name and of its topic in their lists.
    - `unseen`: other mentions, in which entities are as frequent as in those that are learned.
    - `uniform`: other mentions, in which all entities are equally frequent.

    Mentions are `(contexts, candidates, labels)`, as the data are.
    """

    fixed: dict[str, Array]
    descriptions: Int[Array, "entities 6"]
    name: Int[Array, " entities"]
    topic: Int[Array, " entities"]
    unseen: Mentions
    uniform: Mentions

    def __call__(self, x, data):
        return self.each(x, data).mean()

    def each(self, x: Any, data: Any) -> Float[Array, " n"]:
        """The loss of each mention, -log p(right entity)."""
        contexts, candidates, labels = data
        z = self.scores(x, contexts, candidates)
        return jax.nn.logsumexp(z, axis=1) - _columns(z, labels)

    def scores(self, x: Any, contexts: Any, candidates: Any) -> Float[Array, "n candidates"]:
        """The score of each candidate of each mention; -∞ where `candidates` is -1."""
        x = with_dtype_of(x, self.fixed) | x
        described = x["word"][self.descriptions].mean(axis=1)
        entity = jnp.matmul(described, x["bridge"], precision="highest") + x["entity"]
        query = x["word"][contexts].mean(axis=1)
        z = jnp.einsum("nd,ncd->nc", query, entity[candidates], precision="highest")
        return jnp.where(candidates >= 0, z + x["prior"][candidates], -jnp.inf)

    def groups(self, data: Any) -> Int[Array, " n"]:
        """The entity of each mention.

        **Raises:** `InvalidValue` if these are no mentions of this knowledge base.
        """
        if is_concrete(data):
            _must_be_mentions(data, len(self.name))
        _, candidates, labels = data
        return _columns(candidates, labels)

    def entity_name(self, entity: Any) -> str:
        """The name of an entity and its topic, such as "jaguar (animal)"."""
        return f"{NAMES[int(self.name[entity])]} ({list(TOPICS)[int(self.topic[entity])]})"

    def text(self, context: Any) -> str:
        """The words of one context."""
        return " ".join(WORDS[int(word)] for word in context)


def _must_be_mentions(data: Any, entities: int) -> None:
    contexts, candidates, labels = map(np.asarray, data)
    shapes = [array.shape for array in (contexts, candidates, labels)]
    n = len(labels) if labels.ndim == 1 else 0
    if not n or [len(shape) for shape in shapes] != [2, 2, 1] or {s[0] for s in shapes} != {n}:
        raise InvalidValue(
            f"contexts, candidates and labels have the shapes {shapes}; pass (n, words), "
            "(n, candidates) and (n,), such as problem.loss.uniform."
        )
    limits = (0, len(WORDS)), (-1, entities), (0, candidates.shape[1])
    parts = contexts, candidates, labels
    fits = [
        np.issubdtype(part.dtype, np.integer) and bool(((low <= part) & (part < high)).all())
        for part, (low, high) in zip(parts, limits, strict=True)
    ]
    if not all(fits) or (candidates[np.arange(n), labels] < 0).any():
        raise InvalidValue(
            f"mentions hold words below {len(WORDS)}, candidates below {entities}, or -1 where "
            "there is none, and columns of candidates as labels, all whole numbers; pass such as "
            "problem.loss.uniform."
        )


def _columns(table: Any, columns: Any) -> Array:
    """One entry of each row of a table."""
    return jnp.take_along_axis(table, columns[:, None], axis=1)[:, 0]


def entity_linking(
    imbalance: str = "names",
    learn: str = "entities",
    mentions: Any = 4096,
    noise: Any = 0.35,
    key: Any = 0,
) -> Problem:
    """An ambiguous name in a context of eight words: which of its entities is meant?

        f = 1/n Σᵢ (log Σ_c exp zᵢ(c) - zᵢ(eᵢ)),   zᵢ(c) = qᵢ·v_c + π_c

    The sum runs over the entities c that have the name, and eᵢ is the right one. The query qᵢ is
    the mean vector of the words of the context, and v_c = u_c + d_c B is the sum of an own vector
    u_c and of the mean vector d_c of six words of a description, times a matrix B, the bridge. π_c
    is a learned prior.

    Domain: everywhere. With `learn="entities"` f is convex. Minimizers: not known; f >= 0.

    How often an entity is mentioned is in proportion to 1/rank, so that most entities are rare. The
    gradient of v_c is in proportion to the share of c among the mentions. So gradient descent takes
    about 1/share steps to learn an entity, and sign descent as many for each:
    `analysis.half_times` measures it. Accuracy hardly tells the optimizers apart in the end;
    `analysis.linking` measures it on mentions that were not learned from.

    - `imbalance`: "names" (default), where each of 30 names has two entities, which are mentioned
      equally often, and names have the ranks; or "entities", where a name has two to four entities
      and all entities have ranks in a random order, so that namesakes compete.
    - `learn`: "entities" (default) for u and π; the vectors of words stay as they were drawn and B
      is 0. "all" for the vectors of words and B as well.
    - `mentions`: n, 4096 by default; with "names" an odd number is rounded down.
    - `noise`: the probability with which a word of a context is any word and not one of the topic
      of the entity, 0.35 by default.
    - `key`: a whole number, 0 by default, from which topics, contexts and vectors are drawn.

    The position is a dict: "entity" of shape (entities, 32) and "prior" of shape (entities,), both
    0 at the start; with `learn="all"` "entity" has 16 columns, and there are "word" of shape
    (144, 16) and "bridge" of shape (16, 16), the identity at the start. The data are `(contexts,
    candidates, labels)`: words, entities of the name and the column of the right one, arrays of
    shapes (n, 8), (n, 2 or 4) and (n,). -1 fills up candidates and has the probability 0.

    `problem.loss` has `scores(x, contexts, candidates)`, `each(x, data)`, `groups(data)`,
    `entity_name(entity)` and `text(context)`, and 1024 other mentions each in `unseen`, where
    entities are as frequent as in the data, and in `uniform`, where all are equally frequent.

    **Raises:** `UnknownName` for another `imbalance` or `learn`; `InvalidType` or `InvalidValue`
    for numbers that do not fit.

    >>> problem = entity_linking()
    >>> problem
    Problem(entity_linking, dim=1980)
    >>> contexts, candidates, labels = problem.loss.data
    >>> problem.loss.text(contexts[0])
    'harbour rain square tower profit bank tram referee'
    >>> [problem.loss.entity_name(entity) for entity in candidates[0]], int(labels[0])
    (['jaguar (song)', 'jaguar (city)'], 1)

    Source: made for this library; on gradient and sign descent of rare classes, F. Kunstner,
    R. Yadav, A. Milligan, M. Schmidt and A. Bietti, "Heavy-tailed class imbalance and why Adam
    outperforms gradient descent on language models" (2024).
    """
    for name, value, known in (("imbalance", imbalance, IMBALANCES), ("learn", learn, LEARNED)):
        if value not in known:
            raise unknown_name(f"`{name}` of entity_linking", str(value), known)
    mentions = whole_number("mentions", mentions, least=2, like=4096)
    key, noise = whole_number("key", key, least=0, most=2**32 - 1), fraction("noise", noise)
    if not is_concrete(noise):
        raise InvalidType(
            "`noise` is traced, so no words can be drawn; make the problem outside of jax.jit."
        )
    draw = np.random.RandomState(key)
    base = knowledge_base(imbalance, mentions, draw)

    def drawn(entities: np.ndarray) -> Mentions:
        return base.mentions(entities, float(noise), draw)

    size, share = len(base.frequency), base.frequency / base.frequency.sum()
    data = drawn(draw.permutation(np.repeat(np.arange(size), base.frequency)))
    unseen, uniform = (
        drawn(draw.choice(size, UNSEEN, p=share)),
        drawn(draw.randint(size, size=UNSEEN)),
    )
    dim = DIM_OF_ENTITIES if learn == "entities" else DIM_OF_ALL
    x0 = {"entity": np.zeros((size, dim)), "prior": np.zeros(size)}
    word = draw.normal(size=(len(WORDS), dim)) / np.sqrt(dim)
    fixed = {"word": word, "bridge": np.zeros((dim, dim))} if learn == "entities" else {}
    if learn == "all":
        x0 |= {"word": word, "bridge": np.eye(dim)}
    parts = fixed, base.descriptions(draw), base.name, base.topic, unseen, uniform
    variant = "_within_names" * (imbalance == "entities") + "_all" * (learn == "all")
    return Problem(
        LinkingLoss(*jax.tree.map(jnp.asarray, parts)),
        x0,
        data=tuple(data),
        name="entity_linking" + variant,
        source=source_in_docstring(entity_linking),
    )
