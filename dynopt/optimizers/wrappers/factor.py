"""Pages that move the position by a factor of what the page inside moves it by."""

import abc

from jaxtyping import Array

from ...errors import InvalidValue
from ..base import AbstractOptimizer
from .base import AbstractWrapper, must_be_wrappable


class AbstractFactor(AbstractWrapper):
    """The position moves by a factor of what the page inside moves it by; its memory as ever."""

    @abc.abstractmethod
    def factor(self, t) -> Array:
        """One number, or one for each coordinate."""

    def wrap_step(self, step, t, y, grad):
        after = step(t, y, grad)
        return after._replace(x=y.x + self.factor(t) * (after.x - y.x))

    def vector_field(self, t, y, grad):
        velocity = self.optimizer.vector_field(t, y, grad)
        return velocity._replace(x=self.factor(t) * velocity.x)

    def lyapunov(self, t, y, loss):
        """That of the page inside, if that is the loss: where there is no memory, no factor makes it rise."""
        return (self.optimizer if len(y) == 1 else super()).lyapunov(t, y, loss)


def must_move_x_alone(optimizer: AbstractOptimizer, what: str) -> None:
    """**Raises:** `InvalidType` if `optimizer` is no page; `InvalidValue` if its memory holds positions, too."""
    must_be_wrappable(optimizer)
    if optimizer.positions != ("x",):
        raise InvalidValue(
            f"{what} moves the position alone, but the memory of {optimizer!r} holds a position, "
            f"`{optimizer.positions[1]}`; wrap a page without, such as dynopt.SGD(0.1)."
        )
