"""The contract of an optimizer, checked part by part, with a sentence for each part that fails."""

import warnings
from collections.abc import Callable
from functools import cache
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
from ..optimizers.base import hyperparameter_defaults, must_be_optimizer
from ..optimizers.twin import optax_parameters
from ..problems import Problem, booth
from ..problems.problem import must_be_problem
from ..runs.prepare import fit_to_start, flatten_loss, prepare_run
from ..runs.setup import safe_repr
from .order import Order, order
from .slope import SLOPE_TOLERANCE

STEPS = 8  # of the map; the contract is checked at the points that it reaches
CHECKED_STEPS = (3, 8)
TOLERANCE = 1e-6  # of differences that are 0 but for round-off, relative to 1 + the size
ORDER_STEPS, REFINEMENTS = 128, 4  # of the maps whose order is measured
COARSE, FINE = 2**3, 2**18  # their first time step is h / COARSE, and at a second try h / FINE

HOLDS, FAILS, NOT_CHECKED = "holds", "fails", "not checked"


class Finding(NamedTuple):
    """What a check found about one part of the contract.

    - `part`: the name of the part.
    - `status`: "holds", "fails" or "not checked".
    - `sentence`: what fails and what may help, or why the part was not checked.
    """

    part: str
    status: str
    sentence: str = ""


class ContractCheck(eqx.Module):
    """Whether an optimizer keeps the contract of `dynopt.AbstractOptimizer`.

    It is true, as in `if check_optimizer(...)`, unless a part fails. It prints as sentences.

    - `findings`: one `Finding` for each part of the contract.
    - `failures`: the sentence of each part that fails, by the name of the part.
    - `optimizer`, `problem`: the optimizer that was checked, and the problem on which it ran.
    """

    optimizer: AbstractOptimizer
    problem: Problem
    findings: tuple[Finding, ...] = eqx.field(static=True)

    @property
    def failures(self) -> dict[str, str]:
        return {f.part: f.sentence for f in self.findings if f.status == FAILS}

    def __bool__(self) -> bool:
        return not self.failures

    def __repr__(self) -> str:
        verb = "keeps" if self else "breaks"
        name = safe_repr(self.optimizer)
        lines = [f"{name} {verb} the contract of an optimizer, as checked on {self.problem.name}."]
        lines += [f"- {part} fails: {sentence}" for part, sentence in self.failures.items()]
        parts = [f.part for f in self.findings if f.status == HOLDS]
        lines += [f"- These parts hold: {', '.join(parts)}."] if parts else []
        unchecked = [f for f in self.findings if f.status == NOT_CHECKED]
        lines += [f"- {f.part} was not checked: {f.sentence}" for f in unchecked]
        return "\n".join(lines)


class _NotChecked(Exception):
    """Raised by a check that does not apply, with the reason."""


class _Case(NamedTuple):
    """What all checks use: an optimizer in float64, a problem, and points of a run."""

    optimizer: AbstractOptimizer
    fitted: AbstractOptimizer
    problem: Problem
    start: PyTree
    x: Array
    points: list[tuple[Any, Any]]


