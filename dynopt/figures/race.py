"""A race: the losses of several maps in one frame, and how their learning rates were chosen."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes

from ..analysis import Comparison
from ..errors import InvalidType, InvalidValue
from ..optimizers import AbstractOptimizer
from ..problems import Problem
from ..runs.trajectory import Trajectory
from .drawing import legends, runs
from .drawing.axes import mark_exit
from .drawing.captions import claim, height_of, problem_name, summary
from .drawing.descent import draw_map, finite_heights, height_axis
from .drawing.labels import Label
from .drawing.notes import write_halo
from .drawing.picture import Panel, Picture, draw_picture, write_notice
from .drawing.results import must_share_problem, result_list
from .drawing.runs import Entry
from .drawing.style import in_style
from .drawing.words import (
    capitalize,
    count_noun,
    facts,
    failure,
    format_number,
    join_words,
    literal,
)

TIE = 0.01  # of the lowest loss: maps that end so near to it are all called lowest
UNSAID = "how the learning rates were chosen is not said"


class Competitor(NamedTuple):
    """One map, with its optimizer and its problem."""

    optimizer: AbstractOptimizer
    problem: Problem
    map: Trajectory


Results = Comparison | Trajectory | list[Comparison | Trajectory]


@in_style
def draw(
    results: Results,
    rates: str = "",
    *,
    title: str | None = None,
    ax: Axes | None = None,
    style: str = "notebook",
) -> Picture | Axes:
    """The losses of several maps over their steps, in one frame; flows are not shown.

    Who is lowest in such a picture depends on the learning rates, so the picture says how they were
    chosen, and its title ranks the maps under this condition only. Without `rates` it ranks none.
    A fair choice spends the same effort on each optimizer, such as a search of the same size for
    each. If steps cost different numbers of gradient evaluations, these take the place of the
    steps.

    - `results`: results of `analysis.compare`, or of `iterate`, on one problem.
    - `rates`: how the learning rates were chosen, as what follows "with", such as "the best of nine
      learning rates for each" or "the rates of analysis.suggested_rates".
    - `title`: a title in place of the claim.
    - `ax`: axes to draw in, instead of a new `Picture`.
    - `style`: "notebook", "paper" or "slides".

    **Raises:** `InvalidType` if `rates` is no text; `InvalidValue` if the results are of several
    problems or a run falls below the stated minimum.

    Source: on unfair choices, R. M. Schmidt, F. Schneider and P. Hennig, "Descending through a
    crowded valley: benchmarking deep learning optimizers" (2021); D. Choi et al., "On empirical
    comparisons of optimizers for deep learning" (2019).
    """
    rates, competitors = _checked_rates(rates), _competitors(results)
    text = _describe(competitors, rates)
    paint = partial(_paint, rates=rates, title=title)
    return draw_picture(paint, lambda _: text, competitors, ax, style)


def describe(results: Results, rates: str = "") -> str:
    """The picture in one sentence with its numbers."""
    return _describe(_competitors(results), _checked_rates(rates))


def _describe(competitors: list[Competitor], rates: str) -> str:
    parts, height = [], height_of(competitors[0].problem)
    for competitor, _, name, _ in runs.entries(competitors):
        heights = _heights(competitor)
        end = f"has no finite {height.word}"
        if heights.size:
            end = f"ends at {format_number(heights[-1], 2)}"
        parts.append(f"{name} ({_rate(competitor)}) {failure(competitor.map) or end}")
    return (
        f"The picture shows {height.noun} on {problem_name(competitors[0])} along "
        f"{count_noun(len(competitors), 'map')}; {_conditions(rates)}: {'; '.join(parts)}."
    )


def _competitors(results: Any) -> list[Competitor]:
    """The maps of the results, all of one problem."""
    many = list(results) if isinstance(results, list | tuple) else [results]
    maps = [one.map if isinstance(one, Comparison) else one for one in many]
    result_list(maps, Trajectory, "analysis.compare or iterate", "loss")
    if any(run.kind != "map" for run in maps):
        raise InvalidValue("`results` holds a flow, but maps race; pass a result of iterate.")
    competitors = [
        Competitor(one.optimizer, one.problem, run) for one, run in zip(many, maps, strict=True)
    ]
    must_share_problem(competitors)
    return competitors


def _checked_rates(rates: str) -> str:
    if not isinstance(rates, str):
        raise InvalidType(
            f"`rates` must be text, got {rates!r}; say how the learning rates were chosen, such as "
            "'the best of nine learning rates for each'."
        )
    return literal(rates)


def _conditions(rates: str) -> str:
    return f"with {rates}" if rates else UNSAID


def _rate(competitor: Competitor) -> str:
    """The learning rate, or the time step of an optimizer that is made without one."""
    h = f"h = {format_number(float(competitor.optimizer.h))}"
    return facts(competitor.optimizer).replace("\xa0", " ") or h


def _heights(competitor: Competitor) -> np.ndarray:
    """The finite losses of a map, above the minimum if that is known."""
    run = competitor.map
    return finite_heights(run, run.loss, competitor.problem.minimum)


def _places(competitors: Sequence[Competitor]) -> tuple[str, list[np.ndarray]]:
    """What the horizontal axis counts, and where the finite points of each map lie on it."""
    costs = [competitor.optimizer.evaluations for competitor in competitors]
    if len(set(costs)) == 1:
        noun, costs = "step", [1] * len(costs)
    else:
        noun = "gradient evaluation"
    steps = [
        np.round(np.asarray(run.t, float)[run.finite] / float(optimizer.h))
        for optimizer, _, run in competitors
    ]
    return noun, [k * cost for k, cost in zip(steps, costs, strict=True)]


def paint(ax: Axes, results: list[Comparison | Trajectory]) -> Panel:
    """Draw into `ax`, without a ranking; return title, labels and caption."""
    return _paint(ax, _competitors(results), "", None)


def _paint(ax: Axes, competitors: list[Competitor], rates: str, title: str | None) -> Panel:
    """Draw into `ax`; return title, labels and caption."""
    entries = runs.distinct_in_grey(runs.entries(competitors))
    heights = list(map(_heights, competitors))
    height = height_of(competitors[0].problem)
    above_minimum = competitors[0].problem.minimum is not None
    kinds: dict[bool, list[np.ndarray]] = {True: [], False: []}
    for competitor, values in zip(competitors, heights, strict=True):
        kinds[failure(competitor.map) is None].append(values)
    axis = height_axis(kinds[True], kinds[False], above_minimum)
    axis.set_up(ax)
    noun, places = _places(competitors)
    runs.set_step_limits(ax, places)
    labels = []
    for entry, x, values in zip(entries, places, heights, strict=True):
        competitor, shade, name, key = entry
        draw_map(ax, x, values, shade, key, thread=1.0)
        runs.mark_failure(ax, competitor.map, x, values, entry)
        mark_exit(ax, next(a for a in ax.lines if a.get_gid() == f"thread {key}"), shade)
        visible = np.flatnonzero(axis.shows(values) & (values <= axis.high))
        if not visible.size:
            continue
        end, text = (x[visible[-1]], values[visible[-1]]), f"{name}, {_rate(competitor)}"
        if failure(competitor.map) or visible[-1] < len(values) - 1:  # it leaves upwards
            lost = f", {failure(competitor.map)}" if failure(competitor.map) else ""
            write_halo(
                ax, literal(text + lost), end, shade, xytext=(14, -6),
                textcoords="offset points", va="center", gid=f"leaves {key}",
            )  # fmt: skip
        else:
            labels.append(Label(literal(text), shade, end))
    if not any(axis.shows(values).any() for values in heights):
        write_notice(ax, f"no {height.word} to draw")
    ax.set_xlabel("step k" if noun == "step" else f"{noun}s")
    ax.set_ylabel(height.label)
    return Panel(
        title=title or _title(entries, places, heights, noun, rates),
        handles=[
            legends.key(literal(name), marker="o", linewidth=1.0, color=shade)
            for _, shade, name, _ in entries
        ],
        labels=labels,
        caption=[*summary(competitors), f"{capitalize(_conditions(rates))}."],
    )


def _title(
    entries: list[Entry],
    places: list[np.ndarray],
    heights: list[np.ndarray],
    noun: str,
    rates: str,
) -> str:
    """Which maps end lowest, after how many steps and with which learning rates."""
    competitors = [entry.result for entry in entries]
    ends = {
        entry.name: values[-1]
        for entry, values in zip(entries, heights, strict=True)
        if values.size and not failure(entry.result.map)
    }
    if not rates or not ends:
        return claim(competitors, "" if rates else UNSAID)
    least = min(ends.values())
    symbol = height_of(competitors[0].problem).symbol
    value = f"{symbol}\xa0=\xa0{format_number(least, 2)}"
    lowest = [name for name, end in ends.items() if end <= least + TIE * abs(least)]
    counts = {int(x[-1]) for x, name in zip(places, entries, strict=True) if name.name in ends}
    when = f"after {count_noun(counts.pop(), noun)}" if len(counts) == 1 else "at the end"
    if len(lowest) == len(competitors) > 1:
        who = f"all maps have reached {value}"
    else:
        who = f"{join_words(lowest)} {'is' if len(lowest) == 1 else 'are'} lowest, {value}"
    return claim(competitors, f"with {rates}, {who} {when}")
