"""The equations of an optimizer, as its docstring states them."""

import inspect
import re
from itertools import dropwhile, takewhile


def equations(kind: type) -> dict[str, str]:
    """The map, the flow and the time step of the class `kind`, as one line of text each.

    The lines are read from the docstring of the class: the indented equations below "The map" and
    "The flow", and the formula of `h` in "one step takes the time h = ...". A part that the
    docstring does not contain is the empty string.

    >>> from dynopt import SGD
    >>> equations(SGD)
    {'map': 'xₖ₊₁ = xₖ - η ∇f(xₖ)', 'flow': 'x′ = -∇f(x)', 'time step': 'h = η'}
    """
    text = inspect.getdoc(kind) or ""
    time_step = re.search(r"one\s+step\s+takes\s+the\s+time\s+(h = \S+?)[,.:;]", text)
    return {
        "map": _equations_below("The map", text),
        "flow": _equations_below("The flow", text),
        "time step": time_step[1] if time_step else "",
    }


def _equations_below(heading: str, text: str) -> str:
    """The first block of indented lines below a heading; remarks in braces are left out."""
    lines = text.partition(f"\n{heading}")[2].splitlines()
    block = takewhile(_is_indented, dropwhile(lambda line: not _is_indented(line), lines))
    parts = [part for line in block for part in re.split(" {3,}", line.strip())]
    return "; ".join(part for part in parts if not part.startswith("{"))


def _is_indented(line: str) -> bool:
    return line.startswith("    ")
