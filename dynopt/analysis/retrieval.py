"""Retrieval: how often the nearest neighbour of an encoded sentence has the same intent."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from ..checks import is_concrete
from ..errors import InvalidValue
from ..optimizers import AbstractOptimizer
from ..problems import Problem
from ..problems.over_data import with_dtype_of
from ..problems.problem import must_be_problem
from ..runs.trajectory import Trajectory

SENTENCES = "training", "unseen", "unseen_intents"


class Retrieval(eqx.Module):
    """The accuracy at 1 of the nearest neighbour, at one position or along a run.

    - `closed`: the share of unseen sentences of learned intents for which the most similar training
      sentence has the same intent; shape `(points,)` along a run, a scalar array at a position.
    - `open`: the share of sentences of unseen intents for which the most similar other one of them
      has the same intent, same shape.
    - `steps`: the steps of the saved points, t/h, same shape; None at a position.
    - `optimizer`: that of the run, or None if a position was given; `problem`: the problem.

    Where an encoding is not finite, as after a failure, both shares are NaN.
    """

    closed: Float[Array, " *points"]
    open: Float[Array, " *points"]
    steps: Float[Array, " points"] | None
    optimizer: AbstractOptimizer | None
    problem: Problem

    def __repr__(self) -> str:
        along = "" if self.optimizer is None else f"{self.optimizer} on "
        subject = f"{along}{self.problem.name}"
        if not is_concrete((self.closed, self.open)):
            return f"Retrieval(of {subject})"
        closed, opened = (np.ravel(share)[-1] for share in (self.closed, self.open))
        when = "" if self.steps is None else f" after {float(self.steps[-1]):.4g} steps"
        accuracy = f"{opened:.3g} on unseen intents, {closed:.3g} on unseen sentences{when}"
        return f"Retrieval(of {subject}, accuracy {accuracy})"


def retrieval(problem: Problem, x: Any = None) -> Retrieval:
    """The accuracy at 1 of the nearest neighbour of encoded sentences, by the cosine.

    An encoder is useful beyond the intents that it was taught if sentences of other intents lie
    near one another, too. So two shares are measured: of unseen sentences of learned intents, for
    which the most similar training sentence has the same intent (closed), and of sentences of
    unseen intents, for which the most similar other one does (open). Where two are equally similar,
    the first counts. If c intents have n sentences each, an open share of chance is
    (n - 1)/(c n - 1), and no encoder is trained for its exact value, which has jumps: over N
    sentences it is a multiple of 1/N with a standard error of about √(p(1 - p)/N).

    - `x`: a position, by default the start of the problem; or a result of `iterate` or `integrate`,
      at whose saved points it is measured.

    The loss of the problem must have a function `encode(x, tokens)` of shape `(n, dim)`, and the
    pairs (tokens, labels) `training`, `unseen` and `unseen_intents`. Those of
    `problems.sentence_similarity` have them, and so may one of yours. It may be called inside
    `jax.jit` and `jax.vmap`, where its arrays may be returned.

    **Raises:** `InvalidValue` if the loss has no such function or sentences, or `x` is a batch of
    runs; `InvalidType` and `InvalidValue` as `Problem.start` does, if `x` is no position of the
    problem.

    >>> from dynopt import Adam, iterate, problems
    >>> problem = problems.sentence_similarity()
    >>> result = retrieval(problem, iterate(Adam(0.03), problem, 40, save_every=20))
    >>> result.steps.tolist()
    [0.0, 20.0, 40.0]
    >>> bool(result.open[0] < 0.5 < result.open[-1])
    True

    Source: K. Musgrave, S. Belongie and S.-N. Lim, "A metric learning reality check" (2020), on
    precision at 1 with classes that were not learned.
    """
    must_be_problem(problem)
    encode, sentences = _encoder_and_sentences(problem)
    if not isinstance(x, Trajectory):
        closed, opened = _accuracies(encode, sentences, problem.start(x))
        return Retrieval(closed, opened, None, None, problem)
    if np.ndim(x.result):
        raise InvalidValue(
            f"`x` holds {' x '.join(map(str, x.result.shape))} runs; pass one of them, or "
            "positions under jax.vmap."
        )
    problem.start(jax.tree.map(lambda leaf: leaf[0], x.x))  # it fits
    closed, opened = _along(encode, sentences, x.x)
    return Retrieval(closed, opened, jnp.round(x.t / x.optimizer.h), x.optimizer, problem)


def _encoder_and_sentences(problem: Problem) -> tuple[Callable, list[PyTree]]:
    """The function of the loss that encodes, and the sentences that it holds.

    **Raises:** `InvalidValue` if one of them is missing.
    """
    for name in ("encode", *SENTENCES):
        if getattr(problem.loss, name, None) is None:
            raise InvalidValue(
                "retrieval needs a loss with encode(x, tokens) and the pairs (tokens, labels) "
                f"`training`, `unseen` and `unseen_intents`, but that of {problem.name} has no "
                f"`{name}`; use problems.sentence_similarity, or give the class of your loss all "
                "four."
            )
    loss: Any = problem.loss
    sentences = [getattr(loss, name) for name in SENTENCES]
    for name, pair in zip(SENTENCES, sentences, strict=True):
        is_pair = isinstance(pair, tuple | list) and len(pair) == 2
        shapes = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(pair[0])} if is_pair else {}
        if not is_pair or np.ndim(pair[1]) != 1 or shapes != {np.shape(pair[1])}:
            raise InvalidValue(
                f"`{name}` of the loss of {problem.name} is no pair of tokens and labels, with one "
                "label for each sentence; give it the shapes (n, length) and (n,)."
            )
    return loss.encode, sentences


@eqx.filter_jit
def _along(encode: Callable, sentences: list[PyTree], positions: PyTree) -> tuple[Array, Array]:
    """The accuracies at each of the positions."""
    return jax.lax.map(lambda x: _accuracies(encode, sentences, x), positions)


@eqx.filter_jit
def _accuracies(encode: Callable, sentences: list[PyTree], x: PyTree) -> tuple[Array, Array]:
    """The closed and the open accuracy at a position."""
    sentences = with_dtype_of(x, sentences)
    training, unseen, others = (_unit(encode(x, tokens)) for tokens, _ in sentences)
    labels, labels_of_unseen, labels_of_others = (labels for _, labels in sentences)
    closed = _share(unseen @ training.T, labels_of_unseen, labels)
    similar = others @ others.T
    itself = jnp.eye(len(similar), dtype=bool)
    opened = _share(jnp.where(itself, -jnp.inf, similar), labels_of_others, labels_of_others)
    finite = jnp.isfinite(jnp.concatenate([training, unseen, others])).all()
    return jnp.where(finite, closed, jnp.nan), jnp.where(finite, opened, jnp.nan)


def _unit(vectors: Array) -> Array:
    return vectors / jnp.linalg.norm(vectors, axis=1, keepdims=True)


def _share(similar: Array, labels: Array, of_columns: Array) -> Array:
    """The share of rows whose largest entry stands in a column of the same label."""
    return (of_columns[similar.argmax(axis=1)] == labels).astype(similar.dtype).mean()
