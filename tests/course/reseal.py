"""Write the seals of `dynopt/course/exercises/NN.toml` anew, from the solutions: `python tests/course/reseal.py 01 02`.

Hints are written by hand; in each exercise the n-th seal of a mistake is that of the n-th wrong answer.
"""

import re
import sys
import tomllib
from pathlib import Path

import jax
import numpy as np
from solving import Solution, answered, solutions

from dynopt.course import check

FOLDER = Path(check.__file__).parent / "exercises"


def sealed_value(kind: str, answer: tuple) -> object:
    """What is sealed of an answer: of a slope, its number; of a bound, the largest share of it."""
    if kind == "slope":
        h, error = (np.log(np.asarray(row, float)) for row in answer)
        return float(np.polyfit(h, error, 1)[0])
    if kind == "below":
        low, high = (np.asarray(row, float) for row in answer)
        return float((low / high).max())
    return answer[0]


def reseal(chapter: str) -> None:
    path = FOLDER / f"{chapter}.toml"
    text = path.read_text("utf-8")
    seals: list[str] = []
    for name, exercise in tomllib.loads(text).items():
        own: Solution = solutions(chapter)[name]
        if "seal" in exercise:
            answers = [own.right(), *(answered(wrong) for wrong, _ in own.wrong)][
                : 1 + len(exercise["mistakes"])
            ]
            values = [sealed_value(exercise["check"], answer) for answer in answers]
            seals += [check.seal(name, value, **own.tolerance) for value in values]
    anew = iter(seals)
    path.write_text(re.sub(r'seal = "[^"]*"', lambda _: f'seal = "{next(anew)}"', text), "utf-8")


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    for chapter in sys.argv[1:] or check.chapters():
        reseal(chapter)
