"""Pages that hold a page: what they hand on, and what they do to each step."""

import abc
import inspect
from collections.abc import Callable
from typing import Any

import equinox as eqx

from ...errors import InvalidValue
from ..base import AbstractOptimizer, must_be_optimizer, replace_fields, shown


class AbstractDerived(AbstractOptimizer):
    """What every page that holds a page hands on: its clock, its phase space, its start, and what is known of it."""

    optimizer: eqx.AbstractVar[AbstractOptimizer]

    @property
    def h(self):
        return self.optimizer.h

    elementwise = property(lambda self: self.optimizer.elementwise)
    evaluations = property(lambda self: self.optimizer.evaluations)
    positions = property(lambda self: self.optimizer.positions)
    regularity = property(lambda self: self.optimizer.regularity)

    def with_time_step(self, h):
        optimizer = eqx.tree_at(
            lambda optimizer: optimizer.optimizer, self, self.optimizer.with_time_step(h)
        )
        optimizer.__check_init__()
        return optimizer

    def for_leaves(self, x0):
        return replace_fields(self, optimizer=self.optimizer.for_leaves(x0))

    def init(self, x, grad):
        return self.optimizer.init(x, grad)

    def parameters(self, y):
        return self.optimizer.parameters(y)


class AbstractWrapper(AbstractDerived):
    """A page around a page: the same clock, with something done to each step or to each gradient.

    Its own part is `around`: what becomes of one step of the page inside, the same for the step itself and for its
    series in h.
    """

    @abc.abstractmethod
    def wrap_step(self, step: Callable, t, y, grad) -> Any:
        """One step from `t`, made of the step of the page inside, which takes t, y and grad."""

    def rewrap(self, optimizer: AbstractOptimizer):
        """The same around another page; what it says of a step stays, and times go with the clock."""
        return replace_fields(self, optimizer=optimizer)

    learning_rate = property(lambda self: self.optimizer.learning_rate)
    name = property(lambda self: f"{type(self).__name__}({self.optimizer.name})")

    def init_flow(self, x, grad, order=1):
        return self.optimizer.init_flow(x, grad, order)

    def step(self, t, y, grad):
        return self.wrap_step(self.optimizer.step, t, y, grad)

    def __repr__(self) -> str:
        names = [
            n
            for n in inspect.signature(type(self).__init__).parameters
            if n not in ("self", "optimizer")
        ]
        given = (f"{n}={_typed(getattr(self, n))}" for n in names if getattr(self, n) is not None)
        return f"{type(self).__name__}({', '.join([repr(self.optimizer), *given])})"


def _typed(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{{', '.join(f'{k!r}: {shown(v)}' for k, v in value.items())}}}"
    return called(value) if callable(value) or hasattr(value, "update") else shown(value)


def called(function: Any) -> str:
    """What a function is called, or an optax transformation; of one that another made, what that one is called."""
    function = getattr(function, "update", function)
    return (
        getattr(function, "__qualname__", type(function).__name__)
        .partition(".<locals>")[0]
        .strip("<>")
    )


def must_be_inside(optimizer: AbstractOptimizer) -> None:
    """**Raises:** `InvalidType` if `optimizer` is no page; `InvalidValue` if its flow is made for its own map alone."""
    must_be_optimizer(optimizer)
    if optimizer.regularity.flow_depends_on_h:
        raise InvalidValue(
            f"the flow of {optimizer!r} is that of its own map, not of what is around it; wrap its page, "
            "and modify that: dynopt.Modified(dynopt.Averaged(page, tau)), say."
        )
