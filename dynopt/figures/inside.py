"""Inside one step: arrows for the part of the memory and for the part of the gradient."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from ..analysis import Inside
from ..errors import InvalidValue
from .drawing import legends, runs
from .drawing.axes import linear_limits, set_linear_ticks
from .drawing.captions import claim, problem_name
from .drawing.measure import font_size, frame_box, text_width
from .drawing.picture import Panel, Picture, draw_picture
from .drawing.results import one_result
from .drawing.style import background, ink, mix_colors, muted, readable_color
from .drawing.words import count_noun, format_number, literal, setting
from .plane.window import Limits

ASPECT = 0.7  # the height of the frame over its width
NEAR = [(x, y) for x in (-24, 0, 24) for y in (-12, 0, 12) if x or y]
PLACES = np.array(
    NEAR + [(1.6 * x, 1.6 * y) for x, y in NEAR]
)  # of a number, in points from a tail
NEGLIGIBLE = 1e-9  # of the step: a smaller part is not drawn


def draw(
    results: Inside | list[Inside], *, ax: Axes | None = None, style: str = "notebook"
) -> Picture | Axes:
    """Each step as an arrow, and its two parts, tip to tail.

    A thin arrow is the part of the memory. From its tip a pale arrow, the part of the gradient,
    leads to the end of the step. A dotted line of the length of the step points along -∇f.

    - `results`: one result of `analysis.inside` on a problem in two coordinates.
    - `ax`: axes to draw in, instead of a new `Picture`.
    - `style`: "notebook", "paper" or "slides".

    **Raises:** `InvalidValue` for several results, other than two coordinates, or a run at rest.
    """
    return draw_picture(paint, describe, [_planar(results)], ax, style)


def describe(results: Inside | list[Inside]) -> str:
    """The picture in one sentence with its numbers."""
    result = _planar(results)
    parts = [
        f"step {k} is {format_number(100 * share)} % memory by length and {_direction(result, i)}"
        for i, (k, share) in enumerate(zip(result.k, _memory_shares(result), strict=True))
    ]
    return (
        f"The picture shows {count_noun(len(result.k), 'step')} of {result.optimizer.name} on "
        f"{problem_name(result)} and their parts: {'; '.join(parts)}."
    )


def paint(ax: Axes, results: list[Inside]) -> Panel:
    """Draw into `ax`; return title, legend entries and caption."""
    (entry,) = runs.entries(results)
    result, look = entry.result, entry.look
    middle, end = result.x + result.memory, result.x + result.step
    size = np.linalg.norm(result.step, axis=-1, keepdims=True)
    downhill = result.downhill / np.linalg.norm(result.downhill, axis=-1, keepdims=True)
    down = result.x + downhill * size
    limits = _limits(np.concatenate([result.x, middle, end, down]))
    ax.set(xlim=limits[0], ylim=limits[1])
    ax.set_aspect("equal", adjustable="box", anchor="W")
    color, pale = readable_color(look.color), mix_colors(look.color, background(), 0.45)
    has_parts = np.linalg.norm(result.memory, axis=-1) > NEGLIGIBLE * size[:, 0]
    lines = [(result.x, end), (result.x, down)]
    lines += [(result.x, middle), (middle, end)] * bool(has_parts.any())
    arrows = np.concatenate([np.stack(line, 1) for line in lines])
    numbers: list[np.ndarray] = []  # the points that numbers cover
    dotted: dict[str, Any] = {"linestyle": legends.DOTTED, "color": muted(), "zorder": 2}
    for i, k in enumerate(result.k):
        ax.plot(*np.stack([result.x[i], down[i]], 1), gid=f"downhill {k}", **dotted)
        if has_parts[i]:
            runs.draw_arrow(ax, result.x[i], middle[i], ink(), 1.2, f"memory {k}")
            runs.draw_arrow(ax, middle[i], end[i], pale, 2.4, f"gradient {k}")
        runs.draw_arrow(ax, result.x[i], end[i], color, 2.4, f"step {k}")
        _write_number(ax, result.x[i], f"k = {k}", arrows, numbers)
    runs.draw_dots(ax, result.x[:, 0], result.x[:, 1], look, f"map {entry.key}")
    set_linear_ticks(ax.xaxis)
    set_linear_ticks(ax.yaxis)
    ax.set(xlabel="position x₁", ylabel="position x₂")
    keys: list[Line2D] = [legends.key("step", color=color, linewidth=2.4)]
    if has_parts.any():
        keys += [legends.key("memory", color=ink(), linewidth=1.2)]
        keys += [legends.key("gradient", color=pale, linewidth=2.4)]
    keys += [legends.key("along −∇f", linestyle=legends.DOTTED)]
    caption = (
        f"Steps {result.k[0]} to {result.k[-1]} are drawn on {literal(problem_name(result))}, in "
        f"{result.x.dtype}: {setting(result.optimizer)}."
    )
    handles = runs.legend_handles([entry])
    return Panel(_title(result), handles, keys, caption=[caption], aspect=ASPECT)


def _planar(results: Inside | list[Inside]) -> Inside:
    result = one_result(results, Inside, "analysis.inside")
    if result.problem.dim != 2:
        raise InvalidValue(
            f"arrows are drawn in a plane, but {problem_name(result)} has {result.problem.dim} "
            "coordinates; pass a problem with two."
        )
    if not (result.step.any(-1) & result.downhill.any(-1)).all():
        raise InvalidValue(
            f"{result.optimizer!r} is at rest on {problem_name(result)}; pass another `x0`."
        )
    return result


def _limits(points: np.ndarray) -> Limits:
    """Limits that hold the points, in the shape of the frame."""
    (left, right), (bottom, top) = (linear_limits([x], margin=0.12) for x in points.T)
    x, y = (left + right) / 2, (bottom + top) / 2
    half = max(right - left, (top - bottom) / ASPECT) / 2
    return (x - half, x + half), (y - ASPECT * half, y + ASPECT * half)


def _write_number(
    ax: Axes, tail: np.ndarray, text: str, arrows: np.ndarray, numbers: list[np.ndarray]
) -> None:
    """Write the number of a step next to its tail, where it covers nothing.

    Of the `PLACES` in the frame it takes the one with most room from all arrows, of shape
    `(n, 2 ends, 2)`, and from the numbers that were written before.
    """
    box, (low, high) = frame_box(ax), np.stack([ax.get_xlim(), ax.get_ylim()], 1)
    scale = min(np.array([box.width, box.height]) / (high - low))  # points per unit of position
    half = np.array([text_width(text, font_size("font.size")) / 2, 6])
    s = np.linspace(0, 1, 65)[:, None, None]
    inked = ((1 - s) * arrows[:, 0] + s * arrows[:, 1]).reshape(-1, 2)
    offsets = (np.concatenate([inked, *numbers]) - tail) * scale
    outside = np.maximum(np.abs(offsets - PLACES[:, None]) - half, 0)
    room = np.linalg.norm(outside, axis=-1).min(1) - 0.1 * np.linalg.norm(PLACES, axis=-1)
    below, above = (tail - low) * scale + PLACES, (high - tail) * scale - PLACES
    in_frame = (below > half).all(1) & (above > half).all(1)
    place = PLACES[np.where(in_frame, room, -np.inf).argmax()]
    numbers.append(tail + (place + half * np.mgrid[-1:2, -1:2].reshape(2, -1).T) / scale)
    style: dict[str, Any] = {"ha": "center", "va": "center", "color": muted(), "zorder": 5}
    ax.annotate(
        text, tuple(tail), xytext=tuple(place), textcoords="offset points", gid=text, **style
    )


def _memory_shares(result: Inside) -> np.ndarray:
    """The length of the part of the memory, as a fraction of the lengths of both parts."""
    memory, gradient = (np.linalg.norm(part, axis=-1) for part in (result.memory, result.gradient))
    return memory / np.maximum(memory + gradient, np.finfo(float).tiny)


def _direction(result: Inside, i: int, digits: int = 3) -> str:
    """Where a step points, as in "turns 68° from −∇f"."""
    round_off = np.degrees(1e3 * np.finfo(result.x.dtype).eps)
    if result.turn[i] <= round_off:
        return "points along −∇f"
    return f"turns {format_number(result.turn[i], digits)}° from −∇f"


def _title(result: Inside) -> str:
    """The memory in the last step, and where it points."""
    shares, direction = _memory_shares(result), _direction(result, -1, 2)
    if shares.max() <= NEGLIGIBLE:
        return claim([result], f"no part of a step is memory; the last step {direction}")
    share = format_number(100 * shares[-1], 2)
    return claim([result], f"step {result.k[-1]} is {share} % memory and {direction}")
