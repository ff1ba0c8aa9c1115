"""One step of Adam or RMSprop in frames that read as a sentence."""

from functools import partial
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from ..analysis import AdaptiveStep, Inside
from ..optimizers import Adam
from .drawing import runs
from .drawing.beside import along, write_beside
from .drawing.captions import contour_sentence, problem_name, summary
from .drawing.frames import Paint
from .drawing.measure import figure_of, font_size, frame_box, on_paper, stroke, text_width
from .drawing.notes import write_halo
from .drawing.picture import Panel
from .drawing.runs import Entry
from .drawing.style import background, contour_colors, ink, mix_colors, muted
from .drawing.ties import FACTORS, MAGNIFIED, SMALL
from .drawing.words import (
    format_number,
    format_point,
    literal,
    subscript,
)
from .plane import contours
from .plane.window import Limits, around

LEAST = 0.05  # of the largest weight: gradients with a smaller one are not drawn
ROOM = 1.2  # times the size of the arrows: the frame, with room for words
SHORT = 0.4  # of η in each coordinate: the frame of a shorter step need not hold the box ±η
SMALL_DIRECTION = 0.25  # of ±1 in each coordinate: a smaller u fills the frame, without the box
LEVELS = 14  # of the loss, between contours
BEFORE = 2  # steps of the path that lead to the one that is drawn
SQUARE = np.array([(-1, -1), (-1, 1), (1, 1), (1, -1), (-1, -1)])


def frames(result: Inside) -> list[Paint]:
    """What paints each frame; RMSprop remembers no gradient, and has no first frame."""
    assert result.last is not None
    (entry,) = runs.entries([result])
    verbs: list[tuple[str, Any]] = [
        ("Remember", _remember),
        ("Measure the spread", _measure),
        ("Divide by it", partial(_divide, turn=float(result.turn[-1]))),
        ("Step", paint_step),
    ]
    verbs = verbs if isinstance(result.optimizer, Adam) else verbs[1:]
    return [
        partial(_paint, paint, result.last, entry, f"{i + 1}\xa0\xa0{verb}")
        for i, (verb, paint) in enumerate(verbs)
    ]


def _paint(
    paint: Any, step: AdaptiveStep, entry: Entry, head: str, ax: Axes, ratio: float
) -> Panel:
    fact = paint(ax, step, entry, ratio)
    if 1.2 * text_width(head, 1.2 * font_size("axes.labelsize")) > frame_box(ax).width:
        head = head.split(" ")[0]  # the verb, after hard spaces
    return Panel("", name=head, color=entry.color, fact=fact)


def claim_of(result: Inside, direction: str) -> str:
    """As in "Step 6 of Adam turns 29° from −∇f and ends 0.024 from its flow"."""
    assert result.last is not None
    error = result.last.error
    end = f" and ends {format_number(error, 2)} from its flow" * bool(np.isfinite(error))
    return literal(f"Step {result.k[-1]} of {_name(result)} {direction}{end}")


def sentence_of(result: Inside, direction: str) -> str:
    """The frames in one sentence with their numbers."""
    step = result.last
    assert step is not None
    points = [format_point(v) for v in (-step.mean, step.spread, -step.direction, result.step[-1])]
    if isinstance(result.optimizer, Adam):
        mean = f"the mean of {len(step.weights)} past −g is −m̂\xa0=\xa0{points[0]}"
    else:
        mean = f"−g\xa0=\xa0{points[0]}"
    error = step.error
    end = (
        f"ends {format_number(error)} away from the flow over the same time h"
        if np.isfinite(error)
        else "has a flow that could not be solved"
    )
    return (
        f"The picture takes step {result.k[-1]} of {_name(result)} on {problem_name(result)} "
        f"apart: {mean}; divided by s\xa0=\xa0{points[1]} it is −u\xa0=\xa0{points[2]}, which "
        f"{direction}; the step Δx\xa0=\xa0−η\xa0u\xa0=\xa0{points[3]} {end}."
    )


def caption_of(result: Inside) -> list[str]:
    """The run, and where the flow starts."""
    assert result.last is not None
    fields = ", ".join(type(result.last.map.y)._fields)
    where = f"(t, {fields})"
    return [
        *summary([result.last]),
        *contour_sentence(result.problem),
        f"Step and flow start from one point {where} and last for h; s is what g is divided by.",
    ]


def _name(result: Inside) -> str:
    (entry,) = runs.entries([result])
    return entry.name


