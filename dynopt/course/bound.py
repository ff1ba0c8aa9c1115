"""A bound of theory: the loss above its minimum over time, compared with what it cannot exceed."""

from collections.abc import Callable
from functools import partial

import numpy as np
from matplotlib.axes import Axes

from ..analysis import Comparison
from ..errors import InvalidType, InvalidValue
from ..figures.drawing import legends, runs
from ..figures.drawing.axes import dot_stride, log_limits, set_log_ticks
from ..figures.drawing.captions import claim, conditions, dot_sentences, problem_name
from ..figures.drawing.picture import Panel, Picture, draw_picture
from ..figures.drawing.results import result_list
from ..figures.drawing.style import ink
from ..figures.drawing.words import format_number, format_percent, join_words
from ..runs.trajectory import Trajectory

MAX_DOTS = 25  # along one run
Bound = Callable[[np.ndarray], np.ndarray]


def evaluate(bound: Bound, t: np.ndarray) -> np.ndarray:
    """The bound at each of the times `t`.

    **Raises:** `InvalidType` if it does not give one number for each time; `InvalidValue` if a
    number is not positive.
    """
    try:
        values = np.broadcast_to(np.asarray(bound(t), float), t.shape)
    except (TypeError, ValueError):
        raise InvalidType(
            f"`bound` must give a number for each time, got {bound(t)!r} for {t.size}; pass lambda "
            "t: 2 / t**2, say."
        ) from None
    if not (values > 0).all():
        raise InvalidValue(
            f"a bound must be positive, got {values.min():.4g}; pass lambda t: 2 / t**2, say."
        )
    return values


def above_minimum(run: Trajectory, minimum: float) -> tuple[np.ndarray, np.ndarray]:
    """The times and f(x) - f* along the finite beginning of a run, from the first step on."""
    with np.errstate(over="ignore"):
        values = np.asarray(run.loss, float)[run.finite] - minimum
    return np.asarray(run.t, float)[run.finite][1:], values[1:]


def largest_fractions(comparison: Comparison, bound: Bound) -> tuple[float, float]:
    """The largest fraction of the bound that the loss reaches: along the flow, and along the map.

    A run that fails counts as infinity. The problem must know its minimum.
    """
    fractions = []
    for run in (comparison.flow, comparison.map):
        t, values = above_minimum(run, comparison.problem.minimum or 0.0)
        limit = evaluate(bound, t)
        fractions.append(
            float((values / limit).max(initial=0.0)) if run.finite.all() else float("inf")
        )
    return fractions[0], fractions[1]


def draw(
    results: Comparison | list[Comparison],
    bound: Bound,
    *,
    name: str = "the bound",
    ax: Axes | None = None,
    style: str = "notebook",
) -> Picture | Axes:
    """f(x(t)) - f* from the first step on, and bound(t): dots are the map, a line is the flow.

    - `results`: one or several results of `analysis.compare` on one problem with a known minimum.
    - `bound`: a function from an array of times to positive numbers.
    - `name`: the name of the bound in the title.
    - `ax`: axes to draw in, instead of a new `Picture`.
    - `style`: "notebook", "paper" or "slides".

    **Raises:** `InvalidValue` if the minimum is not known, or a bound is not positive;
    `InvalidType` if `bound` is no function.
    """
    comparisons = _with_minimum(results, bound)
    paint_bound = partial(paint, bound=bound, name=name)
    return draw_picture(paint_bound, partial(describe, bound=bound), comparisons, ax, style)


def describe(results: Comparison | list[Comparison], bound: Bound) -> str:
    """The picture in one sentence with its numbers."""
    comparisons = _with_minimum(results, bound)
    parts = []
    for comparison, _, name, _ in runs.entries(comparisons):
        flow, map = (
            f"{format_percent(fraction)} of it"
            if fraction <= 1
            else f"{format_number(fraction)} times it"
            for fraction in largest_fractions(comparison, bound)
        )
        parts.append(f"the flow of {name} reaches {flow}, its map {map}")
    return (
        f"The picture shows the loss above the minimum on {problem_name(comparisons[0])} over time "
        f"and a bound: {'; '.join(parts)}."
    )


def paint(ax: Axes, comparisons: list[Comparison], bound: Bound, name: str = "the bound") -> Panel:
    """Draw into `ax`; return title, legend entries and caption."""
    entries, minimum = runs.entries(comparisons), comparisons[0].problem.minimum or 0.0
    flows = [above_minimum(comparison.flow, minimum) for comparison in comparisons]
    maps = [above_minimum(comparison.map, minimum) for comparison in comparisons]
    first, last = min(t[0] for t, _ in flows), max(t[-1] for t, _ in flows)
    times = np.geomspace(first, last, 200)
    limit = evaluate(bound, times)
    low, high = log_limits([*(values for _, values in flows + maps), limit[-1:]]) or (0.1, 1.0)
    ax.set(xscale="log", yscale="log", xlim=(first, last * 1.1), ylim=(low, 3 * high))
    style = {"color": ink(), "linewidth": 1.2, "linestyle": legends.DOTTED, "zorder": 2}
    ax.plot(times, limit, **style, gid="bound")
    for (_, look, _, key), flow, (t, values) in zip(entries, flows, maps, strict=True):
        stride = dot_stride(len(t), MAX_DOTS)
        runs.draw_curve(ax, *flow, look, f"flow {key}")
        runs.draw_dots(ax, t[::stride], values[::stride], look, f"map {key}")
    set_log_ticks(ax.xaxis)
    set_log_ticks(ax.yaxis)
    ax.set(xlabel="time  t = k h", ylabel="loss above minimum  f(x) − f*")
    counts = [len(comparison.map.t) - 1 for comparison in comparisons]
    return Panel(
        title=_title(comparisons, bound, name),
        handles=runs.legend_handles(entries),
        keys=[*legends.map_and_flow(), legends.dotted_key(name)],
        caption=[*conditions(comparisons), *dot_sentences(comparisons, counts, MAX_DOTS)],
    )


def _with_minimum(results: Comparison | list[Comparison], bound: Bound) -> list[Comparison]:
    comparisons = result_list(results, Comparison, "analysis.compare")
    if not callable(bound):
        raise InvalidType(
            f"`bound` must be a function of the times, got {bound!r}; pass lambda t: 2 / t**2, say."
        )
    if comparisons[0].problem.minimum is None:
        raise InvalidValue(
            f"the minimum of {problem_name(comparisons[0])} is not known; pass "
            "Problem(..., minimum=0.0), say."
        )
    return comparisons


def _title(comparisons: list[Comparison], bound: Bound, name: str) -> str:
    """The runs that exceed the bound; if none does, the one that comes nearest to it."""
    fractions = {
        who: largest_fractions(comparison, bound)
        for comparison, _, who, _ in runs.entries(comparisons)
    }
    over = [
        who if flow > 1 else f"the map of {who}"
        for who, (flow, map) in fractions.items()
        if max(flow, map) > 1
    ]
    if over:
        exceed = "exceeds" if len(over) == 1 else "exceed"
        return claim(comparisons, f"{join_words(over)} {exceed} {name}")
    nearest = max(fractions, key=lambda who: max(fractions[who]))
    most = f"{format_number(100 * max(fractions[nearest]), 2)} % of it"
    if len(fractions) > 1:
        return claim(comparisons, f"all stay below {name}; {nearest} comes nearest, to {most}")
    return claim(comparisons, f"{nearest} stays below {name} and reaches {most}")
