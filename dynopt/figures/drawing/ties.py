"""Map and flow of one optimizer in one plane, and ties that join them at equal times."""

from collections.abc import Callable
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch

from ...analysis import Comparison
from . import legends
from .axes import LARGEST, mark_exit
from .beside import along, write_beside
from .measure import frame_box, on_paper, stroke
from .motion import Motion, leaving_step, motion_of
from .notes import Line, write_note
from .runs import Entry, View, mark_failure
from .style import background, ink
from .words import format_number

APART = 8.0  # points from one dot to the next
MOST_TIES = 12
SHORTEST = 4.0  # points: a shorter tie is hidden by its dot
HIDDEN = 3.0  # points from the curve of the flow: a tie so near to it is drawn as an arc
BOW = 0.38  # of its length: how far an arc leaves its chord
SMALL, MAGNIFIED = 0.02, 0.1  # of the diagonal of the paths: errors to magnify, and up to where
FACTORS = (5, *(digit * 10**power for power in range(1, 7) for digit in (1, 2, 5)))
REACH = 20  # times the size of the frame: farther out a line ends


class Tied(NamedTuple):
    """The points of one comparison in a plane.

    - `map`: its finite iterates, shape `(n, 2)`, moved away from the flow by the magnification.
    - `flow`: the flow at the same times, as far as it is finite, shape `(m, 2)`.
    - `curve`: the flow at many more times, shape `(N, 2)`.
    - `error`: the global error at the times of both, which a tie stands for; if the axes have two
      units, the distance of the two points in parts of the width and the height of the paths.
    - `magnification`: how many times larger the distance from the flow is drawn; mostly 1.
    """

    map: np.ndarray
    flow: np.ndarray
    curve: np.ndarray
    error: np.ndarray
    magnification: int

    @property
    def longest(self) -> int | None:
        """The step with the largest error; None if there is no error above 0."""
        return int(np.argmax(self.error)) if (self.error > 0).any() else None


def tied(comparison: Comparison, view: View, one_unit: bool = True, magnify: bool = True) -> Tied:
    """The points of a comparison in the plane of the view.

    Errors that are too small to be visible are magnified, as in a drawing of a deformed bridge.

    - `one_unit`: whether both axes of the plane have the unit of x.
    - `magnify`: whether errors are magnified at all.
    """
    map, flow, curve = (
        np.clip(np.stack(view.points(run.y, run.finite), 1), -LARGEST, LARGEST)
        for run in (comparison.map, comparison.flow, comparison.curve)
    )
    left = leaving_step(comparison)
    map = map if left is None else map[: left + 1]
    both = min(len(map), len(flow))
    error = np.nan_to_num(np.asarray(comparison.error, float)[:both])
    magnification, nothing = 1, np.zeros((int(not both), 2))
    size = np.ptp(np.concatenate([map, curve, nothing]), axis=0)
    unit = np.ones(2) if one_unit else np.where(size > 0, size, 1.0)
    if not one_unit:
        error = np.hypot(*((map[:both] - flow[:both]) / unit).T)
    if magnify and both and left is None and comparison.map.status == comparison.flow.status == 0:
        diagonal = float(np.hypot(*(size / unit)))
        visible = np.hypot(*((map - flow) / unit).T).max()
        if 0 < visible < SMALL * diagonal:
            allowed = [f for f in FACTORS if f * visible <= MAGNIFIED * diagonal]
            magnification = max(allowed, default=1)
            map = flow + magnification * (map - flow)
    return Tied(map, flow, curve, error, magnification)


