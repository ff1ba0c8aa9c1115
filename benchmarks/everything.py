"""Every benchmark in turn, each with its table.

    python benchmarks/everything.py

Takes about half an hour on two cores. Peers come with `pip install 'dynopt[bench]'`; C needs gcc.
"""

import subprocess
import sys
from pathlib import Path

EACH = (
    "imports",
    "compiling",
    "command_line",
    "sweep",
    "flow",
    "order",
    "modified_field",
    "accumulation",
)


def main() -> None:
    for name in EACH:
        print(f"\n== {name}", flush=True)
        subprocess.run([sys.executable, Path(__file__).with_stem(name)], check=True)


if __name__ == "__main__":
    main()
