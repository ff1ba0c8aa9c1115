"""What a loss is asked when a `Problem` is made: is it one function that JAX can differentiate?"""

import inspect
import reprlib
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core
from jaxtyping import PyTree

from ..checks import tracing_fault
from ..errors import ProblemError
from .over_data import MeanLoss

# What JAX says of operations that have no derivative, and what we say.
DIFFERENTIATION_FAULTS = (
    (
        "Reverse-mode differentiation does not work",
        "repeats a loop until a condition holds",
        "use jax.lax.scan, or jax.lax.fori_loop with a fixed number of repetitions",
    ),
    (
        "callbacks do not support JVP",
        "calls a Python function that JAX cannot differentiate",
        "write that function in jax.numpy, or give it a derivative by jax.custom_vjp",
    ),
)


def trace_loss(loss: Callable[[Any], Any], x0: PyTree, name: str) -> core.ClosedJaxpr:
    """The program of the loss, which is traced and not run; what cannot be minimised is refused.

    What the loss itself raises keeps its class and its words.

    **Raises:** `ProblemError`, one sentence, if the loss takes other arguments, cannot be traced,
    or does not return one real number.
    """
    subject = f"the loss of {name}"
    if isinstance(loss, MeanLoss):
        function, call, num_arguments = loss.loss, "f(x, data)", 2
        arguments = "two arguments, the position and the data"
    else:
        function, call, num_arguments = loss, "f(x)", 1
        arguments = "one argument, the position"

    def evaluate(x):
        value = loss(x)
        if isinstance(value, jax.Array | np.ndarray | np.generic | int | float | complex):
            return value
        raise ProblemError(
            f"{subject} must return one number, returned {reprlib.repr(value)}; return a jax "
            "scalar."
        )

    try:
        program = jax.make_jaxpr(evaluate)(x0)
    except Exception as error:
        if fault := tracing_fault(error):
            what, remedy = fault
            raise ProblemError(f"{subject} {what}{_place(error, function)}; {remedy}.") from error
        if isinstance(error, TypeError) and not _accepts(function, num_arguments):
            raise ProblemError(
                f"{subject} must take {arguments}: it is called as {call}."
            ) from error
        if not isinstance(error, ProblemError):
            error.add_note(f"while evaluating {subject}")
        raise
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


def _place(error: BaseException, function: Callable) -> str:
    """The line in the file of the function at which the error was raised; "" if it is unknown."""
    try:
        file = inspect.getfile(
            inspect.unwrap(function) if inspect.isroutine(function) else type(function)
        )
    except (TypeError, OSError):
        return ""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == file]
    if not lines:
        return ""
    is_file = Path(file).is_file()  # the cell of a notebook has the name of no file
    return f" on line {lines[-1]}" + (f" of {Path(file).name}" if is_file else "")


def _accepts(function: Callable, num_arguments: int) -> bool:
    """Whether a function can be called with so many positional arguments, as far as is known."""
    try:
        inspect.signature(function).bind(*range(num_arguments))
    except TypeError:
        return False
    except ValueError:  # a function without a signature
        return True
    return True


def precision(program: core.ClosedJaxpr) -> float:
    """The machine epsilon of the coarsest dtype through which the value depends on the position."""
    equations = _dependent_equations(program.jaxpr, [True] * len(program.in_avals))
    dtypes = [aval.dtype for aval in program.in_avals]
    dtypes += [output.aval.dtype for equation in equations for output in equation.outvars]
    return max(float(jnp.finfo(d).eps) for d in dtypes if jnp.issubdtype(d, jnp.inexact))


def _dependent_equations(jaxpr: core.Jaxpr, depends: Sequence[bool]) -> Iterator[core.JaxprEqn]:
    """The equations of a program, and of programs inside it, through which its outputs depend on
    some of its inputs: those that `depends` marks.
    """
    used, needed = [], set(map(id, jaxpr.outvars))
    for equation in reversed(jaxpr.eqns):
        if needed & set(map(id, equation.outvars)):
            used.append(equation)
            needed |= set(map(id, equation.invars))
    dependent = {
        id(v) for v, is_dependent in zip(jaxpr.invars, depends, strict=True) if is_dependent
    }
    for equation in reversed(used):
        inputs = [id(v) in dependent for v in equation.invars]
        if not any(inputs):
            continue
        yield equation
        dependent |= set(map(id, equation.outvars))
        for inner in core.jaxprs_in_params(equation.params):
            num_inputs, name = len(inner.invars), equation.primitive.name
            same = name not in ("scan", "while") and num_inputs <= len(inputs)
            # the first input of a `cond` is its index
            yield from _dependent_equations(
                inner, inputs[-num_inputs:] if same and num_inputs else [True] * num_inputs
            )


def must_be_gradient(problem: Any, analysis: str) -> None:
    """**Raises:** `ProblemError` if the field of the problem is not the gradient of a function."""
