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
row of numbers has one pair of phase and hash for each of its numbers. An answer in a bin near
the sealed one is recognised, too, so that a near miss can be told from any other wrong answer.
"""

import hashlib
import math
import re
from collections.abc import Sequence
from typing import NamedTuple

NEAR = 3  # an answer is near the right one if it is within so many tolerances of it
WIDEST = 0.05  # with a larger relative tolerance no answer is called near
PHASES = 10**5  # the edges of the bins are shifted by a multiple of 1 / PHASES of a bin
FORM = re.compile(r"(relative|absolute) \S+( \d{5}:[0-9a-f]{16})+")


class _Bins(NamedTuple):
    """The bins of one number, as wide as twice the tolerance."""

    tolerance: float
    relative: bool
    phase: int = 0

    def bin_of(self, value: float) -> int | float:
        """The index of the bin that holds a number, or an infinity."""
        position = self.position(value) - self.phase / PHASES
        return math.floor(position) if math.isfinite(position) else position

    def position(self, value: float) -> float:
        """The position of a number on the line, in widths of a bin."""
        if not self.relative:
            return value / (2 * self.tolerance)
        return math.log(abs(value)) / math.log(self._ratio()) if value else -math.inf

    def deviation(self, value: float, index: int | float) -> float:
        """How far a number is from the middle of a bin, in tolerances."""
        low = index + self.phase / PHASES
        if not self.relative:
            return abs(value - (2 * low + 1) * self.tolerance) / self.tolerance
        middle = self._ratio() ** low / (1 - self.tolerance)
        return abs(abs(value) / middle - 1) / self.tolerance

    def _ratio(self) -> float:
        return (1 + self.tolerance) / (1 - self.tolerance)


def make_seal(name: str, answer: Sequence[float], tolerance: float, relative: bool) -> str:
    """The seal of a row of numbers, for the exercise of this name."""
    bins, pairs = _Bins(tolerance, relative), []
    for i, value in enumerate(answer):
        low = value * (1 - tolerance) if relative else value - tolerance
        phase = round(PHASES * (bins.position(low) % 1)) % PHASES
        index = bins._replace(phase=phase).bin_of(value)
        pairs.append(f"{phase:05d}:{_hash(name, i, index, bool(relative and value < 0))}")
    return f"{'relative' if relative else 'absolute'} {tolerance!r} {' '.join(pairs)}"


def matches(seal: str, name: str, answer: Sequence[float], tolerances: int = 1) -> bool:
    """Whether the answer is within the tolerance of the one that was sealed.

    - `tolerances`: 1, or `NEAR` for an answer that may be farther off.
    """
    kind, tolerance, *pairs = seal.split()
    return len(pairs) == len(answer) and all(
        _matches_one(pair, name, i, value, float(tolerance), kind == "relative", tolerances)
        for i, (value, pair) in enumerate(zip(answer, pairs, strict=True))
    )


def is_near(seal: str, name: str, answer: Sequence[float]) -> bool:
    """Whether the answer is within three tolerances, and these are no more than 15 per cent."""
    kind, tolerance, *_ = seal.split()
    is_wide = kind == "relative" and float(tolerance) > WIDEST
    return not is_wide and matches(seal, name, answer, NEAR)


def _matches_one(
    pair: str, name: str, i: int, value: float, tolerance: float, relative: bool, tolerances: int
) -> bool:
    phase, digest = pair.split(":")
    bins, is_minus = _Bins(tolerance, relative, int(phase)), bool(relative and value < 0)
    index = bins.bin_of(value) if math.isfinite(value) else math.nan
    if not math.isfinite(index) or tolerances == 1:
        return math.isfinite(value) and digest == _hash(name, i, index, is_minus)
    return any(
        digest == _hash(name, i, near, is_minus) and bins.deviation(value, near) <= tolerances
        for near in range(int(index) - 2, int(index) + 3)
    )


def _hash(name: str, i: int, index: int | float, is_minus: bool) -> str:
    """The digest of a bin; for a relative tolerance it depends on the sign of the number."""
    text = "minus " * is_minus + (str(index) if math.isfinite(index) else "nowhere")
    return hashlib.sha256(f"{name} {i} {text}".encode()).hexdigest()[:16]
