"""The form of the solutions of the exercises: one module `solutions_NN` for each notebook."""

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

from dynopt.course import check


class Solution(NamedTuple):
    """The right answer of an exercise, computed, and at least three typical wrong answers.

    - `right`: a function that returns the arguments of the check after the name, as a tuple.
    - `wrong`: pairs of a wrong answer and a part of the hint that it must get. A wrong answer is
      such a tuple, or its single argument, or a function that returns either.
    - `relative`, `absolute`: the tolerance of a sealed answer; one of the two.
    """

    right: Callable[[], tuple[Any, ...]]
    wrong: list[tuple[Any, str]]
    relative: float | None = None
    absolute: float | None = None

    @property
    def tolerance(self) -> dict[str, float]:
        return {k: v for k in ("relative", "absolute") if (v := getattr(self, k)) is not None}


def solutions(chapter: str) -> dict[str, Solution]:
    """The solutions of one notebook, by the names of the exercises."""
    return importlib.import_module(f"solutions_{chapter}").SOLUTIONS


def ask(name: str, *answer: Any) -> None:
    """Call the check of an exercise with an answer."""
    getattr(check, check.exercises(name.partition("-")[0])[name].check)(name, *answer)


def as_answer(wrong: Any) -> tuple[Any, ...]:
    """A wrong answer as the tuple of arguments that the check takes."""
    wrong = wrong() if callable(wrong) else wrong
    return wrong if isinstance(wrong, tuple) else (wrong,)
