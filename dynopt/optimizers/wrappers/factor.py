"""Wrappers that multiply the change of the position in each step by a factor."""

import abc

from jaxtyping import Array

from ...errors import InvalidValue
from ..base import AbstractOptimizer
from .base import AbstractWrapper, must_be_wrappable


class AbstractFactor(AbstractWrapper):
    """Multiplies the change of the position by a factor, and leaves that of the memory alone."""

    @abc.abstractmethod
    def factor(self, t) -> Array:
        """One number, or one for each coordinate."""

    def wrap_step(self, step, t, y, grad):
        y_next = step(t, y, grad)
        return y_next._replace(x=y.x + self.factor(t) * (y_next.x - y.x))

    def vector_field(self, t, y, grad):
        dy = self.optimizer.vector_field(t, y, grad)
        return dy._replace(x=self.factor(t) * dy.x)

    def lyapunov(self, t, y, loss):
        """That of the inner optimizer, if it has no memory: then no factor makes it rise."""
        has_memory = len(y) > 1
        return (super() if has_memory else self.optimizer).lyapunov(t, y, loss)


def must_move_x_alone(optimizer: AbstractOptimizer, wrapper: str) -> None:
    """Refuse an optimizer whose memory holds a position, which `wrapper` would leave behind.

    **Raises:** `InvalidValue`; `InvalidType` if `optimizer` is no optimizer.
    """
    must_be_wrappable(optimizer)
    if optimizer.positions != ("x",):
        raise InvalidValue(
            f"{wrapper} moves the position alone, but the memory of {optimizer!r} holds a "
            f"position, `{optimizer.positions[1]}`; wrap an optimizer whose memory holds none, "
            "such as dynopt.SGD(0.1)."
        )
