"""How long dynopt takes to import, beside what it is built on: to run maps and flows, and with all its rooms entered.

    python benchmarks/imports.py --rounds 10

Fresh processes in turn; the ratio is taken round by round.
"""

import argparse
import statistics

from side_by_side import child, ratio

TIMED = "import time; began = time.perf_counter(); {}; print(time.perf_counter() - began)"
FLOOR = "import jax, optax, diffrax, equinox"
OURS = {
    "to run": f"{FLOOR}, dynopt; dynopt.SGD, dynopt.problems, dynopt.iterate, dynopt.integrate, dynopt.sweep",
    "all rooms but figures": f"{FLOOR}, dynopt; dynopt.sweep, dynopt.analysis, dynopt.derivations",
}
GOAL = 1.15


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Time the import of dynopt beside that of what it is built on."
    )
    parser.add_argument("--rounds", type=int, default=10, help="how often each is imported")
    rounds = parser.parse_args().rounds
    each = [FLOOR, *OURS.values()]
    times = [[child("-c", TIMED.format(code))[0] for code in each] for _ in range(rounds + 1)][1:]
    floor, *ours = map(list, zip(*times, strict=True))
    print(f"{'jax, optax, diffrax, equinox':30} {statistics.median(floor):.2f} s")
    for what, seen in zip(OURS, ours, strict=True):
        print(
            f"{what:30} {statistics.median(seen):.2f} s, ratio {ratio(seen, floor):.2f} (goal {GOAL})"
        )


if __name__ == "__main__":
    main()
