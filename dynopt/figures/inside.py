"""Inside one step: what memory and gradient add to it, or how Adam and RMSprop make it."""

from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from ..analysis import Inside
from ..errors import InvalidValue
from . import inside_adaptive
from .drawing import legends, runs
from .drawing.axes import set_linear_ticks
from .drawing.beside import along, write_beside
from .drawing.captions import problem_name
from .drawing.frames import draw_frames
from .drawing.measure import on_paper, stroke
from .drawing.picture import Panel, Picture
from .drawing.results import one_result
from .drawing.runs import Entry
from .drawing.style import background, in_style, mix_colors, muted, readable_color
from .drawing.words import count_noun, facts, format_number, literal
from .plane.landscape import position_labels
from .plane.window import around

ASPECT = 0.7  # the height of the frame over its width
NEGLIGIBLE = 1e-9  # of the step: a smaller part is not drawn


@in_style
def draw(
    results: Inside | list[Inside],
    *,
    title: str | None = None,
    ax: Axes | None = None,
    style: str = "notebook",
) -> Picture | Axes:
    """Each step as an arrow, and its two parts, tip to tail; a step of Adam or RMSprop in frames.

    A thin arrow is the part of the memory. From its tip a pale arrow, the part of the gradient,
    leads to the end of the step. A thin line of the length of the step points along -∇f.

    The last step of `Adam` and `RMSprop` is drawn in frames that read as a sentence:

    1. Remember (Adam): past -g as a fan that fades with their weights, and their mean -m̂.
    2. Measure the spread: past -g as dots, and the box ±s of their root mean square.
    3. Divide by it: the box becomes ±1, and -u turns away from -g.
    4. Step: -η u on the contours of the loss with the box ±η. A line in ink is the flow over the
       same time from the same point of phase space, and the bold tie is the error of this one step.
       An error that is too small to be visible is magnified; the frame says by how much.

    - `results`: one result of `analysis.inside` on a problem in two coordinates.
    - `title`: a title in place of the claim.
    - `ax`: axes to draw in, instead of a new `Picture`. Of a step in frames it holds the last.
    - `style`: "notebook", "paper" or "slides".

    **Raises:** `InvalidValue` for several results, other than two coordinates, or a run at rest.
    """
    result = _planar(results)
    if result.last is None:
        (entry,) = runs.entries([result])
        paints = [partial(_paint_parts, entry)]
    else:
        paints = inside_adaptive.frames(result)
        paints = paints[-1:] if ax is not None else paints
    return draw_frames(
        paints,
        title or _title(result),
        describe(result),
        _caption(result),
        ax,
        style,
        ratio=ASPECT if result.last is None else 1.0,
        columns=2 if style == "slides" and len(paints) == 4 else len(paints),
    )


def describe(results: Inside | list[Inside]) -> str:
    """The picture in one sentence with its numbers."""
    result = _planar(results)
    if result.last is not None:
        return inside_adaptive.sentence_of(result, _direction(result, -1))
    parts = [
        f"step {k} is {format_number(100 * share)} % memory by length and {_direction(result, i)}"
        for i, (k, share) in enumerate(zip(result.k, _memory_shares(result), strict=True))
    ]
    (entry,) = runs.entries([result])
    return (
        f"The picture shows {count_noun(len(result.k), 'step')} of {entry.name} on "
        f"{problem_name(result)} and their parts: {'; '.join(parts)}."
    )


def paint(ax: Axes, results: list[Inside]) -> Panel:
    """Draw into `ax`; return title, legend entries and caption. Of frames it draws the last."""
    (result,) = results
    (entry,) = runs.entries(results)
    if result.last is None:
        panel = _paint_parts(entry, ax, ASPECT)
    else:
        panel = inside_adaptive.frames(result)[-1](ax, ASPECT)
    panel.title, panel.caption, panel.aspect = _title(result), _caption(result), ASPECT
    return panel


