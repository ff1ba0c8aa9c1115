"""Ensembles of a noisy optimizer: the law of the map over time beside that of its flow."""

from typing import Any, NamedTuple

import jax
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from ..checks import whole_number
from ..errors import InvalidValue
from ..runs.ensemble import Ensemble
from .drawing import runs
from .drawing.axes import linear_limits, log_limits, set_linear_ticks, set_log_ticks
from .drawing.captions import coordinate_names, height_of, problem_name
from .drawing.frames import draw_parts
from .drawing.laws import (
    Estimate,
    deviation_of,
    failed_paths,
    mean_of,
    noise_facts,
    positions,
)
from .drawing.legends import key as legend_key
from .drawing.measure import frame_box, on_paper, stroke
from .drawing.notes import Line, write_note
from .drawing.picture import Panel, Picture, write_title
from .drawing.results import must_be_axes, result_list
from .drawing.style import background, in_style, ink, mix_colors
from .drawing.ties import apart
from .drawing.words import capitalize, format_number, format_point, join_words, literal

LEVELS = np.array([0.05, 0.25, 0.5, 0.75, 0.95])
PATHS = 8  # so many of the map are drawn
APART = 15.0  # points from one column of dots to the next
SIGNIFICANT = 3.0  # standard errors: a larger difference is told as one
BINS = 12, 160  # of a histogram: at least, at most
NARROW = 0.1  # of the axis: laws at the end that are less wide have an axis of their own
WIDE = 20.0  # largest over smallest quantile of a loss: its axis is then logarithmic
HISTOGRAM = 0.75  # of the width of its frame
SHADES = 0.88, 0.72  # of the background in the bands of the flow: the wide one, the narrow one


class Law(NamedTuple):
    """The law of one ensemble: of a coordinate, or of the loss.

    - `values`: along each path that has not failed, shape `(paths, times)`.
    """

    result: Ensemble
    t: np.ndarray
    values: np.ndarray
    quantiles: np.ndarray
    mean: Estimate
    deviation: Estimate


@in_style
def draw(
    results: Ensemble | list[Ensemble],
    *,
    coordinate: int | str = 0,
    title: str | None = None,
    ax: Axes | None = None,
    style: str = "notebook",
) -> Picture | Axes:
    """The law of a noisy map over time beside that of its stochastic flow, for one coordinate.

    On the left two bands and a line in ink are the flow: the middle 90 % and 50 % of its paths,
    and their median. Coloured dots are the same five quantiles of the map, so they lie on the
    edges of the bands and on the line where both laws agree; thin coloured lines are a few paths
    of the map. On the right are the histograms at the end, filled for the map and an outline in
    ink for the flow, with means and standard deviations, each with its standard error. Where they
    would be thin lines, their axis is enlarged.

    - `results`: the map or the flow of one optimizer on one problem from `dynopt.ensemble`, or
      both.
    - `coordinate`: the index of the coordinate, from 0; or "loss".
    - `title`: a title in place of the claim.
    - `ax`: axes to draw the left part in, instead of a new `Picture`.
    - `style`: "notebook", "paper" or "slides".

    **Raises:** `InvalidValue` for a coordinate that does not exist, for several maps or flows, and
    for ensembles of several problems, optimizers or times.
    """
    laws = _laws(results, coordinate)
    must_be_axes(ax)
    if ax is not None:
        _paint_times(ax, laws, coordinate)
        write_title(ax, title or _claim(laws, coordinate), frame_box(ax).width)
        return ax
    picture = Picture(style, describe(results, coordinate))
    if style != "slides":
        width, height = (float(side) for side in picture.get_size_inches())
        picture.set_size_inches(1.35 * width, 0.95 * height)
    left, right = picture.subplots(1, 2, width_ratios=(1.75, 1))
    picture.write_caption(_caption(laws))
    picture.write_heading(title or _claim(laws, coordinate), _keys(laws))
    draw_parts(
        picture,
        [
            (left, lambda ax: _paint_times(ax, laws, coordinate)),
            (right, lambda ax: _paint_end(ax, laws, coordinate)),
        ],
    )
    return picture


def describe(results: Ensemble | list[Ensemble], coordinate: int | str = 0) -> str:
    """The picture in one sentence with its numbers."""
    laws = _laws(results, coordinate)
    what, first = _name(laws, coordinate), laws[0]
    ends = (
        f"the {law.result.kind} has the mean {law.mean}, standard deviation {law.deviation}"
        for law in laws
    )
    return (
        f"The picture shows the law of {what} of {first.result.optimizer.name} on "
        f"{problem_name(first.result)} over time, as quantiles of the "
        f"{join_words([law.result.kind for law in laws])} and as histograms at the end: "
        f"{join_words(list(ends))}."
    )


