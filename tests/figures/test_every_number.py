"""Every number in the words of a figure is recomputed from its results, in the order of reading.

Names that hold digits, such as x₁ and Tsit5, are read, too. Numbers of settings are written out.
"""

import dataclasses
import re
from functools import partial
from statistics import NormalDist
from types import SimpleNamespace

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from scenes import (
    METHODS,
    OPTIMIZERS,
    TREATED,
    WEAK,
    artist,
    caption,
    heading,
    legend_texts,
    make_basins,
    make_fan,
    make_gibbs,
    make_half_times,
    make_methods,
    make_modified,
    make_order,
    make_retrieval,
    make_sensitivity,
    make_settled,
    make_spectra,
    make_stability,
    make_stationary,
    on_problem,
    one_line,
    scene,
    three_stars,
)

from dynopt import SGD, Adam, Momentum, Problem, Status, figures
from dynopt.analysis import Comparison, Inside
from dynopt.compare.options import Options
from dynopt.compare.screen import table
from dynopt.figures.drawing.motion import PHRASES, motion_of

SUPERSCRIPTS = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
FORMULAS = re.compile(r"f = λ x²/2|of g² are")
WORD = r"[^\W\d]\w*(?:·\w+)?"  # of letters and digits: x₁, h⁰·⁷², Tsit5
NUMBER = r"−?-?\d+(?:\.\d+)?(?:e[+-]?\d+)?(?:×?10[⁻⁰-⁹¹²³]+|/\d+|⁻?[⁰-⁹¹²³]+)?"
F_MIN = -0.7  # the minimum of the loss, as the problem states it

TIME_STEPS = {"SGD": 0.01, "Momentum": 0.1, "RMSprop": 0.02, "Adam": 0.05}
NAMES = list(TIME_STEPS)


def tokens(text: str) -> list[str]:
    """The numbers and the words with digits."""
    text = FORMULAS.sub("", one_line(text))
    found = re.findall(rf"{WORD}|{NUMBER}", text)
    return [token for token in found if re.search(r"[\d⁰-⁹¹²³₀-₉]", token)]


def value(token: str) -> float:
    """The number that a token is, such as −1.5×10⁻⁷, 1e-08 or 1/9."""
    token = token.replace("−", "-")
    if power := re.fullmatch(r"(-?[\d.]*)×?10([⁻⁰-⁹¹²³]+)", token):
        return float(f"{power[1] or 1}e{power[2].translate(SUPERSCRIPTS)}")
    above, _, below = token.partition("/")
    return float(above) / float(below or 1)


def reads(token: str, expected: float | str) -> bool:
    """Whether the token is the word, or a rounding of the number to the digits that it has."""
    if isinstance(expected, str):
        return token == expected
    if not re.match(r"[−-]?\d", token):
        return False
    decimals = len(token.partition(".")[2])
    roundings = [float(f"{expected:.{digits}e}") for digits in (1, 2, 3)]
    return value(token) in (*roundings, expected) or bool(
        decimals and token == f"{expected:.{decimals}f}"
    )


def must_read(where: str, text: str, expected: list) -> None:
    read = tokens(text)
    pairs = list(zip(read, expected, strict=False))
    wrong = [(token, number) for token, number in pairs if not reads(token, number)]
    assert not wrong and len(read) == len(expected), (where, wrong, read, expected, text)


def finite(values) -> np.ndarray:
    values = np.asarray(values, float)
    return values[np.isfinite(values)]


def with_minimum(problem: Problem) -> Problem:
    """The problem with a minimum below 0, which no minimizer reaches."""
    problem = eqx.tree_at(lambda problem: problem.minimum, problem, F_MIN)
    return eqx.tree_at(lambda problem: problem.minimizers, problem, None)


@pytest.fixture(scope="session")
def runs(comparisons) -> list[Comparison]:
    """The optimizers on the bowl with a minimum below 0, and with solver's errors of their own."""
    bowl = with_minimum(scene("bowl"))
    return [
        dataclasses.replace(
            on_problem(comparison, bowl),
            solver_error=jnp.linspace(1, 2.3, 41) * 10.0 ** -(9 + i),
            error=comparison.error.at[17].multiply(1.31),
        )
        for i, comparison in enumerate(comparisons["bowl"])
    ]


