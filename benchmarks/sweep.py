"""How long a step of `dynopt.sweep` takes, compared with C, PyTorch, optax and JAX by hand.

    python benchmarks/sweep.py --rounds 5 --runs 1000 100000 1000000

The runs are on Himmelblau's function in float64, from starts uniform on [-5, 5]^2. The time is that
of one step of one run, warm, all contestants in turn in one process; slow peers take fewer steps or
runs. A ratio is the peer's time divided by dynopt's, round by round, and its goal is the least that
is asked for. Before anything is timed all must end where dynopt does: to 1e-9, except for the few
runs (`differ` is their fraction) that multiply their round-off, as those of Adam may whose gradient
was once almost zero.

C (`sweep.c`, needs gcc) does the same work on as many threads: it checks every step for divergence,
then computes loss and gradient norm. The other peers check nothing. Peers come with
`pip install 'dynopt[bench]'`.
"""

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path

import jax
import numpy as np
import sweep_peers as peers
from side_by_side import child, in_turn, ratio

import dynopt
from dynopt.runs.iterate import decode_failure

STEPS = 1000
GOALS = {"torch": 20, "optax loop": 100}
GOALS_OF_C = {"SGD": 0.8, "Momentum": 0.65, "Adam": 0.6}
# The number of steps times the number of runs over which a slow peer is timed.
MAX_WORK = {"torch": 2 * 10**7, "vmap(scan)": 10**8, "optax loop": 1000}
TOLERANCE = 1e-9  # of a position
MAX_DIFFERENT = 2e-3  # the fraction of the runs that may end elsewhere
LONG = 10**3, 10**4, 10**5  # steps of the sweeps whose memory is measured
RATES = 50
FRESH_PROCESS = [str(Path(__file__).with_stem("sweep_alone"))]

jax.config.update("jax_enable_x64", True)
problem = dynopt.problems.himmelblau()


def starts(runs: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-5, 5, (runs, 2))


def sweep(name: str, x0: np.ndarray, steps: int) -> dynopt.Sweep:
    return jax.block_until_ready(dynopt.sweep(peers.OPTIMIZERS[name], problem, steps, x0=x0))


def fraction_that_differs(name: str, peer, x0: np.ndarray, steps: int) -> float:
    """The fraction of runs that do not end where dynopt's do, which must be small."""
    distance = np.abs(peer(name, x0, steps) - sweep(name, x0, steps).x).max(-1)
    fraction = (distance > TOLERANCE).mean()
    assert fraction <= MAX_DIFFERENT, f"{peer} ends elsewhere in {fraction:.2%} of runs of {name}"
    return fraction


def must_agree(c: peers.C) -> None:
    """C has the losses, gradient norms and failures of dynopt, of runs that diverge as well."""
    x0 = 3 * starts(1000)
    for name in peers.OPTIMIZERS:
        swept, (_, loss, norm, failure) = sweep(name, x0, 100), c.sweep(name, x0, 100)
        first_bad_step, status = decode_failure(failure)
        assert np.array_equal(first_bad_step, swept.first_bad_step), name
        assert np.array_equal(status, swept.result), name
        ok = status == dynopt.Status.ok
        for ours, theirs in ((swept.loss, loss), (swept.grad_norm, norm)):
            assert np.isclose(ours[ok], theirs[ok], TOLERANCE, TOLERANCE).mean() > 0.99, name


