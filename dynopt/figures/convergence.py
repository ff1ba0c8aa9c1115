"""The convergence of the map: its global error at the time steps h, h/2, h/4, ... and its order."""

from functools import partial
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

from ..analysis import Order
from .drawing import runs
from .drawing.axes import LARGEST, log_limits, set_log_ticks
from .drawing.captions import problem_name
from .drawing.error_curves import MARGIN, draw_floor, error_limits
from .drawing.frames import Paint, clear, write_around
from .drawing.labels import spread
from .drawing.measure import font_size, frame_box, stroke, text_width
from .drawing.notes import Line, write_halo, write_note
from .drawing.picture import Panel, Picture, write_notice, write_title
from .drawing.results import must_be_axes, result_list
from .drawing.runs import Entry
from .drawing.style import background, in_style, ink, mix_colors, readable_color
from .drawing.words import (
    capitalize,
    count_noun,
    facts,
    format_number,
    format_point,
    join_words,
    literal,
    power_of_h,
)

NEAR = 0.1  # a measured power of h so near to a whole one is told as that
AGREES = 0.25  # a power of h so near to the declared one agrees with it
PALE = 0.62  # the share of the background in the colour of h/2
HEADROOM = 100  # times the errors that the order lets one expect: maps with larger ones leave
SHAPES = {1: (1, 1), 2: (2, 1), 3: (3, 1), 4: (2, 2), 5: (3, 2), 6: (3, 2)}  # else three columns
SIZES = {1: (1.35, 0.9), 2: (1.35, 1.2), 3: (1.35, 1.55), 4: (1.5, 1.3)}  # in sizes of the style
YLABELS = "global error  |map − flow|", "global error", "error"
FALLS = {1: "halves", 2: "falls to a quarter", 3: "falls to an eighth"}


