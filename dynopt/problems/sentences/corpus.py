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
FRAMES = """
    how do i {verb} my {object}
    please help me {verb} the {object}
    i want to {verb} my {object} today
    what must i do to {verb} a {object}
    is it possible to {verb} the {object} online
    where can i {verb} this {object}
    can someone {verb} the {object} for me
    about my {object} how to {verb} it
    tell me which steps {verb} the {object}
    need to {verb} {object} now
    we would like to {verb} our {object}
    does any form let us {verb} a {object}
    your site refuses to {verb} my {object}
    why did nobody {verb} that {object}
    with this {object} she had to {verb} it
    they asked him to {verb} his {object} first
    hello there trying to {verb} another {object}
    could an agent {verb} every {object} again
    who may {verb} somebody else's {object}
    thanks but when will staff {verb} her {object}
    sorry my brother forgot to {verb} their {object}
    before friday you should {verb} one {object}
    it takes too long to {verb} such {object}
    am allowed to {verb} both {object} abroad
    after moving house {verb} old {object}
    new {object} just arrived and wants to {verb}
    if possible {verb} only the second {object}
    last week he tried to {verb} each {object}
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

    The last value is the number of words. Three fifths of the intents are there to learn from.

    Verbs and objects stand in a grid, and an intent is unseen if its row and its column, added, are
    0 or 1 modulo 5: so each verb and each object is learned with some, and unseen with others.
    """
    rows = int(np.ceil(np.sqrt(intents)))
    verbs, objects = (
        [line.split() for line in text.strip().splitlines()] for text in (VERBS, OBJECTS)
    )
    verb_of, object_of = (random.permutation(len(kind)) for kind in (verbs, objects))
    grid = [divmod(i, rows)[::-1] for i in range(intents)]
    grid.sort(key=lambda place: sum(place) % 5 < 2)
    known = sum(sum(place) % 5 >= 2 for place in grid)
    sentences, labels = [], []
    for label, (row, column) in enumerate(grid):
        for text in _sentences(verbs[verb_of[row]], objects[object_of[column]], random):
            sentences.append(text)
            labels.append(label)
    vocabulary = {word: i for i, word in enumerate(sorted({w for s in sentences for w in s}))}
    tokens = np.full((len(sentences), LENGTH), PADDING)
    for line, sentence in zip(tokens, sentences, strict=True):
        line[-len(sentence) :] = [vocabulary[word] for word in sentence]
    labels = np.array(labels)
    is_known, turn = labels < known, np.arange(len(labels)) % (TRAINING + UNSEEN)

    def where(mask: np.ndarray) -> Sentences:
        order = random.permutation(np.flatnonzero(mask))
        return Sentences(tokens[order], labels[order])

    is_first = is_known & (turn < TRAINING)
    return [where(mask) for mask in (is_first, is_known & ~is_first, ~is_known)], len(vocabulary)


def _sentences(
    verbs: list[str], objects: list[str], random: np.random.RandomState
) -> list[list[str]]:
    """The sentences of one intent, no two of which are the same."""
    frames = [line.strip() for line in FRAMES.strip().splitlines()]
    shape = len(frames), len(verbs), len(objects)
    ways = random.choice(int(np.prod(shape)), TRAINING + UNSEEN, replace=False)
    return [
        frames[frame].format(verb=verbs[verb], object=objects[thing]).split()
        for frame, verb, thing in zip(*np.unravel_index(ways, shape), strict=True)
    ]
