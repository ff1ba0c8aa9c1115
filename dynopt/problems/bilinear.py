"""The simplest game of two players whose interests are opposed: f = s a b."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from ..checks import number
from .game import Game
from .problem import source_in_docstring


class Bilinear(eqx.Module):
    """f(a, b) = s a b.

    - `strength`: s.
    """

    strength: Array

    def __call__(self, x):
        return jnp.asarray(self.strength, jnp.result_type(x["a"])) * x["a"] * x["b"]


def bilinear(strength=1.0) -> Game:
    """Player a minimizes s a b and player b maximizes it.

    The flow x′ = -g(x), which is a′ = -s b, b′ = s a, turns around the equilibrium (0, 0) in the
    time 2π/s and keeps |x|. The maps do not: with the time step h, simultaneous gradient descent
    multiplies |x| by √(1 + s²h²) in each step; alternating descent keeps a² + b² - s h a b and is
    bounded below h = 2/s; extragradient multiplies |x| by √(1 - s²h² + s⁴h⁴).

    - `strength`: s, 1 by default, in units of 1/time.

    >>> game = bilinear()
    >>> float(game.loss(game.start()))  # |g|, which is |x|
    1.25

    Source: A. Daskalakis, A. Ilyas, V. Syrgkanis and H. Zeng, "Training GANs with optimism" (2018).
    """
    return Game.zero_sum(
        Bilinear(jnp.asarray(number("strength", strength))),
        {"a": 1.0, "b": 0.75},
        name="bilinear",
        equilibria={"a": 0.0, "b": 0.0},
        window=((-2, 2), (-2, 2)),
        source=source_in_docstring(bilinear),
    )
