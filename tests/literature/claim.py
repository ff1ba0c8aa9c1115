"""One number of the literature, where it stands, and how dynopt computes it."""

from collections.abc import Callable
from typing import NamedTuple


class Claim(NamedTuple):
    """A published number with its source, and a computation that must give it.

    - `name`: what is computed, unique.
    - `source`: the publication, and where in it the number or its formula stands.
    - `expected`: the published number, or that of an independent computation; infinity if the claim
      is only a lower bound.
    - `low`, `high`: the bounds of what is accepted, both included.
    - `compute`: a function without arguments.
    - `slow`: whether it takes more than about two seconds.
    """

    name: str
    source: str
    expected: float
    low: float
    high: float
    compute: Callable[[], float]
    slow: bool = False


class Chapter(dict[str, Claim]):
    """Claims by their name, collected by a decorator of the functions that compute them."""

    def claim(
        self, name: str, source: str, expected: float, *, within=None, bounds=None, slow=False
    ):
        """Add the decorated function.

        - `within`: the largest accepted distance from `expected`; or else
        - `bounds`: the lowest and the highest accepted number.
        """
        low, high = bounds or (expected - within, expected + within)

        def add(compute):
            assert name not in self, name
            self[name] = Claim(name, source, expected, low, high, compute, slow)
            return compute

        return add
