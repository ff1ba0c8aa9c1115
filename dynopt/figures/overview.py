"""The overview: one column for each optimizer, with its two equations and three questions."""

from typing import Any

import equinox as eqx
import matplotlib as mpl
from matplotlib.axes import Axes

from ..analysis import Comparison, Order
from ..errors import InvalidValue
from ..optimizers.equations import equations
from . import convergence, loss, paths
from .drawing import runs
from .drawing.captions import contour_sentence, problem_name, summary
from .drawing.frames import Paint, clear
from .drawing.measure import font_size, frame_box, wrap_text
from .drawing.motion import motion_of
from .drawing.picture import Panel, Picture, write_notice
from .drawing.results import must_share_problem, result_list
from .drawing.runs import Entry
from .drawing.style import in_style, ink, muted, readable_color
from .drawing.words import facts, format_number, literal

QUESTIONS = {
    "paths": "Where do they go?",
    "loss": "How low?",
    "convergence": "How far apart, and does halving the time step halve that?",
}
SHORT_QUESTIONS = QUESTIONS | {"convergence": "How far apart?"}
HEIGHTS = {"paths": 1.3, "loss": 1.0, "convergence": 1.0}
SIZE = (0.46, 0.43)  # of a column and of a row, in widths of the style
SMALL = 0.85  # of the size of labels: that of the equations
# A slide has no room for equations, and for two rows only, in a smaller type than other slides.
ON_SLIDES = ("paths", "convergence")
SLIDE: dict[Any, Any] = {
    "font.size": 14, "axes.labelsize": 13, "xtick.labelsize": 12, "ytick.labelsize": 12,
    "lines.linewidth": 2.2, "lines.markersize": 5.5,
}  # fmt: skip
SUBTITLE = (
    "Coloured dots are the optimizer, the map; the line in ink is the differential equation that "
    "it follows, the flow. Ties join the two at equal times."
)
SHORT = "Dots are the map, the line is the flow, and ties join the two at equal times."


@in_style
def draw(
    comparisons: Comparison | list[Comparison],
    orders: Order | list[Order],
    *,
    title: str | None = None,
    style: str = "notebook",
) -> Picture:
    """Paths, losses and errors of one problem, in one column for each optimizer.

    Above each column stand the equations of the map, in its colour, and of the flow, in ink. The
    rows are those of `figures.paths`, `figures.loss` and `figures.convergence`. Paths are left out
    if the problem has one coordinate only, and errors if there are no orders. A slide has no room
    for equations and for three rows; it leaves out the losses.

    - `comparisons`: one or several results of `analysis.compare`.
    - `orders`: results of `analysis.order` of these optimizers; an empty list for none.
    - `title`: a title in place of the claim.
    - `style`: "notebook", "paper" or "slides".

    **Raises:** `InvalidValue` if the results are of several problems, or an order is of another
    optimizer.
    """
    comparisons, orders = _of_one_problem(comparisons, orders)
    entries, rows = runs.entries(comparisons), _rows(comparisons, orders)
    is_slide = style == "slides"
    if is_slide and rows.keys() >= set(ON_SLIDES):
        rows = {name: rows[name] for name in ON_SLIDES}
    with mpl.rc_context(SLIDE if is_slide else {}):
        picture = Picture(style, describe(comparisons, orders))
        width, _ = (float(side) for side in picture.get_size_inches())
        if not is_slide:
            picture.set_size_inches(
                width * max(SIZE[0] * len(entries), 1), width * SIZE[1] * (len(rows) + 0.2)
            )
        grid = picture.add_gridspec(
            len(rows), len(entries), height_ratios=[HEIGHTS[name] for name in rows]
        )
        frames = {
            (name, j): picture.add_subplot(grid[i, j], gid=f"{name} {entry.key}")
            for i, name in enumerate(rows)
            for j, entry in enumerate(entries)
        }
        about_contours = contour_sentence(comparisons[0].problem) if "paths" in rows else []
        picture.write_caption([*summary(comparisons), *about_contours])
        heading, scale = title or _title(comparisons), 1.0 if is_slide else 1.3
        picture.write_heading(heading, subtitle=SHORT if is_slide else SUBTITLE, scale=scale)
        _paint_all(frames, rows, entries, is_slide)
        for (name, _), ax in frames.items():
            if name == "paths":
                ax.set_aspect("auto")
        picture.lay_out()
        for ax in frames.values():
            clear(ax)
        _paint_all(frames, rows, entries, is_slide)
        return picture


def _paint_all(
    frames: dict[tuple[str, int], Axes],
    rows: dict[str, list[Paint]],
    entries: list[Entry],
    is_slide: bool,
) -> None:
    """Every frame with its head or its question; labels that the neighbours have stand once."""
    first = next(iter(rows))
    top = [ax for (name, _), ax in frames.items() if name == first]
    for (name, j), ax in frames.items():
        box = frame_box(ax)
        rows[name][j](ax, box.height / box.width)
        if j == 0 and name != first:
            question = (SHORT_QUESTIONS if is_slide else QUESTIONS)[name]
            ax.set_title(question, loc="left", fontweight="bold", fontsize="medium")
        if j > 0:
            ax.set_ylabel("")
            ax.tick_params(labelleft=name == "paths")
        if name == "paths":
            ax.set_xlabel("")
        for axis in ("x", "y"):  # later ticks would have the size of the style
            ax.tick_params(axis, labelsize=font_size(f"{axis}tick.labelsize"))
    heads = [_head(ax, entry, is_slide) for ax, entry in zip(top, entries, strict=True)]
    _write_heads(top, entries, heads)


