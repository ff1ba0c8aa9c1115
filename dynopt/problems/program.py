"""The program of a loss, as JAX traces it: nothing is run; a loss without gradient is refused.

Whoever makes a `Problem` finds out at once whether the loss returns one number, is the same
function each time, and has a gradient.
"""

import inspect
import reprlib
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.extend import core
from jax.interpreters import ad
from jaxtyping import PyTree

from ..checks import accepts, tracing_fault
from ..errors import ProblemError
from .held import Doubled
from .over_data import MeanLoss

# What JAX says of an operation that it cannot differentiate, what the loss does, and the remedy.
DIFFERENTIATION_FAULTS = (
    (
        "Reverse-mode differentiation does not work",
        "repeats a loop until a condition holds",
        "use jax.lax.fori_loop with a fixed number of repetitions, or jax.lax.scan",
    ),
    (
        "callbacks do not support JVP",
        "calls a Python function that JAX cannot differentiate",
        "write that function in jax.numpy, or give it a derivative by jax.custom_vjp",
    ),
)
# Operations that JAX differentiates by a rule of the user, or as if they were constant.
CUSTOM_RULES = ("custom_jvp_call", "custom_vjp_call")
HIDING = ("stop_gradient", "sign", "round", "floor", "ceil", "pure_callback", "io_callback")
# Operations of which JAX differentiates some uses only.
DOUBTFUL = ("while", "pure_callback", "io_callback", "ffi_call", "eig", "svd", "qr", "scatter-mul")
# Parts of JAX whose own functions use the above and are differentiated rightly.
OF_JAX = tuple(
    str(Path(jax.__file__).parent / "_src" / part)
    for part in ("nn", "numpy", "ops", "scipy", "lax/other.py")
)
NOT_AT_ALL, IN_STEPS, CONTINUOUSLY = range(3)  # how a number may depend on the position


def trace_loss(
    loss: Callable[[Any], Any], x0: PyTree, subject: str, differentiate: bool = True
) -> core.ClosedJaxpr:
    """The program of the loss; the loss is traced twice and not run.

    - `subject`: what messages call the loss, such as "the loss of rosenbrock".
    - `differentiate`: whether the loss is asked for a gradient, too.

    What the loss itself raises keeps its class and its words.

    **Raises:** `ProblemError`, one sentence, if the loss takes other arguments, cannot be traced or
    differentiated, does not return one real number, or is another function at each tracing.
    """
    program = _value_program(loss, x0, subject)
    again = _value_program(loss, x0, subject)
    is_same = is_same_program(program, again)
    if (
        is_same
        and differentiate
        and any(_is_doubtful(equation) for equation, _ in _equations(program))
    ):
        gradients = (_gradient_program(p, loss, subject) for p in (program, again))
        is_same = is_same_program(*gradients)
    if not is_same:
        _refuse_what_changes(subject)
    return program


def _value_program(loss: Callable[[Any], Any], x0: PyTree, subject: str) -> core.ClosedJaxpr:
    def evaluate(x):
        value = loss(x)
        if isinstance(value, jax.Array | np.ndarray | np.generic | int | float | complex):
            return value
        raise ProblemError(
            f"{subject} must return one number, returned {reprlib.repr(value)}; return a jax "
            "scalar."
        )

    program = _program(evaluate, loss, x0, subject)
    (value,) = program.out_avals
    if value.shape != ():
        raise ProblemError(
            f"{subject} must return one number, returned shape {value.shape}; sum it or take its "
            "mean."
        )
    if not jnp.issubdtype(value.dtype, jnp.floating):
        raise ProblemError(
            f"{subject} must return a real number, returned {value.dtype}; multiply by 1.0, or "
            "take .real."
        )
    return program


def trace_field(field: Callable[[Any], Any], x0: PyTree, subject: str) -> core.ClosedJaxpr:
    """The program of a field as the user wrote it, which is traced twice.

    **Raises:** `ProblemError` as `trace_loss` does, and if it has other shapes than the position.
    """
    program, again = (_field_program(field, x0, subject) for _ in range(2))
    if not is_same_program(program, again):
        _refuse_what_changes(subject)
    return program


def _field_program(field: Callable[[Any], Any], x0: PyTree, subject: str) -> core.ClosedJaxpr:
    wanted = jax.tree.structure(x0), list(map(jnp.shape, jax.tree.leaves(x0)))

    def evaluate(x):
        g = field(x)
        if (jax.tree.structure(g), list(map(jnp.shape, jax.tree.leaves(g)))) == wanted:
            return g
        given, own = (reprlib.repr(jax.tree.map(jnp.shape, tree)) for tree in (g, x0))
        raise ProblemError(
            f"{subject} must have the structure and the shapes of the position, {own}, but "
            f"returned {given}; return one number for each coordinate."
        )

    program = _program(evaluate, field, x0, subject)
    for value in program.out_avals:
        if jnp.issubdtype(value.dtype, jnp.complexfloating):
            raise ProblemError(
                f"{subject} must be of real numbers, returned {value.dtype}; take .real."
            )
    return program


