"""A bound: the loss over time, both logarithmic, beneath what theory says it cannot exceed."""

from collections.abc import Callable
from functools import partial

import numpy as np
from matplotlib.axes import Axes

from ..analysis import Comparison
from ..errors import InvalidType, InvalidValue
from .drawing import legends, runs
from .drawing.axes import every, log_view, mark_decades
from .drawing.captions import called, claim, conditions, dotted
from .drawing.descent import MOST, finite_values
from .drawing.picture import Panel, Picture, drawn, several
from .drawing.style import ink
from .drawing.words import listed, number, percent

Bound = Callable[[np.ndarray], np.ndarray]


def draw(
    results: Comparison | list[Comparison],
    bound: Bound,
    *,
    name: str = "the bound",
    ax: Axes | None = None,
    style: str = "notebook",
) -> Picture | Axes:
    """f(x(t)) - f* from the first step on, beneath bound(t): dots are the map, a line is the flow.

    - `results`: one or several `analysis.gap` of one problem whose minimum is known. - `bound`: of the times, an array,
      positive. - `name`: what it is called in the title. - `ax`: axes to draw in, instead of a new `Picture`.
      - `style`: "notebook", "paper" or "slides".

    **Raises:** `InvalidValue` if the minimum is not known, or a bound not positive; `InvalidType` if `bound` is no
    function.
    """
    comparisons = _known(results, bound)
    return drawn(
        partial(paint, bound=bound, name=name),
        partial(describe, bound=bound),
        comparisons,
        ax,
        style,
    )


def describe(results: Comparison | list[Comparison], bound: Bound) -> str:
    """The picture in one sentence with its numbers."""
    comparisons = _known(results, bound)
    said = [
        f"the flow of {name} comes to {_said(flow)}, the map to {_said(map)}"
        for name, flow, map in _shares(comparisons, bound)
    ]
    return f"Loss above the minimum on {called(comparisons[0])} over time, beside a bound: {listed(said)}."


def paint(ax: Axes, comparisons: list[Comparison], bound: Bound, name: str = "the bound") -> Panel:
    """Draw in the axes, and say what stands around them."""
    entries = runs.entries(comparisons)
    times = [
        np.asarray(comparison.flow.t, float)[comparison.flow.finite][1:]
        for comparison in comparisons
    ]
    heights = [_above(comparison, comparison.flow)[1:] for comparison in comparisons]
    across = min(t[0] for t in times), max(t[-1] for t in times)
    t = np.geomspace(*across, 200)
    limit = _limit(bound, t)
    maps = [
        (
            np.asarray(comparison.map.t, float)[comparison.map.finite][1:],
            _above(comparison, comparison.map)[1:],
        )
        for comparison in comparisons
    ]
    low, high = log_view([*heights, *(seen for _, seen in maps), limit[-1:]]) or (0.1, 1.0)
    ax.set(xscale="log", yscale="log", xlim=(across[0], across[1] * 1.1), ylim=(low, 3 * high))
    ax.plot(t, limit, color=ink(), linewidth=1.2, linestyle=legends.DOTTED, zorder=2, gid="bound")
    for (_, look, _, key), when, height, (at, seen) in zip(
        entries, times, heights, maps, strict=True
    ):
        runs.curve(ax, when, height, look, f"flow {key}")
        runs.dots(
            ax, at[:: every(len(at), MOST)], seen[:: every(len(at), MOST)], look, f"map {key}"
        )
    mark_decades(ax.xaxis)
    mark_decades(ax.yaxis)
    ax.set(xlabel="time  t = k h", ylabel="loss above minimum  f(x) − f*")
    counts = [len(comparison.map.t) - 1 for comparison in comparisons]
    return Panel(
        title=_title(comparisons, bound, name),
        names=runs.handles(entries),
        keys=[*legends.map_and_flow(), legends.dotted(name)],
        caption=conditions(comparisons) + dotted(comparisons, counts, MOST),
    )


def _known(results: Comparison | list[Comparison], bound: Bound) -> list[Comparison]:
    comparisons = several(results, Comparison, "analysis.gap")
    if not callable(bound):
        raise InvalidType(
            f"`bound` must be a function of the times, got {bound!r}; pass lambda t: 2 / t**2, say."
        )
    if comparisons[0].problem.minimum is None:
        raise InvalidValue(
            f"the minimum of {called(comparisons[0])} is not known; pass Problem(..., minimum=0.0), say."
        )
    return comparisons


def _above(comparison: Comparison, run) -> np.ndarray:
    return finite_values(run, run.loss, comparison.problem.minimum)


def _limit(bound: Bound, t: np.ndarray) -> np.ndarray:
    try:
        limit = np.broadcast_to(np.asarray(bound(t), float), t.shape)
    except (TypeError, ValueError):
        raise InvalidType(
            f"`bound` must give a number for each time, got {bound(t)!r} for {t.size}; pass lambda t: 2 / t**2, say."
        ) from None
    if not (limit > 0).all():
        raise InvalidValue(
            f"a bound must be positive, got {limit.min():.4g}; pass lambda t: 2 / t**2, say."
        )
    return limit


def _shares(comparisons: list[Comparison], bound: Bound) -> list[tuple[str, float, float]]:
    """Of each optimizer, the largest share of the bound that its flow reaches, and its map: ∞ if it gets lost."""
    found = []
    for comparison, _, name, _ in runs.entries(comparisons):
        shares = []
        for run in (comparison.flow, comparison.map):
            t = np.asarray(run.t, float)[run.finite][1:]
            highest = float((_above(comparison, run)[1:] / _limit(bound, t)).max(initial=0.0))
            shares.append(highest if run.finite.all() else np.inf)
        found.append((name, *shares))
    return found


def _said(share: float) -> str:
    return f"{percent(share)} of it" if share <= 1 else f"{number(share)} times it"


def _title(comparisons: list[Comparison], bound: Bound, name: str) -> str:
    shares = _shares(comparisons, bound)
    over = [
        who if flow > 1 else f"the map of {who}" for who, flow, map in shares if max(flow, map) > 1
    ]
    who, *most = max(shares, key=lambda share: max(share[1:]))
    said = (
        f"{listed(over)} {'breaks' if len(over) == 1 else 'break'} {name}"
        if over
        else f"all keep below {name}; {who} comes nearest, to {number(100 * max(most), 2)} % of it"
        if len(shares) > 1
        else f"{who} keeps below {name}, and comes to {number(100 * max(most), 2)} % of it"
    )
    return claim(comparisons, said)
