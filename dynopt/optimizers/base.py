"""An optimizer is a map and a flow on one phase space; the flow is the limit of the map as its clock is refined."""

import abc
import copy
import inspect
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jax.core import Tracer
from jax.typing import ArrayLike
from jaxtyping import Array, PyTree

from ..checks import Scalar, nonnegative, positive
from ..errors import InvalidType, InvalidValue, unknown_name
from .averages import (  # what the pages need
    averaging_weight as averaging_weight,
    bias_corrected as bias_corrected,
    safe_divide as safe_divide,
)
from .regularity import Regularity as Regularity

State = TypeVar("State")
Optimizer = TypeVar("Optimizer", bound="AbstractOptimizer")
Gradient = Callable[[Array], Array]
Loss = Callable[[Array], Array]


class AbstractOptimizer(eqx.Module, Generic[State]):
    """A map `step` and a flow `flow` on one phase space, tied by a clock: one step takes the time `h`.

    A point `y` of phase space is a NamedTuple, position `x` first, then the memory. A page stores `h` and the times of
    its flow, never rates, so that `at(h)` refines the clock and leaves the flow alone:

        lim (step - id) / h = flow    as h -> 0,

    and the map parts from the flow by O(h^order) over a fixed time. Fields are numbers or scalar arrays: pages pass
    through `jax.jit`, `equinox.filter_vmap` and `jax.grad`.
    """

    h: eqx.AbstractVar[Scalar]

    def __new__(cls, *args, **kwargs):
        known = [p for p in inspect.signature(cls.__init__).parameters if p != "self"]
        for name in kwargs:
            if name not in known:
                raise unknown_name(
                    f"option of {cls.__name__}", name, known, ALSO_KNOWN_AS.get(name.casefold())
                )
        return super().__new__(cls)

    @abc.abstractmethod
    def init(self, x: Array, grad: Gradient) -> State:
        """The map's first point of phase space."""

    @abc.abstractmethod
    def step(self, t: ArrayLike, y: State, grad: Gradient) -> State:
        """The map, from time `t = k h` to `t + h`."""

    @abc.abstractmethod
    def vector_field(self, t: ArrayLike, y: State, grad: Gradient) -> State:
        """dy/dt at time `t`; reads the times of the page, never `h`."""

    @abc.abstractmethod
    def optax(self) -> optax.GradientTransformation:
        """The library twin, with the same hyperparameters."""

    def parameters(self, y: State) -> Array:
        """What the library twin carries as its parameters, at this point of phase space: the position."""
        return y.x  # pyright: ignore[reportAttributeAccessIssue]

    def lyapunov(self, t: ArrayLike, y: State, loss: Loss) -> Array:
        """A number that never rises along the flow, where one is known (each page says how fast it falls).

        **Raises:** `InvalidValue` if none is known.
        """
        raise InvalidValue(
            f"no energy is known for {self!r}; pass a page that declares one, such as dynopt.SGD(0.1)."
        )

    name = property(lambda self: type(self).__name__, doc="What it is called in pictures.")
    elementwise = property(
        lambda self: True,
        doc="Whether it treats every coordinate by itself, so that any shape fits.",
    )
    evaluations = property(
        lambda self: 1, doc="How many gradients, each over its part of the data, one step takes."
    )
    positions = property(
        lambda self: ("x",), doc="Which fields of a point of phase space are positions."
    )
    regularity = property(
        lambda self: Regularity(), doc="How regular the map is as the step size shrinks."
    )
    order = property(
        lambda self: self.regularity.order, doc="The power of `h` with which the gap closes."
    )

    def with_time_step(self: Optimizer, h) -> Optimizer:
        """The same flow on another clock; smooth in `h` down to `h = 0`, where the map is the identity."""
        optimizer = eqx.tree_at(lambda optimizer: optimizer.h, self, nonnegative("h", h))
        optimizer.__check_init__()
        return optimizer

    def for_leaves(self: Optimizer, x0: PyTree) -> Optimizer:
        """The same page for positions that hold the leaves of `x0` in one vector, where leaves matter to it."""
        return self

    def refine(self: Optimizer, n) -> Optimizer:
        """The same flow with `n` steps in the time of one."""
        return self.with_time_step(self.h / positive("n", n))

    def __check_init__(self):
        """No memory may be shorter than a step: its rate 1 - h/tau would be negative."""
        for name in ("tau", "tau1", "tau2"):
            tau = getattr(self, name, None)
            if isinstance(tau, float) and isinstance(self.h, float) and self.h > tau * (1 + 1e-12):
                raise InvalidValue(
                    f"the step `h` = {self.h:g} is longer than the memory time `{name}` = {tau:g}; use h <= {tau:g}."
                )

    def __repr__(self) -> str:
        names = [p for p in inspect.signature(type(self).__init__).parameters if p != "self"]
        return (
            f"{type(self).__name__}({', '.join(f'{n}={shown(getattr(self, n))}' for n in names)})"
        )

    def init_flow(self, x: Array, grad: Gradient, order: int = 1) -> State:
        """The flow's first point of phase space: that of the map, unless the page says that `order` needs another."""
        return self.init(x, grad)


ALSO_KNOWN_AS = {
    "lr": "learning_rate", "eta": "learning_rate", "step_size": "learning_rate",
    "beta": "momentum", "mu": "momentum", "alpha": "decay", "rho": "decay",
    "beta1": "b1", "beta2": "b2", "betas": "b1", "epsilon": "eps",
}  # fmt: skip


def shown(value: Any) -> str:
    """A hyperparameter as it was typed: times hold 1 - h/tau to one ulp only, so print twelve digits."""
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, jax.Array) and (value.shape != () or isinstance(value, Tracer)):
        return eqx.tree_pformat(value)
    return f"{float(value):.12g}"


def arguments(optimizer: AbstractOptimizer) -> dict[str, Any]:
    """What the page was made from; nothing if it does not remember."""
    names = [p for p in inspect.signature(type(optimizer).__init__).parameters if p != "self"]
    return (
        {name: getattr(optimizer, name) for name in names}
        if all(hasattr(optimizer, name) for name in names)
        else {}
    )


def replace_fields(optimizer: Optimizer, /, **fields: Any) -> Optimizer:
    """The page with other values in these fields, static ones too."""
    optimizer = copy.copy(optimizer)
    for name, value in fields.items():
        object.__setattr__(optimizer, name, value)
    return optimizer


def must_be_optimizer(value: Any, example: str = "dynopt.SGD(0.1)") -> None:
    """**Raises:** `InvalidType` if `value` is no page."""
    if not isinstance(value, AbstractOptimizer):
        raise InvalidType(f"`optimizer` must be a page such as {example}, got {value!r}.")


def coefficient(curve: Callable[[Array], Any], k: int, dtype) -> Any:
    """The coefficient of h^k in a curve of h that is smooth at 0, by `k` nested `jax.jvp`."""

    def slope(curve, i):
        return lambda h: jax.tree.map(lambda d: d / i, jax.jvp(curve, (h,), (jnp.ones_like(h),))[1])

    for i in range(1, k + 1):
        curve = slope(curve, i)
    return curve(jnp.zeros((), dtype))