def _remember(ax: Axes, step: AdaptiveStep, entry: Entry, ratio: float) -> str:
    """The past -g as a fan that fades with their weights, and their mean."""
    color, newest, mean = entry.color, len(step.weights) - 1, -step.mean
    tips, share = -step.gradients, step.weights / step.weights.max()
    drawn = np.flatnonzero(share >= LEAST)
    _set_frame(ax, np.concatenate([tips[drawn], [mean, [0, 0]]]), ratio)
    for j in drawn[drawn < newest]:
        grey = mix_colors(muted(), background(), 0.75 * (1 - float(share[j])))
        _draw_arrow(ax, np.zeros(2), tips[j], grey, 1.0, f"past {j}", 2)
    _draw_arrow(ax, np.zeros(2), tips[newest], ink(), 1.8, "gradient", 4)
    _draw_arrow(ax, np.zeros(2), mean, color, 3.0, "mean", 5)
    arrows = along(ax, *[[(0, 0), tip] for tip in (*tips[drawn], mean)])
    alone = newest == 0
    mean_text = "−m̂ = −g, the first" if alone else "−m̂, their mean"
    arrows = _say(ax, mean_text, 0.6 * mean, arrows, color, "mean text")
    if not alone:
        arrows = _say(ax, "−g now", tips[newest], arrows, ink(), "gradient text")
        first = "the first −g" if drawn[0] == 0 else "−g before"
        _say(ax, first, tips[drawn[0]], arrows, muted(), "past text")
    ax.set_xlabel("both axes: −g")
    b1 = float(step.optimizer.hyperparameters()["b1"])
    return f"m ← {format_number(b1)} m + {format_number(1 - b1)} g"


def _measure(ax: Axes, step: AdaptiveStep, entry: Entry, ratio: float) -> str:
    """The past -g as dots, in the box of their weighted size."""
    color, spread, mean = entry.color, step.spread, -step.mean
    share = step.square_weights / step.square_weights.max()
    drawn = np.flatnonzero(share >= LEAST)
    dots = -step.gradients[drawn]
    _set_frame(ax, np.concatenate([dots, [spread, -spread, mean]]), ratio)
    _draw_box(ax, spread, color)
    greys = [mix_colors(muted(), background(), 0.75 * (1 - float(w))) for w in share[drawn]]
    size = mpl.rcParams["lines.markersize"]
    ax.scatter(*dots.T, s=size**2, c=greys, edgecolors=background(), linewidths=stroke(0.6),
               zorder=3,
               gid="past")  # fmt: skip
    _draw_arrow(ax, np.zeros(2), mean, color, 3.0, "mean", 5)
    lines = along(ax, [(0, 0), mean], spread * SQUARE, *dots[:, None])
    is_adam = isinstance(step.optimizer, Adam)
    lines = _say(ax, "−m̂" if is_adam else "−g now", 0.6 * mean, lines, color, "mean text")
    lines = _say(ax, "±s", spread, lines, color, "box text", fontweight="bold")
    others = dots[:-1]
    if len(others):
        farthest = others[np.argmax(np.abs(others / np.maximum(spread, 1e-300)).max(1))]
        _say(ax, "past −g", farthest, lines, muted(), "past text")
    ax.set_xlabel("both axes: −g")
    options = step.optimizer.hyperparameters()
    decay = float(options["b2" if is_adam else "decay"])
    hat = "v̂" if is_adam or options["bias_correction"] else "v"
    root = f"{hat} + ε₀" if options.get("eps_root") else hat
    size_text = f"√({root}) + ε" if "₀" in root else f"√{root} + ε" if is_adam else f"√({hat} + ε)"
    average = f"v ← {format_number(decay)} v + {format_number(1 - decay)} g²"
    return f"{average}   s = {size_text}"


