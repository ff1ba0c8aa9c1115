"""How the solutions of the exercises are written down: one module `solutions_NN` for each notebook."""

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

from dynopt.course import check


class Solution(NamedTuple):
    """The right answer, computed, and three typical wrong ones.

    - `right`: a function that returns what the check takes beside the name: a tuple. - `wrong`: three such tuples, or
      single answers, each with a piece of the hint that it must get. - `relative`, `absolute`: the tolerance of numbers.
    """

    right: Callable[[], tuple[Any, ...]]
    wrong: list[tuple[Any, str]]
    relative: float | None = None
    absolute: float | None = None

    @property
    def tolerance(self) -> dict[str, float]:
        return {k: v for k in ("relative", "absolute") if (v := getattr(self, k)) is not None}


def solutions(chapter: str) -> dict[str, Solution]:
    """Those of one notebook."""
    return importlib.import_module(f"solutions_{chapter}").SOLUTIONS


def ask(name: str, *answer: Any) -> None:
    """Put an answer to the check of this exercise."""
    getattr(check, check.exercises(name.partition("-")[0])[name].check)(name, *answer)


def answered(wrong: Any) -> tuple[Any, ...]:
    """A wrong answer as a tuple, computed if it must be."""
    wrong = wrong() if callable(wrong) else wrong
    return wrong if isinstance(wrong, tuple) else (wrong,)
