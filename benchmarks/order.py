"""How long `dynopt.analysis.order` takes, compared with the same measurement by hand.

    python benchmarks/order.py --rounds 3

By hand means a loop of the map in NumPy and the flow by SciPy. Each way and optimizer is measured
in a fresh process, in turn. Cold: the first measurement of a process, with compilation but without
imports. Warm: the fastest of its next three. A ratio is the time by hand divided by dynopt's, round
by round. By hand there is one solve at 1e-12 and no estimate of round-off; dynopt also solves at a
second tolerance and runs a second, rounded map. Both fit their straight line to the points that
dynopt finds clear of round-off, and must agree in the slope to 0.02.
"""

import argparse
import itertools
import statistics
import sys

import by_hand
import jax
import numpy as np
from scipy.integrate import solve_ivp
from side_by_side import child, ratio, seconds

import dynopt

REFINEMENTS = 6, 8, 10
MAX_DIFFERENCE = 0.02  # of the two slopes
CASES = {case.optimizer.name: case for case in by_hand.cases()[:3]}

jax.config.update("jax_enable_x64", True)


def ours(case: by_hand.Case, refinements: int) -> tuple[np.ndarray, np.ndarray]:
    """The time steps h that are clear of round-off, and the largest error at each."""
    measured = dynopt.analysis.order(case.optimizer, case.problem, case.time, refinements)
    assert measured.window is not None
    first, last = measured.window
    return measured.h[first : last + 1], measured.error[first : last + 1]


def hand(case: by_hand.Case, refinements: int) -> tuple[np.ndarray, np.ndarray]:
    """The time steps h, and the largest error at each."""
    times = np.linspace(0, case.time, case.steps + 1)
    flow = (
        solve_ivp(case.field, (0, case.time), case.start(), "DOP853", times, rtol=1e-12, atol=1e-12)
        .y[:2]
        .T
    )
    time_steps, errors = [], []
    for i in range(refinements):
        optimizer, y, largest = case.optimizer.refine(2**i), case.start(), 0.0
        for k in range(case.steps * 2**i):
            y = case.step(k, y, case.gradient, optimizer)
            if (k + 1) % 2**i == 0:
                largest = max(largest, np.linalg.norm(y[:2] - flow[(k + 1) // 2**i]))
        time_steps.append(optimizer.h)
        errors.append(largest)
    return np.array(time_steps), np.array(errors)


def print_one_way(way: str, name: str, refinements: str) -> None:
    """Print the cold and the warm seconds, then the time steps and the errors."""
    run, work = {"dynopt": ours, "hand": hand}[way], (CASES[name], int(refinements))
    cold = seconds(run, *work)
    print(cold, min(seconds(run, *work) for _ in range(3)), *np.concatenate(run(*work)))


def slope(points: list[float], clear: list[float] | None = None) -> float:
    """The slope of log(error) against log(h), over the time steps in `clear` if these are given."""
    h, error = np.array(points).reshape(2, -1)
    is_clear = np.isin(h, clear) if clear else np.full(len(h), True)
    return float(np.polyfit(np.log(h[is_clear]), np.log(error[is_clear]), 1)[0])


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Time the measurement of an order and the same measurement by hand."
    )
    parser.add_argument("--rounds", type=int, default=3, help="number of measurements of each")
    parser.add_argument(
        "--alone", nargs=3, metavar=("WAY", "OPTIMIZER", "N"), help="one way only, in this process"
    )
    options = parser.parse_args()
    if options.alone:
        return print_one_way(*options.alone)
    print(
        "optimizer  n  slope  by hand   cold: dynopt, s  hand, s  ratio"
        "   warm: dynopt, s  hand, s  ratio"
    )
    for name, n in itertools.product(CASES, REFINEMENTS):
        pairs = [
            [child(sys.argv[0], "--alone", way, name, str(n)) for way in ("dynopt", "hand")]
            for _ in range(options.rounds)
        ]
        points, points_by_hand = (numbers[2:] for numbers in pairs[0])
        clear = points[: len(points) // 2]
        slopes = slope(points), slope(points_by_hand, clear)
        assert abs(slopes[0] - slopes[1]) < MAX_DIFFERENCE, (
            f"{name}: slope {slopes[0]}, by hand {slopes[1]}"
        )
        columns = ""
        for i in (0, 1):
            dynopt_s, hand_s = ([pair[way][i] for pair in pairs] for way in (0, 1))
            medians = statistics.median(dynopt_s), statistics.median(hand_s)
            columns += f"{medians[0]:17.3f} {medians[1]:8.3f} {ratio(hand_s, dynopt_s):6.2f}"
        print(f"{name:9} {n:2} {slopes[0]:.4f} {slopes[1]:.4f} {columns}", flush=True)


if __name__ == "__main__":
    main()
