"""What XLA's optimizations cost in a first call, and what they bring in a long run.

    python benchmarks/compiling.py --rounds 5

Measured are map, flow and global error of four optimizers on Rosenbrock's function, the first time
and again, and one step of a sweep of 100 000 runs. Each setting runs in a fresh process, in turn,
without a cache of compiled programs. The tests are compiled as in the last row.
"""

import argparse
import statistics

from side_by_side import child, ratio

SETTINGS = {
    "XLA's defaults": {},
    "plain loops": {"XLA_FLAGS": "--xla_cpu_use_fusion_emitters=false"},
    "few optimizations": {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},
    "both": {
        "XLA_FLAGS": "--xla_cpu_use_fusion_emitters=false",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    },
}
RUN = """
import time
import jax, numpy as np
jax.config.update("jax_enable_x64", True)
from dynopt import SGD, Adam, Momentum, RMSprop, analysis, problems, sweep
rosenbrock = problems.rosenbrock()
def comparisons():
    for optimizer in (SGD(1e-4), Momentum(1e-4), RMSprop(1e-3), Adam(1e-3)):
        analysis.compare(optimizer, rosenbrock, 100)
def sweeps():
    sweep(SGD(1e-4), rosenbrock, 1000, x0=starts).x.block_until_ready()
starts = np.random.default_rng(0).uniform(-1, 1, (100_000, 2))
analysis.compare(SGD(1e-4), problems.booth(), 100)
for call in (comparisons, comparisons, sweeps, sweeps):
    began = time.perf_counter()
    call()
    print(time.perf_counter() - began)
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Time first and later calls under four settings of XLA."
    )
    parser.add_argument("--rounds", type=int, default=5, help="number of runs of each setting")
    rounds = parser.parse_args().rounds
    times = {name: [] for name in SETTINGS}
    for _ in range(rounds):
        for name, environment in SETTINGS.items():
            times[name].append(child("-c", RUN, **environment))
    default = [run[0] for run in times["XLA's defaults"]]
    print(f"{'':20} {'first':>6} {'ratio':>8} {'again':>6} {'a step':>7}")
    for name, runs in times.items():
        first, again, _, sweep = (statistics.median(column) for column in zip(*runs, strict=True))
        fraction = ratio([run[0] for run in runs], default)
        nanoseconds = sweep / 1e8 * 1e9
        print(f"{name:20} {first:4.2f} s {fraction:8.2f} {again:4.2f} s {nanoseconds:4.2f} ns")


if __name__ == "__main__":
    main()
