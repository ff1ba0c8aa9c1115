"""A JavaScript engine, V8, for the tests of what is written in JavaScript."""

import jax
import numpy as np
import pytest
from py_mini_racer import MiniRacer

SHOW = """
const show = v => typeof v === "object" ? v.map(show).join(" ")
    : Object.is(v, -0) ? "-0.0" : String(v)
"""
SPECIAL = {
    "NaN": "nan", "Infinity": "inf", "-Infinity": "-inf", "true": "1", "false": "0",
}  # fmt: skip
WORDS = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity", "True": "true", "False": "false"}


class Engine:
    """V8, which keeps the functions that it has read."""

    def __init__(self):
        self.context = MiniRacer()
        self.context.eval(SHOW)

    def read(self, *functions: str) -> None:
        self.context.eval("\n".join(functions))

    def call(self, name: str, *arguments, gradients: str = "") -> np.ndarray:
        """All numbers that a function returns, in order."""
        texts = [*map(as_javascript, arguments), *([gradients] if gradients else [])]
        shown = self.context.eval(f"show({name}({','.join(texts)}))").split()
        return np.array([float(SPECIAL.get(text, text)) for text in shown])


def as_javascript(tree) -> str:
    numbers = [repr(number.item()) for leaf in jax.tree.leaves(tree) for number in np.ravel(leaf)]
    texts = [WORDS.get(number, number) for number in numbers]
    return (
        texts[0]
        if tree is jax.tree.leaves(tree)[0] and np.ndim(tree) == 0
        else f"[{','.join(texts)}]"
    )


@pytest.fixture(scope="session")
def engine():
    return Engine()
