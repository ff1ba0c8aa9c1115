"""The global error: the distance of the map from the flow at equal times, along the run."""

import numpy as np
from matplotlib.axes import Axes

from ..analysis import Comparison
from .drawing import error_curves, runs
from .drawing.captions import largest_finite, largest_solver_error, problem_name
from .drawing.picture import Panel, Picture, draw_picture
from .drawing.results import result_list
from .drawing.words import failure, format_number


def draw(
    results: Comparison | list[Comparison], *, ax: Axes | None = None, style: str = "notebook"
) -> Picture | Axes:
    """The global error |x_map(t) - x_flow(t)| along the run, on a logarithmic axis.

    The dotted line is an estimate of the error of the solver itself; below it nothing can be
    measured.

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
        error = np.asarray(comparison.error, float)
        last = error[np.isfinite(error)][-1:]
        end = f"{format_number(last[0])} at the end" if last.size else "nowhere finite"
        most = f"at most {format_number(largest_finite(error))}"
        lost = failure(comparison.flow)
        known = f"is {most} until its flow {lost}" if lost and last.size else f"is {most}, {end}"
        parts.append(f"for {name} it {failure(comparison.map) or known}")
    solver_error = format_number(largest_solver_error(comparisons))
    return (
        "The picture shows the global error of the map against its flow along the run on "
        f"{problem_name(comparisons[0])}: {'; '.join(parts)}; the error of the solver is at most "
        f"{solver_error}."
    )


def paint(ax: Axes, comparisons: list[Comparison]) -> Panel:
    """Draw into `ax`; return title, legend entries and caption."""
    return error_curves.paint(ax, comparisons, "global error", "|x_map(t) − x_flow(t)|")
