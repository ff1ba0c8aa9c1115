"""What the workloads show, over several seeds: robustness, sentence similarity, entity linking.

    python benchmarks/workloads.py

Below each table stand the claims that are made of it, with their numbers.
"""

import subprocess
import sys
from pathlib import Path

BENCHMARKS = "robustness", "similarity", "linking"


def main() -> None:
    for name in BENCHMARKS:
        print(f"\n== {name}", flush=True)
        subprocess.run([sys.executable, Path(__file__).with_stem(name)], check=True)


if __name__ == "__main__":
    main()