def paint(ax: Axes, results: list[Ensemble]) -> Panel:
    """Draw the law of the first coordinate over time into `ax`; return title, keys and caption."""
    laws = _laws(results, 0)
    _paint_times(ax, laws, 0)
    return Panel(_claim(laws, 0), keys=_keys(laws), caption=_caption(laws))


def _laws(results: Any, coordinate: int | str) -> list[Law]:
    """The laws of the map and of the flow, in this order."""
    ensembles = result_list(results, Ensemble, "dynopt.ensemble", "t")
    first = ensembles[0]
    kinds = sorted((one.kind for one in ensembles), reverse=True)
    if len(set(kinds)) < len(kinds):
        raise InvalidValue(
            f"`results` holds the kinds {', '.join(kinds)}; pass one ensemble of a map and one of "
            'its flow, dynopt.ensemble(..., of="flow"), and draw one picture for each optimizer.'
        )
    for one in ensembles[1:]:
        if _setting(one) != _setting(first) or not np.allclose(one.t[-1], first.t[-1]):
            raise InvalidValue(
                f"the ensembles are of {first.optimizer!r} up to t = {float(first.t[-1]):g} and of "
                f"{one.optimizer!r} up to t = {float(one.t[-1]):g}; pass map and flow of one "
                "optimizer over the same time."
            )
    return [_law(one, coordinate) for one in sorted(ensembles, key=lambda e: e.kind != "map")]


def _setting(result: Ensemble) -> str:
    optimizer = result.optimizer
    return f"{optimizer.name} {noise_facts(optimizer)} {float(optimizer.h):g}"


def _law(result: Ensemble, coordinate: int | str) -> Law:
    points = positions(result)
    if coordinate == "loss":
        values = np.asarray(result.loss, float)[np.asarray(result.ok)]
        values = values - (result.problem.minimum or 0.0)
    else:
        dim = points.shape[-1]
        if whole_number("coordinate", coordinate, least=0) >= dim:
            raise InvalidValue(
                f"`coordinate` is {coordinate} but there are only {dim}; pass a number from 0 to "
                f'{dim - 1}, or "loss".'
            )
        values = points[..., int(coordinate)]
    end = values[:, -1]
    quantiles = np.quantile(values, LEVELS, axis=0)
    t = np.asarray(result.t, float)
    return Law(result, t, values, quantiles, mean_of(end), deviation_of(end))


def _is_log(laws: list[Law], coordinate: int | str) -> bool:
    """Whether the axis is logarithmic: that of a positive loss of very different sizes."""
    shown = np.concatenate([law.quantiles for law in laws], 1)
    return coordinate == "loss" and bool(0 < WIDE * shown.min() < shown.max())


def _enlargement(laws: list[Law], coordinate: int | str) -> float:
    """By what the axis of the values is enlarged at the end, where laws would be thin lines."""
    ends = _ends(laws)
    whole = np.ptp(np.concatenate([*(law.quantiles.ravel() for law in laws), *ends]))
    end = np.ptp(np.concatenate(ends))
    is_thin = 0 < end < NARROW * whole and not _is_log(laws, coordinate)
    return float(whole / end) if is_thin else 1.0


def _ends(laws: list[Law]) -> list[np.ndarray]:
    """The range of the values at the end of each law."""
    return [np.quantile(law.values[:, -1], [0.002, 0.998]) for law in laws]


def _set_values(ax: Axes, laws: list[Law], coordinate: int | str, at_end: bool = False) -> None:
    """Limits, scale and ticks of the axis of the values: of all times, or of the end alone."""
    ends = _ends(laws)
    shown = ends if at_end else [*(law.quantiles for law in laws), *ends]
    if _is_log(laws, coordinate):
        ax.set_ylim(1, 10)
        ax.set_yscale("log", nonpositive="mask")
        ax.set_ylim(*(log_limits(shown, 12.0) or (0.1, 10)))
        set_log_ticks(ax.yaxis)
    else:
        ax.set_ylim(*linear_limits(shown))
        set_linear_ticks(ax.yaxis)


