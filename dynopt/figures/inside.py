"""Inside one step: arrows for what memory asks for and what the gradient adds, tip to tail."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from ..analysis import Inside
from ..errors import InvalidValue
from .drawing import legends, runs
from .drawing.axes import linear_view, mark_plainly
from .drawing.captions import called, claim
from .drawing.measure import frame, size_of, width
from .drawing.picture import Panel, Picture, drawn, single
from .drawing.style import ground, ink, mixed, quiet, readable
from .drawing.words import counted, number, plain, setting
from .paths import HIGH
from .plane.window import Window

SEATS = [
    (x, y) for x in (-24, 0, 24) for y in (-12, 0, 12) if x or y
]  # points, from a tail to its number
BESIDE = np.array(SEATS + [(1.6 * x, 1.6 * y) for x, y in SEATS])
SMALL = 1e-9  # of the step: a part that is smaller is not there


def draw(
    results: Inside | list[Inside], *, ax: Axes | None = None, style: str = "notebook"
) -> Picture | Axes:
    """Each step as an arrow, taken apart: a thin arrow for its memory, from whose tip a pale one, the gradient's part,
    leads to the end of the step. A dotted line of the same length points along -∇f.

    - `results`: one `analysis.inside` of a problem in two coordinates. - `ax`: axes to draw in, instead of a new
      `Picture`. - `style`: "notebook", "paper" or "slides".

    **Raises:** `InvalidValue` for several results, other than two coordinates, or a run at rest.
    """
    return drawn(paint, describe, [_planar(results)], ax, style)


def describe(results: Inside | list[Inside]) -> str:
    """The picture in one sentence with its numbers."""
    seen = _planar(results)
    said = []
    for i, (k, share) in enumerate(zip(seen.k, _shares(seen), strict=True)):
        said.append(f"step {k} is {number(100 * share)} % memory by length and {_turned(seen, i)}")
    return f"Inside {counted(len(seen.k), 'step')} of {seen.optimizer.name} on {called(seen)}: {'; '.join(said)}."


def paint(ax: Axes, results: list[Inside]) -> Panel:
    """Draw in the axes, and say what stands around them."""
    (each,) = runs.entries(results)
    seen, look = each.result, each.look
    middle, end = seen.x + seen.memory, seen.x + seen.step
    size = np.linalg.norm(seen.step, axis=-1, keepdims=True)
    down = seen.x + seen.downhill * size / np.linalg.norm(seen.downhill, axis=-1, keepdims=True)
    seat = _window(np.concatenate([seen.x, middle, end, down]))
    ax.set(xlim=seat[0], ylim=seat[1])
    ax.set_aspect("equal", adjustable="box", anchor="W")
    color, pale = readable(look.color), mixed(look.color, ground(), 0.45)
    parts = np.linalg.norm(seen.memory, axis=-1) > SMALL * size[:, 0]
    ways = [(seen.x, end), (seen.x, down), *[(seen.x, middle), (middle, end)] * bool(parts.any())]
    arrows = np.concatenate([np.stack(way, 1) for way in ways])
    written: list[np.ndarray] = []  # what the numbers cover
    for i, k in enumerate(seen.k):
        dotted: dict[str, Any] = {"linestyle": legends.DOTTED, "color": quiet(), "zorder": 2}
        ax.plot(*np.stack([seen.x[i], down[i]], 1), gid=f"downhill {k}", **dotted)
        if parts[i]:
            runs.arrow(ax, seen.x[i], middle[i], ink(), 1.2, f"memory {k}")
            runs.arrow(ax, middle[i], end[i], pale, 2.4, f"gradient {k}")
        runs.arrow(ax, seen.x[i], end[i], color, 2.4, f"step {k}")
        _number(ax, seen.x[i], f"k = {k}", arrows, written)
    runs.dots(ax, seen.x[:, 0], seen.x[:, 1], look, f"map {each.key}")
    mark_plainly(ax.xaxis)
    mark_plainly(ax.yaxis)
    ax.set(xlabel="position x₁", ylabel="position x₂")
    keys: list[Line2D] = [legends.key("step", color=color, linewidth=2.4)]
    if parts.any():
        keys += [legends.key("memory's part", color=ink(), linewidth=1.2)]
        keys += [legends.key("gradient's part", color=pale, linewidth=2.4)]
    keys += [legends.key("along −∇f", linestyle=legends.DOTTED)]
    caption = [
        f"{plain(called(seen))}. {setting(seen.optimizer)}. Steps {seen.k[0]} to {seen.k[-1]}, {seen.x.dtype}."
    ]
    return Panel(
        title=_title(seen), names=runs.handles([each]), keys=keys, caption=caption, shape=HIGH
    )


def _planar(results: Inside | list[Inside]) -> Inside:
    seen = single(results, Inside, "analysis.inside")
    if seen.problem.dim != 2:
        raise InvalidValue(
            f"arrows are drawn in a plane, but {called(seen)} has {seen.problem.dim} coordinates; pass two."
        )
    if not (seen.step.any(-1) & seen.downhill.any(-1)).all():
        raise InvalidValue(f"{seen.optimizer!r} is at rest on {called(seen)}; pass another `x0`.")
    return seen


def _window(points: np.ndarray) -> Window:
    """What holds the arrows, in the shape of a page."""
    (left, right), (bottom, top) = (linear_view([x], margin=0.12) for x in points.T)
    x, y = (left + right) / 2, (bottom + top) / 2
    across = max(right - left, (top - bottom) / HIGH) / 2
    return (x - across, x + across), (y - HIGH * across, y + HIGH * across)


def _number(
    ax: Axes, at: np.ndarray, text: str, arrows: np.ndarray, written: list[np.ndarray]
) -> None:
    """Beside the tail of a step, where arrows (n, 2 ends, 2) and the numbers before leave most room in the frame."""
    box, (low, high) = frame(ax), np.stack([ax.get_xlim(), ax.get_ylim()], 1)
    points = min(np.array([box.width, box.height]) / (high - low))  # per unit of position
    half = np.array([width(text, size_of("font.size")) / 2, 6])
    along = np.linspace(0, 1, 65)[:, None, None]
    inked = ((1 - along) * arrows[:, 0] + along * arrows[:, 1]).reshape(-1, 2)
    apart = np.abs((np.concatenate([inked, *written]) - at) * points - BESIDE[:, None]) - half
    clear = np.linalg.norm(np.maximum(apart, 0), axis=-1).min(1) - 0.1 * np.linalg.norm(
        BESIDE, axis=-1
    )
    fits = ((at - low) * points + BESIDE > half).all(1) & (
        (high - at) * points - BESIDE > half
    ).all(1)
    style: dict[str, Any] = {
        "textcoords": "offset points",
        "ha": "center",
        "va": "center",
        "color": quiet(),
    }
    seat = BESIDE[np.where(fits, clear, -np.inf).argmax()]
    written.append(at + (seat + half * np.mgrid[-1:2, -1:2].reshape(2, -1).T) / points)
    ax.annotate(text, tuple(at), xytext=tuple(seat), gid=text, zorder=5, **style)


def _shares(seen: Inside) -> np.ndarray:
    """How much of the way, memory first and then gradient, is memory's."""
    memory, gradient = (np.linalg.norm(part, axis=-1) for part in (seen.memory, seen.gradient))
    return memory / np.maximum(memory + gradient, np.finfo(float).tiny)


def _turned(seen: Inside, i: int, digits: int = 3) -> str:
    round_off = np.degrees(1e3 * np.finfo(seen.x.dtype).eps)
    return (
        f"turns {number(seen.turn[i], digits)}° from −∇f"
        if seen.turn[i] > round_off
        else "points along −∇f"
    )


def _title(seen: Inside) -> str:
    share = _shares(seen)
    if share.max() <= SMALL:
        return claim([seen], f"no part of a step is memory; the last step {_turned(seen, -1, 2)}")
    said = f"step {seen.k[-1]} is {number(100 * share[-1], 2)} % memory, and {_turned(seen, -1, 2)}"
    return claim([seen], said)
