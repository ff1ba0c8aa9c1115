"""How much room text takes, in points (1/72 inch), before anything is drawn."""

from functools import lru_cache

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path
from matplotlib.transforms import Bbox

from ...errors import InvalidValue

NOTEBOOK = 1.7  # points: the width of lines in the style "notebook"


def font_size(name: str) -> float:
    """The font size of a setting of the style, such as "legend.fontsize"."""
    size = mpl.rcParams[name]  # pyright: ignore[reportArgumentType]
    return FontProperties(size=size).get_size_in_points()


def text_width(text: str, size: float) -> float:
    """The width of one line of text, as it is drawn without hinting."""
    return _text_width(text.replace(r"\$", "$"), size, tuple(mpl.rcParams["font.family"]))


@lru_cache(4096)
def _text_width(text: str, size: float, family: tuple[str, ...]) -> float:
    font = FontProperties(family=list(family), size=size)
    return text_to_path.get_text_width_height_descent(text, font, False)[0]


def stroke(width: float) -> float:
    """A width in points of the style "notebook", as wide as the lines of the style in use."""
    return width * float(mpl.rcParams["lines.linewidth"]) / NOTEBOOK


def wrap_text(text: str, width: float, size: float) -> str:
    """The text on lines that are at most `width` wide; its own line breaks stay.

    Hard spaces are kept, and a word that is too long for a line is cut.
    """
    lines = []
    for paragraph in text.split("\n"):
        lines.append("")
        for word in paragraph.split(" "):
            longer = f"{lines[-1]} {word}".strip(" ")
            if text_width(longer, size) <= width or not lines[-1]:
                lines[-1] = longer
            else:
                lines.append(word)
    return "\n".join(piece for line in lines for piece in _cut(line, width, size))


def _cut(line: str, width: float, size: float) -> list[str]:
    """The line in pieces that are at most `width` wide."""
    end = len(line)
    while end > 1 and text_width(line[:end], size) > width:
        fraction = max(width / text_width(line[:end], size), 0.1)
        end = min(end - 1, int(end * fraction) + 1)
    return [line] if end == len(line) else [line[:end], *_cut(line[end:], width, size)]


def figure_of(ax: Axes) -> Figure:
    """The figure that holds the axes.

    **Raises:** `InvalidValue` if the axes were removed from their figure.
    """
    figure = ax.get_figure(root=True)
    if figure is None:
        raise InvalidValue("`ax` belongs to no figure any more; pass axes that do.")
    return figure


def frame_box(ax: Axes) -> Bbox:
    """The frame of the axes."""
    return Bbox(ax.get_window_extent().get_points() * 72 / figure_of(ax).dpi)


def on_paper(ax: Axes, points: np.ndarray) -> np.ndarray:
    """Where points lie on paper, in points (1/72 inch)."""
    with np.errstate(all="ignore"):
        return ax.transData.transform(points) * 72 / figure_of(ax).dpi
