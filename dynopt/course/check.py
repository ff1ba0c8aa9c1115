"""Checks of a reader's answers, one line for each exercise.

Each exercise has a name such as "01-a". The file `exercises/01.toml` holds what belongs to it: the
check that it calls, the sealed answer, a hint, and the sealed answers of typical mistakes with a
hint for each. A right answer prints a tick, and a wrong answer raises an error that ends in a hint.
A check needs no account and no network, and the files show no answer.

Lecturers need no file for their own exercises: they pass the seal and the hint.

>>> my_seal = seal("mine", 0.5, relative=0.01)
>>> close("mine", 0.502, seal=my_seal, hint="Halve it.")
✓ mine: 0.502
>>> close("mine", 0.6, seal=my_seal, hint="Halve it.")
Traceback (most recent call last):
dynopt.course.check.WrongAnswer: mine: 0.6 is not the right answer. Halve it.
"""

import tomllib
from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

import numpy as np

from ..checks import number
from ..errors import DynoptError, InvalidType, InvalidValue, unknown_name
from . import seals

__all__ = [
    "NoAnswer",
    "Unanswered",
    "WrongAnswer",
    "below",
    "close",
    "not_invariant",
    "seal",
    "slope",
]
FOLDER = files("dynopt.course") / "exercises"
CHECKS_WITH_SEAL = ("close", "slope")
INVARIANCE_TOLERANCE = 1e-6  # a smaller relative change does not count as a change


class _ShownInNotebooks:
    """An error of which a notebook shows its sentence alone, without a traceback."""

    mark = "✗"

    def _render_traceback_(self) -> list[str]:
        return [f"{self.mark} {self}"]


class WrongAnswer(_ShownInNotebooks, DynoptError, AssertionError):
    """An answer that a check does not accept. The message ends in a hint."""


class Unanswered(WrongAnswer):
    """The answer is still the placeholder `...`."""

    mark = "○"


class NoAnswer(_ShownInNotebooks, InvalidType):
    """An answer of the wrong type, such as text where the check asks for numbers."""


class Exercise(NamedTuple):
    """One exercise.

    - `name`: such as "01-a".
    - `check`: the name of its check, such as "close".
    - `seal`: the seal of the right answer; empty if the check needs none.
    - `hint`: the hint for any wrong answer.
    - `mistakes`: a seal and a hint for each typical mistake.
    """

    name: str
    check: str
    seal: str
    hint: str
    mistakes: Sequence[tuple[str, str]] = ()

    def wrong_answer(self, sentence: str, hint: str = "") -> WrongAnswer:
        return WrongAnswer(f"{self.name}: {sentence} {hint or self.hint}".strip())

    def compare_with_seal(self, shown: str, answer: Sequence[float]) -> None:
        """Print a tick for the sealed answer, or raise `WrongAnswer` with the hint that fits."""
        if not seals.matches(self.seal, self.name, answer):
            hints = [hint for seal, hint in self.mistakes if seals.matches(seal, self.name, answer)]
            raise self.wrong_answer(f"{shown} is not the right answer.", *hints[:1])
        _print_tick(self.name, shown)


def close(name: str, answer: Any, *, seal: str = "", hint: str = "") -> None:
    """Check a number, or a row of numbers, against the sealed ones.

    - `name`: the name of the exercise, such as "01-a".
    - `answer`: a number, or a list or an array of numbers.
    - `seal`, `hint`: for your own exercise; by default those of the course.

    **Raises:** `WrongAnswer`; `Unanswered` for `...`; `NoAnswer` for an answer that is no number;
    `UnknownName` for an unknown exercise; `InvalidValue` for text that is no seal, for a hint
    without a seal, and for an exercise that calls another check.
    """
    exercise = _find_exercise(name, "close", seal, hint, answer)
    values = _as_numbers(name, answer, "answer")
    exercise.compare_with_seal(_format_values(values), values)


def slope(name: str, h: Any, error: Any, *, seal: str = "", hint: str = "") -> None:
    """Check a measured order: the slope of log(error) against log(h), fitted by least squares.

    - `name`, `seal`, `hint`: as in `close`.
    - `h`: at least three different time steps.
    - `error`: as many errors.

    **Raises:** as `close`; `InvalidValue` for fewer than three points, and for numbers that are not
    positive and finite.
    """
    exercise = _find_exercise(name, "slope", seal, hint, h, error)
    h, error = (
        np.array(_as_numbers(name, h, "h")),
        np.array(_as_numbers(name, error, "error")),
    )
    different = len(np.unique(h))
    if h.shape != error.shape or different < 3:
        raise InvalidValue(
            "a slope needs at least three different time steps `h` and as many errors, got "
            f"{different} different time steps and {len(error)} errors; pass more."
        )
    if not all((np.isfinite(values) & (values > 0)).all() for values in (h, error)):
        raise InvalidValue(
            "a slope is fitted to logarithms, and some `h` or `error` is not positive and finite; "
            "leave those out."
        )
    fitted = float(np.polyfit(np.log(h), np.log(error), 1)[0])
    exercise.compare_with_seal(f"a slope of {fitted:.3g}", [fitted])


