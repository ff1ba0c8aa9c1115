"""Langevin dynamics: where many paths have come to, against the Gibbs law that they sample."""

from functools import partial
from math import exp, floor, lgamma, log, log1p
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.flatten_util import ravel_pytree
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from ..errors import InvalidValue
from ..optimizers import Langevin
from ..optimizers.wrappers.noise import noise_of
from ..problems import Problem
from ..runs.ensemble import Ensemble
from .drawing import runs
from .drawing.axes import set_linear_ticks
from .drawing.captions import coordinate_names, problem_name
from .drawing.frames import Paint, draw_frames
from .drawing.laws import failed_paths, final_positions, noise_facts
from .drawing.legends import key as legend_key
from .drawing.measure import stroke
from .drawing.notes import Line, write_note
from .drawing.picture import Panel, Picture
from .drawing.results import result_list
from .drawing.runs import Entry
from .drawing.style import background, in_style, ink, mix_colors, muted
from .drawing.words import capitalize, format_number, join_words, literal

BINS = 40
POINTS = 2**14 + 1  # of the quadrature
TAIL = 5e-4  # of the Gibbs law, on each side of the frame
NEGLIGIBLE = 1e-12  # of the largest density: the quadrature ends there
DOUBLINGS = 30  # of the interval of the quadrature, at most


class Sample(NamedTuple):
    """The positions at the end of one ensemble, beside the Gibbs law.

    - `points`: the positions, shape `(paths,)`.
    - `x`, `density`: the Gibbs law on the grid of the quadrature; `loss`: f there.
    - `distance`: the total variation distance of the histogram to the law.
    - `exact`: that which as many independent samples of the law have on average.
    """

    result: Ensemble
    points: np.ndarray
    x: np.ndarray
    density: np.ndarray
    loss: np.ndarray
    edges: np.ndarray
    distance: float
    exact: float


@in_style
def draw(
    results: Ensemble | list[Ensemble],
    *,
    title: str | None = None,
    ax: Axes | None = None,
    style: str = "notebook",
) -> Picture | Axes:
    """The histogram of the last positions of Langevin dynamics against the Gibbs law exp(-f/T)/Z.

    Each ensemble has a frame. Bars are the positions at its end, a line in ink is the density,
    normalised by quadrature, and a thin line is the loss in a unit of its own. The numbers are the
    total variation distance of the histogram to the law, ½ Σ |n_i/n - p_i| over 40 bins and what is
    outside of them, and the one that as many independent samples of the law have on average: a
    distance above that is an error of the time step, or of paths that are too short.

    - `results`: one or several ensembles from `dynopt.ensemble`, each of a `Langevin` on one
      problem with one coordinate.
    - `title`: a title in place of the claim.
    - `ax`: axes to draw one ensemble in, instead of a new `Picture`.
    - `style`: "notebook", "paper" or "slides".

    **Raises:** `InvalidValue` for other optimizers, problems with more coordinates, a temperature
    of 0, a loss that does not grow so that exp(-f/T) has a finite integral, and for one `ax` and
    several results.
    """
    samples = _samples(results)
    caption = _caption(samples)
    paints = _frames(samples)
    return draw_frames(paints, title or _claim(samples), describe(results), caption, ax, style)


def describe(results: Ensemble | list[Ensemble]) -> str:
    """The picture in one sentence with its numbers."""
    samples = _samples(results)
    numbers = (
        f"the total variation distance of {name} is {_number(sample.distance)}, and that of "
        f"{len(sample.points)} exact samples {_number(sample.exact)}"
        for sample, name in _named(samples)
    )
    return (
        "The picture shows the histogram of the positions at the end of Langevin dynamics on "
        f"{problem_name(samples[0].result)} against the Gibbs density: {'; '.join(numbers)}."
    )


def _frames(samples: list[Sample]) -> list[Paint]:
    """What paints each ensemble into a frame; they share their axes."""
    entries = runs.entries([sample.result for sample in samples])
    left = min(sample.edges[0] for sample in samples)
    right = max(sample.edges[-1] for sample in samples)
    top = 1.3 * max(max(one.density.max(), _heights(one).max()) for one in samples)
    return [
        partial(_paint_frame, sample, entry, (left, right), top)
        for sample, entry in zip(samples, entries, strict=True)
    ]


def _samples(results: Any) -> list[Sample]:
    return [_sample(one) for one in result_list(results, Ensemble, "dynopt.ensemble", "t")]


def _sample(result: Ensemble) -> Sample:
    noise, problem = noise_of(result.optimizer), result.problem
    if not isinstance(noise, Langevin) or problem.dim != 1:
        raise InvalidValue(
            f"the Gibbs law is drawn for a Langevin on a problem of one coordinate, got "
            f"{result.optimizer!r} on {problem.name} with {problem.dim}; draw figures.ensemble, or "
            "run dynopt.Langevin(dynopt.SGD(0.01), temperature=0.5) in one coordinate."
        )
    points = final_positions(result)[:, 0]
    x, density, loss = gibbs_law(problem, float(noise.temperature), points)
    below = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(x))])
    low, high = np.interp([TAIL, 1 - TAIL], below, x)
    edges = np.linspace(low, high, BINS + 1)
    shares = np.diff(np.concatenate([[0], np.interp(edges, x, below), [1]]))
    counts, _ = np.histogram(points, np.concatenate([[-np.inf], edges, [np.inf]]))
    distance = np.abs(counts / len(points) - shares).sum() / 2
    exact = sum(_mean_deviation(len(points), share) for share in shares) / 2
    return Sample(result, points, x, density, loss, edges, float(distance), exact)


