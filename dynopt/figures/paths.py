"""The paths of map and flow, in the plane or projected on one, with ties at equal times."""

from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from ..analysis import Comparison
from ..errors import InvalidValue
from .drawing import runs
from .drawing.captions import (
    contour_sentence,
    height_of,
    landscape_name,
    problem_name,
    starts,
    summary,
)
from .drawing.frames import Paint, draw_frames
from .drawing.motion import motion_of, motion_sentence
from .drawing.picture import Panel, Picture
from .drawing.results import result_list
from .drawing.runs import Entry
from .drawing.style import in_style
from .drawing.ties import draw_hollow_dots, draw_tied, tie_keys, tied
from .drawing.words import facts, format_number, format_point
from .plane.landscape import draw_landscape
from .plane.projection import Plane, plane_of
from .plane.residual import (
    Residual,
    all_in_plane,
    loss_difference,
    plane_name,
    residual_sentences,
    residuals,
)
from .plane.window import PLANE, window_of

Member = tuple[Entry, Residual | None]  # one optimizer, and what the plane does not show of it


@in_style
def draw(
    results: Comparison | list[Comparison],
    *,
    plane: Any = None,
    origin: Any = None,
    title: str | None = None,
    ax: Axes | None = None,
    style: str = "notebook",
) -> Picture | Axes:
    """Paths of map and flow over the contours of the loss, each optimizer in a frame of its own.

    Coloured dots on a thin thread are the map, a line in ink is the flow. Ties join the two at
    equal times; the longest is bold and carries its length, which is the largest global error. A
    tie that would hide on the path of the flow is drawn as an arc. Where the error is too small to
    be visible, the distance of the map from its flow is drawn magnified, with hollow dots, and the
    frame says by how much.

    Each frame shows the runs and nothing else; stars in it are minimizers. A map that diverges is
    drawn until it is thrice as far out as its flow.

    In more than two coordinates the paths are projected on a plane, by default that of their two
    principal directions, and the contours are the loss in this plane. The caption says how much of
    the variance the plane explains, and how far the paths lie off it. A dot is hollow where the
    contour under it is not the loss of the map.

    - `results`: one or several results of `analysis.compare` on one problem.
    - `plane`: two directions that span another plane, each of the shape of the position or one
      vector. They are made orthonormal; the first keeps its direction.
    - `origin`: a position in the plane, by default the mean of the paths.
    - `title`: a title in place of the claim.
    - `ax`: axes to draw one result in, instead of a new `Picture`.
    - `style`: "notebook", "paper" or "slides".

    **Raises:** `InvalidValue` if the problem has one coordinate only, the results are of several
    problems, `plane` and `origin` do not fit, or one `ax` is given for several results.
    """
    comparisons = result_list(results, Comparison, "analysis.compare")
    chosen = _plane(comparisons, plane, origin)
    members = _members(comparisons, chosen)
    return draw_frames(
        _frames(members, chosen),
        title or motions_title(comparisons),
        _describe(comparisons[0], members, chosen),
        [*summary(comparisons), *_projection_sentences(members, chosen)],
        ax,
        style,
    )


def describe(
    results: Comparison | list[Comparison], *, plane: Any = None, origin: Any = None
) -> str:
    """The picture in one sentence with its numbers."""
    comparisons = result_list(results, Comparison, "analysis.compare")
    chosen = _plane(comparisons, plane, origin)
    return _describe(comparisons[0], _members(comparisons, chosen), chosen)


def frames(comparisons: list[Comparison]) -> list[Paint]:
    """What paints each optimizer into a frame, given the axes and the ratio of its sides."""
    plane = _plane(comparisons)
    return _frames(_members(comparisons, plane), plane)


def _frames(members: list[Member], plane: Plane | None) -> list[Paint]:
    return [partial(_paint_frame, *member, plane) for member in members]


