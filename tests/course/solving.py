"""The form of the solutions of the exercises: one module `solutions_NN` for each notebook."""

import ast
import contextlib
import importlib
import io
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jupytext

from dynopt.course import check

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


class Solution(NamedTuple):
    """The right answer of an exercise, computed, and at least three typical wrong answers.

    - `right`: a function that returns what the reader puts in: the values of the names in the cell
      with the check, as a tuple. It is computed as a reader would, by the library.
    - `wrong`: pairs of a wrong answer and a part of the hint that it must get. A wrong answer is
      such a tuple, or its single value, or `Later` for one that takes a while to compute.
    - `exact`: the number or the row of numbers that is sealed: a closed form, or computed by numpy
      and scipy. For a slope these are the order and the logarithm of the last error.
    - `relative`, `absolute`: its tolerance; one of the two.
    """

    right: Callable[[], tuple[Any, ...]]
    wrong: list[tuple[Any, str]]
    exact: Any = None
    relative: float | None = None
    absolute: float | None = None

    @property
    def sealed(self) -> Any:
        return self.exact.compute() if isinstance(self.exact, Later) else self.exact

    @property
    def tolerance(self) -> dict[str, float]:
        return {k: v for k in ("relative", "absolute") if (v := getattr(self, k)) is not None}


class Later(NamedTuple):
    """An answer that takes a while to compute."""

    compute: Callable[[], Any]


def solutions(chapter: str) -> dict[str, Solution]:
    """The solutions of one notebook, by the names of the exercises."""
    return importlib.import_module(f"solutions_{chapter}").SOLUTIONS


def solution(name: str) -> Solution:
    return solutions(name.partition("-")[0])[name]


def prediction(chapter: str) -> str:
    """The letter of the right answer to the question that a notebook begins with."""
    return importlib.import_module(f"solutions_{chapter}").PREDICTION


def as_answer(answer: Any) -> tuple[Any, ...]:
    """An answer as the tuple of values of the names in the cell with the check."""
    answer = answer.compute() if isinstance(answer, Later) else answer
    return answer if isinstance(answer, tuple) else (answer,)


def ask(name: str, *answer: Any) -> None:
    """Run the cell of the notebook that checks an exercise, with an answer."""
    arguments = arguments_of_the_check(name, *answer)
    getattr(check, check.exercises(name.partition("-")[0])[name].check)(name, *arguments)


def numbers(name: str, *answer: Any) -> list[float]:
    """The row of numbers that a check compares with its seal."""
    of_check = {"close": check.evaluate, "slope": check.fit}
    kind = check.exercises(name.partition("-")[0])[name].check
    return of_check[kind](name, *arguments_of_the_check(name, *answer))[1]


def arguments_of_the_check(name: str, *answer: Any) -> tuple[Any, ...]:
    """The arguments after the name, with the answer in place of the names that the reader sets."""
    cell, known = cells_with_checks(name.partition("-")[0])
    call = ast.parse(cell[name], mode="eval").body
    assert isinstance(call, ast.Call)
    (_, *given) = call.args
    names = [node.id for arg in given for node in ast.walk(arg) if isinstance(node, ast.Name)]
    asked = [name for name in dict.fromkeys(names) if name not in known]
    assert len(asked) == len(answer), f"{name} asks for {asked}"
    values = dict(zip(asked, answer, strict=True))
    return tuple(eval(ast.unparse(node), known | values) for node in given)


@cache
def cells_with_checks(chapter: str) -> tuple[dict[str, str], dict[str, Any]]:
    """The code that checks each exercise of a notebook, and what its first cell imports."""
    (path,) = NOTEBOOKS.glob(f"{chapter}-*.md")
    first, *rest = [cell.source for cell in jupytext.read(path).cells if cell.cell_type == "code"]
    imported: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(first, imported)
    return {
        ast.parse(source, mode="eval").body.args[0].value: source  # pyright: ignore
        for source in rest
        if source.startswith("check.") and not source.startswith("check.prediction")
    }, imported
