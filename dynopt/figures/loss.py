"""The loss: how fast map and flow go down."""

import numpy as np
from matplotlib.axes import Axes

from ..analysis import Comparison
from .drawing import descent, runs
from .drawing.captions import called, claim
from .drawing.descent import Descent
from .drawing.picture import Panel, Picture, drawn, several
from .drawing.words import counted, failure, listed, number

TIE = 0.01  # of the lowest loss: runs so near share the first place


def draw(
    results: Comparison | list[Comparison], *, ax: Axes | None = None, style: str = "notebook"
) -> Picture | Axes:
    """The loss along map and flow: dots are the map, a line is the flow.

    Where the minimum f* is known, f(x) - f* on a logarithmic axis; else f(x), on a logarithmic axis only if it is
    positive and falls a hundredfold. A run that fails is drawn to its last finite point.

    - `results`: one or several `analysis.gap` of one problem. - `ax`: axes to draw in, instead of a new `Picture`.
    - `style`: "notebook", "paper" or "slides".

    **Raises:** `InvalidValue` if the results are of several problems.
    """
    return drawn(paint, describe, several(results, Comparison, "analysis.gap"), ax, style)


def describe(results: Comparison | list[Comparison]) -> str:
    """The picture in one sentence with its numbers."""
    comparisons = several(results, Comparison, "analysis.gap")
    said = []
    for comparison, _, name, _ in runs.entries(comparisons):
        map, flow = (
            number(values[-1]) if values.size else "nothing finite"
            for values in _heights(comparison)
        )
        said.append(
            f"{name} {failure(comparison.map) or f'ends at {map}'}, its flow {failure(comparison.flow) or f'ends at {flow}'}"
        )
    first = _heights(comparisons[0])[0][:1]
    begin = f", from {number(first[0])}" if first.size else ""
    what = f"Loss{' above the minimum' * _known(comparisons)} on {called(comparisons[0])}"
    return f"{what} along map (dots) and flow (lines){begin}: {'; '.join(said)}."


def paint(ax: Axes, comparisons: list[Comparison]) -> Panel:
    """Draw in the axes, and say what stands around them."""
    return descent.paint(
        ax, _descents(comparisons), "loss", ("f(x)", "f(x) − f*"), _title(comparisons)
    )


def _descents(comparisons: list[Comparison]) -> list[Descent]:
    made = []
    for comparison in comparisons:
        map, flow = _heights(comparison)
        values = {"map": map, "flow": flow}
        made.append(
            Descent(
                comparison.optimizer,
                comparison.problem,
                comparison.map,
                comparison.flow,
                values,
                comparison.solver_error,
            )
        )
    return made


def _known(comparisons: list[Comparison]) -> bool:
    return comparisons[0].problem.minimum is not None


def _heights(comparison: Comparison) -> list[np.ndarray]:
    """The finite losses of map and flow, above the minimum if that is known."""
    return [
        descent.finite_values(run, run.loss, comparison.problem.minimum)
        for run in (comparison.map, comparison.flow)
    ]


def _title(comparisons: list[Comparison]) -> str:
    """From where to where, or who is lowest at the end."""
    what = "f\xa0−\xa0f*" if _known(comparisons) else "f"
    whole = {
        name: _heights(g)
        for g, _, name, _ in runs.entries(comparisons)
        if not failure(g.map) and not failure(g.flow)
    }
    if not all(map.size and flow.size for map, flow in whole.values()) or not whole:
        return claim(comparisons, "")
    if len(whole) == 1:
        ((name, (map, flow)),) = whole.items()
        return claim(
            comparisons,
            f"{name} takes {what} from {number(map[0])} to {number(map[-1])}, its flow to {number(flow[-1])}",
        )
    ends = {name: map[-1] for name, (map, _) in whole.items()}
    least = min(ends.values())
    lowest = [name for name, value in ends.items() if value <= least + TIE * abs(least)]
    steps = {len(g.map.t) - 1 for g in comparisons}
    when = f"after {counted(steps.pop(), 'step')}" if len(steps) == 1 else "at the end"
    if len(lowest) == len(comparisons):
        return claim(comparisons, f"{when} all maps have come to {what} = {number(least)}")
    whose = (
        f"the map of {lowest[0]} is" if len(lowest) == 1 else f"the maps of {listed(lowest)} are"
    )
    return claim(comparisons, f"{when} {whose} lowest, with {what} = {number(least)}")
