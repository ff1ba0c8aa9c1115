"""The parts of the contract of an optimizer: one check for each, and the sentence if it fails."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PyTree

from ..derivations import Memoryless, Modified, Optax
from ..derivations.expansion import settling_time, small_step, taylor
from ..errors import InvalidValue
from ..optimizers import AbstractOptimizer
from ..optimizers.base import (
    Regularity,
    change_of_form,
    hyperparameter_defaults,
    point_fault,
)
from ..optimizers.twin import optax_parameters
from ..problems import Problem
from ..problems.field import gradient, partial_gradient
from ..runs.prepare import all_finite, fit_to_start, flatten_loss, prepare_run
from .order import Order, order
from .slope import SLOPE_TOLERANCE

STEPS = 8  # of the map; the contract is checked at the points that it reaches
CHECKED_STEPS = (3, 8)
TOLERANCE = 1e-6  # of differences that are 0 but for round-off, relative to 1 + the size
ORDER_STEPS, REFINEMENTS = 128, 4  # of the maps whose order is measured
COARSE, FINE = 2**3, 2**18  # their first time step is h / COARSE, and at a second try h / FINE


class NotChecked(Exception):
    """Raised by a check that does not apply, with the reason."""


class Case(NamedTuple):
    """What all checks use: an optimizer in float64, a problem, and points of a run."""

    optimizer: AbstractOptimizer
    fitted: AbstractOptimizer
    problem: Problem
    start: PyTree
    x: Array
    points: list[tuple[Any, Any]]


def make_case(optimizer: AbstractOptimizer, problem: Problem) -> Case:
    """What all checks use; it raises what the optimizer raises when it learns the leaves."""
    start = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), problem.start())
    fitted, *_ = prepare_run(optimizer, problem, start)
    return Case(optimizer, fitted, problem, start, ravel_pytree(start)[0], [])


def _check_state(case: Case) -> str | None:
    optimizer, x, (_, _, grad) = case.fitted, case.x, flatten_loss(case.problem.loss, case.start)
    if not isinstance(optimizer, AbstractOptimizer):
        return (
            f"`for_leaves` returns {type(optimizer).__name__}; return an optimizer, such as self."
        )
    if not isinstance(optimizer.regularity, Regularity):
        return (
            f"`regularity` must be a dynopt.optimizers.regularity.Regularity, got "
            f"{optimizer.regularity!r}; leave it out if the map is smooth."
        )
    if not eqx.is_inexact_array(optimizer.h):
        return f"`h` must be a float or a scalar array of floats, got {case.optimizer.h!r}."
    y: Any = optimizer.init(x, grad)
    fault = point_fault(y)
    if fault:
        return fault
    fields = y._fields
    for name, field in zip(fields, y, strict=True):
        if not eqx.is_array(field):
            return f"the field `{name}` of `init` must be an array, got {field!r}."
    if y.x.shape != x.shape or not (y.x == x).all():
        return "`init` does not start at the position `x` that it was given."
    for method in ("step", "vector_field"):
        function, t = getattr(optimizer, method), jnp.zeros((), x.dtype)
        z = jax.eval_shape(lambda y, function=function, t=t: function(t, y, grad), y)
        fault = change_of_form(method, y, z)
        if fault:
            return fault
    for k in range(STEPS):
        t = k * optimizer.h
        y = _step(optimizer, case.problem.loss, case.start, t, y)
        if not all_finite(y):
            return (
                f"the map on {case.problem.name} is not finite after {k + 1} steps; use a smaller "
                "learning rate or another problem."
            )
        if k + 1 in CHECKED_STEPS:
            case.points.append(((k + 1) * optimizer.h, y))
    return None


def _check_dtype(case: Case) -> str | None:
    for dtype in (jnp.float32, jnp.float64):
        start = jax.tree.map(lambda leaf, dtype=dtype: jnp.asarray(leaf, dtype), case.start)
        optimizer = fit_to_start(case.optimizer, start, dtype)

        def results(start, optimizer=optimizer):
            x, _, grad = flatten_loss(case.problem.loss, start)
            y, t = optimizer.init(x, grad), jnp.zeros((), x.dtype)
            z = optimizer.step(t, y, grad), optimizer.vector_field(t, y, grad)
            return dict(zip(("init", "step", "vector_field"), (y, *z), strict=True))

        for method, y in jax.eval_shape(results, start).items():
            for name, field in zip(y._fields, y, strict=True):
                if field.dtype != dtype:
                    return (
                        f"`{method}` returns the field `{name}` in {field.dtype} for a position in "
                        f"{jnp.dtype(dtype)}; use Python numbers for constants, and jnp.zeros_like "
                        "and x.dtype for arrays."
                    )
    return None


def _check_identity(case: Case) -> str | None:
    if _derives_its_flow(case.optimizer):
        raise NotChecked("the flow is derived from the map.")
    still = case.fitted.with_time_step(jnp.zeros_like(case.fitted.h))  # `_step` is compiled once
    for t, y in case.points:
        worst = _difference(_step(still, case.problem.loss, case.start, t, y), y)
        if worst:
            return (
                f"with h = 0 a step changes the field `{worst.field}` by {worst.size:.3g}; every "
                "change must go to 0 with `h`."
            )
    return None


def _check_limit(case: Case) -> str | None:
    if _derives_its_flow(case.optimizer):
        raise NotChecked("the flow is derived from the map.")
    for t, y in case.points:
        limit = _derivative_of_step(case.fitted, case.problem.loss, case.start, t, y)
        field = _vector_field(case.fitted, case.problem.loss, case.start, t, y)
        worst = _difference(field, limit)
        if worst:
            return (
                f"in the field `{worst.field}` the vector field differs by {worst.size:.3g} from "
                f"the derivative of the step with respect to h at h = 0 (at t = {float(t):.3g}); "
                "the flow must be the limit of the map."
            )
    return None


def _check_time_step(case: Case) -> str | None:
    half = case.fitted.with_time_step(case.fitted.h / 2)
    if type(half) is not type(case.fitted) or not np.isclose(half.h, case.fitted.h / 2):
        return "with_time_step(h) must return the same optimizer with the time step `h`."
    if case.optimizer.regularity.flow_depends_on_h:
        return None
    for t, y in case.points:
        fields = (
            _vector_field(optimizer, case.problem.loss, case.start, t, y)
            for optimizer in (half, case.fitted)
        )
        worst = _difference(*fields)
        if worst:
            return (
                f"with_time_step(h/2) changes the vector field by {worst.size:.3g} in the field "
                f"`{worst.field}`; store memory times such as tau = h / (1 - beta), not decay "
                "rates, and do not read `h` in `vector_field`."
            )
    return None


def _check_hyperparameters(case: Case) -> str | None:
    optimizer = case.optimizer
    text, values = repr(optimizer), optimizer.hyperparameters()
    missing = [f"`{n}`" for n in hyperparameter_defaults(type(optimizer)) if n not in values]
    if missing:
        raise NotChecked(f"the optimizer does not keep its argument {' and '.join(missing)}.")
    again = type(optimizer)(**values)
    if repr(again) != text:
        return (
            f"made again from its hyperparameters it is {again!r}, not {text}; let each attribute "
            "give back what the constructor took."
        )
    numbers = jax.tree.leaves(eqx.filter(optimizer, eqx.is_inexact_array))
    if any(number.dtype != jnp.float64 for number in numbers):
        return None  # a memory time in less precision gives its decay rate only roughly
    fitted = fit_to_start(again, case.start, jnp.float64)
    for t, y in case.points:
        steps = (_step(o, case.problem.loss, case.start, t, y) for o in (fitted, case.fitted))
        worst = _difference(*steps)
        if worst:
            return (
                f"made again from its hyperparameters its step differs by {worst.size:.3g} in the "
                f"field `{worst.field}`; let each attribute give back what the constructor took."
            )
    return None


def _check_twin(case: Case) -> str | None:
    optimizer, loss = case.fitted, case.problem.loss
    try:
        twin = case.optimizer.optax()
    except InvalidValue:
        raise NotChecked("it defines no `optax()`.") from None
    number, has_parts = optimizer.evaluations, hasattr(loss, "part")

    @jax.jit
    def step(params, state):
        before = params
        for i in range(number):  # optax makes one update per evaluation; the last one moves
            g = partial_gradient(loss, before, i, number) if has_parts else gradient(loss, before)
            update, state = twin.update(g, state, params)
            params = jax.tree.map(jnp.add, params, update)
        return params, state

    _, _, grad = flatten_loss(loss, case.start)
    y = optimizer.init(case.x, grad)
    params, state = case.start, twin.init(case.start)
    for k in range(STEPS):
        y = _step(optimizer, loss, case.start, k * optimizer.h, y)
        params, state = step(params, state)
        expected = optax_parameters(optimizer, y)
        difference = float(jnp.abs(ravel_pytree(params)[0] - expected).max())
        if not difference <= TOLERANCE * (1 + float(jnp.abs(expected).max())):
            return (
                f"after {k + 1} steps the transformation of optax and the map differ by "
                f"{difference:.3g}; correct `optax()`, or leave it out."
            )
    return None


def _check_order(case: Case) -> str | None:
    expected = case.optimizer.regularity.order
    if case.optimizer.regularity.nonsmooth:
        raise NotChecked("the map is declared nonsmooth.")
    first_time = 0.0 if expected <= 1 else float(settling_time(case.optimizer))
    measured = _measure_order(case, COARSE, first_time)
    if measured.window is None:
        raise NotChecked(f"{measured.reason}.")
    slope = float(measured.fitted[-1])
    if abs(slope - expected) <= SLOPE_TOLERANCE:
        return None
    if first_time == 0:  # an order is a limit, which may appear only at very short time steps
        finer = _measure_order(case, FINE, first_time)
        if finer.window is not None and abs(float(finer.fitted[-1]) - expected) <= SLOPE_TOLERANCE:
            return None
    return (
        f"the global error on {case.problem.name} goes to 0 as h^{slope:.2f}, but the declared "
        f"order is {expected:g}; correct the vector field, or `regularity`."
    )


def _measure_order(case: Case, factor: int, first_time: float) -> Order:
    refined = case.optimizer.refine(factor)
    time = first_time + ORDER_STEPS * float(refined.h)
    return order(refined, case.problem, time, REFINEMENTS, x0=case.start)


PARTS: dict[str, Callable[[Case], str | None]] = {
    "state": _check_state,
    "dtype": _check_dtype,
    "identity": _check_identity,
    "limit": _check_limit,
    "time step": _check_time_step,
    "hyperparameters": _check_hyperparameters,
    "twin": _check_twin,
    "order": _check_order,
}


# --- what the checks share


@eqx.filter_jit
def _step(optimizer: AbstractOptimizer, loss: Callable, start: PyTree, t: Any, y: Any) -> Any:
    return optimizer.step(t, y, flatten_loss(loss, start)[2])


@eqx.filter_jit
def _vector_field(
    optimizer: AbstractOptimizer, loss: Callable, start: PyTree, t: Array, y: Any
) -> Any:
    return optimizer.vector_field(t, y, flatten_loss(loss, start)[2])


@eqx.filter_jit
def _derivative_of_step(
    optimizer: AbstractOptimizer, loss: Callable, start: PyTree, t: Array, y: Any
) -> Any:
    """d step/dh at h = 0."""
    grad = flatten_loss(loss, start)[2]
    return taylor(optimizer, lambda h: small_step(optimizer, h, t, y, grad), 1, t)[0]


def _derives_its_flow(optimizer: AbstractOptimizer) -> bool:
    """Whether it, or an optimizer inside it, finds its vector field from its map."""
    inner = getattr(optimizer, "optimizer", None)
    if isinstance(optimizer, Optax | Memoryless | Modified):
        return True
    return isinstance(inner, AbstractOptimizer) and _derives_its_flow(inner)


class _Difference(NamedTuple):
    field: str
    size: float


def _difference(a: Any, b: Any) -> _Difference | None:
    """The field in which two points of phase space differ most; None if they agree."""
    sizes, scale = {}, 1.0
    for name, left, right in zip(b._fields, a, b, strict=True):
        size = float(jnp.abs(left - right).max())
        sizes[name] = size if np.isfinite(size) else np.inf
        scale = max(scale, 1 + float(jnp.abs(right).max()))
    field = max(sizes, key=lambda name: sizes[name])
    return _Difference(field, sizes[field]) if sizes[field] > TOLERANCE * scale else None