def below(name: str, smaller: Any, larger: Any, *, seal: str = "", hint: str = "") -> None:
    """Check a bound: that each number is smaller than its bound, or equal to it.

    With a seal, the largest ratio smaller / larger must also be the sealed number, so that a
    looser bound does not pass.

    - `name`, `seal`, `hint`: as in `close`; the seal may be left out.
    - `smaller`: a number, or a row of numbers.
    - `larger`: one bound for all of them, or as many bounds.

    **Raises:** as `close`; the message says at which index the bound fails first. `InvalidValue`
    for rows of different lengths and for empty ones.
    """
    exercise = _find_exercise(name, "below", seal, hint, smaller, larger)
    low = np.array(_as_numbers(name, smaller, "smaller"))
    high = np.array(_as_numbers(name, larger, "larger"))
    if len(low) != len(high) and 1 not in (len(low), len(high)):
        raise InvalidValue(
            f"there are {len(low)} numbers and {len(high)} bounds; pass as many bounds as numbers, "
            "or one bound for all."
        )
    if not low.size or not high.size:
        raise InvalidValue("there are no numbers to compare; pass rows that are not empty.")
    low, high = np.broadcast_arrays(low, high)
    failures = np.flatnonzero(~(low <= high))
    if failures.size:
        first = failures[0]
        where = f"at index {first}, " * (low.size > 1)
        order = " Are the two in this order, the smaller first?" * bool((low > high).all())
        raise exercise.wrong_answer(
            f"{where}{low[first]:.4g} is not below {high[first]:.4g}.{order}"
        )
    if exercise.seal:
        ratio = float(np.divide(low, high, out=np.zeros(low.size), where=high > 0).max())
        exercise.compare_with_seal(f"a largest ratio of {ratio:.3g} to the bound", [ratio])
    else:
        _print_tick(name, f"{low.size} below")


def not_invariant(name: str, f: Callable, transform: Callable, at: Any, *, hint: str = "") -> None:
    """Check that a transformation changes f: that f(transform(at)) differs from f(at).

    The largest change of a number of f must be more than 1e-6 of its largest number.

    - `name`, `hint`: as in `close`.
    - `f`: a function that returns a number, or a row of numbers.
    - `transform`: a function of the argument of f.
    - `at`: the argument of f at which the two are compared.

    **Raises:** as `close`; `InvalidType` if `f` or `transform` is no function; `InvalidValue` if
    the two results of f have different lengths.
    """
    exercise = _find_exercise(name, "not_invariant", "", hint, f, transform, at)
    for argument, function in (("f", f), ("transform", transform)):
        if not callable(function):
            raise InvalidType(
                f"`{argument}` must be a function, got {function!r}; pass lambda x: 2 * x, for "
                "example."
            )
    transformed = transform(at)
    results = [] if _has_placeholder(transformed) else [f(at), f(transformed)]
    if not results or any(map(_has_placeholder, results)):
        raise _unanswered(name)
    before, after = (np.array(_as_numbers(name, values, "f")) for values in results)
    if before.shape != after.shape:
        raise InvalidValue(
            f"f returns {before.size} numbers at first and {after.size} after the transformation; "
            "let it return as many both times."
        )
    if not (np.isfinite(before).all() and np.isfinite(after).all()):
        raise exercise.wrong_answer("f returns a number that is not finite.")
    size = np.abs(before).max(initial=0) or 1
    change = float(np.abs(after - before).max(initial=0) / size)
    if not change > INVARIANCE_TOLERANCE:
        raise exercise.wrong_answer("f does not change under the transformation.")
    _print_tick(name, f"relative change {change:.3g}")


