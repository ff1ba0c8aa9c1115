"""Checks of a reader's answers, one line for each exercise.

Each exercise has a name such as "01-a". The file `exercises/01.toml` holds what belongs to it: the
check that it calls, the sealed answer, a hint, and the sealed answers of typical mistakes with a
hint for each. A right answer prints a tick, and a wrong answer raises an error that ends in a hint.
Where the answer is a function, an optimizer or a measurement, the check runs it itself. A check
needs no account and no network, and the files show no answer.

Lecturers need no file for their own exercises: they pass the seal and the hint.

>>> half = seal("own", 0.5, relative=0.01)
>>> close("own", 0.502, seal=half, hint="Halve it.")
✓ own: 0.502
>>> close("own", 0.6, seal=half, hint="Halve it.")
Traceback (most recent call last):
dynopt.course.check.WrongAnswer: own: 0.6 is not the right answer, asked within 1 %. Halve it.
>>> close("own", 0.51, seal=half, hint="Halve it.")
Traceback (most recent call last):
dynopt.course.check.WrongAnswer: own: 0.51 is close: within 3 %, asked within 1 %. Give more digits.
"""

import textwrap
import tomllib
from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

import numpy as np

from ..analysis import Order
from ..checks import number
from ..errors import DynoptError, InvalidType, InvalidValue, unknown_name
from . import seals

__all__ = ["NoAnswer", "Unanswered", "WrongAnswer", "below", "close", "prediction", "seal", "slope"]
FOLDER = files("dynopt.course") / "exercises"
CHECKS_WITH_SEAL = ("close", "slope")
LETTERS = "ABC"  # of the answers to the question that each notebook begins with


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
        if seals.matches(self.seal, self.name, answer):
            return _print_tick(self.name, shown)
        asked = f"asked within {_tolerance_in_words(self.seal)}"
        for mistake, hint in self.mistakes:
            if seals.matches(mistake, self.name, answer):
                raise self.wrong_answer(f"{shown} is not the right answer, {asked}.", hint)
        if seals.is_near(self.seal, self.name, answer):
            near = _tolerance_in_words(self.seal, seals.NEAR)
            raise self.wrong_answer(
                f"{shown} is close: within {near}, {asked}.", "Give more digits."
            )
        raise self.wrong_answer(f"{shown} is not the right answer, {asked}.")


def close(name: str, answer: Any, *at: Any, seal: str = "", hint: str = "") -> None:
    """Check numbers, or a function that computes them, against the sealed ones.

    - `name`: the name of the exercise, such as "01-a".
    - `answer`: a number, or a list or an array of numbers. If `at` is given, a function of one
      argument that returns such.
    - `at`: the arguments at which the check calls the function; all its numbers make one row.
    - `seal`, `hint`: for your own exercise; by default those of the course.

    A wrong answer within three tolerances of the right one is called close.

    **Raises:** `WrongAnswer`; `Unanswered` for `...`; `NoAnswer` for an answer that is no number,
    or no function where the check calls one; `UnknownName` for an unknown exercise; `InvalidValue`
    for text that is no seal, for a hint without a seal, and for an exercise that calls another
    check. An error inside of the function is raised as it is.

    >>> two_values = seal("square", [4.0, 9.0], relative=0.01)
    >>> close("square", lambda x: x**2, 2.0, 3.0, seal=two_values)
    ✓ square: (4, 9)
    """
    exercise = _find_exercise(name, "close", seal, hint, answer)
    exercise.compare_with_seal(*evaluate(name, answer, *at))


def evaluate(name: str, answer: Any, *at: Any) -> tuple[str, list[float]]:
    """The text that shows an answer of `close`, and the row of its numbers."""
    if at and not callable(answer):
        raise NoAnswer(
            f"{name}: the check calls your function itself, and got {_in_short(answer)} in its "
            "place; pass the function, without parentheses."
        )
    results = [answer(argument) for argument in at] if at else [answer]
    what = "the result of your function" if at else "`answer`"
    values = [value for result in results for value in _as_numbers(name, result, what)]
    return _format_values(values), values


