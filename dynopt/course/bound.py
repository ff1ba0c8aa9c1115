"""A bound of theory: the loss above its minimum over time, compared with what it cannot exceed."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from ..analysis import Comparison
from ..errors import InvalidType, InvalidValue
from ..figures.drawing import legends, runs
from ..figures.drawing.axes import log_limits, set_log_ticks
from ..figures.drawing.captions import claim, problem_name, summary
from ..figures.drawing.frames import draw_frames
from ..figures.drawing.measure import on_paper
from ..figures.drawing.picture import Panel, Picture
from ..figures.drawing.results import result_list
from ..figures.drawing.runs import Entry
from ..figures.drawing.style import background, in_style, ink
from ..figures.drawing.ties import APART, apart
from ..figures.drawing.words import format_number, format_percent, join_words
from ..problems.probe import must_be_gradient
from ..runs.trajectory import Trajectory

HEADROOM = 1e3  # times the first losses: a map that diverges leaves above
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


@in_style
def draw(
    results: Comparison | list[Comparison],
    bound: Bound,
    *,
    name: str = "the bound",
    title: str | None = None,
    ax: Axes | None = None,
    style: str = "notebook",
) -> Picture | Axes:
    """f(x(t)) - f* from the first step on, and bound(t), each optimizer in a frame of its own.

    Dots are the map, the line in ink is the flow, the thin line is the bound.

    - `results`: one or several results of `analysis.compare` on one problem with a known minimum.
    - `bound`: a function from an array of times to positive numbers.
    - `name`: the name of the bound in the title.
    - `title`: a title in place of the claim.
    - `ax`: axes to draw one result in, instead of a new `Picture`.
    - `style`: "notebook", "paper" or "slides".

    **Raises:** `InvalidValue` if the minimum is not known, or a bound is not positive;
    `InvalidType` if `bound` is no function.
    """
    comparisons = _with_minimum(results, bound)
    limits = _limits(comparisons, bound)
    return draw_frames(
        [partial(_paint_frame, entry, bound, name, limits) for entry in runs.entries(comparisons)],
        title or _title(comparisons, bound, name),
        describe(comparisons, bound),
        summary(comparisons),
        ax,
        style,
    )


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


def _limits(comparisons: list[Comparison], bound: Bound) -> tuple[Any, Any]:
    """The limits of the two axes, which all frames share."""
    minimum = comparisons[0].problem.minimum or 0.0
    drawn = [above_minimum(run, minimum) for c in comparisons for run in (c.map, c.flow)]
    first, last = (choose([choose(t) for t, _ in drawn if len(t)]) for choose in (min, max))
    limit = evaluate(bound, np.array([first, last]))
    most = HEADROOM * max(values[0] for _, values in drawn if len(values))
    shown = [values[values <= most] for _, values in drawn]
    low, high = log_limits([*shown, limit[-1:]]) or (0.1, 1.0)
    return (first, 1.1 * last), (low, 3 * high)


def _paint_frame(
    entry: Entry, bound: Bound, name: str, limits: tuple[Any, Any], ax: Axes, ratio: float
) -> Panel:
    """Draw map, flow and bound of one optimizer into `ax`."""
    comparison, color, _, key = entry
    minimum = comparison.problem.minimum or 0.0
    ax.set(xscale="log", yscale="log", xlim=limits[0], ylim=limits[1])
    times = np.geomspace(limits[0][0], limits[0][1], 200)
    thin = {"color": ink(), "linewidth": 0.8, "zorder": 2}
    ax.plot(times, evaluate(bound, times), **thin, gid="bound")
    flow = np.stack(above_minimum(comparison.curve, minimum), 1)
    map = np.stack(above_minimum(comparison.map, minimum), 1)
    ax.plot(flow[:, 0], flow[:, 1], color=ink(), zorder=3, gid=f"flow {key}")
    ax.plot(map[:, 0], map[:, 1], color=color, lw=0.5, alpha=0.45, gid=f"thread {key}")
    dots = {"marker": "o", "markeredgecolor": background(), "markeredgewidth": 0.7, "zorder": 4}
    (line,) = ax.plot(map[:, 0], map[:, 1], color=color, linestyle="none", **dots, gid=f"map {key}")
    line.set_markevery(list(apart(on_paper(ax, map), APART)) if len(map) else [])
    set_log_ticks(ax.xaxis)
    set_log_ticks(ax.yaxis)
    ax.set(xlabel="time  t = k h", ylabel="loss above minimum  f(x) − f*")
    fractions = largest_fractions(comparison, bound)
    facts = [f"{kind} {_of_bound(f)}" for kind, f in zip(("flow", "map"), fractions, strict=True)]
    keys = [*legends.run_keys(), legends.key(name, **thin)]
    return Panel("", keys=keys, name=entry.name, color=color, fact="   ".join(facts))


def _of_bound(fraction: float) -> str:
    if not np.isfinite(fraction):
        return "fails"
    if fraction > 1:
        return f"exceeds it {format_number(fraction, 2)} times"
    return f"reaches {format_number(100 * fraction, 2)}\xa0% of it"


def _with_minimum(results: Comparison | list[Comparison], bound: Bound) -> list[Comparison]:
    comparisons = result_list(results, Comparison, "analysis.compare")
    if not callable(bound):
        raise InvalidType(
            f"`bound` must be a function of the times, got {bound!r}; pass lambda t: 2 / t**2, say."
        )
    if not comparisons[0].problem.conservative:
        must_be_gradient(comparisons[0].problem, "a bound of the loss")
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
