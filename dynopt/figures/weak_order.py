"""The weak order: errors of mean values of a noisy map at the time steps h, h/2, h/4, ..."""

from functools import partial
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from ..analysis import WeakError, WeakOrder
from .drawing import runs
from .drawing.axes import log_limits, set_log_ticks
from .drawing.captions import problem_name
from .drawing.frames import Paint, draw_frames
from .drawing.labels import spread
from .drawing.laws import noise_facts
from .drawing.legends import key as legend_key
from .drawing.measure import font_size, frame_box, stroke, text_width
from .drawing.notes import write_halo
from .drawing.picture import Panel, Picture, write_notice
from .drawing.results import result_list
from .drawing.runs import Entry
from .drawing.style import background, in_style, muted, readable_color
from .drawing.words import (
    capitalize,
    count_noun,
    format_number,
    format_with_error,
    join_words,
    literal,
)

ERRORS = 2.0  # standard errors on each side of an error
MOST_ROOM = 0.6  # of the width of a frame, for labels beside the dots
DASHED: dict[str, Any] = {"linestyle": (0, (4, 2))}


class Kind(NamedTuple):
    """What the map is compared with.

    - `name`: that of the attribute; `words`: in labels; `short`: in labels of narrow frames;
      `with_article`: in sentences.
    - `order`: the declared weak order; None where the error does not close.
    """

    name: str
    words: str
    short: str
    with_article: str
    order: int | None


KINDS = (
    Kind("flow", "flow", "flow", "its flow", 1),
    Kind("modified", "modified flow", "modified", "its modified flow", 2),
    Kind("noiseless", "flow without noise", "no noise", "its flow without noise", None),
)


@in_style
def draw(
    results: WeakOrder | list[WeakOrder],
    *,
    title: str | None = None,
    ax: Axes | None = None,
    style: str = "notebook",
) -> Picture | Axes:
    """The weak error of a noisy map over its time step, each optimizer in a frame of its own.

    Filled dots are errors against the stochastic flow, hollow ones those against the modified
    stochastic flow, and crosses those against the flow without noise. The thin lines have the
    slopes of the declared orders, 1 and 2; they are not fitted, but drawn through the finest
    resolved dot. Beside it stands the ratio by which the last halving of the time step divides the
    error. Bars are two standard errors on each side, where errors are estimated from paths; an
    error that is not told from 0 is drawn as a triangle at its upper limit.

    - `results`: one or several results of `analysis.weak_order` on one problem.
    - `title`: a title in place of the claim.
    - `ax`: axes to draw one result in, instead of a new `Picture`.
    - `style`: "notebook", "paper" or "slides".

    **Raises:** `InvalidValue` if the results are of several problems, or one `ax` is given for
    several results.
    """
    orders = _orders(results)
    alt, caption = describe(orders), _caption(orders)
    return draw_frames(_frames(orders), title or _claim(orders), alt, caption, ax, style)


def describe(results: WeakOrder | list[WeakOrder]) -> str:
    """The picture in one sentence with its numbers."""
    orders = _orders(results)
    parts = [
        f"{name} errs against {kind.with_article} by {_values(error)}"
        for result, _, name, _ in runs.entries(orders)
        for kind, error in _errors(result)
    ]
    return (
        "The picture shows weak errors over the time step on "
        f"{problem_name(orders[0])}: {'; '.join(parts)}."
    )


def _orders(results: Any) -> list[WeakOrder]:
    return result_list(results, WeakOrder, "analysis.weak_order", "")


def _errors(result: WeakOrder) -> list[tuple[Kind, WeakError]]:
    """What is known of a result."""
    pairs = ((kind, getattr(result, kind.name)) for kind in KINDS)
    return [(kind, error) for kind, error in pairs if error is not None]


def _frames(orders: list[WeakOrder]) -> list[Paint]:
    shown = [
        np.concatenate([error.error[error.is_resolved], _limits(error)])
        for order in orders
        for _, error in _errors(order)
    ]
    limits = log_limits(shown, margin=0.07) or (0.1, 10.0)
    return [partial(_paint_frame, entry, limits) for entry in runs.entries(orders)]


def _limits(error: WeakError) -> np.ndarray:
    """The upper limits of the errors that are not told from 0."""
    return (error.error + ERRORS * error.stderr)[~error.is_resolved]