def _paint_parts(entry: Entry, ax: Axes, ratio: float) -> Panel:
    """The arrows of each step and of its parts."""
    result = entry.result
    middle, end = result.x + result.memory, result.x + result.step
    size = np.linalg.norm(result.step, axis=-1, keepdims=True)
    downhill = result.downhill / np.linalg.norm(result.downhill, axis=-1, keepdims=True)
    down = result.x + downhill * size
    limits = around(np.concatenate([result.x, middle, end, down]), ratio)
    ax.set(xlim=limits[0], ylim=limits[1])
    ax.set_aspect("equal", adjustable="box", anchor="W")
    color, pale = readable_color(entry.color), mix_colors(entry.color, background(), 0.45)
    has_parts = np.linalg.norm(result.memory, axis=-1) > NEGLIGIBLE * size[:, 0]
    lines = [(result.x, end), (result.x, down)]
    lines += [(result.x, middle), (middle, end)] * bool(has_parts.any())
    drawn = along(ax, *(segment for line in lines for segment in np.stack(line, 1)))
    thin: dict[str, Any] = {
        "linewidth": stroke(0.9),
        "color": mix_colors(muted(), background(), 0.3),
    }
    for i, k in enumerate(result.k):
        ax.plot(*np.stack([result.x[i], down[i]], 1), gid=f"downhill {k}", zorder=2, **thin)
        if has_parts[i]:
            runs.draw_arrow(ax, result.x[i], middle[i], muted(), stroke(1.2), f"memory {k}")
            runs.draw_arrow(ax, middle[i], end[i], pale, stroke(2.4), f"gradient {k}")
        runs.draw_arrow(ax, result.x[i], end[i], color, stroke(2.4), f"step {k}")
        number = f"k = {k}"
        place = on_paper(ax, result.x[i][None])[0]
        drawn = write_beside(ax, number, place, drawn, muted(), number)
    marks = [(_turn_text(result, -1, 2), down[-1], color)] * bool(_turns(result, -1))
    if has_parts[-1]:
        share = f"{format_number(100 * _memory_shares(result)[-1], 2)}\xa0%"
        marks.append((share, (result.x[-1] + middle[-1]) / 2, muted()))
    for text, at, shade in marks:
        place = on_paper(ax, at[None])[0]
        drawn = write_beside(ax, text, place, drawn, shade, f"number {text}", fontweight="bold")
    (dots,) = ax.plot(*result.x.T, "o", color=entry.color, zorder=4, gid=f"map {entry.key}")
    dots.set(markeredgecolor=background(), markeredgewidth=stroke(0.7))
    set_linear_ticks(ax.xaxis)
    set_linear_ticks(ax.yaxis)
    xlabel, ylabel = position_labels(result.problem)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    keys: list[Line2D] = [legends.key("step", color=color, linewidth=stroke(2.4))]
    if has_parts.any():
        what = "field" if result.problem.owns_field else "gradient"
        keys += [legends.key("memory", linewidth=stroke(1.2))]
        keys += [legends.key(what, color=pale, linewidth=stroke(2.4))]
    keys += [legends.key(f"along {_descent(result)}", **thin)]
    return Panel("", keys=keys, name=entry.name, color=entry.color, fact=facts(result.optimizer))


def _planar(results: Inside | list[Inside]) -> Inside:
    result = one_result(results, Inside, "analysis.inside")
    if result.problem.dim != 2:
        raise InvalidValue(
            f"arrows are drawn in a plane, but {problem_name(result)} has "
            f"{count_noun(result.problem.dim, 'coordinate')}; pass a problem with two."
        )
    if not (result.step.any(-1) & result.downhill.any(-1)).all():
        raise InvalidValue(
            f"{result.optimizer!r} is at rest on {problem_name(result)}; pass another `x0`."
        )
    return result


def _memory_shares(result: Inside) -> np.ndarray:
    """The length of the part of the memory, as a fraction of the lengths of both parts."""
    memory, gradient = (np.linalg.norm(part, axis=-1) for part in (result.memory, result.gradient))
    return memory / np.maximum(memory + gradient, np.finfo(float).tiny)


def _turns(result: Inside, i: int) -> bool:
    """Whether a step turns from -∇f by more than round-off."""
    return bool(result.turn[i] > np.degrees(1e3 * np.finfo(result.x.dtype).eps))


def _turn_text(result: Inside, i: int, digits: int = 3) -> str:
    return f"{format_number(result.turn[i], digits)}°"


def _direction(result: Inside, i: int, digits: int = 3) -> str:
    """Where a step points, as in "turns 68° from −∇f"."""
    if _turns(result, i):
        return f"turns {_turn_text(result, i, digits)} from {_descent(result)}"
    return f"points along {_descent(result)}"


def _descent(result: Inside) -> str:
    """The direction against the gradient of a loss, or against a field that is none."""
    return "−g" if result.problem.owns_field else "−∇f"


def _title(result: Inside) -> str:
    """The memory in the last step, where it points, and of a step in frames its error."""
    shares, direction = _memory_shares(result), _direction(result, -1, 2)
    if result.last is not None:
        return inside_adaptive.claim_of(result, direction)
    if shares.max() <= NEGLIGIBLE:
        return f"No part of a step is memory; the last step {direction}"
    share = format_number(100 * shares[-1], 2)
    return f"Step {result.k[-1]} is {share}\xa0% memory and {direction}"


def _caption(result: Inside) -> list[str]:
    if result.last is not None:
        return inside_adaptive.caption_of(result)
    steps = f"Steps {result.k[0]} to {result.k[-1]}" if len(result.k) > 1 else f"Step {result.k[0]}"
    return [f"{steps} on {literal(problem_name(result))}, in {result.x.dtype}."]
