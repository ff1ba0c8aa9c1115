"""Run every benchmark in turn, each with its table.

    python benchmarks/everything.py

That takes about half an hour on two cores. The libraries to compare with are installed by
`pip install 'dynopt[bench]'`; the loop in C needs gcc.
"""

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

WORKLOADS = "robustness", "similarity", "linking"
BENCHMARKS = (
    "imports",
    "compiling",
    "command_line",
    "sweep",
    "ensembles",
    "flow",
    "order",
    "modified_field",
    "accumulation",
    *WORKLOADS,
)


def run(names: Iterable[str]) -> None:
    for name in names:
        print(f"\n== {name}", flush=True)
        subprocess.run([sys.executable, Path(__file__).with_stem(name)], check=True)


if __name__ == "__main__":
    run(BENCHMARKS)