def _paint_frame(entry: Entry, limits: tuple[float, float], ax: Axes, _: float) -> Panel:
    result, color, name, key = entry
    known = _errors(result)
    ax.set(ylim=(1, 10), yscale="log")
    ax.set_xscale("log", base=2)
    ax.set_ylim(*limits)
    set_log_ticks(ax.yaxis)
    _set_steps(ax, known)
    labels = []
    for kind, error in known:
        _draw_errors(ax, kind, error, color, key)
        last = np.flatnonzero(error.is_resolved)
        if last.size:
            labels.append((kind, error, int(last[-1])))
    _write_labels(ax, labels, _texts(ax, known), color, key)
    if not labels:
        write_notice(ax, "no weak error is told from 0")
    ax.set(xlabel="time step", ylabel="weak error")
    fact = noise_facts(result.optimizer)
    return Panel("", keys=_keys(known), name=name, color=color, fact=fact)


def _look(kind: Kind, color: str) -> dict[str, Any]:
    """Filled dots against the flow, hollow ones against the modified flow, else crosses."""
    look: dict[str, Any] = {"marker": "o", "linestyle": "none", "color": color}
    size = 1.25 * float(mpl.rcParams["lines.markersize"])
    look |= {"markersize": size, "markeredgewidth": stroke(1.2)}
    if kind.name == "modified":
        look["markerfacecolor"] = background()
    if kind.name == "noiseless":
        look |= {"marker": "x", "color": muted()}
    return look


def _draw_errors(ax: Axes, kind: Kind, error: WeakError, color: str, key: str) -> None:
    steps, resolved = 2.0 ** np.arange(len(error.h)), error.is_resolved
    look, gid = _look(kind, color), f"{kind.name} {key}"
    ax.plot(steps[resolved], error.error[resolved], zorder=5, gid=gid, **look)
    for j in np.flatnonzero(resolved & (error.stderr > 0)):
        ends = error.error[j] + ERRORS * error.stderr[j] * np.array([-1, 1])
        ends = np.maximum(ends, 1e-300)
        ax.plot(
            [steps[j]] * 2, ends, color=look["color"], linewidth=stroke(1.0), zorder=4,
            gid=f"bar {j} {gid}",
        )  # fmt: skip
    limits = _limits(error)
    look |= {"marker": "v", "markerfacecolor": background()}
    ax.plot(steps[~resolved][limits > 0], limits[limits > 0], zorder=5, gid=f"limit {gid}", **look)
    if kind.order and resolved.any():
        last = np.flatnonzero(resolved)[-1]
        line = error.error[last] * (steps[last] / steps) ** kind.order
        style = DASHED if kind.name == "modified" else {}
        ax.plot(
            steps, line, color=color, linewidth=stroke(0.9), alpha=0.65, zorder=2.5,
            gid=f"declared {gid}", **style,
        )  # fmt: skip


def _set_steps(ax: Axes, known: list[tuple[Kind, WeakError]]) -> None:
    """The axis of the time steps, with room on the right for the labels."""
    count, width = len(known[0][1].h), frame_box(ax).width
    room = min(_room(_texts(ax, known)) / width, MOST_ROOM)
    names = ["h", *(f"h/{2**j}" for j in range(1, count))]
    tick = 1.3 * text_width(names[-1], font_size("xtick.labelsize"))
    every = int(np.ceil(tick * count / (width * (1 - room))))
    shown = range((count - 1) % every, count, every)
    ax.set_xticks([2.0**j for j in shown], [names[j] for j in shown])
    ax.minorticks_off()
    ax.set_xlim(2.0**-0.4, 2.0 ** (count - 1 + (count - 0.6) * room / (1 - room)))


def _texts(ax: Axes, known: list[tuple[Kind, WeakError]]) -> dict[str, tuple[str, str]]:
    """The two lines of each label: what the map is compared with, and the ratio of the last errors.

    They are shorter where the frame is too narrow for the long ones.
    """
    ratios = {kind: f"÷ {ratio}" if (ratio := _ratio(error)) else "" for kind, error in known}
    long = {kind.name: (kind.words, one and f"{one} per halving") for kind, one in ratios.items()}
    if _room(long) <= MOST_ROOM * frame_box(ax).width:
        return long
    return {kind.name: (kind.short, ratio) for kind, ratio in ratios.items()}


