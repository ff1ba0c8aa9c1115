"""The loss along map and flow."""

import numpy as np
from matplotlib.axes import Axes

from ..analysis import Comparison
from .drawing import descent, runs
from .drawing.captions import claim, problem_name
from .drawing.descent import Descent
from .drawing.picture import Panel, Picture, draw_picture
from .drawing.results import result_list
from .drawing.words import count_noun, failure, format_number, join_words

TIE = 0.01  # of the lowest loss: maps that end so near to it are all called lowest


def draw(
    results: Comparison | list[Comparison], *, ax: Axes | None = None, style: str = "notebook"
) -> Picture | Axes:
    """The loss over time: dots are the map, a line is the flow.

    Where the minimum f* is known, the picture shows f(x) - f* on a logarithmic axis. Otherwise it
    shows f(x), on a logarithmic axis only if f is positive and falls a hundredfold. A run that
    fails is drawn to its last finite point.

    - `results`: one or several results of `analysis.compare` on one problem.
    - `ax`: axes to draw in, instead of a new `Picture`.
    - `style`: "notebook", "paper" or "slides".

    **Raises:** `InvalidValue` if the results are of several problems.
    """
    results = result_list(results, Comparison, "analysis.compare")
    return draw_picture(paint, describe, results, ax, style)


def describe(results: Comparison | list[Comparison]) -> str:
    """The picture in one sentence with its numbers."""
    comparisons = result_list(results, Comparison, "analysis.compare")
    parts = []
    for comparison, _, name, _ in runs.entries(comparisons):
        map_end, flow_end = (
            f"ends at {format_number(values[-1])}" if values.size else "has no finite loss"
            for values in _heights(comparison)
        )
        map_end = failure(comparison.map) or map_end
        flow_end = failure(comparison.flow) or flow_end
        parts.append(f"the map of {name} {map_end}, its flow {flow_end}")
    first = _heights(comparisons[0])[0][:1]
    start = f", from {format_number(first[0])}" if first.size else ""
    above = " above the minimum" * (comparisons[0].problem.minimum is not None)
    return (
        f"The picture shows the loss{above} on {problem_name(comparisons[0])} along map (dots) "
        f"and flow (lines){start}: {'; '.join(parts)}."
    )


def paint(ax: Axes, comparisons: list[Comparison]) -> Panel:
    """Draw into `ax`; return title, legend entries and caption."""
    descents = [
        Descent(
            comparison.optimizer,
            comparison.problem,
            comparison.map,
            comparison.flow,
            dict(zip(("map", "flow"), _heights(comparison), strict=True)),
            comparison.solver_error,
        )
        for comparison in comparisons
    ]
    ylabels = "loss  f(x)", "loss above minimum  f(x) − f*"
    return descent.paint(ax, descents, "loss", ylabels, _title(comparisons))


def _heights(comparison: Comparison) -> list[np.ndarray]:
    """The finite losses of map and flow, above the minimum if that is known."""
    return [
        descent.finite_heights(run, run.loss, comparison.problem.minimum)
        for run in (comparison.map, comparison.flow)
    ]


def _title(comparisons: list[Comparison]) -> str:
    """The loss at start and end of a single map, or the maps that end lowest."""
    symbol = "f" if comparisons[0].problem.minimum is None else "f\xa0−\xa0f*"
    heights = {
        name: _heights(comparison)
        for comparison, _, name, _ in runs.entries(comparisons)
        if not failure(comparison.map) and not failure(comparison.flow)
    }
    if not heights or not all(map.size and flow.size for map, flow in heights.values()):
        return claim(comparisons, "")
    if len(heights) == 1:
        ((name, (map, flow)),) = heights.items()
        start, end, flow_end = (format_number(value) for value in (map[0], map[-1], flow[-1]))
        return claim(
            comparisons, f"{name} takes {symbol} from {start} to {end}, its flow to {flow_end}"
        )
    ends = {name: map[-1] for name, (map, _) in heights.items()}
    least = min(ends.values())
    value = f"{symbol} = {format_number(least)}"
    lowest = [name for name, end in ends.items() if end <= least + TIE * abs(least)]
    steps = {len(comparison.map.t) - 1 for comparison in comparisons}
    when = f"after {count_noun(steps.pop(), 'step')}" if len(steps) == 1 else "at the end"
    if len(lowest) == len(comparisons):
        return claim(comparisons, f"{when} all maps have reached {value}")
    maps = "map" if len(lowest) == 1 else "maps"
    have = "has" if len(lowest) == 1 else "have"
    return claim(
        comparisons, f"{when} the {maps} of {join_words(lowest)} {have} the lowest loss, {value}"
    )
