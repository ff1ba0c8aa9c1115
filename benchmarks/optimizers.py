"""Measure the orders of all optimizers, or of those named; write the table of docs/optimizers.md.

python benchmarks/optimizers.py
python benchmarks/optimizers.py adam lion

Map, flow and time step stand in the table as the docstrings state them. Optimizers that are not
named keep their rows.
"""

import argparse
import re
from pathlib import Path

import jax

from dynopt import Problem, analysis, problems
from dynopt.optimizers import catalogue
from dynopt.optimizers.equations import equations

TABLE = Path(__file__).parent.parent / "docs" / "optimizers.md"
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
    parser = argparse.ArgumentParser(description="Write the table of docs/optimizers.md.")
    parser.add_argument("names", nargs="*", help="names of the catalogue; by default all")
    names = parser.parse_args().names or list(catalogue)
    if unknown := set(names) - set(catalogue):
        parser.error(f"no optimizer {' or '.join(unknown)} in {', '.join(catalogue)}")
    text = TABLE.read_text()
    written = dict(re.findall(r"^(\| `\w+` )(.*\n)", text, re.M))
    rows = {name: f"| `{kind.__name__}` " for name, kind in catalogue.items()}
    table = HEADER + "".join(
        row(name) if name in names else rows[name] + written[rows[name]] for name in catalogue
    )
    print(table)
    TABLE.write_text(
        re.sub(r"^\| \w+ \| map \|.*?\n\n", lambda _: table + "\n", text, flags=re.S | re.M)
    )


if __name__ == "__main__":
    main()
