"""Sealed answers: a check can tell whether an answer is right; a glance at the file does not tell which one is.

They keep honest readers from seeing an answer too early; who writes a loop over all bins finds it.

The line of numbers is cut into bins as wide as the tolerance, with the right answer in the middle of one, and the bin's
index is hashed together with the exercise's name. For a relative tolerance the bins are even in log|v|, so that one of
them reaches from v (1 - tolerance) to v (1 + tolerance). A seal is a line of text:

    relative 0.02 41234:0d1e6a7b8c9f0a1b     a number within 2 %; one such pair for each number of a row
    absolute 0.1 50000:0d1e6a7b8c9f0a1b      a number within 0.1
    choice 0d1e6a7b8c9f0a1b                  a word
"""

import hashlib
import math
import re
from collections.abc import Sequence

PHASES = 10**5  # steps in which the edges of the bins can be moved
FORM = re.compile(r"choice [0-9a-f]{16}|(relative|absolute) \S+( \d{5}:[0-9a-f]{16})+")


def sealed(name: str, answer: str | Sequence[float], tolerance: float, relative: bool) -> str:
    """The seal of a word, or of numbers."""
    if isinstance(answer, str):
        return f"choice {_stamp(name, 0, _word(answer))}"
    parts = []
    for i, value in enumerate(answer):
        phase = round(
            PHASES
            * (
                _place(
                    value * (1 - tolerance) if relative else value - tolerance, tolerance, relative
                )
                % 1
            )
        )
        parts.append(
            f"{phase % PHASES:05d}:{_stamp(name, i, _bin(value, tolerance, relative, phase % PHASES))}"
        )
    return f"{'relative' if relative else 'absolute'} {tolerance!r} {' '.join(parts)}"


def opens(seal: str, name: str, answer: str | Sequence[float]) -> bool:
    """Whether this is the answer that was sealed."""
    kind, *rest = seal.split()
    if kind == "choice" or isinstance(answer, str):
        return (
            kind == "choice"
            and isinstance(answer, str)
            and rest == [_stamp(name, 0, _word(answer))]
        )
    tolerance, parts = float(rest[0]), [part.split(":") for part in rest[1:]]
    return len(parts) == len(answer) and all(
        math.isfinite(value)
        and stamp == _stamp(name, i, _bin(value, tolerance, kind == "relative", int(phase)))
        for i, (value, (phase, stamp)) in enumerate(zip(answer, parts, strict=True))
    )


def _place(value: float, tolerance: float, relative: bool) -> float:
    """Where a number lies, in widths of bins."""
    if not relative:
        return value / (2 * tolerance)
    return (
        math.log(abs(value)) / math.log((1 + tolerance) / (1 - tolerance)) if value else -math.inf
    )


def _bin(value: float, tolerance: float, relative: bool, phase: int) -> str:
    place = _place(value, tolerance, relative) - phase / PHASES
    index = str(math.floor(place)) if math.isfinite(place) else "nowhere"
    return f"minus {index}" if relative and value < 0 else index


def _word(answer: str) -> str:
    return answer.strip().casefold()


def _stamp(name: str, i: int, said: str) -> str:
    return hashlib.sha256(f"{name} {i} {said}".encode()).hexdigest()[:16]
