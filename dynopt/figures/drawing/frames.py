"""Pictures with one frame for each optimizer: heads, a title above all, a caption of one line."""

from collections.abc import Callable, Sequence

from matplotlib.artist import Artist
from matplotlib.axes import Axes

from ...errors import InvalidValue
from .measure import font_size, frame_box, text_width
from .picture import Panel, Picture, write_title
from .results import must_be_axes
from .style import context, muted, readable_color
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
) -> Picture | Axes:
    """Paint each optimizer into a frame of its own, of a new `Picture` or the given `ax`.

    - `paints`: one for each optimizer. Each is called with the axes and the height over the width
      of their frame. It may be called twice: the frame has its final size the second time.
    - `title`: the claim above all frames; `caption`: sentences below them.
    - `alt`: one sentence that says what the picture shows.
    - `ratio`: the height of each frame over its width; the frames of a slide fill the slide.
    - `columns`: how many frames stand side by side, by default as `COLUMNS` says.

    **Raises:** `InvalidType` if `ax` is no axes; `InvalidValue` if several are to share it.
    """
    must_be_axes(ax)
    if ax is not None and len(paints) > 1:
        raise InvalidValue(
            f"`ax` holds one optimizer, got {len(paints)} results; pass one result for each `ax`, "
            "or leave `ax` out."
        )
    with context(style):
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
            picture.set_size_inches(WIDTHS[columns] * width, rows * height)
        grid = [picture.add_subplot(rows, columns, i + 1) for i in range(len(paints))]
        panels = [paint(one, ratio) for paint, one in zip(paints, grid, strict=True)]
        picture.write_caption(caption)
        picture.write_heading(title, _distinct_keys(panels), scale=1.1)
        for one, panel in zip(grid, panels, strict=True):
            write_around(one, panel, len(paints))
            one.set_aspect("auto")
        picture.lay_out()
        if style != "slides":
            box = frame_box(grid[0])
            higher = rows * (ratio * box.width - box.height) / 72
            picture.set_figheight(picture.get_figheight() + higher)
            picture.lay_out()
        for one, paint in zip(grid, paints, strict=True):
            box = frame_box(one)
            one.clear()
            write_around(one, paint(one, box.height / box.width), len(paints))
        return picture


def write_around(ax: Axes, panel: Panel, frames: int) -> None:
    """The head of a frame; labels of axes only at the outer frames, which share them."""
    size = font_size("axes.labelsize")
    fact = panel.fact
    while text_width(fact, 0.9 * size) > frame_box(ax).width and "   " in fact:
        fact = fact.rpartition("   ")[0]
    ax.set_title(
        literal(panel.name), loc="left", color=readable_color(panel.color), fontweight="bold",
        fontsize=1.2 * size, pad=(1.7 if fact else 0.5) * size,
    )  # fmt: skip
    ax.annotate(
        fact, (0, 1), xycoords="axes fraction", xytext=(0, 0.45 * size), gid="fact",
        textcoords="offset points", va="bottom", fontsize=0.9 * size, color=muted(),
    )  # fmt: skip
    place = ax.get_subplotspec()
    if place is None:
        return
    rows, columns, first, _ = place.get_geometry()
    if first % columns:
        ax.set_ylabel("")
    if first + columns < frames:
        ax.set_xlabel("")


def _distinct_keys(panels: Sequence[Panel]) -> list[Artist]:
    """The legend entries of all panels, each label once."""
    keys: dict[str, Artist] = {}
    for key in (key for panel in panels for key in panel.keys):
        keys.setdefault(str(key.get_label()), key)
    return list(keys.values())
