"""Numbers, names and outcomes as they stand in titles, captions and alt texts."""

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...optimizers import AbstractOptimizer
from ...runs.trajectory import Status, Trajectory

RAISED = str.maketrans("-0123456789.", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹·")
LOWERED = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def number(x: float, digits: int = 3) -> str:
    """
    >>> [number(v) for v in (0.0123, 1234.6, 1.5e-7, 1e-12, -2.0, 0.0)]
    ['0.0123', '1235', '1.5×10⁻⁷', '10⁻¹²', '−2', '0']
    """
    if x == 0 or not math.isfinite(x):
        return {math.inf: "∞", -math.inf: "−∞"}.get(x, "0" if x == 0 else "NaN")
    mantissa, exponent = f"{x:.{digits - 1}e}".split("e")
    mantissa = (mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa).replace("-", "−")
    power = int(exponent)
    if -4 < power < 5:
        return f"{float(f'{x:.{max(digits, power + 1)}g}'):.12g}".replace("-", "−")
    return {"1": "", "−1": "−"}.get(mantissa, mantissa + "×") + "10" + str(power).translate(RAISED)


def percent(share: float) -> str:
    """A share, with one digit after the point, or as many as tell it from nothing and from all, but three at most.

    >>> [percent(s).replace("\\xa0", " ") for s in (0.9341, 0.5, 0.0012, 0.99971, 1.0)]
    ['93.4 %', '50 %', '0.12 %', '99.971 %', '100 %']
    """
    least = 100 * min(share, 1 - share)
    digits = min(max(1 - math.floor(math.log10(least)), 1), 3) if least > 0 else 0
    return f"{float(f'{100 * share:.{digits}f}') + 0.0:.12g}\xa0%"


def point(x: Any) -> str:
    """
    >>> point([-1.2, 1])
    '(−1.2, 1)'
    """
    x = np.ravel(x)
    inside = [number(float(v)) for v in (x if len(x) <= 4 else x[:3])]
    return f"({', '.join(inside)}{', …' * (len(x) > 4)})"


def listed(names: Sequence[str]) -> str:
    """
    >>> listed(["SGD", "Momentum", "Adam"])
    'SGD, Momentum and Adam'
    """
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def plain(text: str) -> str:
    """Text that matplotlib takes as it is: no dollar begins a formula, and it stays on one line."""
    return re.sub(r"[^\S\xa0]+", " ", text).strip().replace("$", r"\$")


def power(slope: float) -> str:
    """The power of h that a slope stands for, by name if it is near one.

    >>> [power(s) for s in (1.003, 0.5, 1.98, 0.72)]
    ['h', '√h', 'h²', 'h⁰·⁷²']
    """
    named = {0.5: "√h", 1: "h", 1.5: "h¹·⁵", 2: "h²", 3: "h³", 4: "h⁴"}
    nearest = min(named, key=lambda p: abs(p - slope))
    return (
        named[nearest] if abs(nearest - slope) <= 0.05 else "h" + f"{slope:.2f}".translate(RAISED)
    )


def names(optimizers: Sequence[AbstractOptimizer]) -> list[str]:
    """What the runs of one picture are called: the optimizer, and what differs between two runs of the same."""
    said = []
    for optimizer in optimizers:
        same = [_options(o) for o in optimizers if o.name == optimizer.name]
        own = _options(optimizer).items()
        differing = [
            f"{p} {_option(value)}" for p, value in own if len({str(o.get(p)) for o in same}) > 1
        ]
        said.append(optimizer.name + f" ({', '.join(differing)})" * bool(differing))
    return said


def _options(optimizer: AbstractOptimizer) -> dict[str, Any]:
    """Its options with their values; of one that is derived from another, those of that too."""
    own = optimizer.hyperparameters()
    inside = own.pop("optimizer", None)
    return own if inside is None else _options(inside) | own


def _option(value: Any) -> str:
    try:
        return number(float(value))
    except (TypeError, ValueError):
        return str(value)


def failure(run: Trajectory) -> str | None:
    """What went wrong with a run, such as "diverged at step 37"; None if nothing did."""
    return run.failure(number)


def failure_sentence(
    name: str, map: Trajectory | None, flow: Trajectory | None = None
) -> str | None:
    """What to say of a run that failed, map first: "SGD diverged at step 37"."""
    said = [f"{name} {failure(map)}" if map is not None and failure(map) else ""]
    said += [f"the flow of {name} {failure(flow)}" if flow is not None and failure(flow) else ""]
    return "; ".join(filter(None, said)) or None


def failure_tag(map: Trajectory | None, flow: Trajectory | None) -> str:
    """What stands behind a name in a key, where there is room for a word or two: " (diverged)"."""
    for run, whose in ((map, ""), (flow, "flow ")):
        if run is not None and run.status != Status.ok:
            return f" ({whose}{run.status.short})"
    return ""


def setting(optimizer: AbstractOptimizer) -> str:
    """
    >>> from dynopt import Momentum
    >>> setting(Momentum(0.01))
    'Momentum(learning_rate=0.01, momentum=0.9), h\\xa0=\\xa00.1'
    """
    return plain(f"{optimizer!r}, h\xa0=\xa0{number(float(optimizer.h))}")


def counted(n: int, noun: str) -> str:
    return f"{n} {noun}{'s' * (n != 1)}"


def ordinal(n: int) -> str:
    """
    >>> [ordinal(n) for n in (2, 5, 13, 21)]
    ['2nd', '5th', '13th', '21st']
    """
    return (
        f"{n}{'th' if n % 100 in (11, 12, 13) else {1: 'st', 2: 'nd', 3: 'rd'}.get(n % 10, 'th')}"
    )


def subscript(n: int) -> str:
    return str(n).translate(LOWERED)
