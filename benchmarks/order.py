"""How long `dynopt.analysis.order` takes, beside the same by hand: a loop of the map in NumPy, the flow by SciPy.

    python benchmarks/order.py --rounds 3

Fresh processes in turn, one for each way and page. Cold: the first measurement of a process, compilation included but
not imports. Warm: the fastest of its next three. A ratio is the time by hand by dynopt's, round by round. By hand there
is one solve at 1e-12 and no account of round-off; dynopt also solves at a second tolerance and runs a second, rounded
map. Both fit their straight line to the points that dynopt finds clear, and must agree in the slope to 0.02.
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
SAME = 0.02
CASES = {case.optimizer.name: case for case in by_hand.cases()[:3]}

jax.config.update("jax_enable_x64", True)


def ours(case: by_hand.Case, refinements: int) -> tuple[np.ndarray, np.ndarray]:
    """h and the largest gap of every clock that stands clear."""
    found = dynopt.analysis.order(case.optimizer, case.problem, case.time, refinements)
    assert found.window is not None
    first, last = found.window
    return found.h[first : last + 1], found.error[first : last + 1]


def hand(case: by_hand.Case, refinements: int) -> tuple[np.ndarray, np.ndarray]:
    """h and the largest gap of every clock."""
    times = np.linspace(0, case.time, case.steps + 1)
    flow = (
        solve_ivp(case.field, (0, case.time), case.start(), "DOP853", times, rtol=1e-12, atol=1e-12)
        .y[:2]
        .T
    )
    clocks, comparisons = [], []
    for i in range(refinements):
        optimizer, y, largest = case.optimizer.refine(2**i), case.start(), 0.0
        for k in range(case.steps * 2**i):
            y = case.step(k, y, case.gradient, optimizer)
            if (k + 1) % 2**i == 0:
                largest = max(largest, np.linalg.norm(y[:2] - flow[(k + 1) // 2**i]))
        clocks.append(optimizer.h)
        comparisons.append(largest)
    return np.array(clocks), np.array(comparisons)


def alone(way: str, name: str, refinements: str) -> None:
    """Print cold and warm seconds, then h and gaps."""
    run, work = {"dynopt": ours, "hand": hand}[way], (CASES[name], int(refinements))
    cold = seconds(run, *work)
    print(cold, min(seconds(run, *work) for _ in range(3)), *np.concatenate(run(*work)))


def slope(points: list[float], clear: list[float] | None = None) -> float:
    """Of the gap against h, logarithms of both; if asked for, over these h alone."""
    h, comparison = np.array(points).reshape(2, -1)
    some = np.isin(h, clear) if clear else np.full(len(h), True)
    return float(np.polyfit(np.log(h[some]), np.log(comparison[some]), 1)[0])


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Time the measurement of an order beside the same by hand."
    )
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured")
    parser.add_argument(
        "--alone", nargs=3, metavar=("WAY", "PAGE", "N"), help="only one way, in this process"
    )
    options = parser.parse_args()
    if options.alone:
        return alone(*options.alone)
    print(
        "page       n  slope  by hand   cold: dynopt, s  hand, s  ratio   warm: dynopt, s  hand, s  ratio"
    )
    for name, n in itertools.product(CASES, REFINEMENTS):
        pairs = [
            [child(sys.argv[0], "--alone", way, name, str(n)) for way in ("dynopt", "hand")]
            for _ in range(options.rounds)
        ]
        mine, theirs = (points[2:] for points in pairs[0])
        clear = mine[: len(mine) // 2]
        slopes = slope(mine), slope(theirs, clear)
        assert abs(slopes[0] - slopes[1]) < SAME, f"{name}: slope {slopes[0]}, by hand {slopes[1]}"
        shown = ""
        for i in (0, 1):
            dynopt_s, hand_s = ([each[who][i] for each in pairs] for who in (0, 1))
            medians = statistics.median(dynopt_s), statistics.median(hand_s)
            shown += f"{medians[0]:17.3f} {medians[1]:8.3f} {ratio(hand_s, dynopt_s):6.2f}"
        print(f"{name:9} {n:2} {slopes[0]:.4f} {slopes[1]:.4f} {shown}", flush=True)


if __name__ == "__main__":
    main()
