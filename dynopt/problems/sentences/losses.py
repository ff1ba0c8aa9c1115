"""Losses of encoded sentences: with vectors of classes, or of anchors, positives and negatives."""

from abc import abstractmethod

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from .encoder import encode

SMALLEST = 1e-6  # of sin²θ, because the slope of sin θ in cos θ is infinite at θ = 0


class SentenceLoss(eqx.Module):
    """What the losses share: the encoder, and the sentences with which retrieval is measured.

    - `training`, `unseen`, `unseen_intents`: pairs (tokens, labels).
    - `s`, `m`: the scale and the margin.
    """

    training: PyTree[Array]
    unseen: PyTree[Array]
    unseen_intents: PyTree[Array]
    s: Float[Array, ""]
    m: Float[Array, ""]

    def encode(self, x, tokens) -> Array:
        """The sentences as vectors."""
        return encode(x, tokens)


class SoftmaxLoss(SentenceLoss):
    """Mean of log Σ_c exp(z_c) - z_y with z = hW, for the encoding h and the vectors W."""

    def __call__(self, x, data):
        tokens, labels = data
        return cross_entropy(product(self.encode(x, tokens), x["class"]), labels)


class MarginLoss(SentenceLoss):
    """Mean of log Σ_c exp(z_c) - z_y with z_c = s cos θ_c, but z_y = s ψ(cos θ_y).

    Here θ_c is the angle between the encoding and the vector of class c, and ψ(u) = u - m: "AM".
    """

    def __call__(self, x, data):
        tokens, labels = data
        cosines = product(unit(self.encode(x, tokens)), unit(x["class"], axis=0))
        is_own = jax.nn.one_hot(labels, cosines.shape[1], dtype=bool)
        scores = jnp.where(is_own, self.of_own(cosines), cosines)
        return cross_entropy(self.s.astype(scores.dtype) * scores, labels)

    def of_own(self, cosine):
        """ψ, which makes the cosine of the own class smaller."""
        return cosine - self.m.astype(cosine.dtype)


class ArcLoss(MarginLoss):
    """ψ(cos θ) = cos(θ + m) up to θ = π - m, and beyond it a line, cos θ - 1 + cos m."""

    def of_own(self, cosine):
        m = self.m.astype(cosine.dtype)
        sine = jnp.sqrt(jnp.maximum(1 - cosine**2, SMALLEST))
        turned = cosine * jnp.cos(m) - sine * jnp.sin(m)
        return jnp.where(cosine > -jnp.cos(m), turned, cosine - 1 + jnp.cos(m))


class AngularLoss(MarginLoss):
    """ψ(cos θ) = cos 2θ up to θ = π/2, and beyond it -2 - cos 2θ."""

    def of_own(self, cosine):
        return jnp.where(cosine > 0, 2 * cosine**2 - 1, -2 * cosine**2 - 1)


class ComparisonLoss(SentenceLoss):
    """A mean over anchors of what their cosines with one positive and K negatives give.

    The data are (anchor, positive, negatives), indices of training sentences of the shapes `(n,)`,
    `(n,)` and `(n, K)`. Each training sentence is encoded once, however many the indices are.
    """

    def __call__(self, x, data):
        anchor, positive, negatives = data
        encoded = unit(self.encode(x, self.training[0]))
        cosines = product(encoded, encoded.T)
        return self.of_cosines(
            cosines[anchor, positive], cosines[anchor[:, None], negatives]
        ).mean()

    @abstractmethod
    def of_cosines(self, positive, negatives) -> Array:
        """The loss of each anchor, for cosines of the shapes `(n,)` and `(n, K)`."""


class PairLoss(ComparisonLoss):
    """Half of log(1 + exp(-s (u - 1/2))) + mean of log(1 + exp(s (v - 1/2))).

    Here u is the cosine with the positive and v that with a negative: each pair is classified.
    """

    def of_cosines(self, positive, negatives):
        s = self.s.astype(positive.dtype)
        of_negatives = jax.nn.softplus(s * (negatives - 0.5)).mean(1)
        return (jax.nn.softplus(-s * (positive - 0.5)) + of_negatives) / 2


class TripletLoss(ComparisonLoss):
    """Mean of max(0, m + v - u)."""

    def of_cosines(self, positive, negatives):
        return jax.nn.relu(self.m.astype(positive.dtype) + negatives - positive[:, None]).mean(1)


class ContrastLoss(ComparisonLoss):
    """log(exp(su) + Σ exp(sv)) - su: the positive is classified among the negatives."""

    def of_cosines(self, positive, negatives):
        s = self.s.astype(positive.dtype)
        scores = jnp.concatenate([positive[:, None], negatives], axis=1)
        return jax.nn.logsumexp(s * scores, axis=1) - s * positive


def product(a, b) -> Array:
    """a b in full precision."""
    return jnp.matmul(a, b, precision="highest")


def unit(a, axis: int = -1) -> Array:
    """The vectors along an axis, divided by their lengths."""
    return a / jnp.linalg.norm(a, axis=axis, keepdims=True)


def cross_entropy(scores, labels) -> Array:
    """The mean of log Σ_c exp(z_c) - z_y."""
    of_label = jnp.take_along_axis(scores, labels[:, None], axis=1)[:, 0]
    return (jax.nn.logsumexp(scores, axis=1) - of_label).mean()
