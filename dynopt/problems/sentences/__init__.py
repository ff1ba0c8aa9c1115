"""Sentence similarity: a recurrent network learns to encode sentences of one intent alike."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...checks import concrete_value, nonnegative, positive, whole_number
from ...errors import InvalidType, InvalidValue, unknown_name
from ..problem import Problem, source_in_docstring
from . import losses
from .corpus import MOST, corpus
from .encoder import start

LOSSES: dict[str, type[losses.SentenceLoss]] = {
    "softmax": losses.SoftmaxLoss,
    "cosine": losses.MarginLoss,  # with the margin 0
    "am": losses.MarginLoss,
    "arc": losses.ArcLoss,
    "angular": losses.AngularLoss,
    "pair": losses.PairLoss,
    "triplet": losses.TripletLoss,
    "contrast": losses.ContrastLoss,
}
INTENTS = 20


def sentence_similarity(
    loss: Any = "am",
    s=16.0,
    m=0.3,
    negatives: Any = 1,
    draws: Any = 1,
    intents: Any = INTENTS,
    key: Any = 0,
) -> Problem:
    """A recurrent network learns to encode sentences of one intent alike, with eight losses.

    A gated recurrent unit reads a sentence word by word and encodes it as a vector h of 24 numbers.
    Sentences are alike if the cosine of the angle between their vectors is large. A loss is a mean
    over examples. Five losses have a vector w_c for each class, the intents that are learned, and
    an example is a sentence of class y: -log of the softmax of scores z_c, at c = y. With the angle
    θ_c between h and w_c they are

        "softmax"    z_c = h·w_c
        "cosine"     z_c = s cos θ_c
        "am"         the same, but z_y = s (cos θ_y - m)
        "arc"        the same, but z_y = s cos(θ_y + m); s (cos θ_y - 1 + cos m) if θ_y > π - m
        "angular"    the same, but z_y = s cos 2θ_y; s (-2 - cos 2θ_y) if θ_y > π/2

    Three have no classes. An example is an anchor, another sentence of its intent (a positive), and
    K sentences of other intents (negatives). With the cosine u of anchor and positive, and those
    with the negatives, v:

        "pair"       ½ log(1 + e^(-s(u - ½))) + ½ mean of log(1 + e^(s(v - ½)))
        "triplet"    mean of max(0, m + v - u)
        "contrast"   log(e^(su) + Σ e^(sv)) - su

    Domain: everywhere but where an encoding or a w_c is 0. With angles the loss does not depend on
    the length of w_c: the flow keeps |w_c|, and the steps of gradient descent raise it. Minimizers:
    not known. "triplet" has corners, "arc" has one at θ_y = π - m, and the curvature of "angular"
    jumps at π/2; elsewhere all are smooth. Late gradients are small, 1e-4 and less, and drown in
    the round-off of float32.

    How long a gradient lives is seen in one number, a difference γ = cos θ_y - cos θ_c from all
    C - 1 other classes at once, with the loss log(1 + (C - 1) e^(-s(γ - m))). Along its gradient
    flow u = s(γ - m) follows e^u/(C - 1) + u = s²t + const. So at any late time a margin m raises γ
    by m; or it multiplies the gradient at a late γ by e^(sm), as it does in the network.

    - `loss`: one of the names above, "am" by default.
    - `s`: the scale, 16 by default; "softmax" and "triplet" have none.
    - `m`: the margin, 0.3 by default, up to π/2; only "am", "arc" and "triplet" have one.
    - `negatives`: K, 1 by default; for the losses without classes.
    - `draws`: how many times positives and negatives are drawn for each anchor, 1 by default. The
      draws stand one after another in the data, so that `problem.loss.part(x, k, draws)` is the
      loss with the k-th draw, and fresh negatives for each step are

          def fresh(g, x, k):
              return jax.grad(problem.loss.part)(x, k, draws)

          WithGradient(Adam(0.03), fresh, mean=lambda g: g)

    - `intents`: 20 by default, from 10 to 144: verbs with objects, each of which has 3 or 4
      synonyms. About three fifths are learned, from 8 sentences each; `analysis.retrieval`
      measures 2 unseen sentences of each, and 10 of each of the others. With 100 intents there are
      176 words, and after 200 steps of Adam(0.03) "am" is right for 93 % of the others.
    - `key`: a whole number, 0 by default, from which the sentences, the start and the indices are
      drawn.

    The position is a dict, `{"class": (24, classes), "embed": (words, 16), "gru": {"b": (72,), "u":
    (24, 72), "w": (16, 72)}}`, with "class" for losses that have classes. The data are (tokens,
    labels), shapes `(n, 8)` and `(n,)`, or indices into these (anchor, positive, negatives), shapes
    `(n,)`, `(n,)` and `(n, K)`. `problem.loss.encode(x, tokens)` gives the vectors, shape
    `(n, 24)`; `training`, `unseen` and `unseen_intents` of `problem.loss` are the sentences. The
    numbers `s` and `m` are arrays: other values compile nothing anew.

    >>> problem = sentence_similarity()
    >>> problem
    Problem(sentence_similarity, dim=5448)
    >>> tokens, labels = problem.loss.unseen_intents
    >>> problem.loss.encode(problem.start(), tokens).shape, len(set(labels.tolist()))
    ((80, 24), 8)

    **Raises:** `InvalidType` or `InvalidValue` for a loss that is not in the list, and for numbers
    outside of their ranges.

    Source: sentences made for this library; "am": F. Wang, J. Cheng, W. Liu and H. Liu, "Additive
    margin softmax for face verification" (2018); "arc": J. Deng, J. Guo, N. Xue and S. Zafeiriou,
    "ArcFace: additive angular margin loss for deep face recognition" (2019), but for θ_y > π - m;
    "angular": W. Liu et al., "SphereFace: deep hypersphere embedding for face recognition" (2017),
    with the angle doubled; "triplet": F. Schroff, D. Kalenichenko and J. Philbin, "FaceNet: a
    unified embedding for face recognition and clustering" (2015), with cosines.
    """
    if not isinstance(loss, str):
        raise InvalidType(f'`loss` must be a name, got {loss!r}; pass "am", for example.')
    if loss not in LOSSES:
        raise unknown_name("loss", loss, LOSSES)
    kind = LOSSES[loss]
    s, m = positive("s", s), nonnegative("m", m)
    margin = concrete_value(m)
    if margin is not None and margin > np.pi / 2:
        raise InvalidValue(
            f"`m` is {margin:g}, which is outside [0, π/2]; use a margin such as 0.3."
        )
    negatives = whole_number("negatives", negatives, least=1)
    draws = whole_number("draws", draws, least=1)
    intents = whole_number("intents", intents, least=10, most=MOST, like=INTENTS)
    random = np.random.RandomState(whole_number("key", key, least=0, most=2**32 - 1))
    (training, unseen, unseen_intents), words = corpus(intents, random)
    labels = training.labels
    compares = issubclass(kind, losses.ComparisonLoss)
    x0 = start(words, 0 if compares else int(labels.max()) + 1, random)
    data = indices(labels, negatives, draws, random) if compares else tuple(training)
    name = f"_{loss}" if (loss, intents) != ("am", INTENTS) else ""
    if compares:
        name += f"_{negatives}_{'fixed' if draws == 1 else 'fresh'}"
    return Problem(
        kind(
            *jax.tree.map(jnp.asarray, (training, unseen, unseen_intents)),
            s=jnp.asarray(s, float),
            m=jnp.asarray(0 if loss == "cosine" else m, float),
        ),
        x0,
        data=data,
        name=f"sentence_similarity{name}",
        source=source_in_docstring(sentence_similarity),
    )


def indices(
    labels: np.ndarray, negatives: int, draws: int, random: np.random.RandomState
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A positive and negatives for each sentence, drawn anew for each of the draws.

    Returns the anchors, the positives and the negatives, shapes `(n,)`, `(n,)` and `(n, K)`.
    """
    members = np.argsort(labels, kind="stable").reshape(labels.max() + 1, -1)
    classes, size = members.shape
    place = np.argsort(members.ravel()) % size
    anchor = np.tile(np.arange(len(labels)), draws)
    other = (place[anchor] + random.randint(1, size, len(anchor))) % size
    shape = len(anchor), negatives
    others = (labels[anchor, None] + random.randint(1, classes, shape)) % classes
    return anchor, members[labels[anchor], other], members[others, random.randint(size, size=shape)]