def _paint_times(ax: Axes, laws: list[Law], coordinate: int | str) -> Panel:
    """Draw quantiles over time into `ax`, and a few paths of the map."""
    last = laws[0].t[-1] or 1.0
    ax.set_xlim(-0.015 * last, 1.015 * last)
    set_linear_ticks(ax.xaxis)
    _set_values(ax, laws, coordinate)
    for law in laws:
        (_draw_map if law.result.kind == "map" else _draw_flow)(ax, law)
    ax.set(xlabel="time t", ylabel=_label(laws, coordinate))
    optimizer = laws[0].result.optimizer
    (entry,) = runs.entries([laws[0].result])
    return Panel("", name=optimizer.name, color=entry.color, fact=noise_facts(optimizer))


def _draw_flow(ax: Axes, law: Law) -> None:
    for (low, high), shade, name in zip(((0, 4), (1, 3)), SHADES, ("90", "50"), strict=True):
        ax.fill_between(
            law.t, law.quantiles[low], law.quantiles[high], linewidth=0, zorder=1 + 0.1 * low,
            color=mix_colors(ink(), background(), shade), gid=f"flow {name}",
        )  # fmt: skip
    ax.plot(law.t, law.quantiles[2], color=ink(), zorder=3, gid="flow median")


def _draw_map(ax: Axes, law: Law) -> None:
    (entry,) = runs.entries([law.result])
    for i, path in enumerate(law.values[:PATHS]):
        ax.plot(
            law.t, path, color=entry.color, linewidth=stroke(0.5), alpha=0.4, zorder=2,
            gid=f"path {i}",
        )  # fmt: skip
    places = on_paper(ax, np.stack([law.t, np.full(len(law.t), law.quantiles[2, 0])], 1))
    shown = (len(places) - 1 - apart(places[::-1], APART))[::-1]  # the last one, too
    for level, quantile in zip(LEVELS, law.quantiles, strict=True):
        ax.plot(
            law.t[shown], quantile[shown], "o", color=entry.color, zorder=4,
            markeredgecolor=background(), markeredgewidth=stroke(0.7), gid=f"map {100 * level:g}",
        )  # fmt: skip


def _paint_end(ax: Axes, laws: list[Law], coordinate: int | str) -> Panel:
    """Draw the histograms at the end into `ax`, with means and standard deviations."""
    enlargement = _enlargement(laws, coordinate)
    _set_values(ax, laws, coordinate, at_end=enlargement > 1)
    is_log = _is_log(laws, coordinate)
    edges = _edges([law.values[:, -1] for law in laws], ax.get_ylim(), is_log)
    density, drawn = [], []
    for law in laws:
        counts, _ = np.histogram(law.values[:, -1], edges)
        widths = np.diff(np.log10(edges) if is_log else edges)
        density.append(counts / (len(law.values) * widths))
    ax.set_xlim(0, max(each.max() for each in density) / HISTOGRAM or 1.0)
    for law, each in zip(laws, density, strict=True):
        (entry,) = runs.entries([law.result])
        is_map = law.result.kind == "map"
        ax.stairs(
            each, edges, orientation="horizontal", baseline=0, zorder=2 if is_map else 3,
            fill=is_map, gid=f"histogram {law.result.kind}",
            color=mix_colors(entry.color, background(), 0.5) if is_map else ink(),
            linewidth=0 if is_map else stroke(1.2),
        )  # fmt: skip
        middles = (edges[1:] + edges[:-1]) / 2
        across = np.linspace(0, 1, 40)[:, None] * each
        drawn.append(np.stack([across.ravel(), np.tile(middles, 40)], 1))
    for law in laws:
        _write_numbers(ax, law, drawn)
    ax.set_xticks([])
    ax.tick_params(labelleft=enlargement > 1)
    ax.set_xlabel("density")
    fact = literal(_end(laws))
    if enlargement > 1:
        fact += f"   axis enlarged ×\xa0{format_number(enlargement, 2)}"
    return Panel("", name="At the end", color=ink(), fact=fact)


def _write_numbers(ax: Axes, law: Law, drawn: list[np.ndarray]) -> None:
    """Mean and standard deviation where they cover least; their place is added to what is drawn."""
    (entry,) = runs.entries([law.result])
    kind = law.result.kind
    color = entry.color if kind == "map" else ink()
    lines = [
        Line(f"{kind}:", color, f"note {kind}"),
        Line(f"mean {law.mean}", color, f"mean {kind}"),
        Line(f"s.d. {law.deviation}", color, f"deviation {kind}"),
    ]
    write_note(ax, lines, drawn)
    for text in ax.texts[-len(lines) :]:
        box = ax.transData.inverted().transform(text.get_window_extent())
        drawn.append(np.linspace(0, 1, 20)[:, None] * (box[1] - box[0]) + box[0])