def _divide(ax: Axes, step: AdaptiveStep, entry: Entry, ratio: float, turn: float) -> str:
    """The quotient in the box ±1, and its angle to -g."""
    color, tip, g = entry.color, -step.direction, -step.gradients[-1]
    length = float(np.linalg.norm(tip))
    downhill = g / np.linalg.norm(g) * length
    is_small = np.abs(tip).max() < SMALL_DIRECTION
    _set_frame(ax, np.stack([tip, downhill] if is_small else [*SQUARE, tip, downhill]), ratio)
    _draw_box(ax, np.ones(2), color)
    _draw_arrow(ax, np.zeros(2), downhill, ink(), 1.4, "downhill", 4)
    _draw_arrow(ax, np.zeros(2), tip, color, 3.0, "direction", 5)
    start, end = (np.arctan2(*v[::-1]) for v in (downhill, tip))
    difference = (end - start + np.pi) % (2 * np.pi) - np.pi
    angles = start + np.linspace(0, difference, 33)
    arc = 0.6 * length * np.stack([np.cos(angles), np.sin(angles)], 1)
    ax.plot(*arc.T, color=color, lw=stroke(1.2), zorder=4, gid="angle")
    lines = along(ax, [(0, 0), tip], [(0, 0), downhill], arc, SQUARE)
    lines = _say(ax, f"{format_number(turn, 2)}°", arc[16], lines, color, "turn", fontweight="bold")
    lines = _say(ax, "−u", tip, lines, color, "direction text")
    lines = _say(ax, "along −g", downhill, lines, ink(), "downhill text")
    ax.set_xlabel("both axes: −u")
    if is_small:
        return "u: far inside the box ±1"
    _say(ax, "±1", np.ones(2), lines, color, "box text", fontweight="bold")
    mean = "m̂" if isinstance(step.optimizer, Adam) else "g"
    return f"u = {mean} / s, each coordinate by its own"


