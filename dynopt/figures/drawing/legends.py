"""Names and keys in a row above the frame, or within it."""

from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.transforms import ScaledTranslation

from .measure import figure_of, size_of, width
from .style import quiet

DOTTED = (0, (1, 2.4))  # what is no run: round-off and the solver's own error


def map_and_flow() -> list[Line2D]:
    """The key of every picture: dots are the map, a line is the flow."""
    return [key("map", marker="o", linestyle="none"), key("flow", linestyle="-")]


def dotted(label: str) -> Line2D:
    return key(label, linestyle=DOTTED, linewidth=0.65 * mpl.rcParams["lines.linewidth"])


def key(label: str, **look) -> Line2D:
    """An entry that belongs to no optimizer."""
    return Line2D(
        [],
        [],
        **{"color": quiet(), "markersize": mpl.rcParams["lines.markersize"], "label": label} | look,
    )


def above(ax: Axes, names: Sequence[Artist], keys: Sequence[Artist], room: float) -> float:
    """Names and keys above the frame, in as many rows as `room` points ask for. Returns their height in points."""
    for former in [artist for artist in ax.artists if artist.get_gid() == "names"]:
        former.remove()
    size = size_of("legend.fontsize")
    height = 0.7 * size
    for row in reversed(rows(names, keys, room, size)):
        ax.add_artist(_row(ax, row, size, height))
        height += 1.55 * size
    return height


def rows(
    names: Sequence[Artist], keys: Sequence[Artist], room: float, size: float
) -> list[list[Artist]]:
    """Names and keys on one row if they fit; else on rows of their own, as many as they need."""

    def needed(row):
        return sum(width(str(handle.get_label()), size) + 5.5 * size for handle in row)

    together = [*names, *keys]
    found: list[list[Artist]] = []
    for group in filter(None, [together] if needed(together) <= room else [names, keys]):
        found.append([])
        for handle in group:
            if found[-1] and needed([*found[-1], handle]) > room:
                found.append([])
            found[-1].append(handle)
    return found


def _row(ax: Axes, handles: Sequence[Artist], size: float, height: float) -> Legend:
    lifted = ScaledTranslation(0, height / 72, figure_of(ax).dpi_scale_trans)
    return row(
        ax,
        handles,
        (0.0, 1.0),
        loc="lower left",
        bbox_transform=ax.transAxes + lifted,
        fontsize=size,
    )


def row(parent, handles: Sequence[Artist], place: tuple[float, float], **legend) -> Legend:
    said = [str(handle.get_label()) for handle in handles]
    drawn = Legend(
        parent, list(handles), said, bbox_to_anchor=place, ncols=len(handles), frameon=False, borderpad=0,
        borderaxespad=0, handlelength=3.2, handletextpad=0.6, columnspacing=1.6, **legend,
    )  # fmt: skip
    drawn.set_gid("names")
    return drawn


def aside(ax: Axes, handles: Sequence[Artist]) -> None:
    """Names and keys in a column to the right of the frame and of its scale."""
    said, size = [str(handle.get_label()) for handle in handles], size_of("legend.fontsize")
    ticks = [label.get_text() for scale in ax.child_axes for label in scale.get_yticklabels()]
    wide = max([0.0, *(width(tick, size) - width("0.001", size) for tick in ticks)])
    moved = ScaledTranslation((5.5 * size + wide) / 72, 0, figure_of(ax).dpi_scale_trans)
    drawn = Legend(
        ax, list(handles), said, loc="upper left", bbox_to_anchor=(1.02, 1), bbox_transform=ax.transAxes + moved,
        frameon=False, borderpad=0, borderaxespad=0, handlelength=3.2, handletextpad=0.6, labelspacing=0.8,
    )  # fmt: skip
    drawn.set_gid("names")
    ax.add_artist(drawn)


def within(ax: Axes, handles: Sequence[Artist]) -> None:
    """Names and keys within the frame, where they cover least."""
    drawn = ax.legend(
        handles=list(handles), fontsize=0.9 * size_of("legend.fontsize"), handlelength=3.2
    )
    drawn.set_gid("names")
