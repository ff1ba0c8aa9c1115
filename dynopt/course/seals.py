"""Sealed answers: a check can tell whether an answer is right, and the file does not show it.

A seal is a hash of the answer, rounded to its tolerance. It keeps an honest reader from seeing the
answer too early. Whoever writes a loop over all bins finds it.

The real line is divided into bins that are as wide as twice the tolerance, with the right answer in
the middle of one bin. The index of this bin is hashed together with the name of the exercise. For a
relative tolerance the bins have equal width in log|v|, so that one of them reaches from
v (1 - tolerance) to v (1 + tolerance). A seal is a line of text:

    relative 0.02 41234:0d1e6a7b8c9f0a1b     a number within 2 %
    absolute 0.1 50000:0d1e6a7b8c9f0a1b      a number within 0.1

The five digits are the phase: the fraction of a bin by which the edges of the bins are shifted. A
row of numbers has one pair of phase and hash for each of its numbers.
"""

import hashlib
import math
import re
from collections.abc import Sequence

PHASES = 10**5  # the edges of the bins are shifted by a multiple of 1 / PHASES of a bin
FORM = re.compile(r"(relative|absolute) \S+( \d{5}:[0-9a-f]{16})+")


def make_seal(name: str, answer: Sequence[float], tolerance: float, relative: bool) -> str:
    """The seal of a row of numbers, for the exercise of this name."""
    pairs = []
    for i, value in enumerate(answer):
        low = value * (1 - tolerance) if relative else value - tolerance
        phase = round(PHASES * (_position(low, tolerance, relative) % 1)) % PHASES
        index = _bin(value, tolerance, relative, phase)
        pairs.append(f"{phase:05d}:{_hash(name, i, index)}")
    return f"{'relative' if relative else 'absolute'} {tolerance!r} {' '.join(pairs)}"


def matches(seal: str, name: str, answer: Sequence[float]) -> bool:
    """Whether the answer is within the tolerance of the one that was sealed."""
    kind, tolerance, *pairs = seal.split()
    return len(pairs) == len(answer) and all(
        _matches_one(pair, name, i, value, float(tolerance), kind == "relative")
        for i, (value, pair) in enumerate(zip(answer, pairs, strict=True))
    )


def _matches_one(
    pair: str, name: str, i: int, value: float, tolerance: float, relative: bool
) -> bool:
    phase, digest = pair.split(":")
    return math.isfinite(value) and digest == _hash(
        name, i, _bin(value, tolerance, relative, int(phase))
    )


def _position(value: float, tolerance: float, relative: bool) -> float:
    """The position of a number on the line, in widths of a bin."""
    if not relative:
        return value / (2 * tolerance)
    if not value:
        return -math.inf
    return math.log(abs(value)) / math.log((1 + tolerance) / (1 - tolerance))


def _bin(value: float, tolerance: float, relative: bool, phase: int) -> str:
    """The index of the bin that holds a number; for a relative tolerance with its sign."""
    position = _position(value, tolerance, relative) - phase / PHASES
    index = str(math.floor(position)) if math.isfinite(position) else "nowhere"
    return f"minus {index}" if relative and value < 0 else index


def _hash(name: str, i: int, index: str) -> str:
    return hashlib.sha256(f"{name} {i} {index}".encode()).hexdigest()[:16]
