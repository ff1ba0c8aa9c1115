"""How much room words take, in points: before anything is drawn."""

from functools import lru_cache

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path
from matplotlib.transforms import Bbox

from ...errors import InvalidValue


def size_of(name: str) -> float:
    """A font size of the style, such as "legend.fontsize"."""
    size = mpl.rcParams[name]  # pyright: ignore[reportArgumentType]
    return FontProperties(size=size).get_size_in_points()


def width(text: str, size: float) -> float:
    """Of one line, as it is drawn without hinting."""
    return _width(text.replace(r"\$", "$"), size, tuple(mpl.rcParams["font.family"]))


@lru_cache(4096)
def _width(text: str, size: float, family: tuple[str, ...]) -> float:
    return text_to_path.get_text_width_height_descent(
        text, FontProperties(family=list(family), size=size), False
    )[0]


def wrapped(text: str, room: float, size: float) -> str:
    """The text on lines no longer than `room`; hard spaces are kept, and a word too long for a line is cut."""
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}".strip(" ")
        if width(longer, size) <= room or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return "\n".join(piece for line in lines for piece in _cut(line, room, size))


def _cut(line: str, room: float, size: float) -> list[str]:
    fit = len(line)
    while fit > 1 and width(line[:fit], size) > room:
        fit = min(fit - 1, int(fit * max(room / width(line[:fit], size), 0.1)) + 1)
    return [line] if fit == len(line) else [line[:fit], *_cut(line[fit:], room, size)]


def figure_of(ax: Axes) -> Figure:
    figure = ax.get_figure(root=True)
    if figure is None:
        raise InvalidValue("`ax` belongs to no figure any more; pass axes that do.")
    return figure


def points_per_pixel(ax: Axes) -> float:
    return 72 / figure_of(ax).dpi


def frame(ax: Axes) -> Bbox:
    return Bbox(ax.get_window_extent().get_points() * points_per_pixel(ax))
