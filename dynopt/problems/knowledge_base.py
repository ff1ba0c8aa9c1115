"""An invented knowledge base: ambiguous names, their entities, and mentions in contexts."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array

NAMES = (
    "mercury jaguar python java amazon victoria georgia delta apollo phoenix paris lincoln sydney "
    "madison chelsea florence orlando savannah austin dallas mustang beetle swift crane robin "
    "basil olive iris ruby amber"
).split()
TOPICS = {
    "animal": "fur paw den hunt forest wild tail claw cub prey herd jungle",
    "car": "engine wheel brake seat road driver fuel gear race dealer speed garage",
    "city": "street mayor tram square suburb museum tower citizen airport harbour district metro",
    "river": "water bank flood source valley boat fish dam rain canoe mouth bridge",
    "planet": "orbit moon star crater sky telescope gravity probe surface sun rocket crust",
    "song": "melody guitar drum singer album verse chorus concert band chart radio tune",
    "film": "scene actor camera script screen director cinema sequel plot trailer studio ticket",
    "plant": "leaf root flower seed soil petal garden stem pollen bloom shrub harvest",
    "software": "compiler function bug release library server syntax developer version code file "
    "user",
    "ruler": "crown throne palace heir reign treaty army court dynasty castle noble coronation",
    "company": "profit share market brand product office founder investor merger shop customer "
    "salary",
    "club": "goal coach league stadium season striker transfer defender referee tournament trophy "
    "fan",
}
WORDS = " ".join(TOPICS.values()).split()  # those of each topic one after another
WORDS_OF_TOPIC = len(WORDS) // len(TOPICS)
MOST_ENTITIES = 4  # of one name
CONTEXT, DESCRIPTION = 8, 6  # words


class Mentions(NamedTuple):
    """What is known of n mentions: the data of a loss.

    - `contexts`: the words around each mention, as rows of the table of words, shape `(n, 8)`.
    - `candidates`: the entities of its name, shape `(n, 2)` or `(n, 4)`; -1 where there are fewer.
    - `labels`: the column of `candidates` that holds the right entity, shape `(n,)`.
    """

    contexts: np.ndarray | Array
    candidates: np.ndarray | Array
    labels: np.ndarray | Array


class KnowledgeBase(NamedTuple):
    """Entities, numbered name by name.

    - `name`, `topic`: for each entity the rows of `NAMES` and of `TOPICS`, shape `(entities,)`.
    - `frequency`: how often it is mentioned, same shape.
    """

    name: np.ndarray
    topic: np.ndarray
    frequency: np.ndarray

    @property
    def candidates(self) -> np.ndarray:
        """The entities of each name, filled up with -1, shape `(names, most entities)`."""
        number = np.bincount(self.name)
        column = np.arange(number.max())
        first = np.cumsum(number) - number
        return np.where(column < number[:, None], first[:, None] + column, -1)

    def mentions(self, entities: np.ndarray, noise: float, draw: np.random.RandomState) -> Mentions:
        """One mention of each of the entities, in a context of eight words.

        Each word is one of the topic of the entity, or with probability `noise` any word at all.
        """
        shape = len(entities), CONTEXT
        of_topic = WORDS_OF_TOPIC * self.topic[entities][:, None]
        of_topic = of_topic + draw.randint(WORDS_OF_TOPIC, size=shape)
        of_any = draw.randint(len(WORDS), size=shape)
        contexts = np.where(draw.rand(*shape) < noise, of_any, of_topic)
        candidates = self.candidates[self.name[entities]]
        return Mentions(contexts, candidates, (candidates == entities[:, None]).argmax(1))

    def descriptions(self, draw: np.random.RandomState) -> np.ndarray:
        """Six different words of the topic of each entity, shape `(entities, 6)`."""
        words = [draw.permutation(WORDS_OF_TOPIC)[:DESCRIPTION] for _ in self.topic]
        return WORDS_OF_TOPIC * self.topic[:, None] + np.array(words)


def knowledge_base(imbalance: str, mentions: int, draw: np.random.RandomState) -> KnowledgeBase:
    """A knowledge base whose names, or entities, are mentioned in proportion to 1/rank.

    - `imbalance`: "names" for two entities of each name, both mentioned equally often, and names
      with ranks in their order; "entities" for two to four entities of each name, and entities with
      ranks in a random order.
    """
    if imbalance == "names":
        number = np.full(len(NAMES), 2)
        frequency = np.repeat(_apportioned(mentions // 2, 1 + np.arange(len(NAMES))), 2)
    else:
        number = draw.randint(2, MOST_ENTITIES + 1, size=len(NAMES))
        frequency = _apportioned(mentions, 1 + draw.permutation(number.sum()))
    topic = np.concatenate([draw.permutation(len(TOPICS))[:n] for n in number])
    return KnowledgeBase(np.repeat(np.arange(len(NAMES)), number), topic, frequency)


def _apportioned(total: int, rank: np.ndarray) -> np.ndarray:
    """Whole numbers in proportion to 1/rank, each right to less than 1; their sum is the total."""
    ends = np.rint(total * np.cumsum(1 / rank) / (1 / rank).sum())
    return np.diff(ends, prepend=0).astype(int)
