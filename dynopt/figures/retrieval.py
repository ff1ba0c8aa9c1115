"""Retrieval over the steps: how often the nearest sentence has the same intent."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from ..analysis import Retrieval
from ..errors import InvalidValue
from .drawing import legends, runs
from .drawing.beside import along, write_beside
from .drawing.captions import problem_name
from .drawing.descent import draw_map
from .drawing.labels import Label
from .drawing.measure import font_size, on_paper
from .drawing.picture import Panel, Picture, draw_picture, write_notice
from .drawing.results import result_list
from .drawing.runs import Entry
from .drawing.style import in_style
from .drawing.words import count_noun, join_words, literal


@in_style
def draw(
    results: Retrieval | list[Retrieval],
    *,
    title: str | None = None,
    ax: Axes | None = None,
    style: str = "notebook",
) -> Picture | Axes:
    """The accuracy at 1 on sentences of unseen intents over the steps, one line for each result.

    Each dot is a saved point of a run. The numbers are those of the last points of the results with
    the highest and the lowest accuracy.

    - `results`: one or several results of `analysis.retrieval` along runs, of several optimizers or
      of several problems, such as one encoder with several losses.
    - `title`: a title in place of the claim.
    - `ax`: axes to draw in, instead of a new `Picture`.
    - `style`: "notebook", "paper" or "slides".

    **Raises:** `InvalidValue` for a result at a position, which has no steps.
    """
    many = _checked(results)
    return draw_picture(lambda ax, many: _paint(ax, many, title), _describe, many, ax, style)


def describe(results: Retrieval | list[Retrieval]) -> str:
    """The picture in one sentence with its numbers."""
    return _describe(_checked(results))


def paint(ax: Axes, results: list[Retrieval]) -> Panel:
    """Draw into `ax`; return title, labels and caption."""
    return _paint(ax, _checked(results), None)


def _checked(results: Any) -> list[Retrieval]:
    many = list(results) if isinstance(results, list | tuple) else [results]
    if any(isinstance(one, Retrieval) and one.steps is None for one in many):
        raise InvalidValue(
            "`results` holds the retrieval at a position; pass analysis.retrieval(problem, run) "
            "with a run."
        )
    return result_list(many, Retrieval, "analysis.retrieval", "open", one_problem=False)


def _describe(many: list[Retrieval]) -> str:
    ends = [
        f"{name} from {_percent(values[0])} to {_percent(values[-1])}"
        if values.size
        else f"{name} has no finite encodings"
        for (_, _, name, _), (_, values) in ((one, _points(one)) for one in _entries(many))
    ]
    return (
        "The picture shows the accuracy at 1 of the nearest neighbour among sentences of unseen "
        f"intents, over the steps of {count_noun(len(many), 'run')}: {'; '.join(ends)}."
    )


def _entries(many: list[Retrieval]) -> list[Entry]:
    """The results with their names, in colours that differ in grey, too."""
    return runs.distinct_in_grey(runs.entries_by_problem(many))


def _points(entry: Entry) -> tuple[np.ndarray, np.ndarray]:
    """The steps and the accuracies of the finite points."""
    steps, accuracy = (np.asarray(a, float) for a in (entry.result.steps, entry.result.open))
    return steps[np.isfinite(accuracy)], accuracy[np.isfinite(accuracy)]


def _paint(ax: Axes, many: list[Retrieval], title: str | None) -> Panel:
    entries = _entries(many)
    points = list(map(_points, entries))
    runs.set_step_limits(ax, [steps for steps, _ in points])
    ax.set_ylim(-0.03, 1.12)  # with room for a number above the best
    ax.set_yticks(np.linspace(0, 1, 6))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda share, _: _percent(share)))
    ax.set(xlabel="step k", ylabel="accuracy at 1 on unseen intents")
    for entry, (steps, accuracy) in zip(entries, points, strict=True):
        draw_map(ax, steps, accuracy, entry.color, entry.key, thread=1.0)
    ranked = _ranked(entries)
    if not ranked:
        write_notice(ax, "no finite encodings")
    drawn = along(ax, *(np.stack(one, 1) for one in points))
    for entry in ranked[:1] + ranked[1:][-1:]:
        steps, accuracy = _points(entry)
        drawn = write_beside(
            ax, _percent(accuracy[-1]), on_paper(ax, np.array([steps[-1], accuracy[-1]])), drawn,
            entry.color, f"number {entry.key}", fontweight="bold",
            fontsize=1.1 * font_size("axes.labelsize"),
        )  # fmt: skip
    return Panel(
        title=title or _claim(ranked, many),
        handles=[
            legends.key(literal(entry.name), marker="o", linewidth=1.0, color=entry.color)
            for entry in entries
        ],
        labels=[
            Label(literal(entry.name), entry.color, (steps[-1], accuracy[-1]))
            for entry, (steps, accuracy) in zip(entries, points, strict=True)
            if steps.size
        ],
        caption=_caption(many),
    )


def _ranked(entries: list[Entry]) -> list[Entry]:
    """The entries with finite points, by falling accuracy at their ends."""
    finite = [entry for entry in entries if _points(entry)[1].size]
    return sorted(finite, key=lambda entry: -_points(entry)[1][-1])


def _claim(ranked: list[Entry], many: list[Retrieval]) -> str:
    """How often the best and the worst are right at the end."""
    if not ranked:
        return literal(problem_name(many[0]))
    counts = {round(_points(entry)[0][-1]) for entry in ranked}
    when = f"after {count_noun(counts.pop(), 'step')}" if len(counts) == 1 else "at the end"
    best, worst = (f"{_percent(_points(one)[1][-1])}" for one in (ranked[0], ranked[-1]))
    others = "" if len(ranked) == 1 else f", with {ranked[-1].name} for {worst}"
    return literal(
        f"With {ranked[0].name}, the nearest neighbour {when} is right for {best} of the sentences "
        f"of unseen intents{others}"
    )


def _caption(many: list[Retrieval]) -> list[str]:
    """The problem, and the accuracies on unseen sentences of the intents that are learned."""
    names = list(dict.fromkeys(literal(problem_name(one)) for one in many))
    if len(names) > 2:
        names[1:] = [f"{len(names) - 1} other problems"]
    last = [np.asarray(one.closed, float)[np.isfinite(np.asarray(one.closed))] for one in many]
    ends = [float(values[-1]) for values in last if values.size]
    if not ends:
        return [f"On {join_words(names)}."]
    ends = sorted({_percent(end) for end in (min(ends), max(ends))})
    closed = f"accuracy on unseen sentences of learned intents: {' to '.join(ends)}"
    return [f"Neighbours by the cosine; {closed} at the end.", f"On {join_words(names)}."]


def _percent(share: Any) -> str:
    return f"{100 * float(share):.0f}\xa0%"
