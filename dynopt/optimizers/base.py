"""The abstract class: an optimizer is a map and a flow on one phase space, tied by a time step."""

import abc
import copy
import dataclasses
import inspect
from collections.abc import Callable
from contextlib import suppress
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
from .regularity import Regularity as Regularity

State = TypeVar("State")
Optimizer = TypeVar("Optimizer", bound="AbstractOptimizer")
Gradient = Callable[[Array], Array]
Loss = Callable[[Array], Array]


class AbstractOptimizer(eqx.Module, Generic[State]):
    """A map `step` and a vector field `vector_field` on one phase space, tied by a time step `h`.

    A point `y` of phase space is a NamedTuple: the position `x` first, then the memory. One step
    of the map takes the time `h`; the flow is the solution of dy/dt = vector_field(t, y). The
    flow is the limit of the map:

        lim (step - identity) / h = vector_field    as h -> 0,

    and the global error of the map against the flow over a fixed time is O(h^order).

    An optimizer stores `h` and the times of its flow, such as τ = h/(1-β), and not its decay
    rates, so that `with_time_step(h)` refines the map and leaves the flow alone. Its fields are
    numbers or scalar arrays, so that optimizers pass through `jax.jit`, `equinox.filter_vmap` and
    `jax.grad`. A subclass defines `h`, `init`, `step` and `vector_field`; everything else has a
    default. `dynopt.check_optimizer` tells whether it keeps this contract.

    **Raises:** `UnknownName` for a keyword that the constructor does not take; `InvalidType` and
    `InvalidValue` for a hyperparameter of dynopt's own optimizers that is not allowed.

    >>> import equinox as eqx, jax.numpy as jnp
    >>> from typing import NamedTuple
    >>> import dynopt
    >>> class ClippedState(NamedTuple):
    ...     x: jnp.ndarray
    >>> class Clipped(dynopt.AbstractOptimizer[ClippedState]):
    ...     h: float
    ...     def __init__(self, learning_rate):
    ...         self.h = learning_rate
    ...     learning_rate = property(lambda self: self.h)
    ...     def init(self, x, grad):
    ...         return ClippedState(x)
    ...     def step(self, t, y, grad):
    ...         return ClippedState(y.x - self.h * jnp.tanh(grad(y.x)))
    ...     def vector_field(self, t, y, grad):
    ...         return ClippedState(-jnp.tanh(grad(y.x)))
    >>> Clipped(0.1)
    Clipped(learning_rate=0.1)
    >>> dynopt.iterate(Clipped(0.1), dynopt.problems.booth(), steps=3).status
    <Status.ok: 0>
    """

    h: eqx.AbstractVar[Scalar]
    own_name: str | None = eqx.field(static=True, init=False, default=None)

    def __new__(cls, *args, **kwargs):
        parameters = _constructor_parameters(cls)
        names = [p.name for p in parameters]
        takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
        for name in kwargs:
            if name not in names and not takes_any:
                meant = ALSO_KNOWN_AS.get(name.casefold())
                raise unknown_name(f"option of {cls.__name__}", name, names, meant)
        return super().__new__(cls)

    # The contract: what an optimizer defines, and what it may define.

    @abc.abstractmethod
    def init(self, x: Array, grad: Gradient) -> State:
        """The first point of phase space of the map that starts at the position `x`.

        - `x`: the position, one vector of shape `(dim,)`.
        - `grad`: the function x ↦ ∇f(x).
        """

    @abc.abstractmethod
    def step(self, t: ArrayLike, y: State, grad: Gradient) -> State:
        """One step of the map, from time `t = k h` to `t + h`.

        - `t`: the time at which the step begins, a scalar.
        - `y`: the point of phase space at this time.
        - `grad`: the function x ↦ ∇f(x); a step may call it at any position.
        """

    @abc.abstractmethod
    def vector_field(self, t: ArrayLike, y: State, grad: Gradient) -> State:
        """dy/dt at the time `t` and the point `y`, with the fields and shapes of `y`.

        It reads the times of the optimizer and never `h`. The arguments are those of `step`.
        """

    def optax(self) -> optax.GradientTransformation:
        """The transformation of optax with the same map and the same hyperparameters.

        **Raises:** `InvalidValue` if the optimizer has none.
        """
        raise InvalidValue(
            f"no optax transformation is known for {AbstractOptimizer.__repr__(self)}; define "
            "its method `optax`, or use dynopt.iterate to run it."
        )

    def lyapunov(self, t: ArrayLike, y: State, loss: Loss) -> Array:
        """A Lyapunov function: a number that never rises along the flow.

        The docstring of each optimizer says how fast it falls, or that it is conserved.

        **Raises:** `InvalidValue` if none is known.
        """
        raise InvalidValue(
            f"no Lyapunov function is known for {AbstractOptimizer.__repr__(self)}; use an "
            "optimizer that defines one, such as dynopt.SGD(0.1)."
        )

    regularity = property(
        lambda self: Regularity(),
        doc="How smooth the map is as `h` shrinks, and the order of its global error.",
    )

    # What follows from the contract.

    def with_time_step(self: Optimizer, h) -> Optimizer:
        """The same flow with another time step `h` of the map.

        The map is smooth in `h` down to `h = 0`, where it is the identity.

        **Raises:** `InvalidValue` if `h` is negative, or longer than a memory time.
        """
        optimizer = eqx.tree_at(lambda optimizer: optimizer.h, self, nonnegative("h", h))
        optimizer.__check_init__()
        return optimizer

    def refine(self: Optimizer, n) -> Optimizer:
        """The same flow with the time step `h / n`.

        **Raises:** `InvalidValue` if `n` is not positive.
        """
        return self.with_time_step(self.h / positive("n", n))

    def hyperparameters(self) -> dict[str, Any]:
        """The arguments of the constructor with their values, as far as these can be read back."""
        fields = {field.name for field in dataclasses.fields(self)}
        values = {}
        for parameter in _constructor_parameters(type(self)):
            name = parameter.name
            if name in fields or not callable(getattr(type(self), name, None)):
                with suppress(Exception):  # an optimizer need not keep its arguments
                    values[name] = getattr(self, name)
        return values

    def init_flow(self, x: Array, grad: Gradient, order: int = 1) -> State:
        """The first point of phase space of the flow.

        It is that of the map, unless a flow of this `order` needs another one.
        """
        return must_be_point(self.init(x, grad))

    def for_leaves(self: Optimizer, x0: PyTree) -> Optimizer:
        """The optimizer for positions that are the leaves of `x0` in one vector."""
        return self

    def named(self: Optimizer, name: str | None) -> Optimizer:
        """The same optimizer under a name of your own, by which pictures call it.

        `None` takes the name away.

        **Raises:** `InvalidType` if `name` is no text, `InvalidValue` if it is blank.

        >>> from dynopt import Adam
        >>> Adam(0.1).named("Adam, 0.1").own_name
        'Adam, 0.1'
        """
        if not isinstance(name, str | None):
            raise InvalidType(f"`name` must be text, got {name!r}; put it in quotes.")
        if name is not None and not name.strip():
            raise InvalidValue(f"`name` is {name!r}, which shows nothing; pass None for no name.")
        return replace_fields(self, own_name=name)

    # Properties that wrappers and figures read.

    name = property(lambda self: type(self).__name__, doc="The name of the optimizer in figures.")
    elementwise = property(
        lambda self: True,
        doc="Whether each coordinate is updated by itself, so that positions may have any shape.",
    )
    evaluations = property(
        lambda self: 1, doc="How many gradients, each over its part of the data, one step takes."
    )
    positions = property(
        lambda self: ("x",), doc="The fields of a point of phase space that are positions."
    )

    def __check_init__(self):
        """No memory may be shorter than a step: its decay rate 1 - h/tau would be negative."""
        for name in ("tau", "tau1", "tau2"):
            tau = getattr(self, name, None)
            if isinstance(tau, float) and isinstance(self.h, float) and self.h > tau * (1 + 1e-12):
                raise InvalidValue(
                    f"the time step `h` = {self.h:g} is longer than the memory time "
                    f"`{name}` = {tau:g}; use h <= {tau:g}."
                )

    def __repr__(self) -> str:
        values = self.hyperparameters()
        arguments = []
        for parameter in _constructor_parameters(type(self)):
            text = "..."
            with suppress(Exception):  # a repr must not fail
                text = format_hyperparameter(values[parameter.name])
            arguments.append(f"{parameter.name}={text}")
        return f"{type(self).__name__}({', '.join(arguments)})"


