"""How long `import dynopt` takes with all its rooms entered, beside the imports it is built on.

    python benchmarks/imports.py --rounds 10

Fresh processes in turn; the ratio is taken round by round.
"""

import argparse
import statistics

from side_by_side import child, ratio

TIMED = "import time; began = time.perf_counter(); {}; print(time.perf_counter() - began)"
FLOOR = TIMED.format("import jax, optax, diffrax, equinox")
DYNOPT = TIMED.format("import dynopt; dynopt.sweep; dynopt.iterate; dynopt.analysis; dynopt.derivations")
GOAL = 1.15


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the import of dynopt beside that of what it is built on.")
    parser.add_argument("--rounds", type=int, default=10, help="how often each is imported")
    rounds = parser.parse_args().rounds
    child("-c", FLOOR), child("-c", DYNOPT)
    pairs = [(child("-c", FLOOR)[0], child("-c", DYNOPT)[0]) for _ in range(rounds)]
    floor, ours = map(list, zip(*pairs, strict=True))
    print(f"jax, optax, diffrax, equinox {statistics.median(floor):.2f} s; dynopt {statistics.median(ours):.2f} s")
    print(f"ratio {ratio(ours, floor):.2f} (goal {GOAL})")


if __name__ == "__main__":
    main()