def _describe(comparison: Comparison, members: list[Member], plane: Plane | None) -> str:
    where = "" if plane is None else f", projected on the plane {plane_name(plane)}"
    parts = [_path(entry, residual) for entry, residual in members]
    off_plane = [residual for _, residual in members if residual is not None]
    if plane is not None:
        values = "values" if comparison.problem.owns_field else "losses"
        differ = f"differ from the {values} on the paths{loss_difference(off_plane)}"
        flat = all_in_plane(off_plane)
        parts.append(f"the contours {f'are the {values} on the paths' if flat else differ}")
    start = starts([entry.result for entry, _ in members])
    return (
        f"The picture shows the paths of map (dots) and flow (lines) over contours of "
        f"{landscape_name(comparison)} from {start}{where}, with ties at equal times: "
        f"{'; '.join(parts)}."
    )


def _path(entry: Entry, residual: Residual | None) -> str:
    """How one path ends and how far it is from its flow, for the alt text."""
    comparison, _, name, _ = entry
    motion = motion_of(comparison)
    if motion.failure or not comparison.map.finite.any():
        return f"the map of {name} {motion.fact}"
    where = f"ends at {format_point(np.asarray(comparison.map.y.x, float)[-1])}"
    if residual is not None:
        loss, below = (format_number(v[-1]) for v in (residual.loss, residual.plane_loss))
        height = height_of(comparison.problem)
        is_loss = height.word == "loss"
        start = f"a loss of {loss}" if is_loss else f"{height.symbol} = {loss}"
        where = f"ends at {start} over {below} in the plane, lies up to "
        where += f"{format_number(residual.distance)} off it"
    phrase = motion_sentence([name], [motion]).removeprefix(name)
    return f"the map of {name} {where} and{phrase}, at step {motion.step}"


def motions_title(comparisons: list[Comparison]) -> str:
    """How each map moves beside its flow."""
    motions = {entry.name: motion_of(entry.result) for entry in runs.entries(comparisons)}
    return motion_sentence(list(motions), list(motions.values()))


def _projection_sentences(members: list[Member], plane: Plane | None) -> list[str]:
    """What the plane does not show, for the caption; nothing for a problem in two coordinates."""
    off_plane = [residual for _, residual in members if residual is not None]
    comparison = members[0][0].result
    if plane is None:
        return contour_sentence(comparison.problem)
    return residual_sentences(comparison, plane, off_plane, hollow=not all_in_plane(off_plane))


def _members(comparisons: list[Comparison], plane: Plane | None) -> list[Member]:
    entries = runs.entries(comparisons)
    return list(zip(entries, residuals(comparisons, plane) or [None] * len(entries), strict=True))


def _plane(comparisons: list[Comparison], plane: Any = None, origin: Any = None) -> Plane | None:
    """The plane of the picture; None for that of the two coordinates of the problem itself."""
    if comparisons[0].problem.dim == 1:
        raise InvalidValue(
            f"paths are drawn in a plane but {problem_name(comparisons[0])} has 1 coordinate; draw "
            "loss, convergence or phase, which work in any dimension."
        )
    return plane_of(comparisons, plane, origin)


def _paint_frame(
    entry: Entry, residual: Residual | None, plane: Plane | None, ax: Axes, ratio: float
) -> Panel:
    """Draw the paths of one optimizer into `ax`.

    - `residual`: what the plane does not show of its runs; None if the problem is the plane.
    - `ratio`: the height of the frame over its width.
    """
    comparison = entry.result
    points = tied(comparison, plane or PLANE)
    levels = draw_landscape(ax, comparison, window_of(comparison, points, ratio), plane)
    draw_tied(ax, points, entry)
    keys = tie_keys(points)
    if residual is not None and points.magnification == 1:
        keys += draw_hollow_dots(ax, entry, residual.off_contour(levels))
    fact = facts(comparison.optimizer, motion_of(comparison).fact)
    return Panel("", keys=keys, name=entry.name, color=entry.color, fact=fact)
