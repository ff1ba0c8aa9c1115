"""How long the bare command takes, beside the imports that nothing can go below.

    python benchmarks/command_line.py --rounds 5

Each round runs in turn: the floor (importing JAX, optax, diffrax and pyplot), the command with its cache of compiled
programs filled (warm), the same with an empty cache (cold), `--help`, and the command a second time in one process,
where nothing is imported, traced, lowered or loaded any more (again). The ratios are taken round by round.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FLOOR = [sys.executable, "-c", "import jax, optax, diffrax, matplotlib.pyplot"]
DYNOPT = [sys.executable, "-m", "dynopt.compare"]
PATHS = [*DYNOPT, *"--problem rosenbrock --figures paths --format png --force --output".split()]
TWICE = """
import sys, time
from dynopt import compare
compare._keep_programs()
compare.main(sys.argv[1:])
began = time.perf_counter()
compare.main(sys.argv[1:])
print(time.perf_counter() - began, file=sys.stderr)
"""
GOALS = {"warm": 2, "cold": 6}  # times the floor
HELP_GOAL = 0.5  # seconds


def seconds(command: list[str], cache: Path) -> float:
    """The wall time of a process that must end well."""
    env = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(cache)}
    began = time.perf_counter()
    subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def second_time(arguments: list[str], cache: Path) -> float:
    """The wall time of the command, given once more to the process that has just obeyed it."""
    env = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(cache)}
    command = [sys.executable, "-c", TWICE, *arguments]
    told = subprocess.run(command, env=env, check=True, capture_output=True, text=True)
    return float(told.stderr.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Time the command line beside the imports it cannot do without."
    )
    parser.add_argument("--rounds", type=int, default=5, help="how often each is run")
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as name:
        room = Path(name)
        draw = [*PATHS, str(room / "figures")]
        seconds(FLOOR, room / "warm")
        seconds(draw, room / "warm")
        taken = {"floor": [], "warm": [], "cold": [], "help": [], "again": []}
        for i in range(rounds):
            taken["floor"].append(seconds(FLOOR, room / "warm"))
            taken["warm"].append(seconds(draw, room / "warm"))
            taken["cold"].append(seconds(draw, room / f"cold{i}"))
            taken["help"].append(seconds([*DYNOPT, "--help"], room / "warm"))
            taken["again"].append(second_time(draw[len(DYNOPT) :], room / "warm"))
    print("what   median s  times the floor (least, median, most)  goal")
    for what, times in taken.items():
        ratios = sorted(t / floor for t, floor in zip(times, taken["floor"], strict=True))
        shown = f"{ratios[0]:5.2f} {statistics.median(ratios):5.2f} {ratios[-1]:5.2f}"
        goal = f"{GOALS[what]}x" if what in GOALS else f"{HELP_GOAL} s" if what == "help" else ""
        print(f"{what:5}  {statistics.median(times):8.2f}  {shown:37}  {goal}".rstrip())


if __name__ == "__main__":
    main()