def draw_tied(
    ax: Axes, points: Tied, entry: Entry, number: Callable[[int], str] | None = None
) -> None:
    """The flow as a line in ink, the map as coloured dots on a thread, and ties at equal times.

    The limits of `ax` must be set, and its frame have its final size: what is drawn depends on how
    far apart points are on paper. The longest tie is bold, ends in a ring on the flow, and carries
    its number.

    - `number`: the number of the tie of a step, in words; by default its error.
    """
    color, key = entry.color, entry.key
    near = _up_to_reach(ax, points.curve)
    ax.plot(*near.T, color=ink(), zorder=3, gid=f"flow {key}", solid_capstyle="round")
    if not len(points.map):
        return
    thread = _up_to_reach(ax, points.map)
    (line,) = ax.plot(*thread.T, color=color, alpha=0.45, zorder=2.5, gid=f"thread {key}")
    line.set_linewidth(stroke(0.5))
    motion = motion_of(entry.result)
    if entry.result.map.status or motion.kind == "leaves":
        line.set(alpha=0.8, linewidth=stroke(0.9))  # it shows the way out
        mark_exit(ax, line, color)
    drawn = _draw_ties(
        ax, points, color, key, number or (lambda k: format_number(points.error[k], 2))
    )
    _write_exit(ax, line, motion, color, drawn)
    solid = points.magnification == 1
    (dots,) = ax.plot(
        *thread.T, "o", color=color, zorder=4, gid=f"map {key}", linestyle="none",
        markerfacecolor=color if solid else background(),
        markeredgecolor=background() if solid else color,
        markeredgewidth=stroke(0.7 if solid else 1.1),
    )  # fmt: skip
    dots.set_markevery(list(apart(on_paper(ax, thread), dot_distance())))
    mark_failure(ax, entry.result.map, thread[:, 0], thread[:, 1], entry)
    if not solid:
        words = f"error drawn ×{points.magnification}"
        write_note(ax, [Line(words, color, f"magnified {key}")], [near, thread])


def dot_distance() -> float:
    """Points from one dot to the next: `APART`, or more if dots are large."""
    return max(APART, 1.6 * float(mpl.rcParams["lines.markersize"]))


def apart(places: np.ndarray, distance: float) -> np.ndarray:
    """The indices of places of which each is at least `distance` from the one kept before."""
    kept = [0]
    for i, place in enumerate(places):
        if np.hypot(*(place - places[kept[-1]])) >= distance:
            kept.append(i)
    return np.array(kept)


def _up_to_reach(ax: Axes, points: np.ndarray) -> np.ndarray:
    """The points up to the first that lies far outside of the frame, which is moved nearer."""
    corners = np.array([ax.get_xlim(), ax.get_ylim()]).T
    middle, reach = corners.mean(0), REACH * np.ptp(corners, axis=0)
    far = (np.abs(points - middle) > reach).any(1)
    if not far.any():
        return points
    end = int(far.argmax())
    way = points[end] - points[max(end - 1, 0)]
    shorter = min(1.0, float((reach / np.maximum(np.abs(way), 1e-300)).min()))
    return np.concatenate([points[:end], points[max(end - 1, 0)][None] + shorter * way])


def _draw_ties(
    ax: Axes, points: Tied, color: str, key: str, number: Callable[[int], str]
) -> np.ndarray:
    """At most twelve ties, evenly in time, and the longest in bold; returns what is covered."""
    both = len(points.error)
    ends, starts = on_paper(ax, points.map[:both]), on_paper(ax, points.flow[:both])
    lengths = np.hypot(*(ends - starts).T)
    longest, in_frame = bold_step(ax, points), _in_frame(ax, points)
    curve = on_paper(ax, _up_to_reach(ax, points.curve))
    for k in _chosen(starts, ends, lengths, in_frame & (lengths > SHORTEST)):
        if k != longest:
            _tie(ax, points, k, _bow(starts[k], ends[k], curve), f"tie {key}",
                 color=color, linewidth=stroke(0.9), alpha=0.8, zorder=3.5)  # fmt: skip
    drawn = along(ax, _up_to_reach(ax, points.curve), _up_to_reach(ax, points.map))
    if longest is None or lengths[longest] <= SHORTEST:
        return drawn
    bow = _bow(starts[longest], ends[longest], curve)
    _tie(ax, points, longest, bow, f"longest tie {key}", color=color, linewidth=stroke(2.6),
         zorder=3.7)  # fmt: skip
    draw_ring(ax, points.flow[longest], f"ring {key}")
    chord = ends[longest] - starts[longest]
    middle = (starts[longest] + ends[longest]) / 2 + bow / 2 * np.array([chord[1], -chord[0]])
    tie = starts[longest] + np.linspace(0, 1, 20)[:, None] * chord
    drawn = np.concatenate([drawn, tie, tie + middle - tie.mean(0)])  # and its arc
    return write_beside(
        ax, number(longest), middle, drawn, color, f"number {key}", fontweight="bold"
    )


def draw_ring(ax: Axes, at: Any, gid: str) -> None:
    """A small ring in ink around one point of the flow."""
    ax.plot(
        *at, "o", color=ink(), markerfacecolor=background(), markersize=stroke(4.6),
        markeredgewidth=stroke(1.2), zorder=5, gid=gid,
    )  # fmt: skip


