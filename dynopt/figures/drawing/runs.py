"""What pictures of runs share: names and colours, where runs begin and fail, their steps."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ...files import printable
from ...runs.trajectory import Trajectory
from .axes import set_linear_ticks
from .labels import spread
from .style import (
    COLORS,
    artist_keys,
    background,
    colors_of,
    ink,
    mix_colors,
    numbered,
    readable_color,
)
from .words import failure, run_names


@runtime_checkable
class View(Protocol):
    """Two numbers of each point of phase space: the coordinates of a picture."""

    def points(self, y: Any, rows: Any) -> list[np.ndarray]:
        """The two coordinates of the points `y` in these rows, shape `(n,)` each."""
        ...


class Coordinates(NamedTuple):
    """The view of two coordinates of phase space, such as ("x", 0) and ("p", 0)."""

    horizontal: tuple[str, int]
    vertical: tuple[str, int]

    def points(self, y: Any, rows: Any) -> list[np.ndarray]:
        """The two coordinates of the points `y` in these rows, shape `(n,)` each."""
        return [np.asarray(getattr(y, field), float)[rows, i] for field, i in self]


class Entry(NamedTuple):
    """One result as it appears in a picture: its colour, its name, and its key in `gid`s."""

    result: Any
    color: str
    name: str
    key: str


def entries(results: Sequence[Any]) -> list[Entry]:
    """The entries of the results of one picture, in which no two look or read alike."""
    optimizers = [result.optimizer for result in results]
    columns = results, colors_of(optimizers), run_names(optimizers), artist_keys(optimizers)
    return [Entry(*entry) for entry in zip(*columns, strict=True)]


def entries_by_problem(results: Sequence[Any]) -> list[Entry]:
    """The entries of results that may be of several problems, named by what differs.

    Results of one problem have the names and the colours of their optimizers. Results of several
    problems have the names of these, without the beginning that all names share, and the colours of
    pictures in turn; if their optimizers differ, too, these are named first. A result whose
    `optimizer` is None belongs to a position that no optimizer has reached.
    """
    optimizers = [result.optimizer for result in results]
    problems = [result.problem.name for result in results]
    if len(set(problems)) == 1 and None not in optimizers:
        return entries(results)
    names = _without_common_words(problems)
    if len(set(map(str, optimizers))) > 1:
        firsts = ["" if one is None else f"{one.name}, " for one in optimizers]
        names = [first + name for first, name in zip(firsts, names, strict=True)]
    colors = [readable_color(COLORS[i % len(COLORS)]) for i in range(len(names))]
    keys = numbered([printable(name.lower()) for name in names])
    return [Entry(*entry) for entry in zip(results, colors, numbered(names), keys, strict=True)]


def _without_common_words(names: Sequence[str]) -> list[str]:
    """Names of problems as words, without those with which all begin; at least one is left."""
    words = [name.split("_") for name in names]
    shared = 0
    while len({tuple(one[: shared + 1]) for one in words}) == 1 < len(set(names)):
        shared += 1
    return [" ".join(one[shared:] or one) for one in words]


def distinct_in_grey(entries: Sequence[Entry]) -> list[Entry]:
    """The entries of lines in one frame, in colours that a picture without colours tells apart."""
    shades = shades_in_grey([entry.color for entry in entries])
    return [entry._replace(color=shade) for entry, shade in zip(entries, shades, strict=True)]


def shades_in_grey(colors: Sequence[str]) -> list[str]:
    """The colours, lighter or darker where two are alike in grey."""
    low, high = (0.45, 0.92) if _grey(background()) < 0.5 else (0.2, 0.66)
    greys = (np.array([_grey(color) for color in colors]) - low) / (high - low)
    order, spacing = np.argsort(greys, kind="stable"), min(0.22, 1 / max(len(colors) - 1, 1))
    greys[order] = spread(np.clip(greys[order], 0, 1), spacing) * (high - low) + low
    return [
        min(
            (
                mix_colors(color, end, share / 50)
                for end in ("black", "white")
                for share in range(50)
            ),
            key=lambda shade, grey=grey: abs(_grey(shade) - grey),
        )
        for color, grey in zip(colors, greys, strict=True)
    ]


def _grey(color: str) -> float:
    """The grey that a picture without colours has in its place, from 0 to 1 (ITU-R BT.601)."""
    return float(np.dot((0.299, 0.587, 0.114), to_rgb(color)))


def draw_arrow(
    ax: Axes, tail: Any, tip: Any, color: str, width: float, gid: str, zorder: int = 3
) -> None:
    """An arrow that ends exactly at its tip."""
    style: dict[str, Any] = {
        "arrowstyle": "-|>,head_length=0.5,head_width=0.22", "color": color, "linewidth": width,
        "shrinkA": 0, "shrinkB": 0, "mutation_scale": 14,
    }  # fmt: skip
    ax.annotate("", tuple(tip), xytext=tuple(tail), arrowprops=style, zorder=zorder, gid=gid)


def view_points(run: Trajectory, view: View) -> list[np.ndarray]:
    """The finite beginning of a run, in the coordinates of the view."""
    return view.points(run.y, run.finite)


def mark_failure(ax: Axes, run: Trajectory, x: np.ndarray, y: np.ndarray, entry: Entry) -> None:
    """A cross at the last finite point of a run that failed."""
    if failure(run) and len(x):
        size = 1.6 * mpl.rcParams["lines.markersize"]
        style: dict[str, Any] = {
            "marker": "x", "markersize": size, "markeredgewidth": 0.3 * size, "linestyle": "none",
            "color": entry.color,
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


def leading_run(result: Any) -> Trajectory:
    """The map of a result, or its flow if it has no map."""
    run = getattr(result, "map", None)
    return result.flow if run is None else run


def set_step_limits(ax: Axes, steps: Sequence[np.ndarray]) -> None:
    """Limits and ticks of an axis of steps: it is as long as the longest run."""
    last = max((k.max(initial=0) for k in steps), default=0) or 1
    ax.set_xlim(-0.015 * last, 1.015 * last)
    ax.xaxis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10]))
    set_linear_ticks(ax.xaxis)