@in_style
def draw(
    results: Order | list[Order],
    *,
    title: str | None = None,
    ax: Axes | None = None,
    style: str = "notebook",
) -> Picture | Axes:
    """The global error at the time steps h, h/2, h/4, ..., over time, and the largest against h.

    On the left each optimizer has a frame with the global error of its maps over one time: in ink
    that with the time step h, in colour the finer ones, the finest in the fullest colour. A dot
    marks the largest error of each. On the right the same dots stand over the time step. The thin
    lines have the slopes of the orders that the optimizers declare; they are not fitted, but drawn
    through the finest dot that is clear of round-off. Each name is followed by the ratio of the
    two errors before: that by which the last halving of the time step divides the error.

    Errors far above those at the finest time steps belong to maps that leave. A thin line in ink is
    the smallest error that can be measured, where it is in view: round-off, or the solver's error.

    - `results`: one or several results of `analysis.order` on one problem.
    - `title`: a title in place of the claim.
    - `ax`: axes to draw the largest errors in, instead of a new `Picture`.
    - `style`: "notebook", "paper" or "slides".

    **Raises:** `InvalidValue` if the results are of several problems.
    """
    orders = result_list(results, Order, "analysis.order")
    must_be_axes(ax)
    if ax is not None:
        panel = paint(ax, orders)
        write_title(ax, title or panel.title, frame_box(ax).width)
        return ax
    picture = Picture(style, describe(orders))
    rows, columns = SHAPES.get(len(orders), (-(-len(orders) // 3), 3))
    if style != "slides":
        width, height = (float(side) for side in picture.get_size_inches())
        wide, high = SIZES.get(len(orders), (1.5 + 0.2 * (columns - 2), 0.55 * rows))
        picture.set_size_inches(wide * width, high * height)
    halves = picture.add_gridspec(1, 2, width_ratios=(columns, max(1.0, 0.68 * columns)))
    grid = halves[0].subgridspec(rows, columns)
    left = [picture.add_subplot(grid[divmod(i, columns)]) for i in range(len(orders))]
    right = picture.add_subplot(halves[1])
    picture.write_caption(_caption(orders))
    picture.write_heading(title or _title(orders))
    _paint_all(left, right, orders)
    picture.lay_out()
    for one in (*left, right):
        clear(one)
    _paint_all(left, right, orders)
    return picture


def describe(results: Order | list[Order]) -> str:
    """The picture in one sentence with its numbers."""
    orders = result_list(results, Order, "analysis.order")
    return (
        "The picture shows the global error of the map at smaller and smaller time steps on "
        f"{problem_name(orders[0])}, over time and, the largest of each, against the time step: "
        f"{slopes(orders)}."
    )


def slopes(orders: list[Order]) -> str:
    """By what the last halving of the time step divides each error, and what is declared."""
    return "; ".join(_fall(order, name) for order, _, name, _ in runs.entries(orders))


def _fall(order: Order, name: str) -> str:
    if order.window is None:
        return f"for {name} it is not measured, as {order.reason}"
    last = order.window[1]
    errors = [format_number(order.error[j]) for j in (order.window[0], last)]
    steps = [_step_name(j) for j in (order.window[0], last)]
    return (
        f"for {name} it falls from {errors[0]} at {steps[0]} to {errors[1]} at {steps[1]}, by "
        f"{_ratio(order)} at the last halving, where {format_number(2**order.expected)} is declared"
    )


def paint(ax: Axes, orders: list[Order]) -> Panel:
    """Draw the largest errors against the time step into `ax`; return title and caption."""
    entries = runs.entries(orders)
    count = max(len(order.h) for order in orders)
    most = _most(orders)
    limits = log_limits([order.error[order.error <= most] for order in orders], margin=0.05)
    bottom, top = limits or (0.1, 10.0)
    floor = min(map(_floor, orders))
    ax.set_xscale("log", base=2)
    _set_log_axis(ax, min(bottom, floor / MARGIN) if floor > bottom / 30 else bottom, top)
    _set_steps(ax, entries, count)
    if limits is None:
        write_notice(ax, "no global error above 0 to draw")
    for entry in entries:
        _draw_dots(ax, entry, 2.0 ** np.arange(len(entry.result.h)), most, 6.5)
        _draw_declared(ax, entry)
    draw_floor(ax, floor, "of all")
    _write_names(ax, [entry for entry in entries if entry.result.window is not None])
    ax.set_xlabel("time step")
    ax.set_ylabel("largest global error")
    return Panel(_title(orders), caption=_caption(orders))


def paint_errors(ax: Axes, entry: Entry, limits: tuple[float, float], most: float) -> Panel:
    """Draw the error over time of one optimizer into `ax`, one line for each time step.

    - `limits`: the limits of the vertical axis.
    - `most`: maps with larger errors have left.
    """
    order, color, key = entry.result, entry.color, entry.key
    steps = np.arange(len(order.t))
    ax.set_xlim(0, max(len(steps) - 1, 1) * 1.02)
    _set_log_axis(ax, *limits)
    draw_floor(ax, _floor(order), key)
    width = mpl.rcParams["lines.linewidth"]
    for j, error in enumerate(order.errors):
        ax.plot(
            steps, np.clip(error, 0, LARGEST), color=_shade(color, j, len(order.h)),
            linewidth=(1.12 if j == 0 else 0.75) * width, zorder=4 if j == 0 else 3,
            gid=f"error {_step_name(j)} {key}",
        )  # fmt: skip
    peaks = np.array([_peak(order, j) for j in range(len(order.h))])
    _draw_dots(ax, entry, peaks, most, 5.0)
    _write_ends(ax, entry, peaks, most)
    if not (np.nan_to_num(order.errors) > 0).any():
        write_notice(ax, "no global error above 0 to draw")
    ax.set_xlabel("time, in steps of h")
    size, height = font_size("axes.labelsize"), frame_box(ax).height
    fitting = [name for name in YLABELS if text_width(name, size) < 1.1 * height]
    ax.set_ylabel([*fitting, YLABELS[-1]][0])
    left = _leaving(order, most)
    fact = f"at most {format_number(order.error[0], 2)} at step {peaks[0]}"
    fact = f"leaves with {join_words(left)}" if left else fact
    return Panel("", name=entry.name, color=color, fact=facts(order.optimizer, fact))


def error_frames(orders: list[Order]) -> list[Paint]:
    """What paints the errors over time and the ratio of each optimizer into a frame of its own.

    The frames share their vertical axis.
    """
    limits, most = _shared(orders)

    def paint_frame(entry: Entry, ax: Axes, _: float) -> Panel:
        panel = paint_errors(ax, entry, limits, most)
        if entry.result.window is not None:
            note = f"÷ {_ratio(entry.result)} per halving"
            lines = [np.stack([np.arange(len(e)), e], 1) for e in entry.result.errors]
            write_note(ax, [Line(note, entry.color, f"ratio {entry.key}")], lines)
        return panel

    return [partial(paint_frame, entry) for entry in runs.entries(orders)]


def _shared(orders: list[Order]) -> tuple[tuple[float, float], float]:
    """The limits of the errors over time, and from where on maps have left."""
    most = _most(orders)
    shown = [np.where(order.errors <= most, order.errors, np.nan)[:, 1:] for order in orders]
    return error_limits(shown, [_floor(order) for order in orders]), most


def _paint_all(left: list[Axes], right: Axes, orders: list[Order]) -> None:
    """Every frame of a picture, with its head; frames in a row share their axes."""
    equal = len({len(order.t) for order in orders}) == 1
    limits, most = _shared(orders)
    for ax, entry in zip(left, runs.entries(orders), strict=True):
        write_around(ax, paint_errors(ax, entry, limits, most), len(orders))
        ax.tick_params(labelleft=bool(ax.get_ylabel()))
        ax.tick_params(labelbottom=bool(ax.get_xlabel()) or not equal)
    paint(right, orders)
    powers: dict[str, list[str]] = {}
    for order, _, name, _ in runs.entries(orders):
        powers.setdefault(power_of_h(order.expected), []).append(name)
    usual = max(powers, key=lambda power: len(powers[power]))
    others = [f"   and ∝ {p} ({join_words(names)})" for p, names in powers.items() if p != usual]
    fact = f"lines: declared order, ∝ {usual}{''.join(others)}"
    write_around(right, Panel("", name="Largest error", color=ink(), fact=literal(fact)), 0)


def _step_name(j: int) -> str:
    return "h" if j == 0 else f"h/{2**j}"


def _shade(color: str, j: int, count: int) -> str:
    """Ink for the time step h, then from pale to full colour."""
    return ink() if j == 0 else mix_colors(color, background(), PALE * (1 - j / (count - 1)))


def _peak(order: Order, j: int) -> int:
    """The step of h at which an error is largest."""
    return int(np.argmax(order.errors[j] == order.error[j]))


def _floor(order: Order) -> float:
    """The smallest error that can be measured at the finest time step."""
    return float(np.nan_to_num([order.solver_error, order.floor[-1]], posinf=0).max())


def _most(orders: list[Order]) -> float:
    """Larger errors are those of maps that leave: far above what the orders let one expect."""
    most = 0.0
    for order in orders:
        if order.window is not None:
            last = order.window[1]
            expected = order.error[last] * 2.0 ** (last * max(order.expected, order.slope))
            most = max(most, HEADROOM * expected)
    return min(most or LARGEST, LARGEST)


def _leaving(order: Order, most: float) -> list[str]:
    """The time steps with which the map leaves."""
    return [_step_name(j) for j, error in enumerate(order.error) if not error <= most]


def _draw_dots(ax: Axes, entry: Entry, x: np.ndarray, most: float, size: float) -> None:
    """A dot at the largest error of each time step."""
    order = entry.result
    size *= mpl.rcParams["lines.markersize"] / 5
    for j, error in enumerate(order.error):
        if 0 < error <= most:
            ax.plot(
                x[j], error, "o", markersize=size, color=_shade(entry.color, j, len(order.h)),
                markeredgecolor=background(), markeredgewidth=0.14 * size, zorder=5,
                gid=f"largest {_step_name(j)} {entry.key}",
            )  # fmt: skip


def _draw_declared(ax: Axes, entry: Entry) -> None:
    """The line of the declared slope through the finest dot that is clear of round-off."""
    order = entry.result
    if order.window is None:
        return
    steps, last = 2.0 ** np.arange(len(order.h)), order.window[1]
    line = order.error[last] * (steps[last] / steps) ** order.expected
    style = {"color": entry.color, "alpha": 0.65, "zorder": 2.5}
    thin = 0.55 * mpl.rcParams["lines.linewidth"]
    ax.plot(steps, line, linewidth=thin, gid=f"declared {entry.key}", **style)


def _set_log_axis(ax: Axes, bottom: float, top: float) -> None:
    ax.set_ylim(1, 10)  # matplotlib refuses a logarithm of limits that are not positive
    ax.set_yscale("log", nonpositive="mask")
    ax.set_ylim(bottom, top)
    set_log_ticks(ax.yaxis)


def _set_steps(ax: Axes, entries: list[Entry], count: int) -> None:
    """The axis of the time steps, with room on the right for the names."""
    size = font_size("legend.fontsize")
    lines = [line for entry in entries for line in _label(entry)]
    room = (max(text_width(line, size) for line in lines) * 1.12 + 2.2 * size) / frame_box(ax).width
    room = min(room, 0.62)
    tick = 1.3 * text_width(_step_name(count - 1), font_size("xtick.labelsize"))
    every = int(np.ceil(tick * count / (frame_box(ax).width * (1 - room))))
    shown = range((count - 1) % every, count, every)
    ax.set_xticks([2.0**j for j in shown], [_step_name(j) for j in shown])
    ax.minorticks_off()
    ax.set_xlim(2.0**-0.4, 2.0 ** (count - 1 + (count - 0.6) * room / (1 - room)))


def _label(entry: Entry) -> tuple[str, str]:
    name = entry.name if len(entry.name) <= 30 else entry.name[:29] + "…"
    return literal(name), f"÷ {_ratio(entry.result)} per halving"


def _write_names(ax: Axes, entries: list[Entry]) -> None:
    """Beside the finest dot of each optimizer, its name and the ratio of the last halving."""
    if not entries:
        return
    height, size = frame_box(ax).height, font_size("legend.fontsize")
    size = min(size, height / (2.5 * len(entries)))
    spacing = 2.5 * size / height
    ends = np.array(
        [(2.0 ** order.window[1], order.error[order.window[1]]) for order, *_ in entries]
    )
    places = ax.transAxes.inverted().transform(ax.transData.transform(ends))[:, 1]
    ranked = np.argsort(places, kind="stable")
    right = 2.0 ** (max(len(order.h) for order, *_ in entries) - 1)
    inner = 1 - spacing  # the labels lie inside of the frame
    spreading = spread((places[ranked] - spacing / 2) / inner, spacing / inner)
    for i, place in zip(ranked, spacing / 2 + inner * spreading, strict=True):
        shift = (place - places[i]) * height
        color = readable_color(entries[i].color)
        connection: dict[str, Any] = {
            "arrowstyle": "-", "color": color, "lw": 0.6, "shrinkA": 2, "shrinkB": 5,
            "relpos": (0, 0.5),
        }  # fmt: skip
        far = abs(shift) > 0.8 * size or ends[i, 0] < right
        for text, part, valign, scale, gid in zip(
            _label(entries[i]), (0.05, -0.12), ("bottom", "top"), (1.0, 0.9), ("name", "ratio"),
            strict=True,
        ):  # fmt: skip
            write_halo(
                ax, text, (right, ends[i, 1]), color, xytext=(1.3 * size, shift + part * size),
                textcoords="offset points", va=valign, fontsize=scale * size, zorder=6,
                gid=f"{gid} {entries[i].key}",
            )  # fmt: skip
        if far:
            ax.annotate(
                "", tuple(ends[i]), xytext=(1.2 * size, shift), textcoords="offset points",
                arrowprops=connection,
            )  # fmt: skip


def _write_ends(ax: Axes, entry: Entry, peaks: np.ndarray, most: float) -> None:
    """The time steps of the first and of the last line: at their ends, or beside their dots."""
    order, size = entry.result, 0.95 * font_size("xtick.labelsize")
    end = len(order.t) - 1
    low, high = ax.get_ylim()
    least = (high / low) ** (1.2 * size / frame_box(ax).height)  # the ratio of two lines of text
    first, last = order.errors[0], order.errors[-1]
    at_ends = high > first[end] > least * last[end] > least * low
    style: dict[str, Any] = {"fontsize": size, "textcoords": "offset points", "zorder": 6}
    style["path_effects"] = [withStroke(linewidth=stroke(2.2), foreground=background())]
    for j in (0, len(order.h) - 1):
        error, k, name = order.errors[j], peaks[j], _step_name(j)
        where = (6, 1), "left", "bottom" if error[k] * least < high else "center"
        if at_ends:
            k, where = end, ((4, 0), "left", "center")
        elif not order.error[j] <= most:  # the map leaves: beside its last step in view
            k, name = int(np.argmax(~(error <= high))) - 1, f"{name} leaves"
        elif j and (error[k:] < low).any():  # before its line falls below the frame
            k += int(np.argmax(error[k:] < low)) - 1
            where = (-4, 1), "right", "bottom"
        elif j:
            where = (6, -2), "left", "top"
        if k < 0 or not low < error[k] < high or j and not first[k] > least * error[k]:
            continue
        way, ha, va = where
        ax.annotate(
            name, (k, error[k]), xytext=way, ha=ha, va=va, annotation_clip=False,
            color=readable_color(entry.color) if j else ink(),
            gid=f"end {_step_name(j)} {entry.key}", **style,
        )  # fmt: skip


def _ratio(order: Order) -> str:
    """By what the last halving divides the error, as text; empty if it is not measured."""
    if order.window is None:
        return ""
    ratio = order.error[order.window[1] - 1] / order.error[order.window[1]]
    return f"{ratio:.2f}" if ratio < 100 else format_number(ratio)


def _title(orders: list[Order]) -> str:
    """By what halving the time step divides each error, the most frequent case first."""
    groups: dict[tuple[bool, str], list[tuple[Order, str]]] = {}
    unmeasured = []
    for order, _, name, _ in runs.entries(orders):
        if order.window is None:
            unmeasured.append(name)
            continue
        power = order.pairwise[order.window[1] - 1]
        whole = next((fall for p, fall in FALLS.items() if abs(power - p) <= NEAR), "")
        differs = bool(abs(power - order.expected) > AGREES)
        groups.setdefault((differs, whole), []).append((order, name))
    parts = []
    for (differs, fall), members in sorted(
        groups.items(), key=lambda item: (item[0][0], not item[0][1], -len(item[1]))
    ):
        names = join_words([name for _, name in members])
        if len(members) == len(orders) > 4:
            names = "each optimizer"
        subject = "that of" if parts else "halve the time step and the error of"
        if not fall and len(members) > 1:
            subject = subject.replace("that", "those").replace("error", "errors")
        verb = "are" if len(members) > 1 else "is"
        ratios = join_words([_ratio(order) for order, _ in members])
        phrase = fall or f"{verb} divided by {ratios}"
        declared = join_words([f"{2**p:.3g}" for p in sorted({o.expected for o, _ in members})])
        comment = f", where {declared} {'are' if ' ' in declared else 'is'} declared" * differs
        parts.append(f"{subject} {names} {phrase}{comment}")
    if unmeasured:
        parts.append(f"no order is measured for {join_words(unmeasured)}")
    parts += [
        f"the map of {name} leaves with {join_words(left)}"
        for order, _, name, _ in runs.entries(orders)
        if order.window is not None and (left := _leaving(order, _most(orders)))
    ]
    return literal(capitalize("; ".join(parts)))


def _caption(orders: list[Order]) -> list[str]:
    """Problem, start, number of steps, dtype and error of the flow, and what was not measured."""
    counts = join_words([f"{n}" for n in sorted({len(order.t) - 1 for order in orders})])
    counts = count_noun(int(counts), "step") if counts.isdigit() else f"{counts} steps"
    starts = join_words(list(dict.fromkeys(format_point(order.start) for order in orders)))
    dtypes = join_words(sorted({order.dtype for order in orders}))
    error = format_number(max(order.solver_error for order in orders), 1)
    name = literal(problem_name(orders[0]))
    reasons = [
        f"No order is measured for {literal(who)}: {order.reason}."
        for order, _, who, _ in runs.entries(orders)
        if order.reason
    ]
    return [
        f"On {name} from {starts}, {counts} of h in {dtypes}; the flow is solved to {error}.",
        *reasons,
    ]