ALSO_KNOWN_AS = {
    "lr": "learning_rate", "eta": "learning_rate", "step_size": "learning_rate",
    "beta": "momentum", "mu": "momentum", "alpha": "decay", "rho": "decay",
    "beta1": "b1", "beta2": "b2", "betas": "b1", "epsilon": "eps",
}  # fmt: skip


def _constructor_parameters(kind: type) -> list[inspect.Parameter]:
    _, *parameters = inspect.signature(kind.__init__).parameters.values()
    return parameters


def hyperparameter_defaults(kind: type[AbstractOptimizer]) -> dict[str, Any]:
    """The arguments of the constructor with their defaults; None where there is none."""
    parameters = _constructor_parameters(kind)
    return {p.name: None if p.default is p.empty else p.default for p in parameters}


def format_hyperparameter(value: Any) -> str:
    """A hyperparameter as one types it: a number has twelve digits, so that 1 - h/tau is 0.9."""
    if isinstance(value, bool) or not eqx.is_array_like(value):
        return repr(value)
    dtype = jnp.result_type(value)
    is_real = jnp.issubdtype(dtype, jnp.floating) or jnp.issubdtype(dtype, jnp.integer)
    if isinstance(value, Tracer) or jnp.shape(value) != () or not is_real:
        return eqx.tree_pformat(value)
    return f"{float(value):.12g}"


