"""Names beside their lines, where they cover nothing."""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes

from .measure import frame, points_per_pixel, size_of, width
from .style import readable


class Name(NamedTuple):
    """A line's name, and the points of the line, best first, beside which it may stand."""

    text: str
    color: str
    points: Sequence[tuple[Any, Any]]


def write(ax: Axes, names: Sequence[Name]) -> bool:
    """Each name beside its line: in the right margin if all lines end there, else within the frame.

    If one of them finds no room that is free of lines and names, none is written.
    """
    if not names:
        return False
    left, right = ax.get_xlim()
    reach = min((name.points[0][0] - left) / (right - left) for name in names)
    return (
        _in_margin(ax, names)
        if reach > 0.97 and ax.get_xscale() == "linear"
        else _within(ax, names)
    )


def _write(
    ax: Axes, name: Name, point: tuple[Any, Any], offset: tuple[Any, Any], tied: bool, **more: Any
) -> None:
    line = {
        "arrowstyle": "-",
        "color": name.color,
        "lw": 0.8,
        "shrinkA": 1,
        "shrinkB": 3,
        "relpos": (offset[0] < 0, 0.5),
    }
    ax.annotate(
        name.text, point, xytext=offset, textcoords="offset points", va="center", ha="left", color=readable(name.color),
        fontsize=size_of("legend.fontsize"), gid=f"name {name.text}", arrowprops=line if tied else None,
        annotation_clip=False, **more,
    )  # fmt: skip


def _in_margin(ax: Axes, names: Sequence[Name]) -> bool:
    """In one column; names of neighbouring ends are moved apart and tied to them by a line."""
    size, height = size_of("legend.fontsize"), frame(ax).height
    comparison = 1.4 * size / height
    if comparison * len(names) > 1:
        return False
    ends = ax.transData.transform([name.points[0] for name in names])
    own = np.clip(ax.transAxes.inverted().transform(ends)[:, 1], 0, 1)
    order = np.argsort(own, kind="stable")
    for i, seat in zip(order, apart(own[order], comparison), strict=True):
        tied = bool(abs(seat - own[i]) > 0.3 * comparison)
        offset = (1.7 * size if tied else 0.85 * size, (seat - own[i]) * height)
        _write(ax, names[i], (1, own[i]), offset, tied, xycoords="axes fraction")
    return True


def apart(places: np.ndarray, comparison: float) -> np.ndarray:
    """Rising places in [0, 1], moved as little as keeps neighbours a `gap` apart.

    >>> apart(np.array([0.5, 0.5, 0.9]), 0.2).round(2).tolist()
    [0.4, 0.6, 0.9]
    """
    up, down = places.copy(), places.copy()
    for i in range(1, len(up)):
        up[i] = max(up[i], up[i - 1] + comparison)
    for i in range(len(down) - 2, -1, -1):
        down[i] = min(down[i], down[i + 1] - comparison)
    seats = (up + down) / 2
    seats[0] = max(seats[0], 0)
    for i in range(1, len(seats)):
        seats[i] = max(seats[i], seats[i - 1] + comparison)
    seats[-1] = min(seats[-1], 1)
    for i in range(len(seats) - 2, -1, -1):
        seats[i] = min(seats[i], seats[i + 1] - comparison)
    return seats


def _within(ax: Axes, names: Sequence[Name]) -> bool:
    """Each at the first of its places that is free; the order in which they choose is tried through."""
    taken, inside = _obstacles(ax), frame(ax)
    for order in itertools.islice(itertools.permutations(range(len(names))), 24):
        chosen: dict[int, tuple[tuple[float, float], tuple[float, float], bool]] = {}
        boxes = taken
        for i in order:
            for point, offset, tied, box in _places(ax, names[i]):
                free = not ((box[:2] < boxes[:, 2:]) & (box[2:] > boxes[:, :2])).all(1).any()
                if free and (box[:2] >= inside.min).all() and (box[2:] <= inside.max).all():
                    chosen[i] = point, offset, tied
                    boxes = np.concatenate([boxes, box[None]])
                    break
            else:
                break
        if len(chosen) == len(names):
            for i, (point, offset, tied) in sorted(chosen.items()):
                _write(ax, names[i], point, offset, tied)
            return True
    return False


def _places(ax: Axes, name: Name):
    """To the right of a point, to the left, above and below; then the same a line further off, tied by a line."""
    size = size_of("legend.fontsize")
    wide, high = width(name.text, size), 1.15 * size
    near = [
        (9, 0),
        (9, -0.7),
        (9, 0.7),
        (7, -1.1),
        (-wide - 7, 1.1),
        (-wide - 9, 0),
        (-wide / 2, 1.3),
        (-wide / 2, -1.3),
    ]
    far = [(20, -1.6), (-wide - 20, 1.6), (20, 1.6), (-wide - 20, -1.6)]
    for sides, tied in ((near, False), (far, True)):
        for point, (dx, dy) in itertools.product(name.points, sides):
            x, y = ax.transData.transform(point) * points_per_pixel(ax) + (dx, dy * high)
            yield point, (dx, dy * high), tied, np.array([x, y - high / 2, x + wide, y + high / 2])


def _obstacles(ax: Axes) -> np.ndarray:
    """Small boxes (left, bottom, right, top) along every line that has been drawn, and around every word, in points."""
    scale = points_per_pixel(ax)
    boxes = [np.empty((0, 4))] + [
        np.atleast_2d(text.get_window_extent().extents) * scale for text in ax.texts
    ]
    for line in ax.lines:
        if line.get_transform() != ax.transData:
            continue
        with np.errstate(all="ignore"):
            seen = ax.transData.transform(np.asarray(line.get_xydata(), float)) * scale
        seen = seen[np.isfinite(seen).all(1)]
        if line.get_linestyle() != "None" and len(seen) > 1:
            pairs = zip(seen, seen[1:], strict=False)
            seen = np.concatenate(
                [np.linspace(a, b, min(200, 2 + int(np.hypot(*(b - a)) / 4))) for a, b in pairs]
            )
        half = 0.5 * mpl.rcParams["lines.markersize"]
        boxes.append(np.concatenate([seen - half, seen + half], 1))
    return np.concatenate(boxes)
