"""How long `dynopt.integrate` takes for a flow, compared with SciPy and torchdiffeq at equal error.

    python benchmarks/flow.py --rounds 5 --plot work-precision.png

Each solver runs at tolerances (relative and absolute alike) from 1e-4 to 1e-12, warm, all in turn.
Its error is that of the position at the end, against SciPy's DOP853 at 1e-13; its time at a given
error is read off the line through the points (error, time), logarithms of both. SciPy runs DOP853
and torchdiffeq dopri5 (the error of its dopri8 is a thousand times its tolerance), on vector fields
written by hand. Many at once: `equinox.filter_vmap` of `integrate` over 10, 100 and 1000 starts,
compared with a loop of SciPy over the first few; the time is per solve, and the error the median
over these few. A ratio is the peer's time divided by dynopt's, its goal the least that is asked
for.

Peers come with `pip install 'dynopt[bench]'`.
"""

import argparse
import statistics
from functools import partial

import by_hand
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import torch
from matplotlib.figure import Figure
from scipy.integrate import solve_ivp
from side_by_side import in_turn
from torchdiffeq import odeint

import dynopt

TOLERANCES = 10.0 ** -np.arange(4, 13)
ERRORS = 1e-6, 1e-9  # at which times are compared
SIZES, FEW = (10, 100, 1000), 10  # starts of a batch, and of a loop
LARGEST, LOOP = f"dynopt, {SIZES[-1]} at once", "SciPy, one by one"
GOALS = {"SciPy": 10, LOOP: 50}

jax.config.update("jax_enable_x64", True)


def ours(case: by_hand.Case, rtol: float, x0=None):
    """The last position."""
    run = dynopt.integrate(
        case.optimizer,
        case.problem,
        case.steps,
        x0=x0,
        save_every=case.steps,
        rtol=rtol,
        throw=False,
    )
    return jax.block_until_ready(run.y.x[-1])


def batched(case: by_hand.Case, rtol: float, starts: np.ndarray):
    return jax.block_until_ready(
        eqx.filter_vmap(lambda x0: ours(case, rtol, x0))(jnp.asarray(starts))
    )


def scipy(case: by_hand.Case, rtol: float, x0=None) -> np.ndarray:
    with np.errstate(all="ignore"):  # a step that overflows is rejected
        return solve_ivp(
            case.field, (0, case.time), case.start(x0), "DOP853", rtol=rtol, atol=rtol
        ).y[:2, -1]


def scipy_loop(case: by_hand.Case, rtol: float, starts: np.ndarray) -> np.ndarray:
    return np.array([scipy(case, rtol, x0) for x0 in starts])


def torchdiffeq(case: by_hand.Case, rtol: float) -> np.ndarray:
    start, times = torch.tensor(case.start()), torch.tensor([0.0, case.time], dtype=torch.float64)
    with torch.no_grad():
        ends = odeint(
            lambda t, y: case.field(t, y, torch),
            start,
            times,
            rtol=rtol,
            atol=rtol,
            method="dopri5",
        )
    return ends[-1, :2].numpy()


def curves(contest: dict, exact: np.ndarray, rounds: int) -> dict[str, np.ndarray]:
    """Error and seconds of every contestant at every tolerance, shape (tolerances, 2)."""
    points = {label: [] for label in contest}
    for rtol in TOLERANCES:
        ends = {label: solve(rtol) for label, solve in contest.items()}
        calls = {label: partial(solve, rtol) for label, solve in contest.items()}
        seconds = in_turn(calls, rounds)
        for label, end in ends.items():
            error = np.linalg.norm(np.atleast_2d(end)[: len(exact)] - exact, axis=-1)
            points[label].append((np.median(error), statistics.median(seconds[label])))
    return {label: np.array(each) for label, each in points.items()}


def at(error: float, curve: np.ndarray) -> float:
    """Seconds at this error; NaN if no tolerance reaches it.

    If even the loosest tolerance has a smaller error, they are the seconds of that tolerance.
    """
    errors, seconds = np.log(np.maximum(curve[np.argsort(curve[:, 0])], 1e-16)).T
    return float(np.exp(np.interp(np.log(error), errors, seconds, left=np.nan)))


def rows(
    case: by_hand.Case, curves: dict[str, np.ndarray], reference: str, runs: dict[str, int]
) -> None:
    """Print the time of a solve at each error."""
    assert curves[reference][:, 0].min() < ERRORS[-1], f"{case.name} never reaches {ERRORS[-1]}"
    for label, curve in curves.items():
        columns = []
        for error in ERRORS:
            time = at(error, curve) / runs[label]
            ratio = time / (at(error, curves[reference]) / runs[reference])
            columns.append(f"{1e3 * time:10.4g} {ratio:8.3g}")
        goal = GOALS.get(label, "")
        print(f"{case.name:25} {label:20} {' '.join(columns)} {goal:>5}".rstrip(), flush=True)


def draw(flows: dict[str, dict[str, np.ndarray]], path: str) -> None:
    """Draw error against time, a panel for each flow."""
    figure = Figure(figsize=(12, 7), layout="constrained")
    for panel, (name, each) in zip(figure.subplots(2, 3).flat, flows.items(), strict=True):
        for label, curve in each.items():
            panel.loglog(*curve.T, "o-", markersize=3, label=label)
        panel.set(title=name, xlabel="error", ylabel="seconds")
        panel.legend()
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Time flows against SciPy and torchdiffeq at equal error."
    )
    parser.add_argument("--rounds", type=int, default=5, help="how often each is timed")
    parser.add_argument("--plot", metavar="FILE", help="where to draw error against time")
    options = parser.parse_args()
    flows, random = {}, np.random.default_rng(0)
    columns = " ".join(f"ms, {error:.0e} by dynopt" for error in ERRORS)
    print(f"{'flow':25} {'contestant':20} {columns}  goal")
    for case in by_hand.cases():
        peers = {"dynopt": ours, "SciPy": scipy, "torchdiffeq": torchdiffeq}
        contest = {label: partial(peer, case) for label, peer in peers.items()}
        single = curves(contest, scipy(case, 1e-13)[None], options.rounds)
        rows(case, single, "dynopt", dict.fromkeys(peers, 1))
        starts = case.problem.x0 + random.uniform(-0.5, 0.5, (SIZES[-1], 2))
        contest = {f"dynopt, {n} at once": partial(batched, case, starts=starts[:n]) for n in SIZES}
        contest[LOOP] = partial(scipy_loop, case, starts=starts[:FEW])
        many = curves(contest, scipy_loop(case, 1e-13, starts[:FEW]), options.rounds)
        rows(case, many, LARGEST, dict(zip(contest, (*SIZES, FEW), strict=True)))
        flows[case.name] = single
    if options.plot:
        draw(flows, options.plot)


if __name__ == "__main__":
    main()
