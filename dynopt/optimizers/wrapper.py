"""A page around a page: the same clock, with something done to each step or to each gradient."""

import abc
import inspect
from collections.abc import Callable
from typing import Any

import equinox as eqx
from jaxtyping import Array

from ..errors import InvalidValue
from .base import AbstractOptimizer, must_be_page, renewed, shown


class AbstractWrapper(AbstractOptimizer):
    """What a page around a page hands on: clock, start, and how derivations see the page inside.

    Its own part is `around`: what becomes of one step of the page inside, the same for the step itself and for its
    series in h.
    """

    optimizer: eqx.AbstractVar[AbstractOptimizer]

    @abc.abstractmethod
    def around(self, step: Callable, t, y, grad) -> Any:
        """One step from `t`, made of the step of the page inside, which takes t, y and grad."""

    def around_another(self, optimizer: AbstractOptimizer):
        """The same around another page; what it says of a step stays, and times go with the clock."""
        return renewed(self, optimizer=optimizer)

    @property
    def h(self):
        return self.optimizer.h

    learning_rate = property(lambda self: self.optimizer.learning_rate)
    name = property(lambda self: f"{type(self).__name__}({self.optimizer.name})")
    elementwise = property(lambda self: self.optimizer.elementwise)
    evaluations = property(lambda self: self.optimizer.evaluations)
    singular = property(lambda self: self.optimizer.singular)
    positions = property(lambda self: self.optimizer.positions)
    order = property(lambda self: self.optimizer.order)
    layer = property(lambda self: self.optimizer.layer)
    kinks = property(lambda self: self.optimizer.kinks)
    averages = property(lambda self: self.optimizer.averages)
    settling = property(lambda self: self.optimizer.settling)
    flow_ulps = property(lambda self: self.optimizer.flow_ulps)
    flow_knows_h = property(lambda self: self.optimizer.flow_knows_h)

    def at(self, h):
        page = eqx.tree_at(lambda page: page.optimizer, self, self.optimizer.at(h))
        page.__check_init__()
        return page

    def for_leaves(self, x0):
        return renewed(self, optimizer=self.optimizer.for_leaves(x0))

    def init(self, x, grad):
        return self.optimizer.init(x, grad)

    def init_flow(self, x, grad, order=1):
        return self.optimizer.init_flow(x, grad, order)

    def step(self, t, y, grad):
        return self.around(self.optimizer.step, t, y, grad)

    def germ(self, h, t, y, grad):
        return self.at(h).around(lambda t, y, grad: self.optimizer.germ(h, t, y, grad), t, y, grad)

    def taylor(self, curve, terms, t):
        return self.optimizer.taylor(curve, terms, t)

    def weights(self, t, h):
        return self.optimizer.weights(t, h)

    def parameters(self, y):
        return self.optimizer.parameters(y)

    def __repr__(self) -> str:
        names = [n for n in inspect.signature(type(self).__init__).parameters if n not in ("self", "optimizer")]
        given = (f"{n}={_typed(getattr(self, n))}" for n in names if getattr(self, n) is not None)
        return f"{type(self).__name__}({', '.join([repr(self.optimizer), *given])})"


class AbstractFactor(AbstractWrapper):
    """The position moves by a factor of what the page inside moves it by; its memory as ever."""

    @abc.abstractmethod
    def factor(self, t) -> Array:
        """One number, or one for each coordinate."""

    def around(self, step, t, y, grad):
        after = step(t, y, grad)
        return after._replace(x=y.x + self.factor(t) * (after.x - y.x))

    def flow(self, t, y, grad):
        velocity = self.optimizer.flow(t, y, grad)
        return velocity._replace(x=self.factor(t) * velocity.x)

    def energy(self, t, y, loss):
        """That of the page inside, if that is the loss: where there is no memory, no factor makes it rise."""
        return (self.optimizer if len(y) == 1 else super()).energy(t, y, loss)


def _typed(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{{', '.join(f'{k!r}: {shown(v)}' for k, v in value.items())}}}"
    return called(value) if callable(value) or hasattr(value, "update") else shown(value)


def called(function: Any) -> str:
    """What a function is called, or an optax transformation; of one that another made, what that one is called."""
    function = getattr(function, "update", function)
    return getattr(function, "__qualname__", type(function).__name__).partition(".<locals>")[0].strip("<>")


def must_be_inside(optimizer: AbstractOptimizer) -> None:
    """**Raises:** `InvalidType` if `optimizer` is no page; `InvalidValue` if its flow is made for its own map alone."""
    must_be_page(optimizer)
    if optimizer.flow_knows_h:
        raise InvalidValue(
            f"the flow of {optimizer!r} is that of its own map, not of what is around it; wrap its page, "
            "and modify that: dynopt.Modified(dynopt.Averaged(page, tau)), say."
        )


def must_move_x_alone(optimizer: AbstractOptimizer, what: str) -> None:
    """**Raises:** `InvalidType` if `optimizer` is no page; `InvalidValue` if its memory holds positions, too."""
    must_be_inside(optimizer)
    if optimizer.positions != ("x",):
        raise InvalidValue(
            f"{what} moves the position alone, but the memory of {optimizer!r} holds a position, "
            f"`{optimizer.positions[1]}`; wrap a page without, such as dynopt.SGD(0.1)."
        )