def check_optimizer(
    optimizer: AbstractOptimizer, problem: Problem | None = None, *, throw: bool = False
) -> ContractCheck:
    """Check that an optimizer keeps the contract of `dynopt.AbstractOptimizer`, part by part.

    A short run of the map gives the points of phase space. All of it is computed in float64,
    whatever JAX is set to. The parts are

    - state: `init`, `step` and `vector_field` give a NamedTuple whose first field is `x`, with the
      same fields and shapes; `init` starts at the position that it was given.
    - dtype: float32 stays float32, and float64 stays float64.
    - identity: with the time step h = 0 the map stays where it is.
    - limit: the vector field is the derivative of the step with respect to h at h = 0.
    - time step: `with_time_step` sets `h` and leaves the vector field alone.
    - hyperparameters: `repr` does not fail, and the constructor makes the same optimizer again
      from `hyperparameters()`.
    - twin: the transformation that `optax()` gives, if there is one, moves as the map does.
    - order: the global error goes to 0 with the power of h that `regularity.order` declares.

    Identity and limit are not checked where a flow is derived from its map (`Optax`, `Memoryless`,
    `Modified`). The order is measured once all other parts hold, and not where the map is declared
    nonsmooth.

    - `problem`: the problem on which the optimizer runs, by default `problems.booth()`, with a
      column as its position if the optimizer moves matrices. It must fit the optimizer.
    - `throw`: raise if a part fails.

    **Raises:** `InvalidType` if `optimizer` is no optimizer; `InvalidValue` if a part fails and
    `throw` is true; and as `iterate` does, if the problem does not fit.

    >>> from dynopt import SGD
    >>> check_optimizer(SGD(0.01))
    SGD(learning_rate=0.01) keeps the contract of an optimizer, as checked on booth.
    - These parts hold: state, dtype, identity, limit, time step, hyperparameters, twin, order.
    >>> class Uphill(SGD):
    ...     def vector_field(self, t, y, grad):
    ...         return type(y)(grad(y.x))
    >>> list(check_optimizer(Uphill(0.01)).failures)
    ['limit']
    """
    must_be_optimizer(optimizer)
    with jax.enable_x64(True):
        problem = _default_problem(optimizer.elementwise) if problem is None else problem
        must_be_problem(problem)
        start = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), problem.start())
        fitted, *_ = prepare_run(optimizer, problem, start)
        case = _Case(optimizer, fitted, problem, start, ravel_pytree(start)[0], [])
        findings = [_find("state", _check_state, case)]
        for part, check in PARTS.items():
            has_failed = any(finding.status == FAILS for finding in findings)
            if findings[0].status == FAILS and part != "hyperparameters":
                findings.append(Finding(part, NOT_CHECKED, "the state is wrong."))
            elif part == "order" and has_failed:
                reason = "it is measured once all other parts hold."
                findings.append(Finding(part, NOT_CHECKED, reason))
            else:
                findings.append(_find(part, check, case))
    result = ContractCheck(optimizer, problem, tuple(findings))
    if throw and not result:
        raise InvalidValue(repr(result))
    return result


@cache
def _default_problem(elementwise: bool) -> Problem:
    problem = booth()
    if elementwise:
        return problem
    loss, x0 = problem.loss, np.reshape(problem.x0, (-1, 1))
    return Problem(lambda x: loss(x[:, 0]), x0, name=problem.name)


