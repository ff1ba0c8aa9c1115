"""The wall time of the command, as a multiple of the imports that it cannot do without.

    python benchmarks/command_line.py --rounds 5

Each round runs in turn:

- floor: importing JAX, optax, diffrax and pyplot;
- warm: the command, with its cache of compiled programs filled;
- cold: the command, with an empty cache;
- help: `--help`;
- again: the command a second time in one process, in which nothing is imported, traced, lowered or
  loaded any more.

The ratios are taken round by round.
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
PATHS = [*DYNOPT, *"--problem rosenbrock --figures paths --force --output".split()]
TWICE = """
import sys, time
from dynopt.compare import main, process
process.keep_compiled_programs()
main(sys.argv[1:])
start = time.perf_counter()
main(sys.argv[1:])
print(time.perf_counter() - start, file=sys.stderr)
"""
GOALS = {"warm": 2, "cold": 6}  # times the floor
HELP_GOAL = 0.5  # seconds


def seconds(command: list[str], cache: Path) -> float:
    """The wall time of a process, which must end with exit code 0."""
    env = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(cache)}
    start = time.perf_counter()
    subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def second_time(arguments: list[str], cache: Path) -> float:
    """The wall time of the command, given a second time to one process."""
    env = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(cache)}
    command = [sys.executable, "-c", TWICE, *arguments]
    done = subprocess.run(command, env=env, check=True, capture_output=True, text=True)
    return float(done.stderr.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Time the command as a multiple of the imports it cannot do without."
    )
    parser.add_argument("--rounds", type=int, default=5, help="how often each is run")
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw = [*PATHS, str(folder / "figures")]
        seconds(FLOOR, folder / "warm")
        seconds(draw, folder / "warm")
        times = {"floor": [], "warm": [], "cold": [], "help": [], "again": []}
        for i in range(rounds):
            times["floor"].append(seconds(FLOOR, folder / "warm"))
            times["warm"].append(seconds(draw, folder / "warm"))
            times["cold"].append(seconds(draw, folder / f"cold{i}"))
            times["help"].append(seconds([*DYNOPT, "--help"], folder / "warm"))
            times["again"].append(second_time(draw[len(DYNOPT) :], folder / "warm"))
    print("what   median s  times the floor (least, median, most)  goal")
    for what, each in times.items():
        ratios = sorted(t / floor for t, floor in zip(each, times["floor"], strict=True))
        columns = f"{ratios[0]:5.2f} {statistics.median(ratios):5.2f} {ratios[-1]:5.2f}"
        goal = f"{GOALS[what]}x" if what in GOALS else f"{HELP_GOAL} s" if what == "help" else ""
        print(f"{what:5}  {statistics.median(each):8.2f}  {columns:37}  {goal}".rstrip())


if __name__ == "__main__":
    main()