def replace_fields(optimizer: Optimizer, /, **fields: Any) -> Optimizer:
    """The optimizer with other values in these fields, static ones included."""
    optimizer = copy.copy(optimizer)
    for name, value in fields.items():
        object.__setattr__(optimizer, name, value)
    return optimizer


def must_be_optimizer(value: Any, example: str = "dynopt.SGD(0.1)") -> None:
    """**Raises:** `InvalidType` if `value` is no optimizer of dynopt."""
    if not isinstance(value, AbstractOptimizer):
        raise InvalidType(
            f"`optimizer` must be an optimizer of dynopt such as {example}, got {value!r}."
        )


def point_fault(y: Any) -> str | None:
    """What is wrong with the form of a point of phase space; None if nothing is."""
    if getattr(y, "_fields", ())[:1] == ("x",):  # only a NamedTuple has them
        return None
    return (
        f"`init` returns {type(y).__name__}, but a point of phase space must be a NamedTuple whose "
        "first field is `x`."
    )


def change_of_form(method: str, before: Any, after: Any) -> str | None:
    """How the point that a method returns differs in form from that it was given, if it does."""
    if type(after) is not type(before):
        given = "an array" if eqx.is_array(after) else type(after).__name__
        return (
            f"`{method}` returns {given}, but `init` returns {type(before).__name__}; return a "
            "point of the same phase space."
        )
    for name, old, new in zip(before._fields, before, after, strict=True):
        shapes = [jax.tree.map(jnp.shape, field) for field in (new, old)]
        if shapes[0] != shapes[1]:
            return (
                f"`{method}` returns the field `{name}` of shape {shapes[0]}, but that of `init` "
                f"has shape {shapes[1]}; return a field of the same shape."
            )
    return None


def must_keep_form(method: str, before: Any, after: Any) -> Any:
    """`after`, which a method returned at the point `before`, unless it differs in form.

    **Raises:** `InvalidType`.
    """
    fault = change_of_form(method, before, after)
    if fault is None and method == "step":  # a solver keeps the dtype by itself
        for old, new in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
            if getattr(new, "dtype", old.dtype) != old.dtype:
                fault = (
                    f"`step` turns {old.dtype} into {new.dtype}; keep the dtype of each field, "
                    "with Python numbers for constants."
                )
    if fault:
        raise InvalidType(f"{fault} dynopt.check_optimizer tells all that an optimizer needs.")
    return after


def must_be_point(y: Any) -> Any:
    """`y`, unless it is no point of phase space.

    **Raises:** `InvalidType`.
    """
    fault = point_fault(y)
    if fault:
        raise InvalidType(f"{fault} dynopt.check_optimizer tells all that an optimizer needs.")
    return y
