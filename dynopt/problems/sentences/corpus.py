"""Sentences of our own: frames with a verb and an object, either of them by one of its synonyms."""

from typing import NamedTuple

import numpy as np

# An intent is a verb with an object. Each line holds the words for one of them.
VERBS = """
    open start create activate
    close end cancel terminate
    change update edit modify
    find locate trace spot
    lose misplace drop forget
    pay settle cover fund
    send transfer forward deliver
    check verify confirm inspect
    block freeze lock suspend
    renew extend prolong continue
    print copy export download
    share lend show grant
"""
OBJECTS = """
    account profile membership
    card plastic badge
    loan credit mortgage
    bill invoice charge
    password code pin
    order purchase basket
    ticket booking seat
    address home residence
    refund rebate repayment
    report statement summary
    contract plan agreement
    phone mobile handset
"""
VERB, OBJECT = "V", "O"  # of a frame
FRAMES = """
    how do i V my O
    please help me V the O
    i want to V my O today
    what must i do to V a O
    is it possible to V the O online
    where can i V this O
    can someone V the O for me
    about my O how to V it
    tell me which steps V the O
    need to V O now
    we would like to V our O
    does any form let us V a O
    your site refuses to V my O
    why did nobody V that O
    with this O she had to V it
    they asked him to V his O first
    hello there trying to V another O
    could an agent V every O again
    who may V somebody else's O
    thanks but when will staff V her O
    sorry my brother forgot to V their O
    before friday you should V one O
    it takes too long to V such O
    am allowed to V both O abroad
    after moving house V old O
    new O just arrived and wants to V
    if possible V only the second O
    last week he tried to V each O
"""
PADDING = -1
MOST = 144  # intents: every verb with every object
TRAINING, UNSEEN = 8, 2  # sentences of each intent
LENGTH = 8  # of the longest sentence


class Sentences(NamedTuple):
    """Words as whole numbers, `PADDING` before them, shape `(n, 8)`; and intents, shape `(n,)`."""

    tokens: np.ndarray
    labels: np.ndarray


def corpus(intents: int, random: np.random.RandomState) -> tuple[list[Sentences], int]:
    """Sentences to learn from, unseen ones of the same intents, and those of unseen intents.

    The last value is the number of words. About three fifths of the intents are learned.

    Verbs and objects stand in a grid, and an intent is unseen if its row and its column, added, are
    0 or 1 modulo 5: so verbs and objects are learned with some, and unseen with others, but for a
    few at the edge of the grid.
    """
    rows = int(np.ceil(np.sqrt(intents)))
    columns = -(-intents // rows)
    verbs = _drawn(VERBS, rows, random)
    objects = _drawn(OBJECTS, columns, random)
    frames = [frame.split() for frame in _lines(FRAMES)]
    words = sorted({word for line in (*verbs, *objects, *frames) for word in line} - {VERB, OBJECT})
    vocabulary = {word: i for i, word in enumerate(words)}
    grid = sorted(
        [(i % rows, i // rows) for i in range(intents)], key=lambda place: sum(place) % 5 < 2
    )
    known = sum(sum(place) % 5 >= 2 for place in grid)
    sentences = [
        sentence
        for row, column in grid
        for sentence in _sentences(frames, verbs[row], objects[column], random)
    ]
    labels = np.repeat(np.arange(intents), TRAINING + UNSEEN)
    tokens = np.full((len(sentences), LENGTH), PADDING)
    for line, sentence in zip(tokens, sentences, strict=True):
        line[-len(sentence) :] = [vocabulary[word] for word in sentence]
    is_known, turn = labels < known, np.arange(len(labels)) % (TRAINING + UNSEEN)

    def where(mask: np.ndarray) -> Sentences:
        order = random.permutation(np.flatnonzero(mask))
        return Sentences(tokens[order], labels[order])

    is_first = is_known & (turn < TRAINING)
    return [where(mask) for mask in (is_first, is_known & ~is_first, ~is_known)], len(vocabulary)


def _lines(text: str) -> list[str]:
    return text.strip().splitlines()


def _drawn(text: str, number: int, random: np.random.RandomState) -> list[list[str]]:
    """The synonyms in so many of the lines."""
    return [line.split() for line in random.permutation(_lines(text))[:number]]


def _sentences(
    frames: list[list[str]], verbs: list[str], objects: list[str], random: np.random.RandomState
) -> list[list[str]]:
    """The sentences of one intent, no two of which are the same."""
    shape = len(frames), len(verbs), len(objects)
    ways = random.choice(int(np.prod(shape)), TRAINING + UNSEEN, replace=False)
    chosen = zip(*np.unravel_index(ways, shape), strict=True)
    return [
        [{VERB: verbs[verb], OBJECT: objects[thing]}.get(word, word) for word in frames[frame]]
        for frame, verb, thing in chosen
    ]
