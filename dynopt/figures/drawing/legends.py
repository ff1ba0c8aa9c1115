"""Legends: handles of optimizers and keys of everything else, above a frame or inside it."""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.transforms import ScaledTranslation

from .measure import figure_of, font_size, stroke, text_width
from .style import ink, muted

DOTTED = (0, (1, 2.4))  # the line of what is no run
ROW = 1.62  # height of a row, in font sizes


def key(label: str, **style: Any) -> Line2D:
    """A legend entry that belongs to no optimizer."""
    defaults = {"color": muted(), "markersize": mpl.rcParams["lines.markersize"], "label": label}
    return Line2D([], [], **defaults | style)


def run_keys() -> list[Line2D]:
    """The keys of map and flow."""
    return [key("map", marker="o", linewidth=stroke(0.5)), key("flow", color=ink())]


def draw_legend(
    parent: Any, groups: Sequence[Sequence[Artist]], width: float, **place: Any
) -> tuple[Legend, float]:
    """A legend of some groups of handles, at most `width` points wide, and its height in points.

    All handles stand in one row if they fit; else each group takes rows of its own, in aligned
    columns.
    """
    size = font_size("legend.fontsize")
    handles, columns = _arrange([list(group) for group in groups if group], width, size)
    legend = Legend(
        parent, handles, [str(handle.get_label()) for handle in handles], ncols=columns,
        fontsize=size, frameon=False, borderpad=0, borderaxespad=0, handlelength=3.2,
        handletextpad=0.6, columnspacing=1.6, labelspacing=0.45, **place,
    )  # fmt: skip
    legend.set_gid("legend")
    return legend, ROW * size * len(handles) / max(columns, 1)


def _arrange(groups: list[list[Artist]], width: float, size: float) -> tuple[list[Artist], int]:
    """The handles column after column, as matplotlib fills a legend, and the number of columns."""
    blank = Line2D([], [], linestyle="none", label="")
    rows, columns = [[handle for group in groups for handle in group]], sum(map(len, groups))
    longest = max(map(len, groups), default=0)
    while columns > 1 and _row_width(rows, size) > width:
        columns = min(columns - 1, longest)
        rows = [
            [*group[i : i + columns], *[blank] * (i + columns - len(group))]
            for group in groups
            for i in range(0, len(group), columns)
        ]
    return [handle for column in zip(*rows, strict=True) for handle in column], columns


def _row_width(rows: list[list[Artist]], size: float) -> float:
    """The width of a legend whose columns are as wide as their widest entries."""
    columns = zip(*rows, strict=True)
    labels = ([str(handle.get_label()) for handle in column] for column in columns)
    return sum(max(text_width(text, size) for text in column) + 5.5 * size for column in labels)


def draw_above(ax: Axes, groups: Sequence[Sequence[Artist]], width: float) -> float:
    """The legend above the frame, in place of a former one; returns its height in points."""
    for former in [artist for artist in ax.artists if artist.get_gid() == "legend"]:
        former.remove()
    pad = 0.7 * font_size("legend.fontsize")
    if not any(groups):
        return pad
    lifted = ax.transAxes + ScaledTranslation(0, pad / 72, figure_of(ax).dpi_scale_trans)
    legend, height = draw_legend(
        ax, groups, width, loc="lower left", bbox_to_anchor=(0, 1), bbox_transform=lifted
    )
    ax.add_artist(legend)
    return pad + height


def draw_inside(ax: Axes, handles: Sequence[Artist]) -> None:
    """The legend within the frame, where it covers least."""
    size = 0.9 * font_size("legend.fontsize")
    ax.legend(handles=list(handles), fontsize=size, handlelength=3.2).set_gid("legend")