SUMMARY = [-2, 1.5, 40, "float64"]


def errors_in_title(runs) -> list[float]:
    """The largest error of each of the two kinds of motion with the largest relative errors."""
    groups: dict[str, list[tuple[float, float]]] = {}
    for r in runs:
        x = np.concatenate([r.map.y.x, r.curve.y.x])
        error = finite(r.error).max()
        relative = error / np.linalg.norm(np.ptp(x, axis=0))
        groups.setdefault(motion_of(r).kind, []).append((relative, error))
    largest = sorted(groups, key=lambda kind: -max(groups[kind])[0])[:2]
    return [max(e for _, e in groups[kind]) for kind in PHRASES if kind in largest]


def ends_and_errors(r) -> list[float]:
    """The end of the map, the largest error, and the step at which it is."""
    return [*np.asarray(r.map.y.x)[-1], finite(r.error).max(), int(np.nanargmax(r.error))]


def of_paths(runs):
    return partial(figures.paths.draw, runs), {
        "title": errors_in_title(runs),
        "caption": [*SUMMARY, 2e-9],
        "alt": [-2, 1.5, *(number for r in runs for number in ends_and_errors(r))],
    }


def rises(comparison, run) -> np.ndarray:
    """By how much the Lyapunov function rises along a run, in the steps in which it does."""
    energy, loss = comparison.optimizer.lyapunov, comparison.problem.loss
    values = [float(energy(t, type(run.y)(*y), loss)) for t, *y in zip(run.t, *run.y, strict=True)]
    change = np.diff(values)
    return change[change > 1e-9]


def of_loss(runs):
    ends = [[np.asarray(run.loss)[-1] - F_MIN for run in (r.map, r.curve)] for r in runs]
    risen = [[rises(r, run) for run in (r.map, r.flow)] for r in runs]
    along = [[n for r in both for n in (len(r), r.max(initial=0)) if n] for both in risen]
    farthest = max(ends, key=lambda end: abs(np.log(end[0] / end[1])))
    return partial(figures.loss.draw, runs), {
        "title": [*farthest, max(len(map) for map, _ in risen)],
        "caption": [*SUMMARY, 2e-9],
        "alt": [
            (4 + 10 * 2.25) / 2 - F_MIN,
            *(number for end, rise in zip(ends, along, strict=True) for number in (*end, *rise)),
        ],
    }


def of_one_loss(runs):
    ends = [np.asarray(run.loss)[-1] - F_MIN for run in (runs[0].map, runs[0].curve)]
    return partial(figures.loss.draw, runs[0]), {
        "title": ends,
        "caption": [*SUMMARY, 2e-9],
        "alt": [13.25 - F_MIN, *ends],
    }


def of_race(runs):
    ends = [np.asarray(r.map.loss)[-1] - F_MIN for r in runs]
    rates = [value for end in zip((0.01, 0.01, 0.02, 0.05), ends, strict=True) for value in end]
    return partial(figures.race.draw, runs, "rates of my own"), {
        "title": [min(ends), 40],
        "caption": SUMMARY,
        "alt": [4, *rates],
    }


def orders(runs):
    lines = zip(OPTIMIZERS, (2.02, 1.01, 0.5, 0.72), (3, 1, 0.5, 0.1), strict=True)
    return [
        dataclasses.replace(
            make_order(optimizer, runs[0].problem, slope, size),
            stderr=0.0123 * (i + 1),
            solver_error=(i + 1) * 1e-13,
        )
        for i, (optimizer, slope, size) in enumerate(lines)
    ]


def errors_and_ratios(results):
    """The first and the last error of the fit, h/4 and h/64, the last ratio and the declared one."""
    return [
        number
        for r in results
        for number in (r.error[2], 4, r.error[6], 64, r.error[5] / r.error[6], 2**r.expected)
    ]


def of_convergence(runs):
    results = orders(runs)
    return partial(figures.convergence.draw, results), {
        "title": [2**0.5, 2, 2**0.72, 2],
        "caption": [-2, 1.5, 50, "float64", 4e-13],
        "alt": errors_and_ratios(results),
    }


