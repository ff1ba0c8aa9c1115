"""Numbers, names and failures of runs as words, for titles, captions and alt texts."""

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...files import printable
from ...optimizers import AbstractOptimizer
from ...runs.trajectory import Trajectory

SUPERSCRIPTS = str.maketrans("-0123456789.", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹·")
SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def format_number(x: float, digits: int = 3) -> str:
    """A number in `digits` significant digits, with a power of ten if it is very large or small.

    >>> [format_number(v) for v in (0.0123, 1234.6, 1.5e-7, 1e-12, -2.0, 0.0)]
    ['0.0123', '1235', '1.5×10⁻⁷', '10⁻¹²', '−2', '0']
    """
    if x == 0 or not math.isfinite(x):
        return {math.inf: "∞", -math.inf: "−∞"}.get(x, "0" if x == 0 else "NaN")
    mantissa, exponent = f"{x:.{digits - 1}e}".split("e")
    mantissa = (mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa).replace("-", "−")
    power = int(exponent)
    if -4 < power < 5:
        return f"{float(f'{x:.{max(digits, power + 1)}g}'):.12g}".replace("-", "−")
    factor = {"1": "", "−1": "−"}.get(mantissa, mantissa + "×")
    return factor + "10" + str(power).translate(SUPERSCRIPTS)


def format_with_error(x: float, error: float) -> str:
    """A number and its standard error, to two digits of the error.

    >>> pairs = (0.22943, 0.0051), (-12.3, 4.56), (1.23e-7, 4e-9), (2.0, 0.0)
    >>> [format_with_error(*pair).replace("\\xa0", " ") for pair in pairs]
    ['0.2294 ± 0.0051', '−12.3 ± 4.6', '(1.230 ± 0.040)×10⁻⁷', '2 ± 0']
    """
    if not (math.isfinite(x) and math.isfinite(error)) or error == 0:
        return f"{format_number(x)}\xa0±\xa0{format_number(error)}"
    largest = math.floor(math.log10(max(abs(x), error)))
    power = 0 if -4 < largest < 5 else largest
    scaled = float(f"{error / 10.0**power:.1e}")
    digits = max(1 - math.floor(math.log10(scaled)), 0)
    text = f"{x / 10.0**power:.{digits}f}\xa0±\xa0{scaled:.{digits}f}".replace("-", "−")
    return f"({text})×10{str(power).translate(SUPERSCRIPTS)}" if power else text


def format_percent(fraction: float) -> str:
    """A fraction in percent, with one to three digits after the point.

    There are as many digits as tell the fraction from 0 and from 1.

    >>> [format_percent(f).replace("\\xa0", " ") for f in (0.9341, 0.5, 0.0012, 0.99971, 1.0)]
    ['93.4 %', '50 %', '0.12 %', '99.971 %', '100 %']
    """
    least = 100 * min(fraction, 1 - fraction)
    digits = min(max(1 - math.floor(math.log10(least)), 1), 3) if least > 0 else 0
    return f"{float(f'{100 * fraction:.{digits}f}') + 0.0:.12g}\xa0%"


def format_point(x: Any) -> str:
    """The coordinates in parentheses; the first three of them if there are more than four.

    >>> format_point([-1.2, 1])
    '(−1.2, 1)'
    """
    x = np.ravel(x)
    coordinates = [format_number(float(v)) for v in (x if len(x) <= 4 else x[:3])]
    return f"({', '.join(coordinates)}{', …' * (len(x) > 4)})"


def join_words(words: Sequence[str]) -> str:
    """The words as a list in a sentence, with "and" before the last one.

    >>> join_words(["SGD", "Momentum", "Adam"])
    'SGD, Momentum and Adam'
    """
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def capitalize(sentence: str) -> str:
    """The sentence with a capital first letter, unless that is Greek and so a symbol, such as η."""
    first = sentence[:1]
    return sentence if "α" <= first <= "ω" else first.upper() + sentence[1:]


def literal(text: str) -> str:
    """Text that matplotlib takes literally: on one line, and without dollars of formulas.

    What no file should hold, such as a control character, is spelt out.
    """
    return printable(re.sub(r"[^\S\xa0]+", " ", text).strip()).replace("$", r"\$")


def power_of_h(slope: float) -> str:
    """The power of h that belongs to a slope in a plot with logarithmic axes.

    >>> [power_of_h(s) for s in (1.003, 0.5, 1.98, 0.72)]
    ['h', '√h', 'h²', 'h⁰·⁷²']
    """
    powers = {0.5: "√h", 1: "h", 1.5: "h¹·⁵", 2: "h²", 3: "h³", 4: "h⁴"}
    nearest = min(powers, key=lambda p: abs(p - slope))
    if abs(nearest - slope) <= 0.05:
        return powers[nearest]
    return "h" + f"{slope:.2f}".translate(SUPERSCRIPTS)


SYMBOLS = {"learning_rate": "η", "momentum": "μ", "b1": "β₁", "b2": "β₂", "eps": "ε"}


def facts(optimizer: AbstractOptimizer, *more: str) -> str:
    """The learning rate of an optimizer and what else is said of it, for the line below its name.

    >>> from dynopt import SGD
    >>> facts(SGD(0.01), "leaves at step 3")
    'η\\xa0=\\xa00.01   leaves at step 3'
    """
    rate = optimizer.hyperparameters().get("learning_rate")
    known = [] if rate is None else [f"η\xa0=\xa0{_format_value(rate)}"]
    return "   ".join(map(literal, [*known, *filter(None, more)]))


def run_names(optimizers: Sequence[AbstractOptimizer]) -> list[str]:
    """The names of the runs of one picture.

    An optimizer has the name that `named` gave it. Without one, two runs of the same optimizer are
    told apart by the hyperparameters in which they differ.
    """
    names = []
    for optimizer in optimizers:
        if optimizer.own_name is not None:
            names.append(optimizer.own_name)
            continue
        others = [_hyperparameters(o) for o in optimizers if o.name == optimizer.name]
        differing = [
            f"{SYMBOLS.get(name, name)}\xa0=\xa0{_format_value(value)}"
            for name, value in _hyperparameters(optimizer).items()
            if len({str(other.get(name)) for other in others}) > 1
        ]
        names.append(" ".join([optimizer.name, *differing]))
    return names


def _hyperparameters(optimizer: AbstractOptimizer) -> dict[str, Any]:
    """Its hyperparameters; if it is derived from another optimizer, together with the other's."""
    values = optimizer.hyperparameters()
    base = values.pop("optimizer", None)
    return values if base is None else _hyperparameters(base) | values


def _format_value(value: Any) -> str:
    try:
        return format_number(float(value))
    except (TypeError, ValueError):
        return str(value)


def failure(run: Trajectory) -> str | None:
    """What went wrong with a run, such as "diverged at step 37"; None if nothing did."""
    return run.failure(format_number)


def failure_sentence(
    name: str, map: Trajectory | None, flow: Trajectory | None = None
) -> str | None:
    """What went wrong with the runs of one optimizer, such as "SGD diverged at step 37"."""
    named = ((name, map), (f"the flow of {name}", flow))
    sentences = [f"{who} {failure(run)}" for who, run in named if run is not None and failure(run)]
    return "; ".join(sentences) or None


def setting(optimizer: AbstractOptimizer) -> str:
    """The optimizer as one types it, and its time step.

    >>> from dynopt import Momentum
    >>> setting(Momentum(0.01))
    'Momentum(learning_rate=0.01, momentum=0.9), h\\xa0=\\xa00.1'
    """
    return literal(f"{optimizer!r}, h\xa0=\xa0{format_number(float(optimizer.h))}")


def count_noun(n: int, noun: str) -> str:
    """A number and its noun, in the plural unless the number is 1.

    >>> count_noun(1, "step"), count_noun(3, "step")
    ('1 step', '3 steps')
    """
    return f"{n} {noun}{'s' * (n != 1)}"


def subscript(n: int) -> str:
    """The number in subscript digits.

    >>> "x" + subscript(12)
    'x₁₂'
    """
    return str(n).translate(SUBSCRIPTS)
