"""Code of the user: how a problem is imported from it, and how its errors are told."""

import contextlib
import importlib
import os
import re
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ..checks import accepts
from ..errors import DynoptError, InvalidValue, ProblemError, unknown_name
from ..problems import Problem
from .values import quoted


class Source(NamedTuple):
    """Where a problem comes from.

    - `code`: Python that makes the problem.
    - `module`, `file`: the module of the user with that code, and its file; None for dynopt's own.
    """

    code: str
    module: str | None = None
    file: str | None = None


def import_problem(called: str, x0: list[float] | None) -> tuple[Problem, Source]:
    """The problem that `module:name` stands for.

    The name is that of a `Problem`, of a function without arguments that returns one, or of a loss
    f(x), whose start is `x0`.

    **Raises:** `InvalidValue` or `ProblemError` if there is no such problem.
    """
    module_name, name = _importable_name(called)
    with _importable_from_here(module_name):
        with blame(called):
            module = importlib.import_module(module_name)
        file = getattr(module, "__file__", None) or ""  # what is built into Python has none
        _must_not_be_hidden(module_name, file)
        if not hasattr(module, name):
            functions = [
                function
                for function, value in vars(module).items()
                if callable(value) and getattr(value, "__module__", "") == module_name
            ]
            raise unknown_name(f"function in {module_name}", name, functions)
        value = getattr(module, name)
        source = Source(f"{module_name}.{name}", module_name, file)
        if isinstance(value, Problem):
            return value, source
        if not callable(value):
            raise InvalidValue(
                f"{called} is {quoted(repr(value))}; name a loss f(x), or a function that returns "
                "a dynopt.Problem."
            )
        with blame(called):
            if accepts(value):
                problem = value()
                if not isinstance(problem, Problem):
                    raise ProblemError(
                        f"{called} takes no argument and returned {quoted(repr(problem))}; return "
                        "a dynopt.Problem."
                    )
                return problem, source._replace(code=f"{source.code}()")
            if not accepts(value, x0):
                raise ProblemError(
                    f"{called} takes other arguments than one; it is called as f(x)."
                )
            if x0 is None:
                raise InvalidValue(
                    f"{called} is a loss f(x) without a start; give one with --x0, for example "
                    "--x0 1,1."
                )
            return Problem(value, x0), source._replace(code=f"Problem({source.code}, {x0})")


def _importable_name(called: str) -> tuple[str, str]:
    """The module and the name in it.

    **Raises:** `InvalidValue` if Python cannot import such a module from the current folder.
    """
    module, _, name = called.partition(":")
    if os.path.dirname(module) and Path(module).parent.resolve() == Path.cwd():
        module = os.path.basename(module)
    if "/" in module or "\\" in module:
        file = module.replace("\\", "/").split("/")[-1]
        raise InvalidValue(
            f"{quoted(called)} is in another folder; go there, and write "
            f"--problem {file}.py:{name}."
        )
    if os.path.isfile(f"{module}.py") and not module.isidentifier():
        identifier = re.sub(r"\W|^(?=\d)", "_", module)
        raise InvalidValue(
            f"Python cannot import a file named {quoted(module + '.py')}; rename it, for example "
            f"to {identifier}.py."
        )
    if not all(part.isidentifier() for part in [*module.split("."), name]):
        raise InvalidValue(
            f"{quoted(called)} is not module:function; write for example --problem mymodule:loss."
        )
    return module, name


def _must_not_be_hidden(module: str, file: str) -> None:
    """**Raises:** `InvalidValue` if another module has the name of a file in this folder."""
    here = f"{module}.py"
    if os.path.isfile(here) and os.path.realpath(here) != os.path.realpath(file):
        raise InvalidValue(
            f"your file {here} has the name of a module that Python has imported; rename it, for "
            f"example to my_{here}."
        )


@contextlib.contextmanager
def _importable_from_here(module: str) -> Iterator[None]:
    """For a while, modules in the current folder can be imported.

    Afterwards the path is as before, and `module` and what lies in it are forgotten.
    """
    path, modules = list(sys.path), set(sys.modules)
    sys.path.insert(0, os.getcwd())
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:] = path
        package = module.partition(".")[0] + "."
        for name in set(sys.modules) - modules:
            if f"{name}.".startswith(package):
                del sys.modules[name]


@contextlib.contextmanager
def blame(called: str, file: str | None = "") -> Iterator[None]:
    """Tell in one sentence what code of the user raised: its kind, its words and its line.

    - `called`: the problem as it was typed.
    - `file`: where that code is written. None: there is no code of the user, and every error is
      passed on. "": every error is that of the user.
    """
    try:
        yield
    except BaseException as error:
        place = _place(error, file)
        if place is None or isinstance(error, KeyboardInterrupt | DynoptError):
            raise
        if isinstance(error, ModuleNotFoundError) and error.name == called.partition(":")[0]:
            raise InvalidValue(
                f"no module {error.name!r} in this folder or installed; write "
                "--problem file:function."
            ) from error
        words = " ".join(str(error).split()) or "no message"
        raise ProblemError(
            f"{called} raised {type(error).__name__}: {words[:300]}{place}."
        ) from error


def _place(error: BaseException, file: str | None) -> str | None:
    """The line of the user's code where an error happened; None if it did not happen there."""
    if file is None:
        return None
    if isinstance(error, SyntaxError) and error.filename:
        return f" (line {error.lineno} of {Path(error.filename).name})"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename == file or not file and Path(frame.filename).parent == Path.cwd():
            return f" (line {frame.lineno} of {Path(frame.filename).name}: {frame.line})"
    return None if file else ""