def sign_changes(p) -> int:
    return int((np.diff(np.sign(p[p != 0])) != 0).sum())


def of_phase(runs):
    momentum = runs[1]
    curve = momentum.curve
    calm = dataclasses.replace(curve, y=curve.y._replace(p=jnp.abs(curve.y.p) + 1))
    p = np.asarray(momentum.map.y.p)[:, 1]
    result = dataclasses.replace(momentum, curve=calm)
    return partial(figures.phase.draw, result, coordinate=1), {
        "title": ["x₂", sign_changes(p)],
        "caption": [*SUMMARY, 2e-10],
        "alt": ["x₂", "p₂", sign_changes(p), abs(p).max()],
    }


def of_modified(runs):
    fractions = (0.11, 0.07, 0.05, 0.13)
    results = [make_modified(r, fraction) for r, fraction in zip(runs, fractions, strict=True)]
    far = [finite(r.error).max() for r in runs]
    near = [fraction * error for fraction, error in zip(fractions, far, strict=True)]
    return partial(figures.modified.draw, results), {
        "title": [1 / fraction for fraction in fractions],
        "caption": [*SUMMARY, 2e-9],
        "alt": [-2, 1.5, *(number for pair in zip(near, far, strict=True) for number in pair)],
    }


def of_field(runs):
    """Around the minimizer, at 0."""
    result = make_modified(on_problem(runs[0], scene("bowl")), 0.11)
    factors = [
        np.linalg.norm(np.asarray(run.y.x)[-1]) / np.linalg.norm([-2, 1.5])
        for run in (result.map, result.flow, result.modified_flow)
    ]
    far = finite(runs[0].error).max()
    return partial(figures.field.draw, result), {
        "title": [factors[0], 40],
        "caption": [*SUMMARY, 2e-9],
        "alt": [-2, 1.5, 0.11 * far, far, *factors],
    }


def of_stability(runs):
    """Theory alone."""
    result = make_stability(n=41, m=31, reach=4.2, curvature=4.0)
    i, j = np.unravel_index(result.radius.argmin(), result.radius.shape)
    fastest = [result.radius.min(), 4.2 * (j + 1) / 41, i / 31]
    claim = [2, 0, 2 + 60 / 31, 30 / 31]
    return partial(figures.stability.draw, result), {
        "title": claim,
        "caption": [4, *fastest],
        "alt": [4.2 / 41, 4.2, 0, 30 / 31, *claim, *fastest],
    }


def of_a_measured_field(runs):
    problem = with_minimum(three_stars())
    field = make_sensitivity(Momentum(0.1), problem)
    status, loss = field.result.copy(), field.loss.copy()
    status[:, :3], status[:2, -1] = Status.diverged, Status.ok
    loss[:2, -1], loss[4:7, 5:9] = 9.0, F_MIN
    loss[status != Status.ok] = np.inf
    field = dataclasses.replace(field, result=status, loss=loss)
    failed, beyond = status != Status.ok, field.learning_rate > (2 + 2 * field.value[:, None]) / 4
    diverged = [100 * failed[beyond].mean(), 100 * failed[~beyond].mean()]
    claim = [12, 31 * 21, failed.sum()]
    return partial(figures.stability.draw, make_stability(), field), {
        "title": claim,
        "caption": [31 * 21, 50, "float64", 1e-12, *diverged],
        "alt": [50, 0.001, 2, 0, 0.95, *claim, *diverged],
    }


def of_basins(runs):
    first = make_basins(SGD(0.1), three_stars(), 0.5, failing=True)
    second = dataclasses.replace(make_basins(Momentum(0.2), three_stars(), 0.3), steps=200)
    shares = [100 * np.mean((b.map != b.flow) | b.failed) for b in (first, second)]
    each = [shares[0], 100 * first.failed.mean(), shares[1]]
    return partial(figures.basins.draw, [first, second]), {
        "title": sorted(shares, reverse=True),
        "caption": [21, 21, -3, 3, -2, 2, 200, 300],
        "alt": [3, 21, 21, *each],
    }


