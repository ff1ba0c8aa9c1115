"""Compute the seals of `dynopt/course/exercises/NN.toml`: `python tests/course/reseal.py 01 02`.

The answers come from `solutions_NN.py`, and the hints are written by hand. In each exercise the
n-th seal of a mistake is that of the n-th wrong answer. A new exercise starts with `seal = ""`.
"""

import re
import sys
import tomllib
from pathlib import Path

import jax
from solving import as_answer, numbers, prediction, solution

from dynopt.course import check

FOLDER = Path(check.__file__).parent / "exercises"


def reseal(chapter: str) -> None:
    """Write the seals of one notebook into its file of exercises."""
    path = FOLDER / f"{chapter}.toml"
    text = path.read_text("utf-8")
    seals: list[str] = []
    for name, entry in tomllib.loads(text).items():
        if name == "prediction":
            letter = check.LETTERS.index(prediction(chapter))
            seals.append(check.seal(f"{chapter} prediction", letter, absolute=0.5))
        elif "seal" in entry:
            known = solution(name)
            wrong = [answer for answer, _ in known.wrong[: len(entry.get("mistakes", []))]]
            rows = [known.sealed, *(numbers(name, *as_answer(answer)) for answer in wrong)]
            seals += [check.seal(name, row, **known.tolerance) for row in rows]
    new_seals = iter(seals)
    text = re.sub(r'seal = "[^"]*"', lambda _: f'seal = "{next(new_seals)}"', text)
    path.write_text(text, "utf-8")


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    for chapter in sys.argv[1:] or check.chapters():
        reseal(chapter)
