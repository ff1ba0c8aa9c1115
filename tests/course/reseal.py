"""Compute the seals of `dynopt/course/exercises/NN.toml`: `python tests/course/reseal.py 01 02`.

The answers come from `solutions_NN.py`, and the hints are written by hand. In each exercise the
n-th seal of a mistake is that of the n-th wrong answer. A new exercise starts with `seal = ""`.
"""

import re
import sys
import tomllib
from pathlib import Path

import jax
import numpy as np
from solving import as_answer, solutions

from dynopt.course import check

FOLDER = Path(check.__file__).parent / "exercises"


def sealed_value(kind: str, answer: tuple) -> object:
    """The number that is sealed: for a slope its value, for a bound the largest ratio to it."""
    if kind == "slope":
        h, error = (np.log(np.asarray(row, float)) for row in answer)
        return float(np.polyfit(h, error, 1)[0])
    if kind == "below":
        low, high = (np.asarray(row, float) for row in answer)
        return float((low / high).max())
    return answer[0]


def reseal(chapter: str) -> None:
    """Write the seals of one notebook into its file of exercises."""
    path = FOLDER / f"{chapter}.toml"
    text = path.read_text("utf-8")
    seals: list[str] = []
    for name, exercise in tomllib.loads(text).items():
        if "seal" in exercise:
            solution = solutions(chapter)[name]
            wrong = [wrong for wrong, _ in solution.wrong[: len(exercise.get("mistakes", []))]]
            answers = [solution.right(), *map(as_answer, wrong)]
            values = [sealed_value(exercise["check"], answer) for answer in answers]
            seals += [check.seal(name, value, **solution.tolerance) for value in values]
    new_seals = iter(seals)
    text = re.sub(r'seal = "[^"]*"', lambda _: f'seal = "{next(new_seals)}"', text)
    path.write_text(text, "utf-8")


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    for chapter in sys.argv[1:] or check.chapters():
        reseal(chapter)
