"""What accumulation costs and saves: the step of a large batch, and the same step by k parts of it.

    python benchmarks/accumulation.py --rounds 5

One step of the heavy ball on a tanh network, compiled. Memory: what XLA reserves for the step in
addition to its arguments and results, and by how much the peak of a fresh process rises while it
runs the step twice. Time: medians, all steps in turn in one process, as multiples of the step of
the whole batch. Difference: the largest of any coordinate of the velocity after one step, as a
fraction of the largest velocity.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import time

import jax
import jax.numpy as jnp

from dynopt import Momentum, Problem
from dynopt.optimizers import Accumulated
from dynopt.problems import MeanLoss
from dynopt.runs.prepare import fit_to_start, flatten_loss

EXAMPLES, WIDTHS, PARTS = 8192, (64, 1024, 1024, 1024, 10), (1, 2, 4, 8, 16, 32)


def loss(layers, data):
    inputs, targets = data
    *hidden, last = layers
    for w in hidden:
        inputs = jnp.tanh(inputs @ w)
    return jnp.mean((inputs @ last - targets) ** 2)


def network() -> Problem:
    """Random weights and random data, in single precision."""
    inputs, targets, *layers = jax.random.split(jax.random.key(0), len(WIDTHS) + 1)
    shapes = list(zip(WIDTHS, WIDTHS[1:], strict=False))
    start = [
        jax.random.normal(key, shape) / shape[0] ** 0.5
        for key, shape in zip(layers, shapes, strict=True)
    ]
    data = [
        jax.random.normal(key, (EXAMPLES, n))
        for key, n in ((inputs, WIDTHS[0]), (targets, WIDTHS[-1]))
    ]
    return Problem(loss, tuple(start), data=tuple(data))


def compiled(problem: Problem, k: int):
    """The step by k parts, or of the whole batch if k is 1, compiled; and its arguments."""
    optimizer, start = Momentum(1e-3) if k == 1 else Accumulated(Momentum(1e-3), k), problem.start()
    optimizer = fit_to_start(optimizer, start, jnp.float32)

    def step(data, y):
        _, _, grad = flatten_loss(MeanLoss(loss, data), start)
        return optimizer.step(0.0, y, grad)

    arguments = problem.loss.data, optimizer.init(flatten_loss(loss, start)[0], lambda x: x)
    return jax.jit(step).lower(*arguments).compile(), arguments


def peak() -> float:
    """The largest memory of this process so far, in MiB."""
    scale = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale


def rise(k: int) -> float:
    """By how much the peak of this process rises with the step."""
    run, arguments = compiled(network(), k)
    before = peak()
    for _ in range(2):
        jax.block_until_ready(run(*arguments))
    return peak() - before


def seconds(run, arguments) -> float:
    begin = time.perf_counter()
    jax.block_until_ready(run(*arguments))
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Peak memory and time of one step by k parts of the data."
    )
    parser.add_argument("--rounds", type=int, default=5, help="how often each step is timed")
    parser.add_argument(
        "--alone",
        type=int,
        metavar="K",
        help="measure only the rise of this process's peak, by K parts",
    )
    options = parser.parse_args()
    if options.alone:
        print(rise(options.alone))
        return
    fresh_process = [sys.executable, __file__, "--alone"]
    rises = {
        k: float(subprocess.run([*fresh_process, str(k)], check=True, capture_output=True).stdout)
        for k in PARTS
    }
    problem = network()
    contest = {k: compiled(problem, k) for k in PARTS}
    velocities = {k: run(*arguments).p for k, (run, arguments) in contest.items()}
    largest = jnp.abs(velocities[1]).max()
    times = {k: [] for k in PARTS}
    for _ in range(options.rounds):
        for k, (run, arguments) in contest.items():
            times[k].append(seconds(run, arguments))
    whole_batch = statistics.median(times[1])
    gradient_size = 4 * problem.dim / 2**20
    print(
        f"{'-'.join(map(str, WIDTHS))}, {EXAMPLES} examples, float32; one gradient "
        f"{gradient_size:.1f} MiB; the whole batch {whole_batch:.2f} s"
    )
    print("k   reserved, MiB  rise of the peak, MiB  time  difference")
    for k, (run, _) in contest.items():
        reserved = run.memory_analysis().temp_size_in_bytes / 2**20
        difference = float(jnp.abs(velocities[k] - velocities[1]).max() / largest)
        ratio = statistics.median(times[k]) / whole_batch
        print(f"{k:2} {reserved:14.1f} {rises[k]:22.1f} {ratio:5.2f} {difference:11.1e}")


if __name__ == "__main__":
    main()
