"""The local error: the error of each single step of the map."""

from matplotlib.axes import Axes

from ..analysis import LocalError
from .drawing import error_curves, runs
from .drawing.captions import largest_finite, largest_solver_error, problem_name
from .drawing.picture import Panel, Picture, draw_picture
from .drawing.results import result_list
from .drawing.words import failure, format_number


def draw(
    results: LocalError | list[LocalError], *, ax: Axes | None = None, style: str = "notebook"
) -> Picture | Axes:
    """The local error of each step, on a logarithmic axis.

    Each step is compared with the flow that starts at the same point of the map. The dotted line
    is an estimate of the error of the solver itself; below it nothing can be measured.

    - `results`: one or several results of `analysis.local_error` on one problem.
    - `ax`: axes to draw in, instead of a new `Picture`.
    - `style`: "notebook", "paper" or "slides".

    **Raises:** `InvalidValue` if the results are of several problems.
    """
    results = result_list(results, LocalError, "analysis.local_error")
    return draw_picture(paint, describe, results, ax, style)


def describe(results: LocalError | list[LocalError]) -> str:
    """The picture in one sentence with its numbers."""
    errors = result_list(results, LocalError, "analysis.local_error")
    parts = []
    for result, _, name, _ in runs.entries(errors):
        most = f"is at most {format_number(largest_finite(result.error))}"
        parts.append(f"for {name} it {failure(result.map) or most}")
    solver_error = format_number(largest_solver_error(errors))
    return (
        "The picture shows the error of one step of the map against the flow over the same time, "
        f"along the run on {problem_name(errors[0])}: {'; '.join(parts)}; the error of the solver "
        f"is at most {solver_error}."
    )


def paint(ax: Axes, results: list[LocalError]) -> Panel:
    """Draw into `ax`; return title, legend entries and caption."""
    return error_curves.paint(ax, results, "local error", "|x_map − x_flow|")