def of_inside(runs):
    memory = np.array([[0.8, 0.2], [0.3, 0.9]])
    gradient = np.array([[-0.3, 0.8], [0.1, 0.1]])
    downhill = np.array([[-1.0, 1.0], [0.5, 0.0]])
    parts = memory, gradient, downhill
    result = Inside(np.array([6, 7]), np.eye(2), *parts, Momentum(0.01), scene("bowl"))
    sizes = np.hypot(*memory.T), np.hypot(*gradient.T)
    share, step = 100 * sizes[0] / sum(sizes), memory + gradient
    cosine = (step * downhill).sum(1) / np.hypot(*step.T) / np.hypot(*downhill.T)
    turn = np.degrees(np.arccos(cosine))
    return partial(figures.inside.draw, result), {
        "title": [7, share[1], turn[1]],
        "caption": [6, 7, "float64"],
        "alt": [2, 6, share[0], turn[0], 7, share[1], turn[1]],
    }


def of_panels(runs):
    """The words of both figures, with all sentences of their captions."""
    (_, convergence), (_, loss) = of_convergence(runs), of_loss(runs)
    panels = [(figures.convergence, orders(runs)), (figures.loss, runs)]
    return partial(figures.panels.draw, panels), {
        "title": convergence["title"],
        "caption": loss["caption"] + convergence["caption"],
        "alt": convergence["alt"] + loss["alt"],
    }


def of_overview(runs):
    results = orders(runs)
    facts = [(finite(r.error).max(), int(np.nanargmax(r.error))) for r in runs]
    return partial(figures.overview.draw, runs, results), {
        "title": of_paths(runs)[1]["title"],
        "caption": of_loss(runs)[1]["caption"],
        "alt": [*np.concatenate(facts), *errors_and_ratios(results)],
    }


def of_projection(runs):
    """Paths in three coordinates: the loss is the sum of i x_i², i = 1, 2, 3, over 2."""
    weights = np.arange(1.0, 4.0)

    def loss(x):
        return (weights * x**2).sum(-1) / 2

    problem = Problem(loss, [-2.0, 1.5, 0.7], name="three", minimizers=[[0.0] * 3], minimum=0.0)
    decay = np.exp(-np.linspace(0, 1, 41))[:, None] ** weights
    paths = np.array([-2.0, 1.5, 0.7]) * decay, np.array([-2.0, 1.5, 0.7]) * decay**1.1
    both = [
        dataclasses.replace(
            run, y=run.y._replace(x=jnp.array(x)), loss=jnp.array(loss(x)), unravel=jnp.asarray
        )
        for run, x in zip((runs[0].map, runs[0].flow), paths, strict=True)
    ]
    result = dataclasses.replace(runs[0], map=both[0], flow=both[1], curve=both[1], problem=problem)
    step = int(np.nanargmax(result.error))
    x = np.concatenate(paths)
    mean = x.mean(0)
    _, sizes, vectors = np.linalg.svd(x - mean, full_matrices=False)
    shares, basis = 100 * sizes**2 / (sizes**2).sum(), vectors[:2]
    below = mean + (x - mean) @ basis.T @ basis
    off = np.linalg.norm(x - below, axis=1).max()
    star = np.linalg.norm(mean - mean @ basis.T @ basis)
    difference = abs(loss(x) - loss(below)).max()
    variance = [shares[0], shares[1], shares[0] + shares[1]]
    return partial(figures.paths.draw, result), {
        "title": [finite(result.error).max()],
        "caption": [
            -2, 1.5, 0.7, 40, "float64", 2e-9, *variance, off, star, difference,
        ],
        "alt": [
            -2, 1.5, 0.7, *variance, loss(paths[0][-1]), loss(below[40]),
            off, finite(result.error).max(), step, difference,
        ],
    }  # fmt: skip


def of_method(_):
    methods = list(METHODS)
    limits = [2, 1, 2.5127453 / 3]  # the root of the stability function, per gradient
    return partial(figures.method.draw, methods), {
        "title": [*limits[:2], "Bosh3", limits[2]],
        "legend": ["Bosh3", 3, 1, 2, 3],
        "caption": [],
        "alt": [1, 2, "Bosh3", 3, 3, *limits[:2], "Bosh3", limits[2]],
    }


