"""A note: a few short lines of text in the corner of a frame in which they cover least."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes

from .measure import font_size, frame_box, text_width
from .ties import on_paper, write_halo

CORNERS = ((1, 1), (0, 1), (0, 0), (1, 0))  # of the frame; the first is taken if all are as empty
PAD = 6.0  # points from the edges of the frame
LINE = 1.45  # height of a line, in font sizes


class Line(NamedTuple):
    """One line of a note: its text, its colour, and the `gid` of its artist."""

    text: str
    color: str
    gid: str


def write_note(ax: Axes, lines: Sequence[Line], drawn: Sequence[np.ndarray]) -> None:
    """Write the lines, bold and in their colours, in one corner of the frame.

    - `drawn`: what they should not cover, as points in data coordinates, shape `(n, 2)` each. The
      limits of `ax` must be set.
    """
    size, box = font_size("axes.labelsize"), frame_box(ax)
    width = 1.1 * max(text_width(line.text, size) for line in lines)
    height = LINE * size * len(lines)
    places = np.concatenate([on_paper(ax, points) for points in drawn])
    places = places[np.isfinite(places).all(1)] - [box.x0, box.y0]

    def covered(corner: tuple[int, int]) -> int:
        right, top = corner
        x = np.abs(places[:, 0] - right * box.width) < width + 2 * PAD
        y = np.abs(places[:, 1] - top * box.height) < height + 2 * PAD
        return int((x & y).sum())

    right, top = corner = min(CORNERS, key=covered)
    for i, line in enumerate(lines):
        down = i if top else len(lines) - 1 - i
        shift = (PAD + down * LINE * size) * (-1 if top else 1)
        write_halo(
            ax, line.text, corner, line.color, xycoords="axes fraction",
            xytext=(-PAD if right else PAD, shift), textcoords="offset points",
            ha="right" if right else "left", va="top" if top else "bottom", gid=line.gid,
        )  # fmt: skip