def bold_step(ax: Axes, points: Tied) -> int | None:
    """The step whose tie is bold: that of the longest, or of a map that leaves the last in view."""
    in_frame = _in_frame(ax, points)
    if points.longest is None or in_frame[points.longest]:
        return points.longest
    return int(np.flatnonzero(in_frame)[-1]) if in_frame.any() else None


def _in_frame(ax: Axes, points: Tied) -> np.ndarray:
    """Which iterates with a tie lie in the frame."""
    low, high = np.array([ax.get_xlim(), ax.get_ylim()]).T
    map = points.map[: len(points.error)]
    return ((low <= map) & (map <= high)).all(1)


def _chosen(
    starts: np.ndarray, ends: np.ndarray, lengths: np.ndarray, visible: np.ndarray
) -> list[int]:
    """The steps whose ties are drawn: they do not touch, and they are evenly spread over time."""
    steps = np.flatnonzero(visible)
    if not steps.size:
        return []
    middles = (starts + ends)[steps] / 2
    steps = steps[apart(middles, max(7.0, 0.55 * float(np.median(lengths[steps]))))]
    evenly = np.linspace(0, len(steps) - 1, min(len(steps), MOST_TIES)).round().astype(int)
    return steps[np.unique(evenly)].tolist()


def _bow(start: np.ndarray, end: np.ndarray, curve: np.ndarray) -> float:
    """How much a tie bows, because a straight one would lie on the curve of the flow."""
    inner = start + np.linspace(0.2, 0.8, 7)[:, None] * (end - start)
    distances = np.hypot(*(curve[None] - inner[:, None]).T).min(0)
    return BOW if (distances < HIDDEN).mean() > 0.6 else 0.0


def _write_exit(ax: Axes, line: Line2D, motion: Motion, color: str, drawn: np.ndarray) -> None:
    """What happens, beside the arrow at which the thread leaves the frame."""
    arrows = [one for one in ax.lines if one.get_gid() == f"exit {line.get_gid()}"]
    if not arrows or motion.kind != "leaves":
        return
    ((x, y),) = np.asarray(arrows[0].get_xydata())
    box, size = frame_box(ax), 2.4 * line.get_markersize()
    at = np.array([box.x0 + x * box.width, box.y0 + y * box.height])
    arrow = at + size * (np.mgrid[-1:1:9j, -1:1:9j].reshape(2, -1).T)
    drawn = np.concatenate([drawn, arrow])
    words = f"leaves at step {motion.step}"
    write_beside(ax, words, at, drawn, color, f"leaves {line.get_gid()}", fontweight="bold")


def _tie(ax: Axes, points: Tied, k: int, bow: float, gid: str, **style: Any) -> None:
    tie = FancyArrowPatch(
        points.flow[k], points.map[k], arrowstyle="-", shrinkA=0, shrinkB=0,
        connectionstyle=f"arc3,rad={bow}", gid=gid, **style,
    )  # fmt: skip
    ax.add_patch(tie)


def draw_hollow_dots(ax: Axes, entry: Entry, which: np.ndarray) -> list[Line2D]:
    """Rings in place of some dots; returns their key. The contours there are not their losses."""
    dots = next((line for line in ax.lines if line.get_gid() == f"map {entry.key}"), None)
    if dots is None:
        return []
    kept: Any = dots.get_markevery()
    drawn = [k for k in kept if k < len(which) and which[k]]
    if not drawn:
        return []
    style = {"marker": "o", "linestyle": "none", "color": entry.color, "zorder": 4.1}
    style |= {"markerfacecolor": background(), "markeredgewidth": 1.0}
    ax.plot(*np.asarray(dots.get_xydata())[drawn].T, **style, gid=f"off map {entry.key}")
    hollow = {"markerfacecolor": background(), "markeredgewidth": 1.0}
    return [legends.key("off its contour", marker="o", linestyle="none", **hollow)]


def tie_keys(points: Tied) -> list[Line2D]:
    """The keys of what `draw_tied` draws."""
    is_magnified = points.magnification > 1
    hollow = {"markerfacecolor": background()} if is_magnified else {}
    return [
        legends.key(
            "map" + ", magnified" * is_magnified, marker="o", linewidth=stroke(0.5), **hollow
        ),
        legends.key("flow", color=ink()),
        legends.key("tie: equal times", linewidth=stroke(0.9)),
        legends.key("longest tie", linewidth=stroke(2.6)),
    ]