def _program(evaluate: Callable, function: Callable, x0: PyTree, subject: str) -> core.ClosedJaxpr:
    """The program of `evaluate`, which calls a function that the user wrote."""
    taken = {"x": "the position"}
    if isinstance(function.loss if isinstance(function, MeanLoss) else function, Doubled):
        taken["held"] = "the position that is held"
    if isinstance(function, MeanLoss):
        taken["data"] = "the data"
    try:
        return jax.make_jaxpr(evaluate)(x0)
    except Exception as error:
        function = _function(function)
        _refuse_what_cannot_be_traced(error, subject, function)
        if isinstance(error, TypeError) and not accepts(function, *taken):
            *others, last = taken.values()
            words = f"{', '.join(others)} and {last}" if others else last
            number = ("one argument", "two arguments", "three arguments")[len(others)]
            raise ProblemError(
                f"{subject} must take {number}, {words}: it is called as f({', '.join(taken)})."
            ) from error
        if not isinstance(error, ProblemError):
            error.add_note(f"while evaluating {subject}")
        raise


def _refuse_what_changes(subject: str) -> None:
    raise ProblemError(
        f"{subject} is another function each time it is traced, as with numpy's random numbers or "
        "a counter inside it; draw the numbers once outside of it, or use jax.random with a fixed "
        "key."
    )


def _gradient_program(program: core.ClosedJaxpr, loss: Callable, subject: str) -> core.ClosedJaxpr:
    """The program of the gradient, by the program of the loss; the loss is not traced again."""
    leaves = [jax.ShapeDtypeStruct(aval.shape, aval.dtype) for aval in program.in_avals]
    evaluate = core.jaxpr_as_fun(program)
    gradient = jax.grad(lambda leaves: evaluate(*leaves)[0])
    try:
        return jax.make_jaxpr(gradient)(leaves)
    except Exception as error:
        function = _function(loss)
        _refuse_what_cannot_be_traced(error, f"the derivative in {subject}", function)
        for words, what, remedy in DIFFERENTIATION_FAULTS:
            if words in str(error):
                place = _place(error, function)
                raise ProblemError(f"{subject} {what}{place}; {remedy}.") from error
        if isinstance(error, NotImplementedError):
            reason = str(error).split(". ")[0].rstrip(".")
            raise ProblemError(
                f"{subject} has no gradient{_place(error, function)} ({reason}); use operations "
                "that JAX can differentiate."
            ) from error
        error.add_note(f"while differentiating {subject}")
        raise


def _refuse_what_cannot_be_traced(error: Exception, subject: str, function: Callable) -> None:
    if fault := tracing_fault(error):
        what, remedy = fault
        raise ProblemError(f"{subject} {what}{_place(error, function)}; {remedy}.") from error


def _function(loss: Any) -> Callable:
    """What the user wrote, inside the modules of this folder that call it."""
    while type(loss).__module__.startswith(f"{__package__}.") and hasattr(loss, "loss"):
        loss = loss.loss
    return loss


def _place(error: BaseException, function: Callable) -> str:
    """The line in the file of the function at which the error was raised; "" if it is unknown."""
    try:
        file = inspect.getfile(
            inspect.unwrap(function) if inspect.isroutine(function) else type(function)
        )
    except (TypeError, OSError):
        return ""
    # the cause tells where the operation stands that could not be differentiated
    tracebacks = [e.__traceback__ for e in (error, error.__cause__) if e is not None]
    frames = [frame for tb in tracebacks for frame in traceback.extract_tb(tb)]
    lines = [frame.lineno for frame in frames if frame.filename == file]
    if not lines:
        return ""
    is_file = Path(file).is_file()  # the cell of a notebook has the name of no file
    return f" on line {lines[-1]}" + (f" of {Path(file).name}" if is_file else "")


def is_same_program(a: Any, b: Any) -> bool:
    """Whether two programs, or parts of them, are equal; functions inside them count as equal."""
    if a is b or isinstance(a, Tracer) or isinstance(b, Tracer):
        return True
    if isinstance(a, core.ClosedJaxpr):
        return is_same_program(a.consts, b.consts) and is_same_program(a.jaxpr, b.jaxpr)
    if isinstance(a, core.Jaxpr):
        return is_same_program(_contents(a), _contents(b))
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(is_same_program, a, b))
    if isinstance(a, str | bool | int | float | complex | None):
        return a == b or (a != a and b != b)  # NaN is the same as NaN
    if not hasattr(a, "dtype") or jnp.issubdtype(a.dtype, jax.dtypes.extended):
        return True
    return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")