def seal(
    name: str, answer: Any, *, relative: float | None = None, absolute: float | None = None
) -> str:
    """Seal the right answer of your own exercise; returns the seal as text.

    - `name`: the name of the exercise. It is part of the seal, which fits no other exercise.
    - `answer`: a number, or a row of numbers.
    - `relative`, `absolute`: the tolerance; exactly one of the two.

    **Raises:** `InvalidValue` unless exactly one tolerance is given, in (1e-12, 1) if it is
    relative and positive if it is absolute, and unless all numbers are finite, and none is 0 with a
    relative tolerance; `NoAnswer` for an answer that is no number.
    """
    values = _as_numbers(name, answer, "answer")
    tolerance = relative if absolute is None else absolute
    if tolerance is None or None not in (relative, absolute):
        raise InvalidValue(
            "numbers are sealed with one tolerance; pass relative=0.02 or absolute=0.1."
        )
    lowest, highest = (1e-12, 1) if absolute is None else (0, np.inf)
    if not lowest < float(number("tolerance", tolerance)) < highest:
        allowed = "between 1e-12 and 1" if absolute is None else "above 0"
        raise InvalidValue(
            f"this tolerance must be {allowed}, got {tolerance:g}; pass relative=0.02, for example."
        )
    if not values:
        raise InvalidValue("there is no number to seal; pass one, or a row of them.")
    if not np.isfinite(values).all() or (absolute is None and 0 in values):
        raise InvalidValue(
            "only finite numbers can be sealed, and 0 only with an absolute tolerance; pass "
            "absolute=0.01, for example."
        )
    return seals.make_seal(name, values, tolerance, absolute is None)


@cache
def exercises(chapter: str) -> dict[str, Exercise]:
    """All exercises of one notebook, by their names; the chapter is a number such as "01"."""
    table = tomllib.loads((FOLDER / f"{chapter}.toml").read_text("utf-8"))
    return {
        name: Exercise(
            name,
            entry["check"],
            entry.get("seal", ""),
            entry["hint"],
            [(mistake["seal"], mistake["hint"]) for mistake in entry.get("mistakes", [])],
        )
        for name, entry in table.items()
    }


def chapters() -> list[str]:
    """The numbers of the notebooks that have exercises."""
    return sorted(path.name.removesuffix(".toml") for path in FOLDER.iterdir())


def _find_exercise(name: str, check: str, seal: str, hint: str, *answers: Any) -> Exercise:
    """The exercise of this name, if it calls this check and every answer is given."""
    exercise = Exercise(name, check, seal, hint) if seal or hint else _course_exercise(name)
    if exercise.check != check:
        raise InvalidValue(f"{name} is not for check.{check}; call check.{exercise.check} instead.")
    if check in CHECKS_WITH_SEAL and not exercise.seal:
        raise InvalidValue(
            "a hint alone does not tell the right answer; also pass "
            "seal=check.seal(name, answer, relative=0.02)."
        )
    if exercise.seal and not (
        isinstance(exercise.seal, str) and seals.FORM.fullmatch(exercise.seal)
    ):
        raise InvalidValue(
            f"{exercise.seal!r} is no seal; make one by check.seal(name, answer, relative=0.02), "
            "for example."
        )
    if any(map(_has_placeholder, answers)):
        raise _unanswered(name)
    return exercise


def _course_exercise(name: str) -> Exercise:
    chapter = str(name).partition("-")[0]
    table = exercises(chapter) if chapter in chapters() else {}
    if name not in table:
        names = table or [name for chapter in chapters() for name in exercises(chapter)]
        raise unknown_name("exercise", str(name), names)
    return table[name]


def _has_placeholder(answer: Any) -> bool:
    return answer is ... or (
        isinstance(answer, list | tuple) and any(map(_has_placeholder, answer))
    )


def _unanswered(name: str) -> Unanswered:
    return Unanswered(f"{name} waits for your answer: put it in place of the dots.")


def _as_numbers(name: str, answer: Any, argument: str) -> list[float]:
    """A number as a list of one, and an array of any shape as a list of all its numbers."""
    try:
        if answer is None or np.asarray(answer).dtype.kind in "cSU":
            raise TypeError
        return [float(value) for value in np.ravel(np.asarray(answer, float))]
    except (TypeError, ValueError):
        is_row = isinstance(answer, list | tuple | np.ndarray)
        text = type(answer).__name__ if is_row else repr(answer)
        raise NoAnswer(
            f"{name}: `{argument}` must be a number, or a row of them, got {text}; pass 0.5, for "
            "example."
        ) from None


def _format_values(values: Sequence[float]) -> str:
    text = ", ".join(f"{value:.4g}" for value in values[:4]) + ", …" * (len(values) > 4)
    return text if len(values) == 1 else f"({text})"


def _print_tick(name: str, text: str) -> None:
    print(f"✓ {name}: {text}")