def of_spectrum(_):
    radii = [np.sqrt(5 / 4), 1, 1, 1, np.hypot(3 / 4, 1 / 2), 1]  # each followed by h
    return partial(figures.spectrum.draw, make_spectra()), {
        "title": [4, 2],
        "caption": radii,
        "alt": [4, 2, *radii],
    }


def of_half_times(_):
    results = make_half_times(SGD(0.1), -0.9), make_half_times(Adam(0.1), 0.2, 30.0, unreached=1)
    return partial(figures.half_times.draw, list(results)), {
        "title": [-0.9, 0.2],
        "legend": [1],  # not halved
        "caption": [4, 10, 80, 100, 0.04, 0.04],
        "alt": [10, 80, 4, 4, -0.9, 0.04, 3, 4, 0.2, 0.04],
    }


def of_robustness(_):
    claim = [0.1, 62, 31, 0.3]  # the size of the attack that tells apart, percents, a radius
    medians = [(0.05 + 0.07) / 2, 106, 0.3, 10.5, 0.1, 64]  # each followed by L
    return partial(figures.robustness.draw, TREATED), {
        "title": claim,
        "caption": [3, 4, 5, *medians],
        "alt": [*claim, *medians],
    }


def of_retrieval(_):
    ends = {"softmax": 0.6, "am": 0.92, "triplet_1_fixed": 0.3}
    results = [make_retrieval(name, end) for name, end in ends.items()]
    return partial(figures.retrieval.draw, results), {
        "title": [100, 92, 1, 30],  # the 1 is that of the name
        "caption": [15, 46, 2],
        "alt": [1, 3, 10, 60, 10, 92, 1, 10, 30],
    }


def spread(x) -> list[float]:
    """Mean and standard deviation with their standard errors, the latter of squares."""
    x, n = np.asarray(x), len(x)
    squares, deviation = (x - x.mean()) ** 2, x.std(ddof=1)
    error = np.sqrt(squares.var(ddof=1) / n) / (2 * deviation)
    return [x.mean(), deviation / np.sqrt(n), deviation, error]


def of_ensemble(_):
    results = [make_fan(), make_fan("flow", 0.8, 0.3)]
    map, flow = (spread(one.x[:, -1, 0]) for one in results)
    return partial(figures.ensemble.draw, results), {
        "title": [2, "x₁", *map[2:], *flow[2:]],
        "legend": [50, 90],
        "caption": [1, 21, 21, 5, 25, 50, 75, 95],
        "alt": ["x₁", *map, *flow],
    }


def gibbs_distances(result):
    """½ Σ |n_i/n - p_i| and, from many draws, what it is on average for as many exact samples."""
    law = NormalDist(0, 0.5)
    edges = [law.inv_cdf(0.9995) * side for side in np.linspace(-1, 1, 41)]
    shares = np.diff([0, *map(law.cdf, edges), 1])
    x = np.asarray(result.x[:, -1, 0])
    counts, _ = np.histogram(x, [-np.inf, *edges, np.inf])
    drawn = np.random.default_rng(0).multinomial(len(x), shares, 100_000) / len(x)
    return [np.abs(n - shares).sum(-1).mean() / 2 for n in (counts / len(x), drawn)]


def of_langevin(_):
    results = [make_gibbs(0.1), make_gibbs(0.2, shift=0.3)]
    (first, exact), (second, _) = map(gibbs_distances, results)
    return partial(figures.langevin.draw, results), {
        "title": [first, 0.1, second, 0.2, exact],
        "caption": [40, 0.1, 0.2, 40],
        "alt": [0.1, first, 40, exact, 0.2, second, 40, exact],
    }


