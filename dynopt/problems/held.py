"""A loss part of which is held: its gradient is taken through one of two copies of the position."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax

from ..errors import InvalidType
from .field import AbstractField
from .position import Completed


class Held(AbstractField):
    """x ↦ ℓ(x, x), whose gradient is taken through the first argument alone: g(x) = ∂₁ℓ(x, x).

    The second argument is held, as by `jax.lax.stop_gradient`, and values and gradients are the
    same to the last bit. But derivatives of the field are right, which those behind
    `jax.lax.stop_gradient` are not: there a change of what is held counts as none. So `Modified`,
    `analysis.spectrum` and derivatives of outcomes can be used.

    This is how one loss trains two players. In a game, ℓ(x, held) is the sum over the players of
    the loss of a player at `held`, but for its own part, which is that of x. Target networks,
    semi-gradients and self-distillation are such losses, too.

    `jax.grad` of a `Held` is the field, so that it can be trained by any loop. The value ℓ(x, x) is
    not what is descended: it may rise while every player succeeds.

    - `loss`: called as `loss(x, held)`, or with data as `loss(x, held, data)`.

    **Raises:** `InvalidType` if `loss` is no function of the user, but a field already.

    >>> import dynopt
    >>> def loss(x, held):  # player 0 descends x₀x₁ and player 1 its negative
    ...     return x[0] * held[1] - held[0] * x[1]
    >>> game = dynopt.Problem(Held(loss), [1.0, 0.5], name="bilinear")
    >>> game.field([1.0, 0.5]).tolist()
    [0.5, -1.0]
    >>> print(f"{dynopt.analysis.order(dynopt.Modified(dynopt.SGD(0.02)), game).slope:.1f}")
    2.0
    """

    loss: Callable[..., Any]

    symbol = property(lambda self: "ℓ(x, x)")

    def __check_init__(self):
        if not callable(self.loss) or isinstance(self.loss, AbstractField):
            raise InvalidType(
                f"`loss` of Held must be a function of (x, held), got {self.loss!r}; pass for "
                "example lambda x, held: x[0] * held[1]."
            )

    def field(self, x, *data):
        return jax.grad(self.loss)(x, x, *data)

    def value(self, x, *data):
        return self.loss(x, x, *data)

    def terms(self, name):
        return {f"the loss of {name}": Doubled(self.loss)}

    def completed(self, constants):
        return Held(Completed(self.loss, constants, num_positions=2))

    def __call__(self, x, *data):
        return _value(x, self.loss, data)


class Doubled(eqx.Module):
    """x ↦ ℓ(x, x), with the gradient of that."""

    loss: Callable[..., Any]

    def __call__(self, x, *data):
        return self.loss(x, x, *data)


@eqx.filter_custom_jvp
def _value(x, loss, data):
    return loss(x, x, *data)


@_value.def_jvp
def _value_jvp(primals, tangents):
    held, loss, data = primals
    return eqx.filter_jvp(
        lambda x, loss, data: loss(x, held, *data), (held, loss, data), tuple(tangents)
    )
