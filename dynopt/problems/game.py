"""Games: several players, each of whom descends a loss of its own by its own part of x."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..checks import is_concrete
from ..errors import InvalidType, InvalidValue
from .field import AbstractField, norm, own_field
from .position import Completed, as_position
from .problem import Problem


class Game(Problem):
    """Players with losses of their own, or any other field that optimizers follow.

    The position is a dict with one entry for each player. Player i moves its own entry xᵢ and
    descends its own loss fᵢ, which may depend on all of x. Together they follow the field

        g(x) = (∂f₁/∂x₁, ..., ∂fₙ/∂xₙ),

    which is the gradient of no function unless the game is a potential game. `SGD` on it is
    simultaneous gradient descent, with the flow x′ = -g(x); `Alternating` lets one player move
    after another. A position with g(x) = 0 is an equilibrium: no player can lower its own loss to
    first order.

    Everything that asks for a gradient takes g. In place of a loss, `Trajectory.loss` and pictures
    show |g|. Analyses of a loss that is descended refuse, such as `analysis.sharpness`; use
    `analysis.spectrum`.

    - `players`: {player: its loss}, each called as `loss(x)`, or with data as `loss(x, data)`.
      The order in which they are written is that of `game.players`.
    - `x0`: {player: its start}, each an array or a PyTree.
    - `data`: as of a `Problem`. Each loss must be a mean over the examples.
    - `equilibria`: those that are known, one position, a list of positions, or the rows of an
      array, as which they are kept under `minimizers`.
    - `shown`: a function that pictures show in place of |g|, such as |x|, called as the losses are.
    - `name`, `window`, `source`: as of a `Problem`.

    **Raises:** `InvalidValue` if the keys of `x0` are not the players, or `equilibria` are no such
    positions; `InvalidType` if `players` are no functions by name; `ProblemError` for losses as
    `Problem` does.

    >>> import dynopt
    >>> game = Game(
    ...     {"a": lambda x: x["a"] * x["b"], "b": lambda x: -x["a"] * x["b"]},
    ...     {"a": 1.0, "b": 0.5},
    ...     name="bilinear",
    ... )
    >>> game
    Game(bilinear, players=('a', 'b'), dim=2)
    >>> field = game.field({"a": 1.0, "b": 0.5})
    >>> float(field["a"]), float(field["b"])
    (0.5, -1.0)
    >>> run = dynopt.iterate(dynopt.SGD(0.1), game, 100)  # |x| grows by √(1 + 0.1²) in each step
    >>> print(f"{run.loss[-1] / run.loss[0]:.4f}, {1.01**50:.4f}")
    1.6446, 1.6446

    Source: L. Mescheder, S. Nowozin and A. Geiger, "The numerics of GANs" (2017), section 2.
    """

    def __init__(
        self,
        players,
        x0,
        *,
        data=None,
        name="game",
        equilibria=None,
        shown=None,
        window=None,
        source="",
    ):
        _must_be_shown(shown)
        is_field = own_field(players) is not None
        field = players if is_field else _as_players(players, x0, shown)
        points = None if equilibria is None else _as_rows(equilibria, x0)
        super().__init__(
            field,
            x0,
            data=data,
            name=name,
            minimizers=points,
            minimum=0.0 if points is not None and field.symbol == "|g|" else None,
            window=window,
            source=source,
        )

    @classmethod
    def zero_sum(cls, loss, x0, **options) -> "Game":
        """The game in which the first player minimizes a loss and the second one maximizes it.

        - `loss`: called as `loss(x)`, or with data as `loss(x, data)`.
        - `x0`: {player: its start}; the player that is written first minimizes.
        - `options`: those of `Game`.

        **Raises:** `InvalidValue` unless `x0` has two entries.

        >>> game = Game.zero_sum(lambda x: x["a"] * x["b"], {"a": 1.0, "b": 0.5})
        >>> float(game.field({"a": 1.0, "b": 0.5})["b"])
        -1.0
        """
        if not isinstance(x0, dict) or len(x0) != 2:
            raise InvalidValue(
                f"`x0` of a zero-sum game must be a dict of two players, got {x0!r}; pass for "
                "example {'a': 1.0, 'b': 0.5}."
            )
        if not callable(loss):
            raise InvalidType(
                f"`loss` must be a function of the position, got {loss!r}; pass a callable."
            )
        first, second = x0
        return cls({first: loss, second: Negated(loss)}, x0, **options)

    @classmethod
    def from_field(cls, field, x0, **options) -> "Game":
        """Any field: optimizers follow g in place of a gradient, and the flow of `SGD` is x′ = -g.

        - `field`: the function x ↦ g(x), or with data (x, data) ↦ g(x), of the structure and the
          shapes of x. For x′ = F(x) pass `lambda x: -F(x)`.
        - `x0`: the start, an array or a PyTree.
        - `options`: those of `Game`.

        **Raises:** `ProblemError` if `field` returns anything else.

        >>> game = Game.from_field(lambda x: jnp.array([x[1], -x[0]]), [1.0, 0.0], name="circle")
        >>> game
        Game(circle, dim=2)
        """
        if not callable(field):
            raise InvalidType(
                f"`field` must be a function of the position, got {field!r}; pass a callable."
            )
        shown = options.pop("shown", None)
        _must_be_shown(shown)
        return cls(GivenField(field, shown), x0, **options)

    @property
    def players(self) -> tuple[str, ...]:
        """The names of the players, in the order in which they were written; () of a bare field."""
        return getattr(_innermost(self.loss), "players", ())

    def __repr__(self) -> str:
        players = f"players={self.players}, " if self.players else ""
        return f"Game({self.name}, {players}dim={self.dim})"


class Players(AbstractField):
    """The field of players, each of whom descends a loss of its own by its own part of x.

    - `losses`: one for each player, called as `loss(x, *data)`.
    - `players`: their names, the keys of the position.
    - `shown`: the number that pictures show; None for |g|.
    """

    losses: tuple[Callable, ...]
    players: tuple[str, ...] = eqx.field(static=True)
    shown: Callable | None

    symbol = property(lambda self: _symbol(self.shown))

    def field(self, x, *data):
        def of_player(name, loss):
            return jax.grad(lambda own: loss({**x, name: own}, *data))(x[name])

        return {
            name: of_player(name, loss)
            for name, loss in zip(self.players, self.losses, strict=True)
        }

    def value(self, x, *data):
        return norm(self.field(x, *data)) if self.shown is None else self.shown(x, *data)

    def terms(self, name):
        return {
            f"the loss of {player} in {name}": loss
            for player, loss in zip(self.players, self.losses, strict=True)
        }

    def completed(self, constants):
        losses = tuple(Completed(loss, constants) for loss in self.losses)
        shown = None if self.shown is None else Completed(self.shown, constants)
        return Players(losses, self.players, shown)


class GivenField(AbstractField):
    """A field as the user wrote it.

    - `function`: called as `function(x, *data)`; it returns g(x), like x.
    - `shown`: the number that pictures show; None for |g|.
    """

    function: Callable
    shown: Callable | None

    symbol = property(lambda self: _symbol(self.shown))

    def field(self, x, *data):
        return self.function(x, *data)

    def value(self, x, *data):
        return norm(self.field(x, *data)) if self.shown is None else self.shown(x, *data)

    def terms(self, name):
        return {f"the field of {name}": self.function}

    def completed(self, constants):
        raise InvalidValue(
            "`x0` holds whole numbers, which are constants and have no field; pass floats, and let "
            "the field close over the constants."
        )


class Negated(eqx.Module):
    """x ↦ -f(x)."""

    loss: Callable

    def __call__(self, x, *data):
        return -self.loss(x, *data)


def _symbol(shown: Callable | None) -> str:
    name = getattr(shown, "__name__", "<lambda>")
    return "|g|" if shown is None else "shown" if name == "<lambda>" else name


def _innermost(loss: Any) -> Any:
    field = own_field(loss)
    return getattr(field, "inner", field)


def _must_be_shown(shown: Any) -> None:
    if shown is not None and not callable(shown):
        raise InvalidType(
            f"`shown` must be a function of the position, got {shown!r}; pass a callable, or leave "
            "it out to show |g|."
        )


def _as_players(players: Any, x0: Any, shown: Any) -> Players:
    if not isinstance(players, dict) or not all(map(callable, players.values())):
        raise InvalidType(
            f"`players` must be a dict of losses, got {players!r}; pass for example "
            "{'a': lambda x: x['a'] * x['b'], 'b': lambda x: -x['a'] * x['b']}, or use "
            "dynopt.Game.from_field for a field."
        )
    if not all(isinstance(player, str) for player in players):
        raise InvalidType(
            f"`players` have the names {', '.join(map(repr, players))}; name each by a text."
        )
    if not isinstance(x0, dict) or set(x0) != set(players):
        keys = ", ".join(map(repr, x0)) if isinstance(x0, dict) else repr(x0)
        raise InvalidValue(
            f"`x0` must be a dict with one entry for each player, {', '.join(map(repr, players))}, "
            f"got {keys}; give each player a loss and a start."
        )
    return Players(tuple(players.values()), tuple(players), shown)


def _as_rows(equilibria: Any, x0: Any) -> Any:
    """Positions, each as one row; an array, or lists of numbers, are rows already."""
    if not isinstance(x0, dict) or isinstance(equilibria, np.ndarray | jax.Array):
        return equilibria
    positions = [equilibria] if isinstance(equilibria, dict) else equilibria
    if not isinstance(positions, list | tuple):
        raise InvalidType(
            f"`equilibria` must be positions, got {equilibria!r}; pass a dict like `x0`, or a list "
            "of them."
        )
    if not any(isinstance(position, dict) for position in positions):
        return equilibria
    return np.stack([_as_row(position, x0) for position in positions])


def _as_row(position: Any, x0: dict[str, Any]) -> np.ndarray:
    if not isinstance(position, dict) or set(position) != set(x0):
        raise InvalidValue(
            f"`equilibria` hold {position!r}; pass positions with the keys of `x0`, "
            f"{', '.join(map(repr, x0))}."
        )
    start, constants = as_position(x0)
    floats, _ = as_position(position, eqx.combine(start, constants), "equilibria")
    if not is_concrete(floats):
        raise InvalidValue(
            "`equilibria` are traced; pass numbers that are known outside of jax.jit and jax.vmap."
        )
    is_same = jax.tree.structure(floats) == jax.tree.structure(start)
    if not is_same or jax.tree.map(jnp.shape, floats) != jax.tree.map(jnp.shape, start):
        raise InvalidValue("`equilibria` have other shapes than `x0`; pass positions like `x0`.")
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(floats)])
