"""Optimizers made from another optimizer, and wrappers, which change each of its steps."""

import abc
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import equinox as eqx

from ...errors import InvalidValue
from ..base import AbstractOptimizer, format_hyperparameter, must_be_optimizer, replace_fields
from ..twin import optax_parameters


class AbstractDerived(AbstractOptimizer):
    """An optimizer made from `optimizer`, of which it keeps the time step and the phase space."""

    optimizer: eqx.AbstractVar[AbstractOptimizer]

    @property
    def h(self):
        return self.optimizer.h

    elementwise = property(lambda self: self.optimizer.elementwise)
    evaluations = property(lambda self: self.optimizer.evaluations)
    positions = property(lambda self: self.optimizer.positions)
    regularity = property(lambda self: self.optimizer.regularity)

    def with_time_step(self, h):
        inner = self.optimizer.with_time_step(h)
        derived = eqx.tree_at(lambda derived: derived.optimizer, self, inner)
        derived.__check_init__()
        return derived

    def rewrap(self, optimizer: AbstractOptimizer):
        """The same made from another optimizer; its own times scale with the time step."""
        return replace_fields(self, optimizer=optimizer)

    def for_leaves(self, x0):
        return replace_fields(self, optimizer=self.optimizer.for_leaves(x0))

    def init(self, x, grad):
        return self.optimizer.init(x, grad)


@optax_parameters.register
def _(optimizer: AbstractDerived, y):
    return optax_parameters(optimizer.optimizer, y)


class AbstractWrapper(AbstractDerived):
    """An optimizer that changes each step, or each gradient, of another optimizer.

    A subclass defines `wrap_step`, which makes one step of the wrapper from one step of the
    inner optimizer. It is used for the step itself and for its expansion in powers of h.
    """

    @abc.abstractmethod
    def wrap_step(self, step: Callable, t, y, grad) -> Any:
        """One step from the time `t` to `t + h`, made from the inner `step(t, y, grad)`."""

    learning_rate = property(lambda self: self.optimizer.learning_rate)
    name = property(lambda self: f"{type(self).__name__}({self.optimizer.name})")

    def init_flow(self, x, grad, order=1):
        return self.optimizer.init_flow(x, grad, order)

    def step(self, t, y, grad):
        return self.wrap_step(self.optimizer.step, t, y, grad)

    def __repr__(self) -> str:
        values = self.hyperparameters()
        arguments = [repr(values.pop("optimizer", None))]
        for name, value in values.items():
            text = "..."
            with suppress(Exception):  # a repr must not fail
                text = _format(value)
            if value is not None:
                arguments.append(f"{name}={text}")
        return f"{type(self).__name__}({', '.join(arguments)})"


def _format(value: Any) -> str:
    if isinstance(value, dict):
        items = (f"{key!r}: {format_hyperparameter(number)}" for key, number in value.items())
        return f"{{{', '.join(items)}}}"
    if callable(value) or hasattr(value, "update"):
        return function_name(value)
    return format_hyperparameter(value)


def function_name(function: Any) -> str:
    """The name of a function or of an optax transformation; of a closure, that of its maker."""
    function = getattr(function, "update", function)
    name = getattr(function, "__qualname__", type(function).__name__)
    return name.partition(".<locals>")[0].strip("<>")


def must_be_wrappable(optimizer: AbstractOptimizer) -> None:
    """Refuse an optimizer that cannot be wrapped.

    **Raises:** `InvalidType` if `optimizer` is no optimizer; `InvalidValue` if its flow holds for
    its own map alone.
    """
    must_be_optimizer(optimizer)
    if optimizer.regularity.flow_depends_on_h:
        raise InvalidValue(
            f"the flow of {optimizer!r} belongs to its own map and not to a wrapped one; wrap the "
            "inner optimizer first and modify the wrapper, such as "
            "dynopt.Modified(dynopt.Averaged(optimizer, tau)) or "
            "dynopt.Modified(dynopt.Noisy(optimizer, sigma=0.5))."
        )
