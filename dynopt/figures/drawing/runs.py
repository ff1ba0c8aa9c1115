"""What pictures of runs share: who is drawn, dots and lines, where runs begin and end, the clock on the axis."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ...analysis import Comparison
from ...runs.trajectory import Trajectory
from ..plane.projection import Plane
from .axes import every, mark_plainly
from .smooth import SmoothLine, velocity
from .style import Look, ink, keys, looks, mixed
from .words import failure, failure_tag, names, plain

MOST = 100  # dots along one path


class Coordinates(NamedTuple):
    """Two coordinates of phase space, such as ("x", 0) and ("p", 0)."""

    across: tuple[str, int]
    up: tuple[str, int]

    def points(self, y: Any, rows: Any) -> list[np.ndarray]:
        """Where these points of phase space are seen."""
        return [np.asarray(getattr(y, name), float)[rows, i] for name, i in self]

    rates = points


View = Coordinates | Plane


class Entry(NamedTuple):
    """One result as it appears in a picture: its look, its name in words, its key in the names of artists."""

    result: Any
    look: Look
    name: str
    key: str


def entries(results: Sequence[Any]) -> list[Entry]:
    optimizers = [result.optimizer for result in results]
    return [
        Entry(*each)
        for each in zip(
            results, looks(optimizers), names(optimizers), keys(optimizers), strict=True
        )
    ]


def dots(ax: Axes, x: np.ndarray, y: np.ndarray, look: Look, gid: str, most: int = MOST) -> Line2D:
    """The map."""
    (line,) = ax.plot(x, y, **marks(look), color=look.color, linestyle="none", zorder=4, gid=gid)
    line.set_markevery(every(len(x), most))
    return line


def curve(ax: Axes, x: np.ndarray, y: np.ndarray, look: Look, gid: str) -> Line2D:
    """The flow."""
    (line,) = ax.plot(x, y, color=look.color, linestyle=look.line, zorder=3, gid=gid)
    return line


def both(ax: Axes, x: np.ndarray, y: np.ndarray, look: Look, gid: str, stride: int) -> Line2D:
    """What is measured between map and flow."""
    (line,) = ax.plot(x, y, **marks(look), color=look.color, linestyle=look.line, zorder=4, gid=gid)
    line.set_markevery(stride)
    return line


def arrow(ax: Axes, tail: Any, tip: Any, color: str, wide: float, gid: str, z: int = 3) -> None:
    """From one point to another, to the very tip."""
    style: dict[str, Any] = {
        "arrowstyle": "-|>,head_length=0.5,head_width=0.22",
        "color": color,
        "linewidth": wide,
    }
    style |= {"shrinkA": 0, "shrinkB": 0, "mutation_scale": 14}
    ax.annotate("", tuple(tip), xytext=tuple(tail), arrowprops=style, zorder=z, gid=gid)


def marks(look: Look) -> dict[str, Any]:
    """A crowd of dots is a dark band in their own colour: edges as light as the ground would bleach it."""
    return {
        "marker": look.marker,
        "markeredgecolor": mixed(look.color, ink(), 0.3),
        "markeredgewidth": 0.4,
    }


def orbit(ax: Axes, each: Entry, view: View) -> list[Line2D]:
    """Flow and map in a plane."""
    return [flow_of(ax, each, view), map_of(ax, each, view)]


def flow_of(ax: Axes, each: Entry, view: View, **style: Any) -> Line2D:
    """The flow."""
    comparison, look, _, key = each
    x, y = at(comparison.flow, view)
    rate = np.stack(view.rates(velocity(comparison), comparison.flow.finite), 1)
    t = np.asarray(comparison.flow.t, float)[comparison.flow.finite]
    corners = np.array([ax.get_xlim(), ax.get_ylim()]).T
    style = {"color": look.color, "linestyle": look.line, "zorder": 3, "gid": f"flow {key}"} | style
    flow = SmoothLine(np.stack([x, y], 1), rate, t, corners, **style)
    ax.add_line(flow)
    mark_end(ax, comparison.flow, x, y, each)
    return flow


def map_of(ax: Axes, each: Entry, view: View, most: int = MOST) -> Line2D:
    """The map."""
    x, y = at(each.result.map, view)
    map = dots(ax, x, y, each.look, f"map {each.key}", most)
    mark_end(ax, each.result.map, x, y, each)
    return map


def counts(comparisons: Sequence[Comparison]) -> list[int]:
    """How many dots each map has."""
    return [int(comparison.map.finite.sum()) for comparison in comparisons]


def at(run: Trajectory, view: View) -> list[np.ndarray]:
    """Where the finite beginning of a run is seen."""
    return view.points(run.y, run.finite)


def mark_end(ax: Axes, run: Trajectory, x: np.ndarray, y: np.ndarray, each: Entry) -> None:
    """A cross at the last finite point of a run that failed."""
    if failure(run) and len(x):
        size = 1.6 * mpl.rcParams["lines.markersize"]
        style: dict[str, Any] = {
            "marker": "x",
            "markersize": size,
            "markeredgewidth": 0.3 * size,
            "linestyle": "none",
            "zorder": 5,
        }
        ax.plot(x[-1:], y[-1:], color=each.look.color, gid=f"end of {run.kind} {each.key}", **style)


def mark_starts(ax: Axes, points: np.ndarray) -> list[Line2D]:
    """A ring around each point where runs begin, shape `(number, 2)`."""
    points = np.unique(points[np.isfinite(points).all(1)], axis=0)
    size = 1.9 * mpl.rcParams["lines.markersize"]
    style: dict[str, Any] = {
        "marker": "o",
        "markersize": size,
        "markerfacecolor": "none",
        "markeredgecolor": ink(),
        "linestyle": "none",
    }
    return ax.plot(
        *points.T, **style, markeredgewidth=0.13 * size, zorder=5, gid="start", label="start"
    )


def handles(entries: Sequence[Entry]) -> list[Line2D]:
    """One entry per optimizer: its dot on its line, its name, and whether it failed; the title says where."""
    lines = []
    for result, look, name, _ in entries:
        said = name + failure_tag(getattr(result, "map", None), getattr(result, "flow", None))
        lines.append(
            Line2D([], [], **marks(look), color=look.color, linestyle=look.line, label=plain(said))
        )
    return lines


def leading(result: Any) -> Trajectory:
    """Its map, or its flow where that alone was run."""
    run = getattr(result, "map", None)
    return result.flow if run is None else run


def time_axis(results: Sequence[Any]) -> tuple[str, list[np.ndarray]]:
    """The label of the axis, and where each result's points lie on it.

    Time, if the runs last about equally long. Otherwise the step: clocks may differ a hundredfold, and the shorter runs
    would be crowded into a corner.
    """
    times = [np.asarray(r.t, float) for r in results]
    steps = [np.round(t / float(r.optimizer.h)) for t, r in zip(times, results, strict=True)]
    lasting = [float(leading(r).t[-1]) for r in results]
    even = len({len(k) for k in steps}) == 1
    if max(lasting) <= (1.2 if even else 5) * min(lasting):
        return "time  t = k h", times
    return "step k,  at time t = k h", steps


def span(ax: Axes, time_axis: str, times: Sequence[np.ndarray]) -> None:
    """The horizontal axis: as long as the longest run."""
    last = max((t.max(initial=0) for t in times), default=0) or 1
    ax.set_xlim(-0.015 * last, 1.015 * last)
    if time_axis.startswith("step"):
        ax.xaxis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10]))
    mark_plainly(ax.xaxis)