def _room(texts: dict[str, tuple[str, str]]) -> float:
    """The width in points that such labels need beside the dots."""
    size = font_size("legend.fontsize")
    return max(text_width(line, size) for pair in texts.values() for line in pair) * 1.15 + 2 * size


def _write_labels(
    ax: Axes,
    labels: list[tuple[Kind, WeakError, int]],
    texts: dict[str, tuple[str, str]],
    color: str,
    key: str,
) -> None:
    """To the right of the finest dots, what they are compared with, and the ratio of the last."""
    if not labels:
        return
    size, height = font_size("legend.fontsize"), frame_box(ax).height
    spacing = 2.6 * size / height
    ends = np.array([error.error[last] for _, error, last in labels])
    places = ax.transAxes.inverted().transform(
        ax.transData.transform(np.stack([np.ones(len(ends)), ends], 1))
    )[:, 1]
    ranked, inner = np.argsort(places, kind="stable"), 1 - spacing
    heights = spread((places[ranked] - spacing / 2) / inner, spacing / inner)
    right = 2.0 ** (len(labels[0][1].h) - 1)
    for i, place in zip(ranked, spacing / 2 + inner * heights, strict=True):
        kind = labels[i][0]
        shift = (place - places[i]) * height
        strong = readable_color(_look(kind, color)["color"])
        words, ratio = texts[kind.name]
        for text, part, valign in zip(
            (words, ratio), (0.05 if ratio else -0.4, -0.12), ("bottom", "top"), strict=True
        ):
            write_halo(
                ax, text, (right, ends[i]), strong, xytext=(1.2 * size, shift + part * size),
                textcoords="offset points", va=valign, fontsize=size, zorder=6,
                gid=f"{'name' if text == words else 'ratio'} {kind.name} {key}",
                fontweight="bold" if text == ratio else "normal",
            )  # fmt: skip


def _keys(known: list[tuple[Kind, WeakError]]) -> list[Line2D]:
    keys = [
        legend_key(f"error against {kind.with_article}", **_look(kind, muted()))
        for kind, _ in known
    ]
    if any(_limits(error).any() for _, error in known):
        look = _look(KINDS[1], muted()) | {"marker": "v"}
        keys.append(legend_key("upper limit", **look))
    return keys


def _ratio(error: WeakError) -> str:
    """By what the last halving between resolved errors divides the error; "" if there is none."""
    both = np.flatnonzero(error.is_resolved[1:] & error.is_resolved[:-1])
    if not both.size:
        return ""
    pair = slice(both[-1], both[-1] + 2)
    coarse, fine = error.error[pair]
    stderr = float(coarse / fine * np.hypot(*(error.stderr[pair] / error.error[pair])))
    return format_with_error(float(coarse / fine), stderr) if stderr else f"{coarse / fine:.2f}"


def _values(error: WeakError) -> str:
    """The first and the last error in words."""
    words = []
    for j in (0, len(error.h) - 1):
        at = "h" if j == 0 else f"h/{2**j}"
        if not error.is_resolved[j]:
            value = f"at most {format_number(error.error[j] + ERRORS * error.stderr[j], 2)}"
        elif error.stderr[j]:
            value = format_with_error(float(error.error[j]), float(error.stderr[j]))
        else:
            value = format_number(error.error[j])
        words.append(f"{value} at {at}")
    return join_words(words)


def _claim(orders: list[WeakOrder]) -> str:
    """By what halving the time step divides the weak error of each optimizer."""
    parts = []
    for result, _, name, _ in runs.entries(orders):
        if not (ratio := _ratio(result.flow)):
            parts.append(f"no weak order of {name} is resolved")
            continue
        subject = "that of" if parts else "halve the time step and the weak error of"
        phrase = f"{subject} {name} is divided by {ratio}"
        if result.modified is not None and (ratio := _ratio(result.modified)):
            phrase += f", against its modified flow by {ratio}"
        parts.append(phrase)
    return literal(capitalize("; ".join(parts)))


def _caption(orders: list[WeakOrder]) -> list[str]:
    name = literal(problem_name(orders[0]))
    times = join_words(list(dict.fromkeys(f"{order.time:.3g}" for order in orders)))
    paths = sorted({order.paths for order in orders})
    how = join_words([count_noun(n, "path") if n else "exact moments" for n in paths])
    sentences = [f"On {name} at t\xa0=\xa0{times}, by {how}."]
    if max(paths):
        sentences.append("Bars are two standard errors on each side.")
    return sentences
