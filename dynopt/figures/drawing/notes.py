"""Notes: short lines of bold text, at a place in a frame where they cover least."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from matplotlib.text import Annotation

from .measure import font_size, frame_box, on_paper, stroke, text_width
from .style import background, readable_color

# Of the frame; the first is taken if all are as empty.
CORNERS = ((1.0, 1.0), (0.0, 1.0), (0.0, 0.0), (1.0, 0.0))
PLACES = (*CORNERS, (0.5, 1.0), (0.5, 0.0), (0.0, 0.5), (1.0, 0.5), (0.5, 0.5))
SIDES = {0.0: "left", 0.5: "center", 1.0: "right"}
SIZES = (1.0, 0.85, 0.7)  # of labels of axes; the first is taken if that covers nothing
PAD = 6.0  # points from the edges of the frame
LINE = 1.45  # height of a line, in font sizes


class Line(NamedTuple):
    """One line of a note: its text, its colour, and the `gid` of its artist."""

    text: str
    color: str
    gid: str


def write_note(ax: Axes, lines: Sequence[Line], drawn: Sequence[np.ndarray]) -> None:
    """Write the lines, bold and in their colours, at the edge of the frame or in its middle.

    Places of earlier notes are left alone. The lines are smaller if they would cover something, or
    stick out of the frame, in full size.

    - `drawn`: what they should not cover, as points in data coordinates, shape `(n, 2)` each. The
      limits of `ax` must be set.
    """
    label, box = font_size("axes.labelsize"), frame_box(ax)
    places = np.concatenate([on_paper(ax, points) for points in drawn])
    places = places[np.isfinite(places).all(1)] - [box.x0, box.y0]
    width = 1.1 * max(text_width(line.text, label) for line in lines)  # bold
    extent = np.array([width, LINE * label * len(lines)])
    frame = np.array([box.width, box.height])

    def covered(choice: tuple[float, tuple[float, float]]) -> tuple[bool, int]:
        """Whether the note sticks out of the frame, and how many points it covers."""
        scale, place = choice
        half = scale * extent / 2
        middle = PAD + half + np.array(place) * (frame - 2 * (PAD + half))
        is_out = bool((2 * (half + PAD) > frame).any())
        return is_out, int((np.abs(places - middle) < half + PAD).all(1).sum())

    notes = [
        text
        for text in ax.texts
        if isinstance(text, Annotation) and text.get_verticalalignment() == "center"
    ]
    taken = [note.xy for note in notes if note.xycoords == "axes fraction"]
    free = [place for place in PLACES if place not in taken]
    scale, (x, y) = min(((scale, place) for scale in SIZES for place in free), key=covered)
    size = scale * label
    for i, line in enumerate(lines):
        above = (len(lines) - 1) / 2 - i  # the middle of the note, in lines
        shift = above * LINE * size + (1 - 2 * y) * (PAD + len(lines) * LINE * size / 2)
        write_halo(
            ax, line.text, (x, y), line.color, xycoords="axes fraction",
            xytext=((1 - 2 * x) * PAD, shift), textcoords="offset points", fontsize=size,
            ha=SIDES[x], va="center", gid=line.gid,
        )  # fmt: skip


def write_halo(ax: Axes, text: str, at: Any, color: str, **style: Any) -> None:
    """Text in a colour, bold by default, with a halo that keeps it readable on lines."""
    halo = [withStroke(linewidth=stroke(2.6), foreground=background())]
    usual = {"fontweight": "bold", "fontsize": font_size("axes.labelsize"), "zorder": 8}
    options: dict[str, Any] = usual | style
    ax.annotate(text, at, color=readable_color(color), path_effects=halo, **options)