def paint_step(ax: Axes, step: AdaptiveStep, entry: Entry, ratio: float) -> str:
    """The step on the landscape, the flow over the same time, and a tie between their ends."""
    color, x = entry.color, np.asarray(step.map.y.x, float)
    begin, end = x[-2], x[-1]
    rate = float(step.optimizer.hyperparameters()["learning_rate"])
    path, solved = x[max(len(x) - 2 - BEFORE, 0) :], np.isfinite(step.curve).all()
    curve = step.curve if solved else begin[None]
    box = begin + rate * SQUARE
    is_short = np.abs(step.direction).max() < SHORT
    limits = _roomy(around(np.concatenate([path, curve, begin[None] if is_short else box]), ratio))
    factor = _magnification(step, limits) if solved else 1
    chord = begin + np.linspace(0, 1, len(curve))[:, None] * (end - begin)
    drawn = chord + factor * (curve - chord) if solved else curve
    _draw_contours(ax, step, limits)
    if not is_short:
        _draw_box(ax, np.full(2, rate), color, begin, filled=False)
    ax.plot(*path.T, color=color, lw=stroke(0.5), alpha=0.45, zorder=2.5, gid=f"thread {entry.key}")
    (dots,) = ax.plot(*path.T, "o", color=color, zorder=6, gid=f"map {entry.key}")
    dots.set(markeredgecolor=background(), markeredgewidth=stroke(0.7))
    _draw_arrow(ax, begin, end, color, 2.4, "step", 5)
    lines = along(ax, path, drawn, box)
    if solved:
        ax.plot(*drawn.T, color=ink(), zorder=4, gid=f"flow {entry.key}", solid_capstyle="round")
        tie = np.stack([drawn[-1], end])
        ax.plot(*tie.T, color=color, lw=stroke(2.6), zorder=4.5, gid=f"longest tie {entry.key}")
        ring = {"marker": "o", "markersize": 4.6, "markerfacecolor": background(), "color": ink()}
        ax.plot(
            *drawn[-1], **ring, markeredgewidth=stroke(1.2), zorder=6.5, gid=f"ring {entry.key}"
        )
        lines = np.concatenate([lines, along(ax, tie)])
        if factor > 1:
            note, box = f"error drawn ×{factor}", frame_box(ax)
            write_halo(
                ax, note, (0.985, 0.97), color, ha="right", va="top", xycoords="axes fraction",
                gid=f"magnified {entry.key}",
            )  # fmt: skip
            size = font_size("axes.labelsize")
            left, low = 1 - 1.3 * text_width(note, size) / box.width, 1 - 2 * size / box.height
            corner = ax.transAxes.transform(np.mgrid[left:1:120j, low:1:30j].reshape(2, -1).T)
            lines = np.concatenate([lines, corner * 72 / figure_of(ax).dpi])
        number = format_number(step.error, 2)
        lines = _say(ax, number, tie.mean(0), lines, color, f"number {entry.key}",
                     fontweight="bold")  # fmt: skip
        lines = _say(ax, "flow", drawn[2 * len(drawn) // 3], lines, ink(), "flow text")
    lines = _say(ax, f"x{subscript(len(x) - 2)}", begin, lines, color, "start text")
    if not is_short:
        _say(ax, "±η", begin + rate, lines, color, "box text", fontweight="bold")
    ax.set_xlabel("both axes: position x")
    return f"x ← x − η u   η = {format_number(rate)}"


def _magnification(step: AdaptiveStep, limits: Limits) -> int:
    """How many times larger the distance of flow and step is drawn, so that it is visible."""
    diagonal = float(np.hypot(*np.diff(limits, axis=1)[:, 0]))
    if not 0 < step.error < SMALL * diagonal:
        return 1
    return max([f for f in (2, 3, *FACTORS) if f * step.error <= MAGNIFIED * diagonal], default=1)


def _draw_contours(ax: Axes, step: AdaptiveStep, limits: Limits) -> None:
    """Contours of the loss, evenly spaced between its extremes in the frame."""
    _set_limits(ax, limits)
    x, y = (np.linspace(*limit, contours.POINTS) for limit in limits)
    points = np.stack(np.meshgrid(x, y), -1)
    loss = contours.losses(step, points.reshape(-1, 2)).reshape(points.shape[:2])
    loss = np.ma.masked_invalid(loss)
    if loss.count() and np.ptp(loss.compressed()) > 0:
        levels = np.linspace(loss.min(), loss.max(), LEVELS)
        edge = mix_colors(muted(), background(), 0.6)
        ax.contourf(x, y, loss, levels=levels, cmap=contour_colors(), zorder=1).set_gid("field")
        lines = ax.contour(x, y, loss, levels=levels, colors=[edge], linewidths=0.45, zorder=2,
                           linestyles="solid")  # fmt: skip
        lines.set_gid("contours")


def _set_frame(ax: Axes, points: np.ndarray, ratio: float) -> None:
    """A frame around vectors from 0, with the two axes through 0."""
    _set_limits(ax, _roomy(around(np.concatenate([points, np.zeros((1, 2))]), ratio)))
    faint = mix_colors(muted(), background(), 0.6)
    ax.axhline(0, color=faint, lw=stroke(0.7), zorder=0.5)
    ax.axvline(0, color=faint, lw=stroke(0.7), zorder=0.5)


def _set_limits(ax: Axes, limits: Limits) -> None:
    ax.set(xlim=limits[0], ylim=limits[1])
    ax.set_aspect("equal", adjustable="box", anchor="W")
    ax.grid(False)
    ax.locator_params(nbins=5)


def _roomy(limits: Limits) -> Limits:
    (left, right), (bottom, top) = limits
    across, up = (ROOM - 1) / 2 * (right - left), (ROOM - 1) / 2 * (top - bottom)
    return (left - across, right + across), (bottom - up, top + up)


def _draw_box(ax: Axes, half: np.ndarray, color: str, middle: Any = 0.0, filled=True) -> None:
    face = mix_colors(color, background(), 0.92) if filled else "none"
    low = middle - half
    ax.add_patch(
        Rectangle((low[0], low[1]), 2 * half[0], 2 * half[1], facecolor=face, edgecolor=color,
                  linewidth=stroke(1.2), zorder=1 if filled else 2.4, gid="box")
    )  # fmt: skip


def _say(
    ax: Axes, text: str, at: Any, lines: np.ndarray, color: str, gid: str, **style: Any
) -> np.ndarray:
    place = on_paper(ax, np.asarray(at, float)[None])[0]
    style.setdefault("fontsize", 0.95 * font_size("axes.labelsize"))
    return write_beside(ax, text, place, lines, color, gid, **style)


def _draw_arrow(
    ax: Axes, tail: np.ndarray, tip: np.ndarray, color: str, width: float, gid: str, zorder: int
) -> None:
    """An arrow that ends exactly at its tip; the head of a short one is smaller."""
    length = float(np.hypot(*np.diff(on_paper(ax, np.stack([tail, tip])), axis=0)[0]))
    style: dict[str, Any] = {
        "arrowstyle": "-|>,head_length=0.5,head_width=0.22", "color": color, "shrinkA": 0,
        "shrinkB": 0, "mutation_scale": min(stroke(14.0), 1.1 * length + 1),
        "linewidth": min(stroke(width), 0.12 * length + 0.5),
    }  # fmt: skip
    ax.annotate("", tuple(tip), xytext=tuple(tail), arrowprops=style, zorder=zorder, gid=gid)