def of_stationary(_):
    laws = [make_stationary(rate) for rate in (0.1, 0.5, 1.5, 2.1)]
    ratios = [1.5, 4, 1.5 / 0.5 / (1.5 / 2 * (1 + 1.5 / 2))]
    runs = [make_settled(0.5, np.sqrt(1 / 3))]
    return partial(figures.stationary.draw, laws, runs), {
        "title": ratios,
        "legend": [2],
        "caption": [1, 2.1, 1, 1],
        "alt": [4, *ratios, 1, 1],
    }


def of_weak_order(_):
    errors = [
        (size * factor * 1.2, size * factor * 16.0**-power, 16)
        for size in (1, 3)
        for factor, power in ((0.03, 1), (0.004, 2), (0.1, 0))
    ]
    return partial(figures.weak_order.draw, WEAK), {
        "title": [2, 4, 2, 4],
        "caption": [2, 4],
        "alt": [number for triple in errors for number in triple],
    }


ORACLES = [
    of_paths, of_loss, of_one_loss, of_convergence, of_phase,
    of_modified, of_field, of_stability, of_a_measured_field, of_basins, of_race, of_inside,
    of_panels, of_overview, of_projection, of_method, of_spectrum, of_half_times, of_robustness,
    of_retrieval, of_ensemble, of_langevin, of_stationary, of_weak_order,
]  # fmt: skip


@pytest.mark.parametrize("oracle", ORACLES, ids=lambda oracle: oracle.__name__[3:])
def test_every_number_is_that_of_the_results(oracle, runs, monkeypatch):
    monkeypatch.setattr(figures.method, "measured", make_methods)
    draw, expected = oracle(runs)
    picture = draw()
    titles = [picture.get_suptitle(), *(ax.get_title() for ax in picture.axes)]
    legends = [text for parent in (picture, *picture.axes) for text in legend_texts(parent)]
    must_read("title", "; ".join(titles), expected["title"])
    must_read("legend", "; ".join(sorted(legends)), expected.get("legend", []))
    must_read("caption", caption(picture), expected["caption"])
    must_read("alt", picture.alt, expected["alt"])


def test_every_figure_has_its_numbers_read():
    names = {oracle.__name__[3:] for oracle in ORACLES}
    others = {"inside", "method", "panels", "spectrum", "half_times", "robustness", "retrieval"}
    others |= {"ensemble", "langevin", "stationary", "weak_order"}
    assert {*figures.catalogue, *others} <= names


# --- runs that fail

NAN = float("nan")
FAILURES = {
    "map": {
        Status.diverged: "diverged at step 7",
        Status.nonfinite: "met NaN or infinity at step 7",
    },
    "flow": {
        Status.max_steps: "could not be solved beyond t = 0.6",
        Status.sliding: "slides along a jump of its vector field from t = 0.6",
    },
}


def fail(comparison: Comparison, kind: str, status: Status) -> Comparison:
    """The comparison with a map or flow that ends with point 6, at the time 6 h."""
    run = getattr(comparison, kind)
    y = run.y._replace(x=run.y.x.at[7:].set(NAN), p=run.y.p.at[7:].set(NAN))
    run = dataclasses.replace(
        run,
        y=y,
        loss=run.loss.at[7:].set(NAN),
        result=jnp.asarray(int(status)),
        stats=run.stats | {"first_bad_step": 7},
    )
    error, curve = comparison.error.at[7:].set(NAN), comparison.curve
    if kind == "flow":
        first = 6 * (len(curve.t) - 1) // (len(run.t) - 1) + 1
        curve = dataclasses.replace(curve, loss=curve.loss.at[first:].set(NAN))
    return dataclasses.replace(comparison, **{kind: run}, error=error, curve=curve)