def _contents(jaxpr: core.Jaxpr) -> list:
    """All equations of a program, its variables numbered in the order in which they appear."""
    numbers: dict[int, int] = {}

    def number(v):
        return [v.val] if isinstance(v, core.Literal) else numbers.setdefault(id(v), len(numbers))

    def numbered(variables):
        return list(map(number, variables))

    head = numbered((*jaxpr.constvars, *jaxpr.invars))
    equations = [
        [
            eqn.primitive.name,
            numbered(eqn.invars),
            numbered(eqn.outvars),
            [eqn.params[key] for key in sorted(eqn.params)],
        ]
        for eqn in jaxpr.eqns
    ]
    return [head, equations, numbered(jaxpr.outvars)]


def precision(program: core.ClosedJaxpr) -> float:
    """The machine epsilon of the coarsest dtype through which the value depends on the position."""
    variables = list(program.jaxpr.invars)
    for equation, dependence in _equations(program):
        if dependence == CONTINUOUSLY:
            variables += equation.outvars
    return max(float(jnp.finfo(_dtype(v)).eps) for v in variables if _is_inexact(v))


def may_hide_derivatives(program: core.ClosedJaxpr) -> bool:
    """Whether the value depends on the position through an operation of the user that may give
    another derivative than differences do.

    Softmax, relu and other functions of JAX with rules of their own do not count.
    """
    for equation, dependence in _equations(program):
        is_step = dependence == IN_STEPS and any(map(_is_inexact, equation.outvars))
        hides = equation.primitive.name in (*CUSTOM_RULES, *HIDING)
        if is_step or (hides and not _is_of_jax(equation)):
            return True
    return False


def _is_doubtful(equation: core.JaxprEqn) -> bool:
    """Whether JAX may not differentiate the operation, or does so by a rule of the user."""
    has_rule = equation.primitive in ad.primitive_jvps
    is_doubtful = equation.primitive.name in DOUBTFUL or not has_rule
    return is_doubtful and not _is_of_jax(equation)


def _is_of_jax(equation: core.JaxprEqn) -> bool:
    """Whether the operation stands in a function of JAX that is known to be right."""
    name = equation.primitive.name
    if name in CUSTOM_RULES:
        (inner,) = core.jaxprs_in_params({"call_jaxpr": equation.params["call_jaxpr"]})
        source = getattr(inner.debug_info, "func_src_info", None) or ""
        return source.partition(" at ")[2].startswith(OF_JAX)
    if name == "stop_gradient" and equation.source_info.traceback:
        frames = equation.source_info.traceback.frames
        inside = [i for i, frame in enumerate(frames) if frame.function_name == "stop_gradient"]
        return bool(inside) and frames[inside[-1] + 1].file_name.startswith(OF_JAX)
    return False


def _equations(program: core.ClosedJaxpr) -> Iterator[tuple[core.JaxprEqn, int]]:
    """The equations through which the value depends on the position, and how they depend on it."""
    inputs = [CONTINUOUSLY] * len(program.in_avals)
    return _dependent_equations(program.jaxpr, inputs)


def _dependent_equations(
    jaxpr: core.Jaxpr, inputs: Sequence[int]
) -> Iterator[tuple[core.JaxprEqn, int]]:
    used, needed = [], set(map(id, jaxpr.outvars))
    for equation in reversed(jaxpr.eqns):
        if needed & set(map(id, equation.outvars)):
            used.append(equation)
            needed |= set(map(id, equation.invars))
    dependence = dict(zip(map(id, jaxpr.invars), inputs, strict=True))
    for equation in reversed(used):
        levels = [dependence.get(id(v), NOT_AT_ALL) for v in equation.invars]
        level = max(levels, default=NOT_AT_ALL)
        if level == NOT_AT_ALL:
            continue
        yield equation, level
        for v in equation.outvars:
            dependence[id(v)] = level if _is_inexact(v) else IN_STEPS
        for inner in core.jaxprs_in_params(equation.params):
            # a loop feeds its results to itself; the first input of a `cond` is its index
            num_inputs, is_loop = len(inner.invars), equation.primitive.name in ("scan", "while")
            fits = num_inputs <= len(levels) and not is_loop
            yield from _dependent_equations(
                inner, levels[len(levels) - num_inputs :] if fits else [level] * num_inputs
            )


def _is_inexact(v: core.Var) -> bool:
    return jnp.issubdtype(_dtype(v), jnp.inexact)


def _dtype(v: Any) -> np.dtype:
    return v.aval.dtype