def slope(name: str, measured: Any, at: Any = None, *, seal: str = "", hint: str = "") -> None:
    """Check a measured order: the slope of log(error) against log(h), fitted by least squares.

    Rows of numbers are not accepted, since any row has a slope.

    - `name`, `hint`: as in `close`.
    - `measured`: a result of `dynopt.analysis.order`, or a function that returns the error of a
      time step h.
    - `at`: for a result, its points to which the slope is fitted, such as `slice(0, 3)` or
      `[0, 1, 2]`, by default all; for a function, the time steps at which the check calls it.
    - `seal`: of two numbers, the slope and the natural logarithm of the error at the last time
      step of the result, or at the last of `at`.

    **Raises:** as `close`; `InvalidValue` for fewer than three different points, and for errors
    that are not positive and finite.

    >>> quadratic = seal("mine", [2.0, -6.9], absolute=0.1)
    >>> slope("mine", lambda h: 10 * h**2, [0.04, 0.02, 0.01], seal=quadratic)
    ✓ mine: a slope of 2 (last error 0.001)
    """
    exercise = _find_exercise(name, "slope", seal, hint, measured, at)
    exercise.compare_with_seal(*fit(name, measured, at))


def fit(name: str, measured: Any, at: Any = None) -> tuple[str, list[float]]:
    """The text that shows an answer of `slope`, its slope, and the logarithm of its last error."""
    if isinstance(measured, Order):
        points = _choose_points(name, at, len(measured.h))
        h, error, last = measured.h[points], measured.error[points], float(measured.error[-1])
    elif callable(measured) and at is not None:
        h = np.array(_as_numbers(name, at, "`at`"))
        results = [measured(time_step) for time_step in at]
        error = np.array([v for e in results for v in _as_numbers(name, e, "the error")])
        last = float(error[-1]) if error.size else np.nan
    else:
        raise NoAnswer(
            f"{name}: a slope is fitted to a result of analysis.order, or to a function that gives "
            f"the error of a time step, got {_in_short(measured)}; pass one of the two."
        )
    different = len(np.unique(h))
    if h.shape != error.shape or different < 3:
        raise InvalidValue(
            "a slope needs at least three different time steps `h`, and one error for each, got "
            f"{different} different time steps and {len(error)} errors; choose more points."
        )
    if not all((np.isfinite(values) & (values > 0)).all() for values in (h, error)):
        raise InvalidValue(
            "a slope is fitted to logarithms, and some `h` or error is not positive and finite; "
            "take absolute values of differences, or choose other time steps."
        )
    fitted = float(np.polyfit(np.log(h), np.log(error), 1)[0])
    return f"a slope of {fitted:.3g} (last error {last:.2g})", [fitted, float(np.log(last))]


def below(name: str, measure: Callable, answer: Any, bound: float | int, *, hint: str = "") -> None:
    """Check a bound on what a function measures of the answer: measure(answer) <= bound.

    - `name`, `hint`: as in `close`.
    - `measure`: the function. Its name stands in the message.
    - `answer`: the argument of the function, such as an optimizer or a step that you have written.
    - `bound`: the largest number allowed.

    **Raises:** as `close`, and what `measure` raises if it cannot measure the answer.

    >>> below("mine", len, [1, 2], 3, hint="Leave one out.")
    ✓ mine: len 2
    """
    exercise = _find_exercise(name, "below", "", hint, answer)
    result = measure(answer)
    if _has_placeholder(result):
        raise _unanswered(name)
    (value,) = _as_numbers(name, result, f"`{measure.__name__}`")
    if not value <= bound:
        raise exercise.wrong_answer(
            f"{measure.__name__} is {value:.2g}, and the exercise asks for at most {bound:.2g}."
        )
    _print_tick(name, f"{measure.__name__} {value:.2g}")


