"""The loss: how fast map and flow go down."""

import numpy as np
from matplotlib.axes import Axes

from ..analysis import Gap
from . import legends, runs
from .beside import Name
from .captions import called, claim, conditions, dotted
from .picture import Panel, Picture, drawn, say, several
from .views import linear_view, log_view, mark_decades, mark_exit, mark_plainly
from .words import counted, ending, listed, number, plain

MOST = 25  # dots along one run
ROOM = 100  # times the largest loss of a healthy run: so much is shown of a diverging one
TIE = 0.01  # of the lowest loss: runs so near share the first place


def draw(results: Gap | list[Gap], *, ax: Axes | None = None, style: str = "notebook") -> Picture | Axes:
    """The loss along map and flow: dots are the map, a line is the flow.

    Where the minimum f* is known, f(x) - f* on a logarithmic axis; else f(x), on a logarithmic axis only if it is
    positive and falls a hundredfold. A run that fails is drawn to its last finite point.

    - `results`: one or several `analysis.gap` of one problem. - `ax`: axes to draw in, instead of a new `Picture`.
    - `style`: "notebook", "paper" or "slides".

    **Raises:** `InvalidValue` if the results are of several problems.
    """
    return drawn(paint, describe, several(results, Gap, "analysis.gap"), ax, style)


def describe(results: Gap | list[Gap]) -> str:
    """The picture in one sentence with its numbers."""
    gaps = several(results, Gap, "analysis.gap")
    said = []
    for gap, _, name, _ in runs.cast(gaps):
        map, flow = (number(values[-1]) if values.size else "nothing finite" for values in _heights(gap))
        said.append(f"{name} {ending(gap.map) or f'ends at {map}'}, its flow {ending(gap.flow) or f'ends at {flow}'}")
    first = _heights(gaps[0])[0][:1]
    begin = f", from {number(first[0])}" if first.size else ""
    what = f"Loss{' above the minimum' * _known(gaps)} on {called(gaps[0])}"
    return f"{what} along map (dots) and flow (lines){begin}: {'; '.join(said)}."


def paint(ax: Axes, gaps: list[Gap]) -> Panel:
    """Draw in the axes, and say what stands around them."""
    people, (label, times) = runs.cast(gaps), runs.clock(gaps)
    _set_axis(ax, gaps)
    runs.span(ax, [t[g.map.finite | g.flow.finite] for g, t in zip(gaps, times, strict=True)])
    beside, anything = [], False
    for each, t in zip(people, times, strict=True):
        gap, look, name, key = each
        map, flow = _heights(gap)
        lines = [
            runs.curve(ax, t[gap.flow.finite], flow, look, f"flow {key}"),
            runs.dots(ax, t[gap.map.finite], map, look, f"map {key}", MOST),
        ]
        for run, line in zip((gap.flow, gap.map), lines, strict=True):
            runs.mark_end(ax, run, np.asarray(line.get_xdata()), np.asarray(line.get_ydata()), each)
            mark_exit(ax, line, look.color)
        drawable = np.flatnonzero(flow > 0) if ax.get_yscale() == "log" else np.arange(len(flow))
        anything = anything or drawable.size > 0 or bool((map > 0).any())
        if drawable.size and not ending(gap.map):
            beside.append(Name(plain(name), look.color, [(t[drawable[-1]], flow[drawable[-1]])]))
    if not anything:
        finite = any(g.map.finite.any() for g in gaps)
        say(ax, "the loss is at its minimum from the start" if finite else "no finite loss to draw")
    ax.set_xlabel(label)
    ax.set_ylabel("loss above minimum  f(x) − f*" if _known(gaps) else "loss  f(x)")
    return Panel(
        title=_title(gaps),
        names=runs.handles(people),
        keys=legends.map_and_flow(),
        ends=beside if len(beside) == len(gaps) else [],
        caption=conditions(gaps) + dotted(gaps, runs.counts(gaps), MOST),
    )


def _known(gaps: list[Gap]) -> bool:
    return gaps[0].problem.minimum is not None


def _heights(gap: Gap) -> list[np.ndarray]:
    """The finite losses of map and flow, above the minimum if that is known."""
    with np.errstate(over="ignore"):
        return [np.asarray(run.loss, float)[run.finite] - (gap.problem.minimum or 0.0) for run in (gap.map, gap.flow)]


def _set_axis(ax: Axes, gaps: list[Gap]) -> None:
    """Scale and limits: of the runs that did not fail, with some room above for those that did."""
    healthy = [h for g in gaps for run, h in zip((g.map, g.flow), _heights(g), strict=True) if not ending(run)]
    values = np.concatenate([*healthy, *(_heights(g)[0][:1] for g in gaps)])
    failed = any(ending(run) for g in gaps for run in (g.map, g.flow))
    positive = values[values > 0]
    wide = positive.size == values.size > 0 and positive.max() > 100 * positive.min()
    if _known(gaps) or wide:
        ax.set_yscale("log", nonpositive="mask")
        low, high = log_view([positive]) or (0.1, 10.0)
        ax.set_ylim(low, min(high * (ROOM if failed else 1), 1e300))
        mark_decades(ax.yaxis)
    else:
        low, high = linear_view([values])
        ax.set_ylim(low, high + (high - low) * failed)
        mark_plainly(ax.yaxis)


def _title(gaps: list[Gap]) -> str:
    """From where to where, or who is lowest at the end."""
    what = "f\xa0−\xa0f*" if _known(gaps) else "the loss"
    whole = {name: _heights(g) for g, _, name, _ in runs.cast(gaps) if not ending(g.map) and not ending(g.flow)}
    if not all(map.size and flow.size for map, flow in whole.values()) or not whole:
        return claim(gaps, "")
    if len(whole) == 1:
        ((name, (map, flow)),) = whole.items()
        return claim(
            gaps, f"{name} takes {what} from {number(map[0])} to {number(map[-1])}, its flow to {number(flow[-1])}"
        )
    ends = {name: map[-1] for name, (map, _) in whole.items()}
    least = min(ends.values())
    lowest = [name for name, value in ends.items() if value <= least + TIE * abs(least)]
    steps = {len(g.map.t) - 1 for g in gaps}
    when = f"after {counted(steps.pop(), 'step')}" if len(steps) == 1 else "at the end"
    if len(lowest) == len(gaps):
        return claim(gaps, f"{when} all have come to {what} = {number(least)}")
    return claim(
        gaps, f"{when} {listed(lowest)} {'is' if len(lowest) == 1 else 'are'} lowest, with {what} = {number(least)}"
    )
