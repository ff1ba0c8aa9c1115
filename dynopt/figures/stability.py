"""The stability map: which learning rates a map can bear, and where it is fastest."""

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.lines import Line2D

from ..analysis import Stability
from .drawing.axes import linear_view, mark_plainly
from .drawing.labels import Name
from .drawing.measure import frame, size_of, width
from .drawing.picture import Panel, Picture, drawn, single
from .drawing.style import field, ground, ink, looks, mixed, quiet
from .drawing.words import number, plain

LEVELS = (0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)  # of the radius, which have a line


def draw(
    results: Stability | list[Stability], *, ax: Axes | None = None, style: str = "notebook"
) -> Picture | Axes:
    """The spectral radius over learning rate × curvature and one other option, with its boundary and its optimum.

    The darker, the slower; contours are labelled with the radius, by which each step multiplies what is left of the
    way. Beyond the boundary, where the radius is above 1, the ground is hatched.

    - `results`: one of `analysis.stability`. - `ax`: axes to draw in, instead of a new `Picture`. - `style`:
      "notebook", "paper" or "slides".
    """
    return drawn(paint, describe, [single(results, Stability, "analysis.stability")], ax, style)


def describe(results: Stability | list[Stability]) -> str:
    """The picture in one sentence with its numbers."""
    seen = single(results, Stability, "analysis.stability")
    over = f"{seen.option} from {number(seen.value[0])} to {number(seen.value[-1])}"
    rates = seen.learning_rate * seen.curvature
    what = f"Spectral radius over learning rate × curvature from {number(rates[0])} to {number(rates[-1])} and {over}"
    return f"{what}: {_claim(seen)}; {_least(seen)}."


def paint(ax: Axes, results: list[Stability]) -> Panel:
    """Draw in the axes, and say what stands around them."""
    (seen,) = results
    (own,) = looks([seen.optimizer])
    rates = seen.learning_rate * seen.curvature
    ax.set_xlim(_span(rates))
    ax.set_ylim(_span(seen.value))
    ax.grid(False)
    _field(ax, rates, seen)
    hatched = _hatch(ax, seen)
    line: dict[str, Any] = {"linewidth": 1.3 * mpl.rcParams["lines.linewidth"], "zorder": 4}
    (edge,) = ax.plot(
        seen.boundary * seen.curvature, seen.value, color=ink(), gid="boundary", **line
    )
    (best,) = ax.plot(
        rates, seen.optimal, color=own.color, linestyle=own.line, gid="optimal", **line
    )
    edge.set_label("critical: radius 1")
    best.set_label(plain(f"fastest {seen.option}"))
    mark_plainly(ax.xaxis)
    ax.set_xlabel("learning rate × curvature  η λ")
    ax.set_ylabel(plain(seen.option))
    ends = [
        Name(str(one.get_label()), str(one.get_color()), _spots(ax, one)) for one in (best, edge)
    ]
    text = _claim(seen)
    return Panel(
        title=plain(text[:1].upper() + text[1:]),
        names=[edge, best],
        keys=[hatched],
        ends=ends if all(name.points for name in ends) else [],
        caption=_caption(seen),
    )


def _span(axis: np.ndarray) -> tuple[float, float]:
    """From end to end, or around a single point."""
    return (float(axis[0]), float(axis[-1])) if len(axis) > 1 else linear_view([axis])


def _field(ax: Axes, rates: np.ndarray, seen: Stability) -> None:
    """The radius where it is below 1, with a line at each level."""
    levels = [level for level in LEVELS if np.nanmin(seen.radius) < level < np.nanmax(seen.radius)]
    if min(seen.radius.shape) < 2 or not levels:
        return
    tone: dict[str, Any] = {"cmap": field(), "vmin": levels[0] - 0.15, "vmax": 1.02, "zorder": 1}
    ax.contourf(rates, seen.value, seen.radius, levels=[0, *levels, 1], **tone).set_gid("field")
    pen: dict[str, Any] = {"colors": [mixed(ink(), ground(), 0.45)], "linewidths": 0.6, "zorder": 2}
    lines = ax.contour(rates, seen.value, seen.radius, levels=levels, **pen)
    lines.set_gid("contours")
    size = 0.85 * size_of("legend.fontsize")
    room = 2 * width("0.95", size) / frame(ax).width * (rates[-1] - rates[0])
    places = [place for level in levels if (place := _plateau(rates, seen, level, room))]
    if places:
        ax.clabel(
            lines, fmt=number, fontsize=size, colors=[quiet()], inline_spacing=3, manual=places
        )


def _plateau(
    rates: np.ndarray, seen: Stability, level: float, room: float
) -> tuple[float, float] | None:
    """The middle of the row along which the radius stays nearest to the level, if that leaves room for its number."""
    near = np.abs(seen.radius - level) < 0.01
    row = int(np.argmax(near.sum(1)))
    along = rates[near[row]]
    return (
        (float(along.mean()), float(seen.value[row]))
        if along.size and np.ptp(along) > room
        else None
    )


def _hatch(ax: Axes, seen: Stability) -> PolyCollection:
    """The ground to the right of the boundary."""
    right = 2 * ax.get_xlim()[1]
    edge = np.clip(np.nan_to_num(seen.boundary * seen.curvature, nan=0.0), 0, right)
    look: dict[str, Any] = {
        "facecolor": ground(),
        "edgecolor": mixed(ink(), ground(), 0.8),
        "hatch": "//",
        "linewidth": 0,
    }
    return ax.fill_betweenx(
        seen.value, edge, right, label="unstable: radius above 1", zorder=2, gid="unstable", **look
    )


def _spots(ax: Axes, line: Line2D) -> list[tuple[float, float]]:
    """Points of a line within the view where its name may stand, the middle first."""
    x, y = (np.asarray(values, float) for values in line.get_data())
    (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
    inside = np.flatnonzero((x > left) & (x < right) & (y > low) & (y < high))
    shares = (0.5, 0.35, 0.65, 0.2, 0.8, 0.1, 0.9) if inside.size else ()
    return [
        (float(x[i]), float(y[i]))
        for i in (inside[int(share * (inside.size - 1))] for share in shares)
    ]


def _claim(seen: Stability) -> str:
    """How far the option moves the critical learning rate."""
    (v, critical), (w, then) = (
        (number(seen.value[i], 2), number(seen.boundary[i] * seen.curvature)) for i in (0, -1)
    )
    name, option = type(seen.optimizer).__name__, seen.option
    return f"{name} is stable up to η\xa0λ\xa0=\xa0{critical} with {option} {v}, up to {then} with {option} {w}"


def _least(seen: Stability) -> str:
    """Where a mode is forgotten fastest, among the points of the grid."""
    i, j = np.unravel_index(np.nanargmin(seen.radius), seen.radius.shape)
    at = f"η\xa0λ\xa0=\xa0{number(seen.learning_rate[j] * seen.curvature)} and {seen.option} {number(seen.value[i])}"
    return f"the radius is least, {number(seen.radius[i, j], 2)}, at {at}"


def _caption(seen: Stability) -> list[str]:
    grid = f"{len(seen.learning_rate)} × {len(seen.value)} points, float64"
    least = _least(seen)
    return [
        f"Spectral radius r of the map linearised at rest on f = λ x²/2, λ = {number(seen.curvature)}: after k steps",
        "about rᵏ of a perturbation is left; memories of g² are frozen.",
        plain(f"{seen.optimizer!r} with other values of learning_rate and {seen.option}, {grid}."),
        f"{least[:1].upper() + least[1:]}.",
    ]