def gibbs_law(problem: Problem, temperature: float, points: np.ndarray) -> tuple[np.ndarray, ...]:
    """A grid that holds the whole Gibbs law, its density there, and the loss.

    - `points`: positions which the grid holds, too.

    **Raises:** `InvalidValue` if exp(-f/T) has no finite integral.
    """
    start, unravel = ravel_pytree(problem.start())
    values = jax.jit(jax.vmap(lambda x: problem.loss(unravel(x[None]))))
    known = np.concatenate([points, np.asarray(start, float)])
    middle, half = (known.max() + known.min()) / 2, (known.max() - known.min() + 1e-3) / 2
    for _ in range(DOUBLINGS if temperature > 0 else 0):
        x = np.linspace(middle - half, middle + half, POINTS)
        loss = np.asarray(values(np.asarray(x, start.dtype)), float)
        if np.isnan(loss).any():
            break
        weight = np.exp(-(loss - loss.min()) / temperature)
        if max(weight[0], weight[-1]) < NEGLIGIBLE:
            total = ((weight[1:] + weight[:-1]) / 2 * np.diff(x)).sum()
            return x, weight / total, loss
        half *= 2
    raise InvalidValue(
        f"exp(-f/T) of {problem.name} has no finite integral at T = {temperature:g}, or is NaN "
        "somewhere; take a positive temperature, and a loss that grows on both sides."
    )


def _mean_deviation(n: int, p: float) -> float:
    """E |K/n - p| of a binomial K of n trials with the probability p, after De Moivre."""
    if not 0 < p < 1:
        return 0.0
    m = floor(n * p) + 1
    if m > n:
        return 2 * p**n * (1 - p)
    chosen = lgamma(n + 1) - lgamma(m + 1) - lgamma(n - m + 1)
    return 2 * m * exp(chosen + m * log(p) + (n - m + 1) * log1p(-p)) / n


def _heights(sample: Sample) -> np.ndarray:
    """The heights of the bars: the density of the positions in each bin."""
    counts, _ = np.histogram(sample.points, sample.edges)
    return counts / (len(sample.points) * np.diff(sample.edges))


def _paint_frame(
    sample: Sample, entry: Entry, limits: tuple[float, float], top: float, ax: Axes, _: float
) -> Panel:
    result, color, name, key = entry
    ax.set(xlim=limits, ylim=(0, top))
    set_linear_ticks(ax.xaxis)
    set_linear_ticks(ax.yaxis)
    inside = (limits[0] <= sample.x) & (sample.x <= limits[1])
    x, density, loss = (array[inside] for array in (sample.x, sample.density, sample.loss))
    height = np.ptp(loss[density > 1e-3 * density.max()]) or 1.0
    scaled = top * (0.04 + 0.9 * (loss - loss.min()) / height)
    ax.plot(x, scaled, color=muted(), linewidth=stroke(0.7), zorder=2.5, gid=f"loss {key}")
    pale = mix_colors(color, background(), 0.5)
    ax.stairs(_heights(sample), sample.edges, fill=True, color=pale, zorder=2, gid=f"bars {key}")
    ax.plot(x, density, color=ink(), zorder=3, gid=f"gibbs {key}")
    lines = [
        Line(f"distance {_number(sample.distance)}", color, f"distance {key}"),
        Line(f"exact samples {_number(sample.exact)}", ink(), f"exact {key}"),
    ]
    write_note(ax, lines, [np.stack([x, y], 1)[::8] for y in (density, scaled)])
    ax.set(xlabel=coordinate_names(result.problem)[0], ylabel="density")
    keys = [
        Patch(facecolor=mix_colors(muted(), background(), 0.5), label="positions at the end"),
        legend_key("Gibbs density exp(−f/T)/Z", color=ink()),
        legend_key("loss f, in a unit of its own", linewidth=stroke(0.7)),
    ]
    name = f"Flow of {name}" if result.kind == "flow" else name
    return Panel("", keys=keys, name=name, color=color, fact=noise_facts(result.optimizer))


def _named(samples: list[Sample]) -> list[tuple[Sample, str]]:
    entries = runs.entries([sample.result for sample in samples])
    return [
        (sample, f"the flow of {entry.name}" if sample.result.kind == "flow" else entry.name)
        for sample, entry in zip(samples, entries, strict=True)
    ]


def _number(distance: float) -> str:
    return format_number(distance, 2)


def _claim(samples: list[Sample]) -> str:
    """The distances, and the ones that chance alone leads to."""
    distances = join_words(
        [f"{_number(sample.distance)} for {name}" for sample, name in _named(samples)]
    )
    exact = join_words(list(dict.fromkeys(_number(sample.exact) for sample in samples)))
    failed = [text for sample in samples if (text := failed_paths(sample.result))]
    sentence = (
        f"the total variation distance to the Gibbs law is {distances}; exact samples have {exact}"
    )
    return literal(capitalize("; ".join([*failed, sentence])))


def _caption(samples: list[Sample]) -> list[str]:
    name = literal(problem_name(samples[0].result))
    counts = sorted({len(sample.points) for sample in samples})
    ends = list(dict.fromkeys(f"{float(sample.result.t[-1]):.3g}" for sample in samples))
    return [
        f"On {name}, {join_words([str(n) for n in counts])} paths at t\xa0=\xa0{join_words(ends)}; "
        f"distances are those of histograms with {BINS} bins, and exact samples are as many as "
        "there are paths."
    ]
