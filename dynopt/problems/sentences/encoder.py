"""The encoder: a gated recurrent unit reads a sentence, word by word."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..layers import affine
from .corpus import PADDING

EMBEDDING, WIDTH = 16, 24  # numbers of a word, and of a sentence


def encode(x, tokens) -> Array:
    """The sentences as vectors: the last values hₜ of a gated recurrent unit, shape `(n, 24)`.

        z, r = σ(aₜ W + b + hₜ₋₁ U)          the update and reset gates
        c = tanh(aₜ W + b + r · (hₜ₋₁ U))
        hₜ = (1 - z) hₜ₋₁ + z c              from h₀ = 0

    Here aₜ is the embedding of word t; W, U and b have columns for z, for r and for c. Padding
    leaves h as it is.

    - `tokens`: words as whole numbers, with `PADDING` before them, shape `(n, length)`.

    Source: K. Cho et al., "Learning phrase representations using RNN encoder-decoder for
    statistical machine translation" (2014), section 2.3; with r after the product with U, as in
    cuDNN.
    """
    gru, (number, length) = x["gru"], tokens.shape
    of_words = affine(x["embed"][tokens.T.ravel()], gru).reshape(length, number, -1)

    def read(h, word):
        of_word, is_word = word
        of_h = jnp.matmul(h, gru["u"], precision="highest")
        z, r = jnp.split(jax.nn.sigmoid((of_word + of_h)[:, : 2 * WIDTH]), 2, axis=1)
        c = jnp.tanh(of_word[:, 2 * WIDTH :] + r * of_h[:, 2 * WIDTH :])
        return jnp.where(is_word[:, None], (1 - z) * h + z * c, h), None

    h = jnp.zeros((number, WIDTH), of_words.dtype)
    return jax.lax.scan(read, h, (of_words, tokens.T != PADDING))[0]


def start(words: int, classes: int, random: np.random.RandomState) -> dict[str, Any]:
    """Random weights of the variance 1/(numbers of the layer before), and no bias.

    - `classes`: 0 if the loss has no vectors of classes.
    """

    def layer(before, after):
        return random.normal(size=(before, after)) / np.sqrt(before)

    gru = {"w": layer(EMBEDDING, 3 * WIDTH), "u": layer(WIDTH, 3 * WIDTH), "b": np.zeros(3 * WIDTH)}
    x = {"embed": random.normal(size=(words, EMBEDDING)) / 2, "gru": gru}
    return x | ({"class": layer(WIDTH, classes)} if classes else {})