@pytest.mark.parametrize("kind, status", [(k, s) for k, many in FAILURES.items() for s in many])
def test_a_cross_marks_the_last_finite_point_of_a_run_and_words_say_where_it_is(kind, status, runs):
    failed = fail(runs[1], kind, status)
    run, sentence = getattr(runs[1], kind), FAILURES[kind][status]
    x, p = np.asarray(run.y.x)[6], np.asarray(run.y.p)[6]
    step_and_loss = 6, float(run.loss[6]) - F_MIN
    whole_flow = kind == "map" and make_modified(runs[1])
    for figure, results, point in (
        (figures.paths, failed, x),
        (figures.loss, failed, step_and_loss),
        (figures.phase, failed, (x[0], p[0])),
        (figures.modified, whole_flow and dataclasses.replace(
            whole_flow,
            comparison=failed,
            modified=dataclasses.replace(whole_flow.modified, map=failed.map, error=failed.error),
        ), x),
    ):  # fmt: skip
        if not results:
            continue
        picture = figure.draw(results)
        ax = picture.axes[0]
        assert sentence in one_line(picture.get_suptitle()) and sentence in one_line(picture.alt)
        if kind == "map" or figure is figures.loss:
            crosses = [a for a in ax.lines if str(a.get_gid()).startswith("end of ")]
            assert [cross.get_gid() for cross in crosses] == [f"end of {kind} momentum"]
            assert crosses[0].get_marker() == "x"
            np.testing.assert_allclose(crosses[0].get_xydata(), [point], rtol=1e-12)


def test_a_map_that_diverges_does_so_where_its_closed_form_is_farther_than_the_limit(diverged):
    """Along the steeper axis x_k = 1.5 (1 - 0.4 * 10)^k; the limit is (1 + 2.5)/√ε."""
    size = 1.5 * 3.0 ** np.arange(41)
    first = int(np.argmax(size > 3.5 / np.finfo(float).eps ** 0.5))
    picture = figures.paths.draw(diverged)
    left = 2  # x₂ = −4.5, 13.5, ...: more than six times as far out as the flow from (−1, 0.75)
    assert heading(picture) == f"SGD leaves at step {left}"
    must_read("alt", picture.alt, [-2, 1.5, left, first])


# --- what else is true of several runs


def test_runs_from_several_points_are_said_to_start_there(runs):
    x = runs[0].map.y.x.at[0].set(jnp.array([0.25, -1.0]))
    moved = dataclasses.replace(
        runs[0], map=dataclasses.replace(runs[0].map, y=runs[0].map.y._replace(x=x))
    )
    for figure, results in (
        (figures.paths, [runs[1], moved]),
        (figures.modified, [make_modified(runs[1]), make_modified(moved)]),
    ):
        picture = figure.draw(results)
        assert "from (−2, 1.5) and (0.25, −1)" in picture.alt
        assert "On bowl from (−2, 1.5) and (0.25, −1), 40 steps" in caption(picture)


def test_the_lowest_loss_below_0_is_reached_where_no_minimum_is_known():
    problem = eqx.tree_at(lambda problem: problem.minimum, three_stars(), None)
    field = make_sensitivity(Momentum(0.1), problem)
    field.loss[3, 5], field.loss[4, 7] = -2.5, -6.25
    picture, failed = figures.stability.draw(make_stability(), field), np.isinf(field.loss).sum()
    must_read("title", heading(picture), [1, 31 * 21, failed])
    assert "reach the lowest loss" in heading(picture)
    shown = artist(picture.axes[0], "loss")
    assert shown.norm.vmin == -6.25 and shown.norm.vmax == field.start


def test_every_number_of_the_command_is_that_of_the_results(runs):
    study = SimpleNamespace(
        problem=runs[0].problem,
        figures=(),
        steps=40,
        long_steps=400,
        start=np.array([-1.23456, 2.0]),
        optimizers=dict(zip(NAMES, OPTIMIZERS, strict=True)),
        options=Options(),
    )
    failed = fail(runs[1], "flow", Status.max_steps)
    results = {
        name: {"comparisons": [r], "orders": [order]}
        for name, r, order in zip(NAMES, [runs[0], failed, *runs[2:]], orders(runs), strict=True)
    }
    expected = [40, -1.23456, 2]
    for name, result, order in zip(NAMES, runs, orders(runs), strict=True):
        losses = [float(run.loss[-1]) for run in (result.map, result.flow)]
        error = finite(result.error).max()
        if name == "Momentum":  # its flow ends early, with the error at its last point
            losses, error = losses[:1], finite(failed.error).max()
        expected += [TIME_STEPS[name], *losses, error, order.slope, order.stderr]
        expected += [0.6] * (name == "Momentum")
    must_read("table", table(study, results), expected)
