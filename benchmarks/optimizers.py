"""Measure the order of every optimizer, and print the table of the README.

python benchmarks/optimizers.py

Map, flow and time step stand in the table as the docstrings state them. The table is also put into
the README, in place of the one that stands there.
"""

import re
from pathlib import Path

import jax

from dynopt import Problem, analysis, problems
from dynopt.optimizers import catalogue
from dynopt.optimizers.equations import equations

README = Path(__file__).parent.parent / "README.md"
OPTIONS = {"signum": {"smoothing": 20.0}}  # without it there is no error to measure
HEADER = "| optimizer | map | flow | time step | measured order |\n|---|---|---|---|---|\n"

jax.config.update("jax_enable_x64", True)


def row(name: str) -> str:
    kind, problem = catalogue[name], problems.booth()
    optimizer = kind(0.001, **OPTIONS.get(name, {}))
    if not optimizer.elementwise:
        problem = Problem(lambda x: problems.booth().loss(x[:, 0]), problem.x0.reshape(-1, 1))
    slope = analysis.order(optimizer, problem).pairwise[-1]
    return f"| `{kind.__name__}` | {' | '.join(equations(kind).values())} | {slope:.2f} |\n"


def main() -> None:
    table = HEADER + "".join(map(row, catalogue))
    print(table)
    text = README.read_text()
    README.write_text(
        re.sub(r"^\| \w+ \| map \|.*?\n\n", lambda _: table + "\n", text, flags=re.S | re.M)
    )


if __name__ == "__main__":
    main()