def _edges(ends: list[np.ndarray], limits: tuple[float, float], is_log: bool) -> np.ndarray:
    """Edges of bins over the whole axis, as wide as the rule of Freedman and Diaconis says."""
    low, high = np.log10(limits) if is_log else limits
    pooled = np.concatenate(ends)
    pooled = np.log10(pooled[pooled > 0]) if is_log else pooled
    quarter, three = np.quantile(pooled, [0.25, 0.75])
    width = 2 * (three - quarter) / (len(pooled) / len(ends)) ** (1 / 3)
    number = int(np.ceil((high - low) / width)) if width > 0 else BINS[0]
    edges = np.linspace(low, high, int(np.clip(number, *BINS)) + 1)
    return 10**edges if is_log else edges


def _keys(laws: list[Law]) -> list[Any]:
    kinds = [law.result.kind for law in laws]
    (entry,) = runs.entries([laws[0].result])
    of_map = [
        legend_key("map, its quantiles", color=entry.color, marker="o", linestyle="none"),
        legend_key("paths of the map", color=entry.color, linewidth=stroke(0.5)),
    ]
    wide, narrow = (mix_colors(ink(), background(), shade) for shade in SHADES)
    of_flow = [
        legend_key("flow, its median", color=ink()),
        Patch(facecolor=narrow, label="50\xa0%"),
        Patch(facecolor=wide, label="90\xa0% of its paths"),
    ]
    return of_map * ("map" in kinds) + of_flow * ("flow" in kinds)


def _end(laws: list[Law]) -> str:
    return f"t\xa0=\xa0{format_number(laws[0].t[-1])}"


def _name(laws: list[Law], coordinate: int | str) -> str:
    problem = laws[0].result.problem
    if coordinate == "loss":
        return height_of(problem).noun
    return coordinate_names(problem)[int(coordinate)]


def _label(laws: list[Law], coordinate: int | str) -> str:
    if coordinate == "loss":
        return height_of(laws[0].result.problem).label
    return _name(laws, coordinate)


def _claim(laws: list[Law], coordinate: int | str) -> str:
    """Whether mean and standard deviation of map and flow differ by more than chance."""
    first = laws[0]
    name, what = first.result.optimizer.name, _name(laws, coordinate)
    sentence = (
        f"the {first.result.kind} of {name} has in {what} the mean {first.mean} and the standard "
        f"deviation {first.deviation}"
        if len(laws) == 1
        else _comparison(laws[0], laws[1], name, what)
    )
    sentence = f"at {_end(laws)} {sentence}"
    failed = join_words([text for law in laws if (text := failed_paths(law.result))] or [""])
    return literal(capitalize("; ".join(filter(None, [failed, sentence]))))


def _comparison(map: Law, flow: Law, name: str, what: str) -> str:
    means, deviations = (map.mean, flow.mean), (map.deviation, flow.deviation)
    of_means, of_deviations = (_in_errors(*pair) for pair in (means, deviations))
    if max(of_means, of_deviations) <= SIGNIFICANT:
        return (
            f"map and flow of {name} agree in {what} within three standard errors, with the "
            f"standard deviations {deviations[0]} and {deviations[1]}"
        )
    if of_means > of_deviations:
        return f"the map of {name} has in {what} the mean {means[0]}, but its flow {means[1]}"
    verb = "more" if map.deviation.value > flow.deviation.value else "less"
    return (
        f"the map of {name} spreads {verb} in {what} than its flow, with the standard deviation "
        f"{deviations[0]} against {deviations[1]}"
    )


def _in_errors(one: Estimate, other: Estimate) -> float:
    """A difference in units of its standard error."""
    error = np.hypot(one.error, other.error)
    difference = abs(one.value - other.value)
    return float(difference / error) if error > 0 else np.inf * bool(difference)


def _caption(laws: list[Law]) -> list[str]:
    first = laws[0].result
    start = np.concatenate([np.ravel(leaf) for leaf in _starts(first)])
    counts = join_words([f"{len(law.values)} paths of the {law.result.kind}" for law in laws])
    drawn = {"map": "dots", "flow": "edges of bands"}
    marks = join_words([drawn[law.result.kind] for law in laws])
    return [
        f"On {literal(problem_name(first))} from {format_point(start)}: {counts}. "
        f"{capitalize(marks)} are the quantiles at 5, 25, 50, 75 and 95\xa0%; s.d. is the standard "
        "deviation, and ± one standard error."
    ]


def _starts(result: Ensemble) -> list[np.ndarray]:
    return [np.asarray(leaf[0, 0], float) for leaf in jax.tree.leaves(result.x)]