def describe(comparisons: Comparison | list[Comparison], orders: Order | list[Order]) -> str:
    """The picture in one sentence with its numbers."""
    comparisons, orders = _of_one_problem(comparisons, orders)
    parts = []
    for entry in runs.entries(comparisons):
        motion = motion_of(entry.result)
        verb = "" if motion.failure or motion.kind == "leaves" else "is "
        parts.append(f"the map of {entry.name} {verb}{motion.fact}")
    parts += [f"of the errors, {convergence.slopes(orders)}"] if orders else []
    return (
        f"The picture shows map and flow on {problem_name(comparisons[0])}, one column for each "
        f"optimizer: {'; '.join(parts)}."
    )


def _of_one_problem(comparisons: Any, orders: Any) -> tuple[list[Comparison], list[Order]]:
    comparisons = result_list(comparisons, Comparison, "analysis.compare")
    if orders != []:
        orders = result_list(orders, Order, "analysis.order")
    must_share_problem([*comparisons[:1], *orders[:1]])
    for order in orders:
        if not any(_is(order.optimizer, comparison) for comparison in comparisons):
            raise InvalidValue(
                f"`orders` has one of {order.optimizer!r}, which none of the comparisons ran; pass "
                "orders of the same optimizers, or an empty list."
            )
    return comparisons, orders


def _rows(comparisons: list[Comparison], orders: list[Order]) -> dict[str, list[Paint]]:
    """What paints each row: one painter for each column."""
    rows = {} if comparisons[0].problem.dim == 1 else {"paths": paths.frames(comparisons)}
    rows["loss"] = loss.frames(comparisons)
    if orders:
        paints = iter(convergence.error_frames(orders))
        by_optimizer = [(order.optimizer, next(paints)) for order in orders]
        rows["convergence"] = [
            next((paint for optimizer, paint in by_optimizer if _is(optimizer, c)), _no_order)
            for c in comparisons
        ]
    return rows


def _is(optimizer: Any, comparison: Comparison) -> bool:
    return bool(eqx.tree_equal(optimizer, comparison.optimizer))


def _no_order(ax: Axes, ratio: float) -> Panel:
    """An empty frame for an optimizer whose order could not be measured."""
    write_notice(ax, "no order was measured")
    ax.set(xticks=[], yticks=[])
    return Panel("")


def _title(comparisons: list[Comparison]) -> str:
    return paths.motions_title(comparisons)


def _head(ax: Axes, entry: Entry, is_slide: bool) -> list[tuple[str, str]]:
    """The lines above a column, from below, each with its colour; a slide has no equations."""
    size, width = SMALL * font_size("axes.labelsize"), frame_box(ax).width
    optimizer, texts = entry.result.optimizer, equations(type(entry.result.optimizer))
    time_step = f"h\xa0=\xa0{format_number(float(optimizer.h))}"
    lines = [(facts(optimizer, time_step), muted())]
    is_gradient = not entry.result.problem.owns_field
    if is_slide:
        return lines
    for name, color in (("flow", ink()), ("map", readable_color(entry.color))):
        equation = texts[name] if is_gradient else texts[name].replace("∇f(", "g(")
        text = wrap_text(literal(_short(equation)), width, size)
        lines += [(line, color) for line in reversed(text.split("\n")) if line]
    return lines


def _write_heads(
    axes: list[Axes], entries: list[Entry], heads: list[list[tuple[str, str]]]
) -> None:
    """The name of each optimizer above its column, with its equations and its learning rate."""
    size = font_size("axes.labelsize")
    spacing, most = 1.35 * SMALL * size, max(map(len, heads))
    for ax, entry, (fact, *lines) in zip(axes, entries, heads, strict=True):
        below = most - 1 - len(lines)  # the equations stand under the name, the fact on the frame
        for i, (text, color) in enumerate([fact, *[("", "none")] * below, *lines]):
            ax.annotate(
                text, (0, 1), xycoords="axes fraction", xytext=(0, 0.5 * size + i * spacing),
                textcoords="offset points", color=color, fontsize=SMALL * size, gid="equations",
            )  # fmt: skip
        ax.set_title(
            literal(entry.name), loc="left", color=readable_color(entry.color),
            fontweight="bold", fontsize=1.4 * size,
            pad=0.6 * size + most * spacing,
        )  # fmt: skip


def _short(text: str) -> str:
    """The equations of an optimizer without those that define a hat, the bias correction.

    A line may end between two equations only.

    >>> _short("mₖ₊₁ = β₁ mₖ + (1-β₁) g; m̂ = mₖ₊₁ / (1 - β₁ᵏ⁺¹)")
    'mₖ₊₁\xa0=\xa0β₁\xa0mₖ\xa0+\xa0(1-β₁)\xa0g'
    """
    parts = [part for part in text.split("; ") if part.find("\u0302 =") not in (1, 2)]
    parts = [part for part in parts if not part.startswith("if corrected")]
    return "; ".join(part.replace(" ", "\xa0") for part in parts)
