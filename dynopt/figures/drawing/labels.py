"""Labels of lines in the right margin, next to the ends of the lines."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes

from .measure import font_size, frame_box
from .style import readable_color

AT_THE_EDGE = 0.97  # of the width of the frame: a line that ends to the left of this has no label


class Label(NamedTuple):
    """The name of a line, its color, and the point (x, y) where the line ends."""

    text: str
    color: str
    end: tuple[Any, Any]


def write_labels(ax: Axes, labels: Sequence[Label], weight: str = "normal") -> bool:
    """Write the labels in one column, each at the height where its line ends.

    - `weight`: that of the font, such as "bold".

    Returns False, and writes nothing, if some line ends before the right edge of the frame or if
    there are more labels than the column holds.
    """
    size, height = font_size("legend.fontsize"), frame_box(ax).height
    spacing = 1.4 * size / height
    if not labels or spacing * len(labels) > 1:
        return False
    ends = ax.transAxes.inverted().transform(ax.transData.transform([one.end for one in labels]))
    if ends[:, 0].min() < AT_THE_EDGE:
        return False
    ends = np.clip(ends[:, 1], 0, 1)
    order = np.argsort(ends, kind="stable")
    for i, place in zip(order, spread(ends[order], spacing), strict=True):
        shift, color = place - ends[i], labels[i].color
        connection: dict[str, Any] = {
            "arrowstyle": "-", "color": color, "lw": 0.8, "shrinkA": 1, "shrinkB": 3,
            "relpos": (0, 0.5),
        }  # fmt: skip
        shifted = abs(shift) > 0.3 * spacing
        ax.annotate(
            labels[i].text, (1, ends[i]), xycoords="axes fraction", textcoords="offset points",
            xytext=((1.7 if shifted else 0.85) * size, shift * height), va="center", ha="left",
            color=readable_color(color), fontsize=size, fontweight=weight,
            gid=f"label {labels[i].text}",
            arrowprops=connection if shifted else None, annotation_clip=False,
        )  # fmt: skip
    return True


def spread(heights: np.ndarray, spacing: float) -> np.ndarray:
    """Increasing heights in [0, 1], moved so that neighbours are at least `spacing` apart.

    >>> spread(np.array([0.5, 0.5, 0.9]), 0.2).round(2).tolist()
    [0.4, 0.6, 0.9]
    """
    stack = spacing * np.arange(len(heights))
    upward = np.maximum.accumulate(heights - stack)
    downward = np.minimum.accumulate((heights - stack)[::-1])[::-1]
    return np.clip((upward + downward) / 2, 0, 1 - stack[-1]) + stack