def contest(name: str, runs: int, c: peers.C, rounds: int) -> float:
    """Print the rows of one optimizer at one size; return the nanoseconds of a step of dynopt."""
    x0 = starts(runs)
    by_hand = {
        "C": c,
        "vmap(scan)": peers.vmap_scan,
        "torch": peers.torch_loop,
        "optax loop": peers.optax_loop,
    }
    work, differ = {"dynopt": (x0, STEPS)}, {}
    for label, peer in by_hand.items():
        some = x0[:1] if label == "optax loop" else x0
        steps = max(1, min(STEPS, MAX_WORK.get(label, sys.maxsize) // len(some)))
        work[label] = some, steps
        differ[label] = fraction_that_differs(name, peer, *work[label])
    calls = {"dynopt": lambda: sweep(name, x0, STEPS)}
    for label, peer in by_hand.items():
        calls[label] = lambda peer=peer, label=label: peer(name, *work[label])
    nanoseconds = {
        label: [1e9 * t / (len(work[label][0]) * work[label][1]) for t in times]
        for label, times in in_turn(calls, rounds).items()
    }
    for label, times in nanoseconds.items():
        row = f"{name:9} {runs:8} {label:11} {statistics.median(times):11.4g}"
        if label in by_hand:
            goal = GOALS_OF_C[name] if label == "C" else GOALS.get(label, "")
            row += f" {ratio(times, nanoseconds['dynopt']):10.3g} {goal:>5}"
            row += f" {differ[label]:9.1e}"
        print(row, flush=True)
    return statistics.median(nanoseconds["dynopt"])


def compilations() -> tuple[int, int]:
    """How many programs new learning rates compile, and how often they trace the loss."""
    compiled, traced = [], []

    def loss(x):
        traced.append(1)
        return problem.loss(x)

    counted, x0 = dynopt.Problem(loss, problem.x0, name="counted"), starts(100)
    rates = np.linspace(0.001, 0.01, RATES + 1)
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, *_, **__: (
            compiled.append(1) if event.endswith("backend_compile_duration") else None
        )
    )
    dynopt.sweep(dynopt.SGD(rates[0]), counted, 10, x0=x0)
    compiled.clear(), traced.clear()
    for rate in rates[1:]:
        dynopt.sweep(dynopt.SGD(rate), counted, 10, x0=x0)
    return len(compiled), len(traced)


def two_devices(rounds: int) -> float:
    """Efficiency: the time of one device on one core, by twice that of two devices on two cores."""
    flag = "--xla_force_host_platform_device_count=2"
    one, two = [], []
    for _ in range(rounds):
        one += child(*FRESH_PROCESS, "cores", "1")
        two += child(*FRESH_PROCESS, "cores", "2", XLA_FLAGS=flag)
    return ratio(one, [2 * seconds for seconds in two])


def two_threads(c: peers.C, rounds: int) -> float:
    """The same of C's threads, which is what the machine gives at present."""
    x0 = starts(200_000)
    seconds = in_turn(
        {threads: lambda threads=threads: c.sweep("SGD", x0, STEPS, threads) for threads in (1, 2)},
        rounds,
    )
    return ratio(seconds[1], seconds[2]) / 2


def main() -> None:
    parser = argparse.ArgumentParser(description="Time sweeps against the same runs by hand.")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is timed")
    parser.add_argument(
        "--runs", type=int, nargs="+", default=[10**3, 10**5, 10**6], help="sizes of the batch"
    )
    options = parser.parse_args()
    threads = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        c = peers.C(folder, threads)
        must_agree(c)
        print(f"{threads} threads, {options.rounds} rounds")
        print("optimizer     runs contestant  ns per step  by dynopt  goal    differ")
        costs = {
            name: [contest(name, n, c, options.rounds) for n in options.runs]
            for name in peers.OPTIMIZERS
        }
        ceiling = two_threads(c, options.rounds)
    few, many = options.runs[0], options.runs[-1]
    growth = ", ".join(f"{name} {each[0] / each[-1]:.2f}" for name, each in costs.items())
    print(f"a step at {few} runs, by one at {many}: {growth} (goal 1.2)")
    work = {few: (starts(few), STEPS * many // few), many: (starts(many), STEPS)}
    for name in peers.OPTIMIZERS:
        seconds = in_turn(
            {n: lambda name=name, n=n: sweep(name, *work[n]) for n in work}, options.rounds
        )
        growth = f"{name} {ratio(seconds[few], seconds[many]):.2f}"
        print(f"the same, {few} runs making as many steps in all: {growth} (goal 1.2)")
    calls = in_turn(
        {name: lambda name=name: sweep(name, starts(1000), 1) for name in peers.OPTIMIZERS},
        options.rounds,
    )
    medians = (f"{name} {1e3 * statistics.median(t):.1f} ms" for name, t in calls.items())
    print(f"the call itself, of one step at 1000 runs: {', '.join(medians)}")
    peaks = ", ".join(f"{child(*FRESH_PROCESS, 'peak', str(steps))[0]:.0f}" for steps in LONG)
    print(f"peak memory at {', '.join(map(str, LONG))} steps: {peaks} MiB (goal: flat)")
    compiled, traced = compilations()
    print(
        f"{RATES} rates one after another: {compiled} compilations (goal 0), the loss traced "
        f"{traced} times"
    )
    efficiency = two_devices(options.rounds)
    print(
        f"efficiency on two devices: {efficiency:.2f} (goal 0.9); two threads of C: {ceiling:.2f}"
    )


if __name__ == "__main__":
    main()
