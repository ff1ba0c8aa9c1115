"""How long a step of `dynopt.sweep` takes, beside C, PyTorch, optax and JAX by hand, and how that grows.

    python benchmarks/sweep.py --rounds 5 --runs 1000 100000 1000000

Runs on Himmelblau's function in float64, from starts uniform on [-5, 5]^2. Time is that of one step of one run, warm,
all in turn in one process; slow peers take fewer steps or runs. A ratio is the peer's time by dynopt's, round by round,
and its goal the least that is asked for. Before anything is timed all must end where dynopt does: to 1e-9, but for the
few runs (`apart`: their share) that multiply their rounding, as those of Adam may whose gradient was once almost zero.

C (`sweep.c`, needs gcc) does the same work on as many threads: every step watched for divergence, then loss and
gradient norm. The others watch nothing. Peers come with `pip install 'dynopt[bench]'`.
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
GOALS = {"C": 0.9, "torch": 20, "optax loop": 100}
MOST = {
    "torch": 2 * 10**7,
    "vmap(scan)": 10**8,
    "optax loop": 1000,
}  # steps times runs that a peer is timed over
TOLERANCE, APART = 1e-9, 2e-3  # of a position; share of the runs that may end elsewhere
LONG = 10**3, 10**4, 10**5  # steps of the sweeps whose memory is seen
RATES = 50
ALONE = [str(Path(__file__).with_stem("sweep_alone"))]

jax.config.update("jax_enable_x64", True)
problem = dynopt.problems.himmelblau()


def starts(runs: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-5, 5, (runs, 2))


def sweep(name: str, x0: np.ndarray, steps: int) -> dynopt.Sweep:
    return jax.block_until_ready(dynopt.sweep(peers.PAGES[name], problem, steps, x0=x0))


def apart(name: str, peer, x0: np.ndarray, steps: int) -> float:
    """The share of runs that do not end where dynopt's do, which must be small."""
    far = np.abs(peer(name, x0, steps) - sweep(name, x0, steps).x).max(-1) > TOLERANCE
    assert far.mean() <= APART, f"{peer} ends elsewhere in {far.mean():.2%} of the runs of {name}"
    return far.mean()


def same_account(c: peers.C) -> None:
    """C sees the same losses, gradient norms and failures as dynopt, of runs that diverge as well."""
    x0 = 3 * starts(1000)
    for name in peers.PAGES:
        ours, (_, loss, norm, fault) = sweep(name, x0, 100), c.sweep(name, x0, 100)
        bad, status = decode_failure(fault)
        assert np.array_equal(bad, ours.first_bad_step) and np.array_equal(status, ours.result), (
            name
        )
        well = status == dynopt.Status.ok
        for ends, theirs in ((ours.loss, loss), (ours.grad_norm, norm)):
            assert np.isclose(ends[well], theirs[well], TOLERANCE, TOLERANCE).mean() > 0.99, name


def contest(name: str, runs: int, c: peers.C, rounds: int) -> float:
    """Print the rows of one optimizer at one size; nanoseconds of a step of dynopt."""
    x0 = starts(runs)
    hands = {
        "C": c,
        "vmap(scan)": peers.vmap_scan,
        "torch": peers.torch_loop,
        "optax loop": peers.optax_loop,
    }
    work, shares = {"dynopt": (x0, STEPS)}, {"dynopt": 0.0}
    for who, peer in hands.items():
        some = x0[:1] if who == "optax loop" else x0
        work[who] = some, max(1, min(STEPS, MOST.get(who, sys.maxsize) // len(some)))
        shares[who] = apart(name, peer, *work[who])
    calls = {"dynopt": lambda: sweep(name, x0, STEPS)}
    calls |= {who: lambda peer=peer, who=who: peer(name, *work[who]) for who, peer in hands.items()}
    taken = in_turn(calls, rounds)
    each = {
        who: [1e9 * t / (len(work[who][0]) * work[who][1]) for t in times]
        for who, times in taken.items()
    }
    for who, times in each.items():
        by = (
            f"{ratio(times, each['dynopt']):10.3g} {GOALS.get(who, ''):>5} {shares[who]:9.1e}"
            if who in hands
            else ""
        )
        print(
            f"{name:9} {runs:8} {who:11} {statistics.median(times):11.4g} {by}".rstrip(), flush=True
        )
    return statistics.median(each["dynopt"])


def compilations() -> tuple[int, int]:
    """How many programs were compiled, and how often the loss was traced, by sweeps with rates never seen before."""
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
    two = "--xla_force_host_platform_device_count=2"
    pairs = [
        (child(*ALONE, "cores", "1"), child(*ALONE, "cores", "2", XLA_FLAGS=two))
        for _ in range(rounds)
    ]
    return ratio([one for (one,), _ in pairs], [2 * both for _, (both,) in pairs])


def two_threads(c: peers.C, rounds: int) -> float:
    """The same of C's threads: what the machine gives while this runs."""
    x0 = starts(200_000)
    taken = in_turn(
        {threads: lambda threads=threads: c.sweep("SGD", x0, STEPS, threads) for threads in (1, 2)},
        rounds,
    )
    return ratio(taken[1], taken[2]) / 2


def main() -> None:
    parser = argparse.ArgumentParser(description="Time sweeps beside the same runs by hand.")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is timed")
    parser.add_argument(
        "--runs", type=int, nargs="+", default=[10**3, 10**5, 10**6], help="sizes of the batch"
    )
    options = parser.parse_args()
    threads = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        c = peers.C(folder, threads)
        same_account(c)
        print(f"{threads} threads, {options.rounds} rounds")
        print("optimizer     runs who         ns per step  by dynopt  goal     apart")
        costs = {
            name: [contest(name, n, c, options.rounds) for n in options.runs]
            for name in peers.PAGES
        }
        ceiling = two_threads(c, options.rounds)
    growth = ", ".join(f"{name} {each[0] / each[-1]:.2f}" for name, each in costs.items())
    print(f"a step at {options.runs[0]} runs, by one at {options.runs[-1]}: {growth} (goal 1.2)")
    few, many = options.runs[0], options.runs[-1]
    work = {few: (starts(few), STEPS * many // few), many: (starts(many), STEPS)}
    for name in peers.PAGES:
        taken = in_turn(
            {n: lambda name=name, n=n: sweep(name, *work[n]) for n in work}, options.rounds
        )
        print(
            f"the same, {few} runs making as many steps in all: {name} {ratio(taken[few], taken[many]):.2f} (goal 1.2)"
        )
    calls = in_turn(
        {name: lambda name=name: sweep(name, starts(1000), 1) for name in peers.PAGES},
        options.rounds,
    )
    shown = ", ".join(
        f"{name} {1e3 * statistics.median(times):.1f} ms" for name, times in calls.items()
    )
    print(f"the call itself, of one step at 1000 runs: {shown}")
    peaks = [child(*ALONE, "peak", str(steps))[0] for steps in LONG]
    print(
        f"peak memory at {', '.join(map(str, LONG))} steps: {', '.join(f'{p:.0f}' for p in peaks)} MiB (goal: flat)"
    )
    compiled, traced = compilations()
    print(
        f"{RATES} rates one after another: {compiled} compilations (goal 0), the loss traced {traced} times"
    )
    print(
        f"efficiency on two devices: {two_devices(options.rounds):.2f} (goal 0.9); two threads of C: {ceiling:.2f}"
    )


if __name__ == "__main__":
    main()
