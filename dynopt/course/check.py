"""Checks of a reader's answers: one line each, silent but for a tick; a wrong answer raises with a hint.

Each exercise has a name such as "01-a". What belongs to it lies in `exercises/01.toml`: which check, the sealed
answer, a hint, and for typical mistakes, sealed as well, a hint of their own. No account, no network, and no answer in
plain sight.

A lecturer's own exercises need no file: give the seal and the hint.

>>> mine = seal("mine", 0.5, relative=0.01)
>>> close("mine", 0.502, seal=mine, hint="Halve it.")
✓ mine: 0.502
>>> close("mine", 0.6, seal=mine, hint="Halve it.")
Traceback (most recent call last):
dynopt.course.check.WrongAnswer: mine: 0.6 is not it. Halve it.
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
    "choice",
    "close",
    "invariant",
    "not_invariant",
    "seal",
    "slope",
]
FOLDER = files("dynopt.course") / "exercises"
SEALED = ("close", "slope", "choice")  # checks that cannot do without
SAME = 1e-6  # of the largest number: results that differ by less are the same


class _Sentence:
    """What a notebook shows of an error: the sentence alone."""

    mark = "✗"

    def _render_traceback_(self) -> list[str]:
        return [f"{self.mark} {self}"]


class WrongAnswer(_Sentence, DynoptError, AssertionError):
    """An answer that a check does not accept; the message ends in a hint."""


class Unanswered(WrongAnswer):
    """The dots still stand where an answer belongs."""

    mark = "○"


class NoAnswer(_Sentence, InvalidType):
    """Text where numbers are asked for, say."""


class Exercise(NamedTuple):
    """What belongs to one: the name of its check, the seal, the hint, and (seal, hint) of each typical mistake."""

    name: str
    check: str
    seal: str
    hint: str
    mistakes: Sequence[tuple[str, str]] = ()

    def wrong(self, said: str, hint: str = "") -> WrongAnswer:
        return WrongAnswer(f"{self.name}: {said} {hint or self.hint}".strip())

    def settle(self, said: str, answer: str | list[float]) -> None:
        """Tick off the sealed answer, or raise with the hint that fits."""
        if not seals.opens(self.seal, self.name, answer):
            hints = [hint for seal, hint in self.mistakes if seals.opens(seal, self.name, answer)]
            raise self.wrong(f"{said} is not it.", *hints[:1])
        _tick(self.name, said)


def close(name: str, answer: Any, *, seal: str = "", hint: str = "") -> None:
    """Check a number, or a row of numbers, against the sealed ones.

    **Raises:** `WrongAnswer`; `Unanswered` for `...`; `NoAnswer` for what is no number; `UnknownName`;
    `InvalidValue` for what is no seal, or a hint without one.
    """
    exercise = _exercise(name, "close", seal, hint, answer)
    values = _numbers(name, answer, "answer")
    exercise.settle(_said(values), values)


def slope(name: str, h: Any, error: Any, *, seal: str = "", hint: str = "") -> None:
    """Check the slope of log(error) against log(h), by least squares over at least three points: a measured order.

    **Raises:** as `close`; `InvalidValue` for fewer than three points, or numbers that have no logarithm.
    """
    exercise = _exercise(name, "slope", seal, hint, h, error)
    h, error = np.array(_numbers(name, h, "h")), np.array(_numbers(name, error, "error"))
    several = len(np.unique(h))
    if h.shape != error.shape or several < 3:
        given = f"{several} different and {len(error)}"
        raise InvalidValue(
            f"a slope needs three different steps h and as many errors, got {given}; pass more."
        )
    if not all((np.isfinite(row) & (row > 0)).all() for row in (h, error)):
        raise InvalidValue(
            "a slope is one of logarithms, and some `h` or `error` is not positive and finite; leave those out."
        )
    found = float(np.polyfit(np.log(h), np.log(error), 1)[0])
    exercise.settle(f"a slope of {found:.3g}", [found])


def choice(name: str, answer: Any, *, seal: str = "", hint: str = "") -> None:
    """Check a word: one of the letters that the exercise offers.

    **Raises:** as `close`.
    """
    exercise = _exercise(name, "choice", seal, hint, answer)
    if not isinstance(answer, str):
        raise NoAnswer(
            f"{name}: `answer` must be text, got {answer!r}; pass one of the letters offered, in quotes."
        )
    exercise.settle(f'"{answer}"', answer)


def below(name: str, smaller: Any, larger: Any, *, seal: str = "", hint: str = "") -> None:
    """Check that numbers lie below others, or on them, everywhere: a bound.

    With a seal, the largest of smaller / larger must be the sealed number, too: a looser bound does not pass.

    **Raises:** as `close`, and says where the bound is broken first.
    """
    exercise = _exercise(name, "below", seal, hint, smaller, larger)
    low, high = (
        np.array(_numbers(name, smaller, "smaller")),
        np.array(_numbers(name, larger, "larger")),
    )
    if len(low) != len(high) and 1 not in (len(low), len(high)):
        raise InvalidValue(
            f"{len(low)} numbers stand beside {len(high)}; pass as many, or one bound for all."
        )
    if not low.size or not high.size:
        raise InvalidValue("there are no numbers to compare; pass rows that are not empty.")
    low, high = np.broadcast_arrays(low, high)
    broken = np.flatnonzero(~(low <= high))
    if broken.size:
        first = broken[0]
        where = f"at index {first}, " * (low.size > 1)
        order = " Are the two in this order, the smaller first?" * bool((low > high).all())
        raise exercise.wrong(f"{where}{low[first]:.4g} is not below {high[first]:.4g}.{order}")
    if exercise.seal:
        share = float(np.divide(low, high, out=np.zeros(low.size), where=high > 0).max())
        exercise.settle(f"up to {share:.3g} of the bound", [share])
    else:
        _tick(name, f"{low.size} below")


def invariant(name: str, f: Callable, transform: Callable, at: Any, *, hint: str = "") -> None:
    """Check that f(transform(at)) = f(at), to a millionth: what f measures does not see the transformation.

    **Raises:** as `close`; `InvalidType` if `f` or `transform` is no function.
    """
    exercise, apart = _apart(name, "invariant", f, transform, at, hint)
    if not apart <= SAME:
        raise exercise.wrong(f"f changes by {apart:.3g} of its size under the transformation.")
    _tick(name, "unchanged")


def not_invariant(name: str, f: Callable, transform: Callable, at: Any, *, hint: str = "") -> None:
    """Check that f(transform(at)) differs from f(at), by more than a millionth.

    **Raises:** as `invariant`.
    """
    exercise, apart = _apart(name, "not_invariant", f, transform, at, hint)
    if not apart > SAME:
        raise exercise.wrong("f does not change under the transformation.")
    _tick(name, f"changes by {apart:.3g} of its size")


def seal(
    name: str, answer: Any, *, relative: float | None = None, absolute: float | None = None
) -> str:
    """Seal the right answer of an exercise of one's own: a word, or numbers with their tolerance.

    The name is part of it: a seal opens for the exercise of that name only.

    **Raises:** `InvalidValue` unless numbers have one tolerance, in (1e-12, 1) if relative, positive if absolute, and
    are not 0 if it is relative.
    """
    if isinstance(answer, str):
        return seals.sealed(name, answer, 0.0, False)
    values, tolerance = _numbers(name, answer, "answer"), relative if absolute is None else absolute
    if tolerance is None or None not in (relative, absolute):
        raise InvalidValue(
            "numbers are sealed with one tolerance; pass relative=0.02 or absolute=0.1, say."
        )
    least, most = (1e-12, 1) if absolute is None else (0, np.inf)
    if not least < float(number("tolerance", tolerance)) < most:
        within = "between 1e-12 and 1" if absolute is None else "above 0"
        raise InvalidValue(
            f"this tolerance must lie {within}, got {tolerance:g}; pass relative=0.02, say."
        )
    if not values:
        raise InvalidValue("there is no number to seal; pass one, or a row of them.")
    if not np.isfinite(values).all() or (absolute is None and 0 in values):
        raise InvalidValue(
            "only finite numbers can be sealed, and 0 by an absolute tolerance; pass absolute=0.01, say."
        )
    return seals.sealed(name, values, tolerance, absolute is None)


@cache
def exercises(chapter: str) -> dict[str, Exercise]:
    """All of one notebook: "01"."""
    read = tomllib.loads((FOLDER / f"{chapter}.toml").read_text("utf-8"))
    made = {}
    for name, given in read.items():
        mistakes = [(mistake["seal"], mistake["hint"]) for mistake in given.get("mistakes", [])]
        made[name] = Exercise(name, given["check"], given.get("seal", ""), given["hint"], mistakes)
    return made


def chapters() -> list[str]:
    """The notebooks that have exercises."""
    return sorted(path.name.removesuffix(".toml") for path in FOLDER.iterdir())


def _exercise(name: str, asked: str, seal: str, hint: str, *answers: Any) -> Exercise:
    """The exercise of this name, if it is checked so and something was answered."""
    if seal or hint:
        found = Exercise(name, asked, seal, hint)
    else:
        found = _known(name)
    if found.check != asked:
        raise InvalidValue(f"{name} is not for check.{asked}; call check.{found.check}.")
    if asked in SEALED and not found.seal:
        raise InvalidValue(
            "a hint alone tells no right answer; pass seal=check.seal(name, answer, relative=0.02), too."
        )
    if found.seal and not (isinstance(found.seal, str) and seals.FORM.fullmatch(found.seal)):
        raise InvalidValue(
            f"{found.seal!r} is no seal; make one by check.seal(name, answer, relative=0.02), say."
        )
    if found.seal and found.seal.startswith("choice") != (asked == "choice"):
        raise InvalidValue(
            f"the seal of {name} is one of a {'word' if asked != 'choice' else 'number'}; make another."
        )
    if any(map(_dots, answers)):
        raise _unanswered(name)
    return found


def _dots(answer: Any) -> bool:
    return answer is ... or (isinstance(answer, list | tuple) and any(map(_dots, answer)))


def _unanswered(name: str) -> Unanswered:
    return Unanswered(f"{name} waits for your answer: put it in place of the dots.")


def _known(name: str) -> Exercise:
    chapter = str(name).partition("-")[0]
    known = exercises(chapter) if chapter in chapters() else {}
    if name not in known:
        raise unknown_name(
            "exercise", str(name), known or [one for some in chapters() for one in exercises(some)]
        )
    return known[name]


def _apart(
    name: str, asked: str, f: Callable, transform: Callable, at: Any, hint: str
) -> tuple[Exercise, float]:
    """The exercise, and by how much f changes, as a share of its largest number."""
    exercise = _exercise(name, asked, "", hint, f, transform, at)
    for called, given in (("f", f), ("transform", transform)):
        if not callable(given):
            raise InvalidType(
                f"`{called}` must be a function, got {given!r}; pass lambda x: 2 * x, say."
            )
    moved = transform(at)
    results = [] if _dots(moved) else [f(at), f(moved)]
    if not results or any(map(_dots, results)):
        raise _unanswered(name)
    before, after = (np.array(_numbers(name, values, "f")) for values in results)
    if before.shape != after.shape:
        raise InvalidValue(
            f"f gives {before.size} numbers and then {after.size}; let it give as many for both."
        )
    if not (np.isfinite(before).all() and np.isfinite(after).all()):
        raise exercise.wrong("f gives a number that is not finite.")
    return exercise, float(
        np.abs(after - before).max(initial=0) / (np.abs(before).max(initial=0) or 1)
    )


def _numbers(name: str, answer: Any, called: str) -> list[float]:
    """One number or many, in a row."""
    try:
        if answer is None or np.asarray(answer).dtype.kind in "cSU":
            raise TypeError
        return [float(value) for value in np.ravel(np.asarray(answer, float))]
    except (TypeError, ValueError):
        given = (
            type(answer).__name__ if isinstance(answer, list | tuple | np.ndarray) else repr(answer)
        )
        raise NoAnswer(
            f"{name}: `{called}` must be a number, or a row of them, got {given}; pass 0.5, say."
        ) from None


def _said(values: Sequence[float]) -> str:
    shown = ", ".join(f"{value:.4g}" for value in values[:4]) + ", …" * (len(values) > 4)
    return shown if len(values) == 1 else f"({shown})"


def _tick(name: str, said: str) -> None:
    print(f"✓ {name}: {said}")
