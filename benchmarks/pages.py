"""Measure the order of every page, and write the README's table: maps, flows and clocks as their docstrings say.

python benchmarks/pages.py
"""

import re
from pathlib import Path

import jax

from dynopt import Problem, analysis, problems
from dynopt.compare.screen import equations
from dynopt.optimizers import catalogue

README = Path(__file__).parent.parent / "README.md"
OPTIONS = {"signum": {"smoothing": 20.0}}  # without it there is no gap to measure

jax.config.update("jax_enable_x64", True)


def row(name: str) -> str:
    optimizer, booth = catalogue[name](0.001, **OPTIONS.get(name, {})), problems.booth()
    if not optimizer.elementwise:
        booth = Problem(lambda x: problems.booth().loss(x[:, 0]), booth.x0.reshape(-1, 1))
    slope = analysis.order(optimizer, booth).pairwise[-1]
    said = equations(catalogue[name])
    return f"| `{catalogue[name].__name__}` | {said['map']} | {said['flow']} | {said['clock']} | {slope:.2f} |"


def main() -> None:
    head = "| page | map | flow | clock | measured order |\n|---|---|---|---|---|\n"
    table = head + "\n".join(map(row, catalogue)) + "\n"
    text = README.read_text()
    README.write_text(re.sub(r"\| page \|.*?\n\n", lambda _: table + "\n", text, flags=re.S))


if __name__ == "__main__":
    main()
