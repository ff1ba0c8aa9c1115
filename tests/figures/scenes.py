"""Results to draw, made by hand: a picture needs only their shape."""

import dataclasses
import warnings
from copy import copy
from statistics import NormalDist
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes

from dynopt import (
    SGD,
    Adam,
    Alternating,
    Ensemble,
    Extragradient,
    Langevin,
    Modified,
    Momentum,
    Noisy,
    Problem,
    RMSprop,
    Status,
    Stepped,
    Trajectory,
    iterate,
)
from dynopt.analysis import (
    Basins,
    Comparison,
    HalfTimes,
    ModifiedComparison,
    Order,
    Retrieval,
    Robustness,
    Sensitivity,
    Spectrum,
    Stability,
    Stationary,
    TwoMoments,
    WeakError,
    WeakOrder,
)
from dynopt.figures.method import Method
from dynopt.problems import dirac_gan
from dynopt.runs.setup import Kept

STEPS = 40
OPTIMIZERS = (SGD(0.01), Momentum(0.01), RMSprop(0.02), Adam(0.05))
KEYS = ("sgd", "momentum", "rmsprop", "adam")


class Mixture(eqx.Module):
    """One loss that is four, compiled once: a bowl, a valley, four wells, many wells."""

    weights: Any

    def __call__(self, x):
        a, b = x[..., 0], x[..., 1]
        bowl = (a**2 + 10 * b**2) / 2
        valley = (100 * (b - a**2) ** 2 + (1 - a) ** 2) / 50
        wells = ((a**2 + b - 11) ** 2 + (a + b**2 - 7) ** 2) / 20
        ripples = 20 + a**2 + b**2 - 10 * (jnp.cos(2 * jnp.pi * a) + jnp.cos(2 * jnp.pi * b))
        return self.weights @ jnp.stack([bowl, valley, wells, ripples])


SCENES = {
    "bowl": (0, [-2.0, 1.5], [[0.0, 0.0]], ((-3, 3), (-3, 3))),
    "valley": (1, [-1.2, 1.0], [[1.0, 1.0]], ((-2, 2), (-1, 3))),
    "wells": (2, [0.0, -3.0], [[3.0, 2.0], [3.584428, -1.848127]], ((-6, 6), (-6, 6))),
    "ripples": (3, [2.2, -1.7], [[0.0, 0.0]], ((-5.12, 5.12), (-5.12, 5.12))),
    "nowhere": (0, [-2.0, 1.5], None, None),
}


def scene(name: str) -> Problem:
    which, start, minimizers, window = SCENES[name]
    return Problem(
        Mixture(jnp.eye(4)[which]),
        start,
        name=name,
        minimizers=minimizers,
        minimum=None if minimizers is None else 0.0,
        window=window,
    )


STARS = [[1.0, 0.0], [-1.0, 0.5], [0.0, -1.5]]


def three_stars(name: str = "three") -> Problem:
    """A problem that states three minimizers and a window, for basins."""
    return Problem(
        scene("wells").loss,
        [0.0, 0.0],
        name=name,
        minimizers=STARS,
        minimum=0.0,
        window=((-3, 3), (-2, 2)),
    )


def make_flow(optimizer, problem: Problem, steps: int, save_every: int = 16) -> Trajectory:
    """The map with a time step 16 times finer in place of the flow: no solver is compiled."""
    fine = iterate(optimizer.refine(16), problem, 16 * steps, save_every=save_every, throw=False)
    stats = fine.stats | {"solver": "Tsit5", "solver_steps": 99, "rtol": 1e-11, "atol": 1e-14}
    return dataclasses.replace(fine, kind="flow", stats=stats)


def make_comparison(optimizer, problem: Problem, steps: int = STEPS) -> Comparison:
    map = iterate(optimizer, problem, steps, throw=False)
    flow = make_flow(optimizer, problem, steps)
    error = jnp.linalg.norm(map.y.x - flow.y.x, axis=-1)
    error = jnp.where(jnp.isfinite(error), error, jnp.nan)
    curve, solver_error = make_flow(optimizer, problem, steps, 2), jnp.full_like(error, 1e-9)
    return Comparison(map.t, error, solver_error, map, flow, curve, optimizer, problem)