def _find(part: str, check: Callable[[_Case], str | None], case: _Case) -> Finding:
    """The finding of one check, whatever the optimizer does in it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            sentence = check(case)
    except _NotChecked as reason:
        return Finding(part, NOT_CHECKED, str(reason))
    except Exception as error:
        words = " ".join(str(error).split())[:300] or "no message"
        return Finding(part, FAILS, f"the optimizer raises {type(error).__name__}: {words}")
    return Finding(part, FAILS, sentence) if sentence else Finding(part, HOLDS)


# --- the parts of the contract


def _check_state(case: _Case) -> str | None:
    optimizer, x, (_, _, grad) = case.fitted, case.x, flatten_loss(case.problem.loss, case.start)
    if not eqx.is_inexact_array(optimizer.h):
        return f"`h` must be a float or a scalar array of floats, got {case.optimizer.h!r}."
    y: Any = optimizer.init(x, grad)
    fields = getattr(y, "_fields", ())  # only NamedTuples have them
    if fields[:1] != ("x",):
        return (
            f"`init` returns {type(y).__name__}, but a point of phase space must be a NamedTuple "
            "whose first field is `x`."
        )
    for name, field in zip(fields, y, strict=True):
        if not eqx.is_array(field):
            return f"the field `{name}` of `init` must be an array, got {field!r}."
    if y.x.shape != x.shape or not (y.x == x).all():
        return "`init` does not start at the position `x` that it was given."
    for method in ("step", "vector_field"):
        function, t = getattr(optimizer, method), jnp.zeros((), x.dtype)
        z = jax.eval_shape(lambda y, function=function, t=t: function(t, y, grad), y)
        if type(z) is not type(y):
            return (
                f"`{method}` returns {type(z).__name__}, but `init` returns {type(y).__name__}; "
                "return a point of the same phase space."
            )
        for name, before, after in zip(fields, y, z, strict=True):
            if jnp.shape(after) != before.shape:
                return (
                    f"`{method}` returns the field `{name}` of shape {jnp.shape(after)}, but that "
                    f"of `init` has shape {before.shape}."
                )
    for k in range(STEPS):
        t = k * optimizer.h
        y = _step(optimizer, case.problem.loss, case.start, t, y)
        if not all(map(_is_finite, y)):
            return (
                f"the map on {case.problem.name} is not finite after {k + 1} steps; use a smaller "
                "learning rate or another problem."
            )
        if k + 1 in CHECKED_STEPS:
            case.points.append(((k + 1) * optimizer.h, y))
    return None


def _check_dtype(case: _Case) -> str | None:
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


def _check_identity(case: _Case) -> str | None:
    if _derives_its_flow(case.optimizer):
        raise _NotChecked("the flow is derived from the map.")
    still = case.fitted.with_time_step(jnp.zeros_like(case.fitted.h))  # `_step` is compiled once
    for t, y in case.points:
        worst = _difference(_step(still, case.problem.loss, case.start, t, y), y)
        if worst:
            return (
                f"with h = 0 a step changes the field `{worst.field}` by {worst.size:.3g}; every "
                "change must go to 0 with `h`."
            )
    return None


def _check_limit(case: _Case) -> str | None:
    if _derives_its_flow(case.optimizer):
        raise _NotChecked("the flow is derived from the map.")
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


def _check_time_step(case: _Case) -> str | None:
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


def _check_hyperparameters(case: _Case) -> str | None:
    optimizer = case.optimizer
    text, values = repr(optimizer), optimizer.hyperparameters()
    missing = [f"`{n}`" for n in hyperparameter_defaults(type(optimizer)) if n not in values]
    if missing:
        raise _NotChecked(f"the optimizer does not keep its argument {' and '.join(missing)}.")
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


def _check_twin(case: _Case) -> str | None:
    optimizer, loss = case.fitted, case.problem.loss
    try:
        twin = case.optimizer.optax()
    except InvalidValue:
        raise _NotChecked("it defines no `optax()`.") from None
    number, part = optimizer.evaluations, getattr(loss, "part", None)

    @jax.jit
    def step(params, state):
        before = params
        for i in range(number):  # optax makes one update per evaluation; the last one moves
            gradient = jax.grad(lambda x, i=i: part(x, i, number) if part else loss(x))(before)
            update, state = twin.update(gradient, state, params)
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


def _check_order(case: _Case) -> str | None:
    expected = case.optimizer.regularity.order
    if case.optimizer.regularity.nonsmooth:
        raise _NotChecked("the map is declared nonsmooth.")
    first_time = 0.0 if expected <= 1 else float(settling_time(case.optimizer))
    measured = _measure_order(case, COARSE, first_time)
    if measured.window is None:
        raise _NotChecked(f"{measured.reason}.")
    slope = _finest_slope(measured)
    if abs(slope - expected) <= SLOPE_TOLERANCE:
        return None
    if first_time == 0:  # an order is a limit, which may appear only at very short time steps
        finer = _measure_order(case, FINE, first_time)
        if finer.window is not None and abs(_finest_slope(finer) - expected) <= SLOPE_TOLERANCE:
            return None
    return (
        f"the global error on {case.problem.name} goes to 0 as h^{slope:.2f}, but the declared "
        f"order is {expected:g}; correct the vector field, or `regularity`."
    )


def _measure_order(case: _Case, factor: int, first_time: float) -> Order:
    refined = case.optimizer.refine(factor)
    time = first_time + ORDER_STEPS * float(refined.h)
    return order(refined, case.problem, time, REFINEMENTS, x0=case.start)


def _finest_slope(measured: Order) -> float:
    assert measured.window is not None
    return float(measured.pairwise[measured.window[1] - 1])


PARTS: dict[str, Callable[[_Case], str | None]] = {
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


def _is_finite(field: Array) -> bool:
    return bool(jnp.isfinite(field).all())
