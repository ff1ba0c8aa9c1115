"""The gap: how far the map is from the flow, along the run."""

import numpy as np
from matplotlib.axes import Axes

from ..analysis import Comparison
from .drawing import error_curves as errors, runs
from .drawing.captions import called, claim, failures, largest, own_error
from .drawing.picture import Panel, Picture, drawn, several
from .drawing.words import failure, number


def draw(
    results: Comparison | list[Comparison], *, ax: Axes | None = None, style: str = "notebook"
) -> Picture | Axes:
    """The gap |x_map(t) - x_flow(t)| along the run, on a logarithmic axis, above the solver's own error (dotted).

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
        error = np.asarray(comparison.error, float)
        last = error[np.isfinite(error)][-1:]
        end = f"{number(last[0])} at the end" if last.size else "nowhere finite"
        said.append(
            f"{name} {failure(comparison.map) or f'at most {number(largest(error))}, {end}'}"
        )
    own = f"the solver's own error is at most {number(own_error(comparisons))}"
    return f"Gap between map and flow along the run on {called(comparisons[0])}: {'; '.join(said)}; {own}."


def paint(ax: Axes, comparisons: list[Comparison]) -> Panel:
    """Draw in the axes, and say what stands around them."""
    return errors.paint(ax, comparisons, "gap", "gap  |x_map(t) − x_flow(t)|", _title(comparisons))


def _title(comparisons: list[Comparison]) -> str:
    """Who strays farthest, and who least."""
    whole = {
        name: largest(g.error)
        for g, _, name, _ in runs.entries(comparisons)
        if not failure(g.map) and not failure(g.flow)
    }
    if not whole:
        return claim(comparisons, "" if failures(comparisons) else "no gap could be measured")
    far, near = max(whole, key=lambda name: whole[name]), min(whole, key=lambda name: whole[name])
    if len(whole) == 1:
        return claim(comparisons, f"{far} strays from its flow by at most {number(whole[far], 2)}")
    said = f"{far} strays farthest from its flow, by {number(whole[far], 2)}"
    return claim(comparisons, f"{said}; {near} least, by {number(whole[near], 2)}")