def prediction(chapter: str, guess: Any) -> None:
    """Print what came out, beside what you predicted, and why another answer is tempting.

    It never raises: an open prediction (`...`) is told the answer alone.

    - `chapter`: the number of the notebook, such as "01".
    - `guess`: "A", "B" or "C", or `...`.

    >>> prediction("01", "none of them")
    'none of them' is none of A, B and C. It is B. Each step errs a quarter as much, and there are
    twice as many steps.
    """
    entry = _read(chapter)["prediction"]
    (right,) = [
        letter
        for i, letter in enumerate(LETTERS)
        if seals.matches(entry["seal"], f"{chapter} prediction", [float(i)])
    ]
    letter = guess.strip().upper() if isinstance(guess, str) else ""
    if letter == right:
        begin = f"✓ You said {right}, and it is {right}"
    elif letter and letter in LETTERS:
        begin = f"You said {letter}; it is {right}"
    else:
        no_letter = "" if guess is ... else f"{_in_short(guess)} is none of A, B and C. "
        begin = f"{no_letter}It is {right}"
    print(textwrap.fill(f"{begin}. {entry[letter if letter in entry else right]}", 96))


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
    values = _as_numbers(name, answer, "`answer`")
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
    return {
        name: Exercise(
            name,
            entry["check"],
            entry.get("seal", ""),
            entry["hint"],
            [(mistake["seal"], mistake["hint"]) for mistake in entry.get("mistakes", [])],
        )
        for name, entry in _read(chapter).items()
        if name != "prediction"
    }


def chapters() -> list[str]:
    """The numbers of the notebooks that have exercises."""
    return sorted(path.name.removesuffix(".toml") for path in FOLDER.iterdir())


@cache
def _read(chapter: str) -> dict[str, Any]:
    return tomllib.loads((FOLDER / f"{chapter}.toml").read_text("utf-8"))


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


def _choose_points(name: str, at: Any, total: int) -> np.ndarray:
    """The numbers of the chosen points, out of as many as there are."""
    try:
        return np.arange(total)[slice(None) if at is None else at]
    except (IndexError, TypeError, ValueError):
        raise NoAnswer(
            f"{name}: the points are chosen by their numbers 0 to {total - 1}, got "
            f"{_in_short(at)}; pass slice(0, 3) or [0, 1, 2], for example."
        ) from None


def _has_placeholder(answer: Any) -> bool:
    return answer is ... or (
        isinstance(answer, list | tuple) and any(map(_has_placeholder, answer))
    )


def _unanswered(name: str) -> Unanswered:
    return Unanswered(f"{name} waits for your answer: put it in place of the dots.")


def _as_numbers(name: str, answer: Any, what: str) -> list[float]:
    """A number as a list of one, and an array of any shape as a list of all its numbers."""
    if _has_placeholder(answer):
        raise _unanswered(name)
    try:
        if answer is None or np.asarray(answer).dtype.kind in "bcSU":
            raise TypeError
        return [float(value) for value in np.ravel(np.asarray(answer, float))]
    except (TypeError, ValueError):
        raise NoAnswer(
            f"{name}: {what} must be a number, or a row of them, got {_in_short(answer)}; write a "
            "number such as 43.21 without quotes."
        ) from None


def _in_short(answer: Any) -> str:
    is_long = callable(answer) or isinstance(answer, list | tuple) or len(repr(answer)) > 40
    return f"the type {type(answer).__name__}" if is_long else repr(answer)


def _tolerance_in_words(seal: str, times: int = 1) -> str:
    kind, tolerance, *_ = seal.split()
    size = times * float(tolerance)
    return f"{100 * size:.3g} %" if kind == "relative" else f"{size:.3g}"


def _format_values(values: Sequence[float]) -> str:
    text = ", ".join(f"{value:.4g}" for value in values[:4]) + ", …" * (len(values) > 4)
    return text if len(values) == 1 else f"({text})"


def _print_tick(name: str, text: str) -> None:
    print(f"✓ {name}: {text}")