def make_modified(
    comparison: Comparison, fraction: float = 0.1, order: int = 2
) -> ModifiedComparison:
    """A modified flow with a fraction of the error of the flow, without a solver."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # RMSprop and its memory that starts at 0
        optimizer = Modified(comparison.optimizer, order)
    map, curve, error = comparison.map, comparison.curve, fraction * comparison.error
    per_step = max((len(curve.t) - 1) // max(len(map.t) - 1, 1), 1)

    def nearer(map, curve):
        steps = jnp.arange(len(curve)) / per_step
        columns = [jnp.interp(steps, jnp.arange(len(map)), column) for column in map.T]
        return fraction * curve + (1 - fraction) * jnp.stack(columns, 1)

    curve = dataclasses.replace(curve, y=jax.tree.map(nearer, map.y, curve.y))
    y = jax.tree.map(lambda leaf: leaf[::per_step], curve.y)
    flow = dataclasses.replace(comparison.flow, y=y)
    fields = {"optimizer": optimizer, "flow": flow, "curve": curve, "error": error}
    modified = dataclasses.replace(comparison, **fields)
    return ModifiedComparison(comparison, modified)


def make_order(
    optimizer, problem: Problem, slope: float, size: float = 1.0, left_out: int = 2
) -> Order:
    h = float(optimizer.h) / 2 ** np.arange(7)
    error = size * h**slope * np.where(np.arange(7) < left_out, 1.3, 1.0)
    return Order(
        h=h,
        error=error,
        t=h[0] * np.arange(51),
        errors=error[:, None] * np.sin(np.pi * np.arange(51) / 50),  # largest at step 25
        pairwise=np.diff(np.log(error)) / np.diff(np.log(h)),
        slope=slope,
        stderr=0.002,
        window=(left_out, 6),
        floor=1e-15 / h,
        solver_error=1e-13,
        expected=optimizer.regularity.order,
        time=50 * float(optimizer.h),
        dtype="float64",
        solver="Tsit5",
        reason="",
        start=np.ravel(problem.x0),
        optimizer=optimizer,
        problem=problem,
    )


def without_fit(order: Order, error: np.ndarray, reason: str) -> Order:
    nan = float("nan")
    return with_errors(order, error, window=None, slope=nan, stderr=nan, reason=reason)


def with_errors(order: Order, error: np.ndarray, **others: Any) -> Order:
    """The order with other largest errors, which come at the same step."""
    with np.errstate(all="ignore"):
        errors = error[:, None] * np.sin(np.pi * np.arange(51) / 50)
        pairwise = np.diff(np.log(error)) / np.diff(np.log(order.h))
    return dataclasses.replace(order, error=error, errors=errors, pairwise=pairwise, **others)


def make_stability(
    n: int = 41, m: int = 31, reach: float = 4.2, curvature: float = 1.0
) -> Stability:
    """The stability of the heavy ball, by its closed forms."""
    rate, value = np.linspace(0, reach, n + 1)[1:], np.linspace(0, 1, m, endpoint=False)
    trace = 1 + value[:, None] - rate
    root = np.sqrt(trace**2 - 4 * value[:, None] + 0j)
    radius = np.maximum(abs(trace + root), abs(trace - root)) / 2
    best = np.where(rate < 4, (1 - np.sqrt(rate)) ** 2, np.nan)
    own = {"option": "momentum", "optimizer": Momentum(0.01), "curvature": curvature}
    return Stability(rate / curvature, value, radius, (2 + 2 * value) / curvature, best, **own)


def make_basins(
    optimizer, problem: Problem, shift: float = 0.5, failing: bool = False, n: int = 21
) -> Basins:
    """The nearest minimizer, and for the map that of a start shifted to the right."""
    x, y = np.linspace(-3, 3, n), np.linspace(-2, 2, n)
    grid, stars = np.stack(np.meshgrid(x, y), -1)[:, :, None], np.asarray(problem.minimizers)
    flow = np.linalg.norm(grid - stars, axis=-1).argmin(-1)
    map = np.linalg.norm(grid + np.array([shift, 0]) - stars, axis=-1).argmin(-1)
    failed = np.full_like(map, failing, bool) & (y[:, None] > 1.5)
    return Basins(x, y, np.where(failed, -1, map), flow, failed, optimizer, problem, 300)


def make_sensitivity(optimizer, problem: Problem, n: int = 31, m: int = 21) -> Sensitivity:
    """The runs of a quadratic mode of curvature 4 from 1, with the boundary of the heavy ball."""
    rate, value = np.geomspace(1e-3, 2, n), np.linspace(0, 0.95, m)
    boundary = (2 + 2 * value) / 4
    beyond = rate > boundary[:, None]
    loss = np.where(beyond, np.inf, (1 - rate / (2 * boundary[:, None])) ** 50 + 1e-9)
    result = np.where(beyond, int(Status.diverged), int(Status.ok))
    return Sensitivity(
        rate, value, loss, result, 2.0, boundary, 4.0, "momentum", optimizer, problem, 50
    )


class Implicit(diffrax.Euler):
    """A name for the implicit method of Euler, which is compiled for long."""


def third_order(z):
    return 1 - z + z**2 / 2 - z**3 / 6


# Of four methods the stability function, the gradients of a step, and the limit of h λ per step.
METHODS = {
    Stepped(SGD(1.0), solver): (function, gradients, limit)
    for solver, function, gradients, limit in (
        (diffrax.Euler(), lambda z: 1 - z, 1, 2.0),
        (diffrax.Heun(), lambda z: 1 - z + z**2 / 2, 2, 2.0),
        (diffrax.Bosh3(), third_order, 3, 2.5127453266183286),
        (Implicit(), lambda z: 1 / (1 + z), 3, np.inf),
    )
}


def make_methods(optimizers) -> list[Method]:
    """The stability of some of these methods, by their stability functions."""
    axis = np.linspace(0, 2.4, 241)
    real, imaginary = np.linspace(-0.84, 2.4, 121), np.linspace(0, 1.25, 61)
    plane = real + 1j * imaginary[:, None]
    made = []
    for optimizer in optimizers:
        function, s, limit = METHODS[optimizer]
        factors = [abs(function(s * z)) ** (1 / s) for z in (axis, plane)]
        made.append(Method(optimizer, s, limit / s, axis, factors[0], real, imaginary, factors[1]))
    return made


def make_spectra() -> list[Spectrum]:
    """Gradient descent, alternating and with extrapolation, of the GAN of Dirac at h = 1, by hand.

    With λ = i/2 the maps have the eigenvalues 1 + λ, the roots of z² - 7z/4 + 1, and 1 + λ + λ².
    """
    game, turn = dirac_gan(), 0.5j
    origin = {"psi": jnp.zeros(()), "theta": jnp.zeros(())}

    def of(optimizer, map, modified, rate):
        three = (np.array([z, np.conj(z)]) for z in (turn, map, modified))
        return Spectrum(*three, rate, 1.0, origin, "equilibrium", optimizer, game)

    players = Alternating(SGD(1.0), game.players)
    roots = (7 / 4 + 1j * np.sqrt(4 - 49 / 16)) / 2
    return [
        of(SGD(1.0), 1 + turn, turn - turn**2 / 2, 0.0),
        of(players, roots, 1j * np.sqrt(1 / 4 - 1 / 64), 4.0),
        of(Extragradient(SGD(1.0)), 1 + turn + turn**2, turn + turn**2 / 2, 2.0),
    ]


def on_problem(comparison: Comparison, problem: Problem) -> Comparison:
    """The same runs, as if they were on another problem."""
    return dataclasses.replace(comparison, problem=problem)


def with_runs(comparison: Comparison, change) -> Comparison:
    """The comparison with other arrays along map and flow; `change` maps three arrays over time.

    The curve of the flow is then the flow itself.
    """
    runs = {}
    for kind, run in (("map", comparison.map), ("flow", comparison.flow)):
        t, y, loss = change((run.t, run.y, run.loss))
        runs[kind] = dataclasses.replace(run, t=t, y=y, loss=loss)
    t, error, solver_error = change((comparison.t, comparison.error, comparison.solver_error))
    errors = {"t": t, "error": error, "solver_error": solver_error}
    return dataclasses.replace(comparison, curve=runs["flow"], **errors, **runs)


def artist(ax, gid: str) -> Any:
    """The only artist with this gid."""
    (one,) = [a for a in ax.get_children() if a.get_gid() == gid]
    return one


def gids(ax) -> set[str]:
    return {a.get_gid() for a in ax.get_children() if a.get_gid()}


def legend_texts(ax) -> list[str]:
    """The texts of the legend above the frame."""
    legends = [a for a in ax.artists if a.get_gid() == "legend"]
    return [text for a in legends for t in a.get_texts() if (text := t.get_text())]


def one_line(text: str) -> str:
    """Text as it reads: without line breaks and hard spaces."""
    return " ".join(text.replace("\xa0", " ").split())


def title(drawing) -> str:
    """The title of axes, or of the first frame of a picture."""
    ax = drawing if isinstance(drawing, Axes) else drawing.axes[0]
    return one_line(ax.get_title())


def heading(picture) -> str:
    """The title above all frames of a picture."""
    return one_line(picture.get_suptitle())


def heads(picture) -> list[str]:
    """The name above each frame."""
    return [one_line(ax.get_title(loc="left")) for ax in picture.axes]


def keys(picture) -> list[str]:
    """The texts of the legend below the title."""
    return [t.get_text() for one in picture.legends + picture.artists for t in _texts(one)]


def _texts(one) -> list[Any]:
    return [t for t in one.get_texts() if t.get_text()] if hasattr(one, "get_texts") else []


def caption(picture) -> str:
    return one_line(picture.get_supxlabel())


def called(name: str) -> Problem:
    """A problem of this name, of which a picture needs no more."""
    problem = copy(scene("bowl"))
    object.__setattr__(problem, "name", name)
    return problem


COUNTS = np.array([10, 20, 40, 80])  # of the examples in four groups


def make_half_times(optimizer, slope, first=100.0, unreached=0, kind="map") -> HalfTimes:
    """Four groups that are halved exactly as the slope says, but for the smallest of them."""
    steps = first * (COUNTS / 10.0) ** slope
    steps[:unreached] = np.nan
    slope = slope if unreached < 2 else np.nan
    return HalfTimes(
        np.arange(4), COUNTS, steps, np.arange(101.0), np.ones((101, 4)), slope, 0.04, kind,
        optimizer, scene("bowl"),
    )  # fmt: skip


EPS = jnp.array([0.0, 0.05, 0.1, 0.2, 0.3])  # sizes of attacks


def make_robustness(name, fgsm, radii, lipschitz, optimizer=None) -> Robustness:
    """A result with these accuracies; the other attack is a little stronger."""
    accuracy = jnp.array(fgsm)
    return Robustness(
        EPS, accuracy, 0.9 * accuracy, accuracy[0], jnp.array(lipschitz), jnp.array(radii),
        optimizer, called(name),
    )  # fmt: skip


PLAIN = make_robustness("net", [0.97, 0.7, 0.31, 0.04, 0.0], [0.0, 0.05, 0.07, 0.09], 106.0)
RIDGE = make_robustness(
    "net_ridge", [0.96, 0.85, 0.62, 0.05, 0.0], [0.1, 0.2, 0.3, 0.4, 0.45], 10.5
)
TREATED = [
    PLAIN,
    RIDGE,
    make_robustness("net_gradient", [0.97, 0.84, 0.55, 0.23, 0.05], [0.0, 0.1, 0.3], 64.0),
]


def make_retrieval(name, end, steps=(0.0, 50.0, 100.0), optimizer=None) -> Retrieval:
    """A result whose accuracy rises from 0.1 to its end."""
    accuracy = jnp.linspace(0.1, end, len(steps))
    problem = called(f"sentence_similarity_{name}")
    return Retrieval(accuracy / 2, accuracy, jnp.array(steps), optimizer or Adam(0.03), problem)


def make_ensemble(optimizer, problem, x, kind="map", failed=0) -> Ensemble:
    """An ensemble with these positions, shape `(paths, times, dim)`; the first paths failed."""
    x = jnp.asarray(x, float)
    t, number = float(optimizer.h) * jnp.arange(x.shape[1]), jnp.arange(len(x))
    result = jnp.where(number < failed, int(Status.diverged), int(Status.ok))
    loss, kept = jax.vmap(jax.vmap(problem.loss))(x), (Kept(optimizer), Kept(problem))
    return Ensemble(t, x, loss, result, jnp.where(number < failed, 1, -1), kind, kept)


SPREAD = np.linspace(-1, 1, 21)  # of 21 paths: at the level q stands 2 q - 1


def make_fan(kind="map", mean=1.0, deviation=0.5, failed=0, steps=20, dim=1) -> Ensemble:
    """Paths whose quantiles are straight lines: they fan out around a mean that falls to 0.4."""
    fraction = np.linspace(0, 1, steps + 1)
    path = mean * (1 - 0.6 * fraction) + deviation * SPREAD[:, None] * fraction
    x = np.concatenate([np.full((failed, steps + 1), np.nan), path])
    noisy = Noisy(SGD(0.1), sigma=0.7)
    return make_ensemble(noisy, hill(dim), np.repeat(x[..., None], dim, -1), kind, failed)


def _hill(x):
    return (x**2).sum(-1) / 2


def hill(dim: int = 1) -> Problem:
    return Problem(_hill, [1.0] * dim, name="hill", minimum=0.0)


def make_gibbs(rate=0.1, paths=40, shift=0.0, kind="map") -> Ensemble:
    """The Gibbs law of x²/2 at T = 1/4, a normal law of the deviation 1/2, as its quantiles."""
    levels = (np.arange(paths) + 0.5) / paths
    points = [NormalDist(shift, 0.5).inv_cdf(level) for level in levels]
    x = np.stack([np.ones(paths), points], 1)[..., None]
    return make_ensemble(Langevin(SGD(rate), temperature=0.25), hill(), x, kind)


def make_stationary(rate, flows=True) -> Stationary:
    """The stationary laws of gradient descent on |x|²/2 with σ = 1, by their closed forms."""

    def law(variance):
        return TwoMoments(np.zeros(2), variance * np.eye(2))

    map = rate / (2 - rate) if rate < 2 else np.nan
    others = [law(rate / 2), law(rate / 2 * (1 + rate / 2))] if flows else [None, None]
    return Stationary(law(map), *others, 2, Noisy(SGD(rate), sigma=1.0), hill(2))


def make_settled(rate, deviation) -> Ensemble:
    """Two hundred paths that have ended around a circle, at two distances from its middle."""
    angle = np.linspace(0, 2 * np.pi, 201)[:-1]
    far = deviation * np.sqrt(2) * np.where(np.arange(200) % 2, 1.2, np.sqrt(2 - 1.44))
    x = far[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
    return make_ensemble(Noisy(SGD(rate), sigma=1.0), hill(2), np.stack([0 * x, x], 1))


def make_weak_order(optimizer, size=1.0, paths=0) -> WeakOrder:
    """Errors of the orders 1, 2 and 0; estimated ones, of which the last is not told from 0."""
    h = float(optimizer.h) / 2 ** np.arange(5)

    def error(power, factor):
        values = factor * size * (h / h[0]) ** power * np.where(np.arange(5) < 1, 1.2, 1.0)
        return WeakError(h, values, (paths > 0) * factor * np.full(5, 0.003))

    errors = error(1, 0.03), error(2, 0.004), error(0, 0.1)
    return WeakOrder(*errors, 20 * h[0], paths, optimizer, hill())


WEAK = [make_weak_order(Noisy(SGD(0.1), sigma=0.5)), make_weak_order(Noisy(Momentum(0.04), 2.0), 3)]
