"""What `sweep.py` asks of a fresh process: its peak of memory, or the time on so many cores.

python benchmarks/sweep_alone.py peak 1000
python benchmarks/sweep_alone.py cores 1
"""

import os
import sys
from pathlib import Path

import jax
import numpy as np
from side_by_side import seconds

import dynopt

jax.config.update("jax_enable_x64", True)


def sweep(optimizer: dynopt.optimizers.AbstractOptimizer, runs: int, steps: int) -> dynopt.Sweep:
    x0 = np.random.default_rng(0).uniform(-5, 5, (runs, 2))
    return jax.block_until_ready(
        dynopt.sweep(optimizer, dynopt.problems.himmelblau(), steps, x0=x0)
    )


def peak(steps: int) -> float:
    """The largest memory of this process, in MiB, after a sweep of so many steps.

    `getrusage` does not serve: on Linux its peak includes that of the parent process.
    """
    sweep(dynopt.Adam(0.01), 1000, steps)
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 2**10


def on_cores(cores: int) -> float:
    """Seconds of a warm sweep on all devices of JAX and on the first so many cores."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    call = sweep, dynopt.SGD(0.01), 200_000, 10_000
    seconds(*call)
    return min(seconds(*call) for _ in range(3))


if __name__ == "__main__":
    measurement, number = sys.argv[1:]
    print({"peak": peak, "cores": on_cores}[measurement](int(number)))
