"""A small GAN that learns a ring of eight Gaussians."""

from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..checks import whole_number
from .game import Game
from .layers import affine
from .problem import source_in_docstring

MODES = 8
NOISE = 0.05  # standard deviation of the real data around their mode
WIDTH = 16  # of the two hidden layers of each player


def ring_gan(examples: Any = 128, key: Any = 0) -> Game:
    """A generator and a discriminator of 691 numbers learn eight Gaussians on a circle.

    With the real data aᵢ and noise zᵢ, which are drawn once and stay, and σ(s) = 1/(1 + e⁻ˢ), the
    players minimize means over the n examples:

        discriminator d   -1/n Σᵢ (log σ(D(aᵢ)) + log σ(-D(G(zᵢ))))
        generator g       -1/n Σᵢ log σ(D(G(zᵢ)))

    The generator's is the loss that does not saturate. Both players are networks
    tanh(tanh(a W₁ + b₁) W₂ + b₂) W₃ + b₃ with two hidden layers of 16 units. The discriminator
    plays first. Equilibria: not known. Pictures show the `energy_distance` of the generated points
    to the real ones, which is small once the generator makes the ring; it says little about lost
    modes.

    - `examples`: n, 128 by default. The real data are as many points around each of the 8 modes as
      n allows, with the standard deviation 0.05.
    - `key`: a whole number, 0 by default, from which the weights of the start are drawn. The data
      do not depend on it.

    The position is a dict of players and layers, `{"d": {"layer1": {"b": (16,), "w": (2, 16)},
    ...}, "g": ...}`, and the data are `(z, a)`, arrays of the shape `(n, 2)`.

    >>> game = ring_gan()
    >>> game
    Game(ring_gan, players=('d', 'g'), dim=691)

    Source: made for this library after the experiments of L. Metz, B. Poole, D. Pfau and
    J. Sohl-Dickstein, "Unrolled generative adversarial networks" (2017), section 3.1.
    """
    examples = whole_number("examples", examples, least=2, like=128)
    return Game(
        {"d": discriminator_loss, "g": generator_loss},
        _start(whole_number("key", key, least=0)),
        data=_data(examples),
        shown=energy_distance,
        name="ring_gan",
        source=source_in_docstring(ring_gan),
    )


def network(a, layers):
    """The values of a player's network at the rows of `a`."""
    hidden = jnp.tanh(affine(a, layers["layer1"]))
    return affine(jnp.tanh(affine(hidden, layers["layer2"])), layers["layer3"])


def discriminator_loss(x, data):
    """The mean of -log σ(D(a)) - log σ(-D(G(z)))."""
    z, real = data
    of_real, of_fake = network(real, x["d"]), network(network(z, x["g"]), x["d"])
    return (jax.nn.softplus(-of_real) + jax.nn.softplus(of_fake)).mean()


def generator_loss(x, data):
    """The mean of -log σ(D(G(z)))."""
    return jax.nn.softplus(-network(network(data[0], x["g"]), x["d"])).mean()


def energy_distance(x, data):
    """2 E|u - a| - E|u - u'| - E|a - a'| for generated points u and real points a.

    It is at least 0, and 0 for equal distributions only.

    Source: G. Székely and M. Rizzo, "Energy statistics" (2013).
    """
    z, real = data
    generated = network(z, x["g"])

    def mean_distance(a, b):
        squares = ((a[:, None] - b[None]) ** 2).sum(-1)
        return jnp.where(squares == 0, 0, jnp.sqrt(jnp.where(squares == 0, 1, squares))).mean()

    between, within = mean_distance(generated, real), mean_distance(generated, generated)
    return 2 * between - within - mean_distance(real, real)


def _data(examples: int) -> tuple[np.ndarray, np.ndarray]:
    """The noise of the generator and the real points, always the same."""
    draw = np.random.RandomState(0).normal
    angle = 2 * np.pi * (np.arange(examples) % MODES) / MODES
    real = np.stack([np.cos(angle), np.sin(angle)], -1) + NOISE * draw(size=(examples, 2))
    return draw(size=(examples, 2)), real


def _start(key: int) -> dict[str, Any]:
    """Weights from a normal distribution of the variance 1/(units of the layer before); no bias."""
    draw = np.random.RandomState(key).normal
    return {
        player: {
            f"layer{i + 1}": {"w": draw(size=sizes) / np.sqrt(sizes[0]), "b": np.zeros(sizes[1])}
            for i, sizes in enumerate(pairwise((2, WIDTH, WIDTH, outputs)))
        }
        for player, outputs in (("d", 1), ("g", 2))
    }
