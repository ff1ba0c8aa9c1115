"""The time that dynopt takes to import, as a multiple of the libraries it is built on.

    python benchmarks/imports.py --rounds 10

It is imported as far as maps and flows need it, and with all packages but the figures. Each import
has a process of its own, in turn, and the ratios are taken round by round.
"""

import argparse
import statistics

from side_by_side import child, ratio

TIMED = "import time; start = time.perf_counter(); {}; print(time.perf_counter() - start)"
FLOOR = "import jax, optax, diffrax, equinox"
DYNOPT = {
    "to run maps and flows": "dynopt.SGD, dynopt.problems, dynopt.iterate, dynopt.integrate, "
    "dynopt.sweep",
    "all but figures": "dynopt.sweep, dynopt.analysis, dynopt.derivations",
}
GOAL = 1.15


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Time the import of dynopt as a multiple of the libraries it is built on."
    )
    parser.add_argument("--rounds", type=int, default=10, help="how often each is imported")
    rounds = parser.parse_args().rounds
    codes = [FLOOR, *(f"{FLOOR}, dynopt; {names}" for names in DYNOPT.values())]
    times = [[child("-c", TIMED.format(code))[0] for code in codes] for _ in range(rounds + 1)][1:]
    floor, *imports = map(list, zip(*times, strict=True))
    print(f"{'jax, optax, diffrax, equinox':30} {statistics.median(floor):.2f} s")
    for what, each in zip(DYNOPT, imports, strict=True):
        print(
            f"{what:30} {statistics.median(each):.2f} s, ratio {ratio(each, floor):.2f} "
            f"(goal {GOAL})"
        )


if __name__ == "__main__":
    main()
