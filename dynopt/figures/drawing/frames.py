"""Pictures with one frame for each optimizer: heads, a title above all, a caption of one line."""

from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.transforms import Bbox

from ...errors import InvalidValue
from .labels import write_labels
from .measure import font_size, frame_box, text_width
from .picture import Panel, Picture, distinct, write_title
from .results import must_be_axes
from .style import muted, readable_color
from .words import literal

Paint = Callable[[Axes, float], Panel]
COLUMNS = {1: 1, 2: 2, 4: 2}  # by the number of frames; else there are three
WIDTHS = {1: 0.83, 2: 1.28, 3: 1.7, 4: 1.75}  # of the picture, in widths of the style, by columns


def draw_frames(
    paints: Sequence[Paint],
    title: str,
    alt: str,
    caption: Sequence[str],
    ax: Axes | None,
    style: str,
    *,
    ratio: float = 0.74,
    columns: int | None = None,
    share_labels: bool = True,
) -> Picture | Axes:
    """Paint each optimizer into a frame of its own, of a new `Picture` or the given `ax`.

    - `paints`: one for each optimizer. Each is called with the axes and the height over the width
      of their frame. It may be called twice: the frame has its final size the second time.
    - `title`: the claim above all frames; `caption`: sentences below them, before those of panels.
    - `alt`: one sentence that says what the picture shows.
    - `ratio`: the height of each frame over its width, unless a panel has an `aspect`; the frames
      of a slide fill the slide.
    - `columns`: how many frames stand side by side, by default as `COLUMNS` says.
    - `share_labels`: whether the labels of axes stand at the outer frames only.

    **Raises:** `InvalidType` if `ax` is no axes; `InvalidValue` if several are to share it.
    """
    must_be_axes(ax)
    if ax is not None and len(paints) > 1:
        raise InvalidValue(
            f"`ax` holds one optimizer, got {len(paints)} results; pass one result for each `ax`, "
            "or leave `ax` out."
        )
    if ax is not None:
        box = frame_box(ax)
        paints[0](ax, box.height / box.width)
        write_title(ax, title, box.width)
        return ax
    picture = Picture(style, alt)
    columns = columns or COLUMNS.get(len(paints), 3)
    rows = -(-len(paints) // columns)
    width, height = (float(side) for side in picture.get_size_inches())
    if style != "slides":
        picture.set_size_inches(WIDTHS.get(columns, 0.44 * columns) * width, rows * height)
    grid = [picture.add_subplot(rows, columns, i + 1) for i in range(len(paints))]
    panels = [paint(one, ratio) for paint, one in zip(paints, grid, strict=True)]
    ratio = max((panel.aspect for panel in panels if panel.aspect), default=ratio)
    low = style == "slides" and rows > 1  # frames, which need the room that heads take
    fitting = [low and _fits_beside(*one) for one in zip(grid, panels, strict=True)]
    beside = [all(fitting[i - i % columns :][:columns]) for i in range(len(paints))]
    sentences = dict.fromkeys(line for panel in panels for line in panel.caption)
    picture.write_caption([*caption, *sentences])
    handles = [handle for panel in panels for handle in panel.handles]
    keys = [key for panel in panels for key in panel.keys]
    picture.write_heading(title, distinct(handles), distinct(keys), scale=1.1)
    for one, panel, one_line in zip(grid, panels, beside, strict=True):
        write_around(one, panel, len(paints), share_labels, one_line)
        one.set_aspect("auto")
    picture.lay_out()
    if style != "slides":
        box = frame_box(grid[0])
        higher = rows * (ratio * box.width - box.height) / 72
        picture.set_figheight(picture.get_figheight() + higher)
        picture.lay_out()
    for one, paint, one_line in zip(grid, paints, beside, strict=True):
        box = frame_box(one)
        clear(one)
        panel = paint(one, box.height / box.width)
        write_around(one, panel, len(paints), share_labels, one_line)
    return picture


def draw_parts(picture: Picture, parts: Sequence[tuple[Axes, Callable[[Axes], Panel]]]) -> None:
    """Paint the parts of one picture, each into a frame of its own, at their final size.

    - `parts`: each frame with what paints it.
    """
    for _ in range(2):  # the frames have their final size the second time
        for ax, paint in parts:
            clear(ax)
            write_around(ax, paint(ax), len(parts), share_labels=False)
        picture.lay_out()


def clear(ax: Axes) -> None:
    """Empty a frame whose size is now known, to paint it again.

    The limits of its former data go, too, which matplotlib keeps: a scale would fit itself to them.
    """
    ax.clear()
    ax.dataLim.set_points(Bbox.null().get_points())


def write_around(
    ax: Axes, panel: Panel, frames: int, share_labels: bool = True, one_line: bool = False
) -> None:
    """The head of a frame, or its title; labels of axes only at the outer frames if they share.

    - `one_line`: whether the fact stands beside the name, and not below it.
    """
    size = font_size("axes.labelsize")
    if not panel.name:
        write_title(ax, panel.title, frame_box(ax).width)
        write_labels(ax, panel.labels)
        return
    fact, room = _fact(panel), frame_box(ax).width
    x = _beside(panel) if one_line else 0.0
    while x + text_width(fact, 0.9 * size) > room and "   " in fact:
        fact = fact.rpartition("   ")[0]
    name = literal(panel.name)
    fitting = min(1.0, room / (1.15 * text_width(name, 1.2 * size)))
    ax.set_title(
        name, loc="left", color=readable_color(panel.color), fontweight="bold",
        fontsize=1.2 * fitting * size, pad=(1.7 if fact and not one_line else 0.5) * size,
    )  # fmt: skip
    ax.annotate(
        fact, (0, 1), xycoords="axes fraction", xytext=(x, (0.6 if one_line else 0.45) * size),
        textcoords="offset points", va="baseline" if one_line else "bottom",
        fontsize=0.9 * size, color=muted(), gid="fact",
    )  # fmt: skip
    place = ax.get_subplotspec()
    if place is None or not share_labels:
        return
    rows, columns, first, _ = place.get_geometry()
    if first % columns:
        ax.set_ylabel("")
    if first + columns < frames:
        ax.set_xlabel("")


def _fact(panel: Panel) -> str:
    """The facts without the first, if the name has it."""
    known, _, rest = panel.fact.partition("   ")
    return rest if known in panel.name else panel.fact


def _beside(panel: Panel) -> float:
    """Points from the left edge of a frame to a fact that stands beside the name."""
    size = font_size("axes.labelsize")
    return 1.15 * text_width(literal(panel.name), 1.2 * size) + 1.2 * size


def _fits_beside(ax: Axes, panel: Panel) -> bool:
    """Whether there is room for the first fact beside the name."""
    first = _fact(panel).split("   ")[0]
    width = text_width(first, 0.9 * font_size("axes.labelsize"))
    return bool(_beside(panel) + width <= frame_box(ax).width)
