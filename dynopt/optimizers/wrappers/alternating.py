"""Alternating descent: the players of a game move one after another."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from ...errors import InvalidType, InvalidValue
from ..base import AbstractOptimizer, replace_fields
from .base import AbstractWrapper, must_be_wrappable
from .labels import by_label


class Alternating(AbstractWrapper):
    """Alternating descent lets one player move after another, each knowing the moves before it.

    The map, for the step Φ of the inner optimizer, where yᵢ are the coordinates of player i in the
    position and in the memory:

        yᵢ becomes Φ(y)ᵢ, for the players i in the order in which they are written

    The flow is that of the inner optimizer, in which all players move at once:

        y′ = F(y)

    The time step: it is that of the inner optimizer, and the global error is O(h), since the order
    of play is a correction of order h, or of the inner order where that is lower. With gradient
    descent and two players, the modified flow is F - (h/2) (S∘DF) F where the signs S = (1 1; -1 1)
    belong to the blocks of DF; if all players move at once, it is F - (h/2) DF F. On the game min
    over a, max over b of s a b, alternating descent keeps a² + b² - s h a b and is bounded if
    s h < 2, but if both players move at once, |x| grows by the factor √(1 + s²h²) in each step.

    Lyapunov function: it is that of the inner optimizer, if the players share one loss.

    Elsewhere: no transformation of optax does this, because it asks for one gradient for each
    player; call an optimizer for each player in turn. Each evaluation here is the field of all
    players, of which one player uses its own part. For players with rates of their own, pass a
    `Layerwise`. A `Layerwise` or `Schedule` around this wrapper would let the later players answer
    to whole moves of which only a fraction is then made.

    Arguments:

    - `optimizer`: the inner optimizer. Its memory must hold one number for each coordinate.
    - `players`: a tuple of labels, in the order of play, such as `game.players`. A label is a key
      of the position or a path of keys, as for `Layerwise`. A tuple of labels in place of a label
      is one player. Each coordinate must belong to exactly one player.

    **Raises:** `InvalidType` if `players` is no such tuple. Where the optimizer is run,
    `UnknownName` if the position has no such part; `InvalidValue` if a coordinate belongs to no
    player or to two, or if the memory cannot be divided among the players.

    >>> from dynopt import SGD, iterate, problems
    >>> game = problems.bilinear()
    >>> x = iterate(Alternating(SGD(0.5), game.players), game, 100).x
    >>> kept = x["a"] ** 2 + x["b"] ** 2 - 0.5 * x["a"] * x["b"]
    >>> print(f"{kept[0]:.4f}, {kept[-1]:.4f}")
    1.1875, 1.1875

    Source: M. Rosca, Y. Wu, B. Dherin and D. Barrett, "Discretization drift in two-player games"
    (2021), for the modified flow at equal rates.
    """

    optimizer: AbstractOptimizer
    players: tuple[Any, ...] = eqx.field(static=True)
    player_of_coordinate: Array | None

    def __init__(self, optimizer, players):
        must_be_wrappable(optimizer)
        self.optimizer, self.players = optimizer, _must_be_players(players)
        self.player_of_coordinate = None  # `for_leaves` sets it

    @property
    def regularity(self):
        inner = self.optimizer.regularity
        return inner._replace(order=min(inner.order, 1.0))

    evaluations = property(lambda self: len(self.players) * self.optimizer.evaluations)

    def for_leaves(self, x0):
        fitted = super().for_leaves(x0)
        leaves = jax.tree.leaves(x0)
        owners = np.repeat(_owner_of_leaf(self.players, x0), [jnp.size(leaf) for leaf in leaves])
        _must_remember_each_coordinate(fitted.optimizer, owners.size, jnp.result_type(*leaves))
        return replace_fields(fitted, player_of_coordinate=jnp.asarray(owners))

    def wrap_step(self, step, t, y, grad):
        if self.player_of_coordinate is None:
            raise InvalidValue(
                f"{self!r} does not know its position yet; run it, or call .for_leaves(x0) first."
            )
        for player in range(len(self.players)):
            moves = self.player_of_coordinate == player
            y = jax.tree.map(
                lambda after, before, moves=moves: jnp.where(moves, after, before),
                step(t, y, grad),
                y,
            )
        return y

    def vector_field(self, t, y, grad):
        return self.optimizer.vector_field(t, y, grad)

    def lyapunov(self, t, y, loss):
        return self.optimizer.lyapunov(t, y, loss)


def _must_be_players(players: Any) -> tuple[Any, ...]:
    def are_labels(labels):
        is_list = isinstance(labels, tuple | list) and len(labels) > 0
        return is_list and all(isinstance(label, str) for label in labels)

    is_list = isinstance(players, tuple | list) and len(players) > 0
    if not is_list or not all(isinstance(p, str) or are_labels(p) for p in players):
        raise InvalidType(
            f"`players` must be a tuple of labels in the order of play, got {players!r}; pass for "
            "example ('a', 'b')."
        )
    return tuple(player if isinstance(player, str) else tuple(player) for player in players)


def _owner_of_leaf(players: tuple[Any, ...], x0: PyTree) -> list[int]:
    """The number of the player to whom each leaf of the position belongs.

    **Raises:** `UnknownName` or `InvalidValue`.
    """
    owners: dict[str, list[int]] = {
        jax.tree_util.keystr(path, simple=True, separator="."): []
        for path, _ in jax.tree_util.tree_leaves_with_path(x0)
    }
    for i, player in enumerate(players):
        for label in (player,) if isinstance(player, str) else player:
            is_in_part = jax.tree.leaves(by_label({label: True}, x0, False))
            for owners_of_leaf, is_own in zip(owners.values(), is_in_part, strict=True):
                owners_of_leaf += [i] * is_own
    for part, numbers in owners.items():
        if len(numbers) != 1:
            fault = "names twice" if numbers else "leaves out"
            raise InvalidValue(
                f"`players` {players!r} {fault} the part {part!r} of the position; write each part "
                "once."
            )
    return [i for (i,) in owners.values()]


def _must_remember_each_coordinate(optimizer: AbstractOptimizer, dim: int, dtype: Any) -> None:
    """Refuse an optimizer whose memory cannot be divided among the coordinates.

    **Raises:** `InvalidValue`.
    """
    x = jax.ShapeDtypeStruct((dim,), dtype)
    point = jax.eval_shape(lambda x: optimizer.init(x, lambda x: x), x)
    for name, field in point._asdict().items():
        if jnp.shape(field) != (dim,):
            raise InvalidValue(
                f"the memory `{name}` of {optimizer!r} has the shape {jnp.shape(field)} and not "
                "one number for each coordinate, so players cannot divide it; use an optimizer "
                "such as "
                f"dynopt.Adam, or dynopt.Optax(family, h, like=jax.numpy.zeros({dim}))."
            )
