"""What pictures of runs share: dots and lines, where runs begin and fail, and the time axis."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ...runs.trajectory import Trajectory
from .axes import Array, dot_stride, set_linear_ticks
from .style import Look, artist_keys, ink, looks, mix_colors
from .words import failure, failure_tag, literal, run_names

MAX_DOTS = 100  # along one path


@runtime_checkable
class View(Protocol):
    """Two numbers of each point of phase space: the coordinates of a picture."""

    def points(self, y: Any, rows: Any) -> list[np.ndarray]:
        """The two coordinates of the points `y` in these rows, shape `(n,)` each."""
        ...

    def rates(self, y: Any, rows: Any) -> list[np.ndarray]:
        """Their time derivatives, where `y` is dy/dt."""
        ...


class Coordinates(NamedTuple):
    """The view of two coordinates of phase space, such as ("x", 0) and ("p", 0)."""

    horizontal: tuple[str, int]
    vertical: tuple[str, int]

    def points(self, y: Any, rows: Any) -> list[np.ndarray]:
        """The two coordinates of the points `y` in these rows, shape `(n,)` each."""
        return [np.asarray(getattr(y, field), float)[rows, i] for field, i in self]

    rates = points


class Entry(NamedTuple):
    """One result as it appears in a picture: its look, its name, and its key in `gid`s."""

    result: Any
    look: Look
    name: str
    key: str


def entries(results: Sequence[Any]) -> list[Entry]:
    """The entries of the results of one picture, in which no two look or read alike."""
    optimizers = [result.optimizer for result in results]
    columns = results, looks(optimizers), run_names(optimizers), artist_keys(optimizers)
    return [Entry(*entry) for entry in zip(*columns, strict=True)]


def draw_dots(ax: Axes, x: Array, y: Array, look: Look, gid: str, most: int = MAX_DOTS) -> Line2D:
    """The dots of a map, thinned to at most `most`."""
    style = marker_style(look)
    style |= {"color": look.color, "linestyle": "none"}
    (line,) = ax.plot(np.asarray(x), np.asarray(y), **style, zorder=4, gid=gid)
    line.set_markevery(dot_stride(len(x), most))
    return line


def draw_curve(ax: Axes, x: Array, y: Array, look: Look, gid: str) -> Line2D:
    """The line of a flow."""
    style = {"color": look.color, "linestyle": look.line}
    (line,) = ax.plot(np.asarray(x), np.asarray(y), **style, zorder=3, gid=gid)
    return line


def draw_arrow(
    ax: Axes, tail: Any, tip: Any, color: str, width: float, gid: str, zorder: int = 3
) -> None:
    """An arrow that ends exactly at its tip."""
    style: dict[str, Any] = {
        "arrowstyle": "-|>,head_length=0.5,head_width=0.22", "color": color, "linewidth": width,
        "shrinkA": 0, "shrinkB": 0, "mutation_scale": 14,
    }  # fmt: skip
    ax.annotate("", tuple(tip), xytext=tuple(tail), arrowprops=style, zorder=zorder, gid=gid)


def marker_style(look: Look) -> dict[str, Any]:
    """The marker of an optimizer.

    Its edge is darker than its face, because light edges would bleach a crowd of markers.
    """
    edge = mix_colors(look.color, ink(), 0.3)
    return {"marker": look.marker, "markeredgecolor": edge, "markeredgewidth": 0.4}


def view_points(run: Trajectory, view: View) -> list[np.ndarray]:
    """The finite beginning of a run, in the coordinates of the view."""
    return view.points(run.y, run.finite)


def mark_failure(ax: Axes, run: Trajectory, x: np.ndarray, y: np.ndarray, entry: Entry) -> None:
    """A cross at the last finite point of a run that failed."""
    if failure(run) and len(x):
        size = 1.6 * mpl.rcParams["lines.markersize"]
        style: dict[str, Any] = {
            "marker": "x", "markersize": size, "markeredgewidth": 0.3 * size, "linestyle": "none",
            "color": entry.look.color,
        }  # fmt: skip
        ax.plot(x[-1:], y[-1:], **style, zorder=5, gid=f"end of {run.kind} {entry.key}")


def mark_starts(ax: Axes, points: np.ndarray) -> list[Line2D]:
    """A ring around each point where runs begin, shape `(number, 2)`."""
    points = np.unique(points[np.isfinite(points).all(1)], axis=0)
    size = 1.9 * mpl.rcParams["lines.markersize"]
    style: dict[str, Any] = {
        "marker": "o", "markersize": size, "markerfacecolor": "none", "markeredgecolor": ink(),
        "markeredgewidth": 0.13 * size, "linestyle": "none",
    }  # fmt: skip
    return ax.plot(*points.T, **style, zorder=5, gid="start", label="start")


def legend_handles(entries: Sequence[Entry]) -> list[Line2D]:
    """One legend entry per optimizer: its dot on its line, its name, and whether a run failed."""
    handles = []
    for result, look, name, _ in entries:
        tag = failure_tag(getattr(result, "map", None), getattr(result, "flow", None))
        style = marker_style(look) | {"color": look.color, "linestyle": look.line}
        handles.append(Line2D([], [], **style, label=literal(name + tag)))
    return handles


def leading_run(result: Any) -> Trajectory:
    """The map of a result, or its flow if it has no map."""
    run = getattr(result, "map", None)
    return result.flow if run is None else run


def time_axis(results: Sequence[Any]) -> tuple[str, list[np.ndarray]]:
    """The label of the time axis, and the positions of the points of each result on it.

    The axis shows the time t if the runs last about equally long. Otherwise it shows the step k:
    time steps may differ a hundredfold, and the shorter runs would be crowded into a corner.
    """
    times = [np.asarray(r.t, float) for r in results]
    steps = [np.round(t / float(r.optimizer.h)) for t, r in zip(times, results, strict=True)]
    durations = [float(leading_run(r).t[-1]) for r in results]
    equal_counts = len({len(k) for k in steps}) == 1
    if max(durations) <= (1.2 if equal_counts else 5) * min(durations):
        return "time  t = k h", times
    return "step k,  at time t = k h", steps


def set_time_limits(ax: Axes, label: str, times: Sequence[np.ndarray]) -> None:
    """Limits and ticks of the time axis with this label: it is as long as the longest run."""
    last = max((t.max(initial=0) for t in times), default=0) or 1
    ax.set_xlim(-0.015 * last, 1.015 * last)
    if label.startswith("step"):
        ax.xaxis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10]))
    set_linear_ticks(ax.xaxis)
