"""The paths of map and flow, in the plane or projected on one."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from ..analysis import Comparison
from ..errors import InvalidValue
from .drawing import legends, runs
from .drawing.captions import claim, conditions, dot_sentences, largest_finite, problem_name, starts
from .drawing.picture import Panel, Picture, draw_picture
from .drawing.results import result_list
from .drawing.style import background
from .drawing.words import failure, format_number, format_point, join_words
from .plane.landscape import draw_on_contours
from .plane.projection import Plane, plane_of
from .plane.residual import (
    Residual,
    all_in_plane,
    loss_difference,
    plane_name,
    residual_sentences,
    residuals,
)
from .plane.window import PLANE, smallest_visible


def draw(
    results: Comparison | list[Comparison],
    *,
    plane: Any = None,
    origin: Any = None,
    ax: Axes | None = None,
    style: str = "notebook",
) -> Picture | Axes:
    """Paths of map and flow over the contours of the loss: dots are the map, a line is the flow.

    Contours lie at round heights above the minimum, evenly in the logarithm. Stars are minimizers.
    The window is that of the problem, or fits the paths. An arrow on the frame shows where a path
    leaves it.

    In more than two coordinates the paths are projected on a plane, by default that of their two
    principal directions, and the contours are the loss in this plane. The caption says how much of
    the variance the plane explains, how far the paths lie off the plane, and by how much the
    contours differ from the losses on the paths.

    - `results`: one or several results of `analysis.compare` on one problem.
    - `plane`: two directions that span another plane, each of the shape of the position or one
      vector. They are made orthonormal; the first keeps its direction.
    - `origin`: a position in the plane, by default the mean of the paths.
    - `ax`: axes to draw in, instead of a new `Picture`.
    - `style`: "notebook", "paper" or "slides" (where the window is widened to the whole slide).

    **Raises:** `InvalidValue` if the problem has one coordinate only, the results are of several
    problems, or `plane` and `origin` do not fit.
    """
    comparisons = result_list(results, Comparison, "analysis.compare")
    chosen = _plane(comparisons, plane, origin)
    off_plane = residuals(comparisons, chosen)
    paint_chosen = partial(paint, scale=ax is None, plane=chosen, off_plane=off_plane)
    describe_chosen = partial(_describe, plane=chosen, off_plane=off_plane)
    return draw_picture(paint_chosen, describe_chosen, comparisons, ax, style)


def describe(
    results: Comparison | list[Comparison], *, plane: Any = None, origin: Any = None
) -> str:
    """The picture in one sentence with its numbers."""
    comparisons = result_list(results, Comparison, "analysis.compare")
    chosen = _plane(comparisons, plane, origin)
    return _describe(comparisons, chosen, residuals(comparisons, chosen))


def _describe(comparisons: list[Comparison], plane: Plane | None, off_plane: list[Residual]) -> str:
    name = problem_name(comparisons[0])
    if plane is None:
        parts = [_path(comparison, who) for comparison, _, who, _ in runs.entries(comparisons)]
        return (
            f"The picture shows contours of {name} with the paths of map (dots) and flow (lines) "
            f"from {starts(comparisons)}: {'; '.join(parts)}."
        )
    flat = all_in_plane(off_plane)
    parts = [
        _projected_path(comparison, residual, flat)
        for comparison, residual in zip(comparisons, off_plane, strict=True)
    ]
    differ = f"differ from the losses on the paths{loss_difference(off_plane)}"
    return (
        f"The picture shows the paths of map (dots) and flow (lines) on {name} from "
        f"{starts(comparisons)}, projected on the plane {plane_name(plane)}; {'; '.join(parts)}; "
        f"the contours {'are the losses on the paths' if flat else differ}."
    )


def _path(comparison: Comparison, name: str) -> str:
    """How one path in the plane ends, for the alt text."""
    end = np.stack(runs.view_points(comparison.map, PLANE), 1)[-1:]
    where = f"ends at {format_point(end[0])}" if len(end) else "has no finite start"
    return f"the map of {name} {failure(comparison.map) or f'{where}, {_distance(comparison)}'}"


def _distance(comparison: Comparison) -> str:
    """How far the map is from its flow, for the alt text."""
    lost = failure(comparison.flow)
    most = f"at most {format_number(largest_finite(comparison.error))} from its flow"
    return f"its flow {lost}" if lost else most


def _projected_path(comparison: Comparison, residual: Residual, flat: bool) -> str:
    """How one projected path ends, for the alt text."""
    where = "has no finite start"
    if len(residual.loss):
        loss, below = (format_number(v[-1]) for v in (residual.loss, residual.plane_loss))
        where = f"ends at a loss of {loss} over {below} in the plane"
    error = _distance(comparison)
    error += "" if flat else f" and {format_number(residual.distance)} off the plane"
    return f"the map of {residual.name} {failure(comparison.map) or f'{where}, {error}'}"


def _plane(comparisons: list[Comparison], plane: Any = None, origin: Any = None) -> Plane | None:
    """The plane of the picture; None for that of the two coordinates of the problem itself."""
    if comparisons[0].problem.dim == 1:
        raise InvalidValue(
            f"paths are drawn in a plane but {problem_name(comparisons[0])} has 1 coordinate; draw "
            "loss, global_error, local_error, order or phase, which work in any dimension."
        )
    return plane_of(comparisons, plane, origin)


def paint(
    ax: Axes,
    comparisons: list[Comparison],
    *,
    scale: bool = False,
    fill: float | None = None,
    plane: Plane | None = None,
    off_plane: Sequence[Residual] | None = None,
) -> Panel:
    """Draw into `ax`; return title, legend entries and caption.

    - `scale`: whether a scale of the loss is drawn next to the frame.
    - `fill`: the height over the width of the frame, to which the window is widened.
    - `plane`, `off_plane`: the plane and the residuals of the paths; by default those of `draw`.
    """
    if off_plane is None:
        plane = _plane(comparisons)
        off_plane = residuals(comparisons, plane)
    entries, hollow = runs.entries(comparisons), []

    def draw_lines(levels: list[float]) -> list[Line2D]:
        lines = []
        for i in _largest_first(comparisons, plane or PLANE):
            lines += runs.draw_paths(ax, entries[i], plane or PLANE)
            if off_plane:
                hollow.extend(_hollow_dots(ax, lines[-1], off_plane[i].off_contour(levels)))
        return lines

    marks, aspect = draw_on_contours(ax, comparisons, draw_lines, scale, fill, plane=plane)
    style = {"marker": "o", "linestyle": "none", "markerfacecolor": background()}
    hollow_key = [legends.key("off its contour", **style)] * bool(hollow)
    projection = (
        [] if plane is None else residual_sentences(comparisons[0], plane, off_plane, bool(hollow))
    )
    dots = dot_sentences(comparisons, runs.dot_counts(comparisons), runs.MAX_DOTS)
    return Panel(
        title=_title(comparisons, plane),
        handles=runs.legend_handles(entries),
        keys=[*legends.map_and_flow(), *hollow_key, *marks],
        caption=[*conditions(comparisons), *projection, *dots],
        aspect=aspect,
    )


def _largest_first(comparisons: list[Comparison], view: runs.View) -> list[int]:
    """The indices of the comparisons, so that the path that covers least is drawn last, on top."""

    def covered(i: int) -> tuple[int, float]:
        x, y = runs.view_points(comparisons[i].map, view)
        return len(x), float(np.hypot(np.diff(x), np.diff(y)).sum())

    return sorted(range(len(comparisons)), key=covered, reverse=True)


def _hollow_dots(ax: Axes, dots: Line2D, which: np.ndarray) -> list[Line2D]:
    """Rings in place of some dots: the contours under them are not the losses of the map there."""
    drawn = np.arange(len(which)) % int(str(dots.get_markevery())) == 0
    if not (which & drawn).any():
        return []
    x, y = np.asarray(dots.get_xydata())[which & drawn].T
    style = {"marker": dots.get_marker(), "color": dots.get_color(), "linestyle": "none"}
    style |= {"markerfacecolor": background(), "markeredgewidth": 1.0, "zorder": 4.1}
    return ax.plot(x, y, **style, gid=f"off {dots.get_gid()}")


def _title(comparisons: list[Comparison], plane: Plane | None) -> str:
    """Which maps stay so near to their flows that the eye sees no difference, and which do not."""
    visible = smallest_visible(comparisons, plane=plane)
    errors = {
        name: largest_finite(comparison.error)
        for comparison, _, name, _ in runs.entries(comparisons)
        if not failure(comparison.map) and not failure(comparison.flow)
    }
    near = {name: error for name, error in errors.items() if error <= visible}
    far = {name: error for name, error in errors.items() if not error <= visible}
    parts = []
    if near:
        stay, flows = ("stays", "its flow") if len(near) == 1 else ("stay", "their flows")
        most = format_number(max(near.values()), 2)
        parts.append(f"{join_words(list(near))} {stay} within {most} of {flows}")
    if far:
        leave, flows = ("departs", "its flow") if len(far) == 1 else ("depart", "their flows")
        name = max(far, key=lambda name: far[name])
        most = format_number(far[name], 2) + f" ({name})" * (len(far) > 1)
        parts.append(f"{join_words(list(far))} {leave} from {flows} by up to {most}")
    return claim(comparisons, "; ".join(parts))
