"""The overview: all figures of one problem in one picture."""

from dataclasses import replace
from functools import partial

from matplotlib.axes import Axes

from ..analysis import Comparison, LocalError, Order
from . import global_error, local_error, loss, order, paths, phase
from .drawing import descent, runs
from .drawing.captions import (
    conditions,
    dot_sentences,
    largest_finite,
    problem_name,
    solver_sentence,
)
from .drawing.picture import Painter, Picture, draw_panels, painter
from .drawing.results import must_share_problem, result_list
from .drawing.style import context
from .drawing.words import format_number, join_words, literal
from .plane.projection import plane_of
from .plane.residual import all_in_plane, residual_sentences, residuals

RUNS, ERRORS = ["paths", "loss", "phase"], ["global_error", "local_error", "order"]


def draw(
    comparisons: Comparison | list[Comparison],
    local_errors: LocalError | list[LocalError],
    orders: Order | list[Order],
    *,
    style: str = "notebook",
) -> Picture:
    """Paths, loss, phase plane, global error, local error and order of one problem.

    Each panel has its own claim. Paths are left out if the problem has one coordinate only, the
    phase plane unless some optimizer has a velocity, and local errors and orders if there are none.

    - `comparisons`: one or several results of `analysis.compare`.
    - `local_errors`, `orders`: one or several results of `analysis.local_error` and of
      `analysis.order`; an empty list for none.
    - `style`: "notebook", "paper" or "slides".

    **Raises:** `InvalidValue` if the results are of several problems.
    """
    comparisons, local_errors, orders = _of_one_problem(comparisons, local_errors, orders)
    painters = _painters(comparisons, local_errors, orders)
    with context(style):
        picture = Picture(style, describe(comparisons, local_errors, orders))
        width, height = picture.get_size_inches()
        picture.set_size_inches(2 * float(width), 2 * float(height))
        axes: dict[str, Axes] = picture.subplot_mosaic(_mosaic(painters))  # pyright: ignore
        sentences = _caption(comparisons, local_errors, orders)
        heading = f"Map and flow on {literal(problem_name(comparisons[0]))}"
        draw_panels(
            picture, [axes[name] for name in painters], list(painters.values()),
            caption=lambda _: sentences, heading=heading,
        )  # fmt: skip
        for name, ax in axes.items():
            ax.set_gid(name)
        return picture


def describe(
    comparisons: Comparison | list[Comparison],
    local_errors: LocalError | list[LocalError],
    orders: Order | list[Order],
) -> str:
    """The picture in one sentence with its numbers."""
    comparisons, local_errors, orders = _of_one_problem(comparisons, local_errors, orders)
    panels = join_words(
        [name.replace("_", " ") for name in _painters(comparisons, local_errors, orders)]
    )
    parts = [f"the largest global errors are {_largest_errors(comparisons)}"]
    parts += (
        [f"the largest local errors are {_largest_errors(local_errors)}"] if local_errors else []
    )
    parts += [f"the orders are {order.slopes(orders)}"] if orders else []
    return (
        f"The picture shows map and flow on {problem_name(comparisons[0])}, in panels of {panels}: "
        f"{'; '.join(parts)}."
    )


def _largest_errors(results: list[Comparison] | list[LocalError]) -> str:
    return ", ".join(
        f"{name} {format_number(largest_finite(result.error))}"
        for result, _, name, _ in runs.entries(results)
    )


def _of_one_problem(
    comparisons, local_errors, orders
) -> tuple[list[Comparison], list[LocalError], list[Order]]:
    comparisons = result_list(comparisons, Comparison, "analysis.compare")
    if local_errors != []:
        local_errors = result_list(local_errors, LocalError, "analysis.local_error")
    if orders != []:
        orders = result_list(orders, Order, "analysis.order")
    must_share_problem([*comparisons[:1], *local_errors[:1], *orders[:1]])
    return comparisons, local_errors, orders


def _painters(
    comparisons: list[Comparison], local_errors: list[LocalError], orders: list[Order]
) -> dict[str, Painter]:
    """What draws each panel that there is, in reading order."""
    moving = [comparison for comparison in comparisons if hasattr(comparison.map.y, "p")]
    painters = {
        "paths": painter(paths.paint, comparisons),
        "loss": painter(loss.paint, comparisons),
        "phase": painter(phase.paint, moving),
        "global_error": painter(global_error.paint, comparisons),
        "local_error": painter(local_error.paint, local_errors),
        "order": lambda ax, fill: replace(order.paint(ax, orders), handles=[]),
    }
    missing = {
        "paths": comparisons[0].problem.dim == 1,
        "phase": not moving,
        "local_error": not local_errors,
        "order": not orders,
    }
    return {name: paint for name, paint in painters.items() if not missing.get(name)}


def _mosaic(painters: dict[str, Painter]) -> list[list[str]]:
    """Runs above, errors below; the neighbours of a missing panel share its place."""
    rows = [[name for name in names if name in painters] for names in (RUNS, ERRORS)]
    if rows == [["paths", "loss"], ERRORS]:
        return [["paths", "loss", "global_error"], ["paths", "local_error", "order"]]
    return [[name for name in row for _ in range(6 // len(row))] for row in rows]


def _caption(
    comparisons: list[Comparison], local_errors: list[LocalError], orders: list[Order]
) -> list[str]:
    """The conditions of all panels, each said once."""
    plane = plane_of(comparisons) if comparisons[0].problem.dim > 1 else None
    off_plane = residuals(comparisons, plane)
    hollow = not all_in_plane(off_plane)
    projection = (
        [] if plane is None else residual_sentences(comparisons[0], plane, off_plane, hollow)
    )
    restarted = solver_sentence(local_errors, "each flow of one step") if local_errors else []
    counts = runs.dot_counts(comparisons)
    dots = partial(dot_sentences, comparisons, counts)
    return [
        *conditions(comparisons),
        *restarted,
        *projection,
        *dots(runs.MAX_DOTS, " on paths and in the phase plane"),
        *dots(descent.MAX_DOTS, " elsewhere"),
        *(order.refinements(orders) if orders else []),
        *([f"The slopes are {order.slopes(orders)}."] if orders else []),
    ]
