"""Which words of a picture lie on one another, and which lie outside of it."""

from itertools import combinations

from matplotlib.text import Text
from matplotlib.transforms import Bbox

from dynopt.figures.drawing import style


def boxes(picture):
    """Every visible text of the picture, with the box in pixels that it covers."""
    picture.draw_without_rendering()
    texts = [t for t in picture.findobj(Text) if t.get_visible() and t.get_text().strip()]
    covered = [(t.get_text(), box_of(t)) for t in texts]
    with style.context(picture.style):  # the number of ticks depends on the size of their labels
        hidden = {
            tick
            for ax in picture.findobj(lambda a: hasattr(a, "get_xticklabels"))
            for tick in hidden_ticks(ax)
        }
    return [box for box, t in zip(covered, texts, strict=True) if t not in hidden]


def box_of(text):
    """The box without a connection to a line, and without blank lines at the end."""
    box = Text.get_window_extent(text)
    lines = text.get_text().split("\n")
    blank = len(lines) - len(text.get_text().rstrip("\n ").split("\n"))
    return Bbox([[box.x0, box.y0 + box.height * blank / len(lines)], [box.x1, box.y1]])


def hidden_ticks(ax):
    """Labels of ticks outside of the view exist but are not drawn."""
    for axis in (ax.xaxis, ax.yaxis):
        low, high = sorted(axis.get_view_interval())
        for tick in axis.get_major_ticks() + axis.get_minor_ticks():
            if not low * (1 - 1e-9) - 1e-12 <= tick.get_loc() <= high * (1 + 1e-9) + 1e-12:
                yield from (tick.label1, tick.label2)


def overlapping(picture) -> list[tuple[str, str]]:
    return [
        (one, other)
        for (one, a), (other, b) in combinations(boxes(picture), 2)
        if min(a.x1, b.x1) - max(a.x0, b.x0) > 1 and min(a.y1, b.y1) - max(a.y0, b.y0) > 1
    ]


def outside(picture) -> list[str]:
    wide, high = picture.get_size_inches() * picture.dpi
    return [
        t for t, b in boxes(picture) if b.x0 < -1 or b.y0 < -1 or b.x1 > wide + 1 or b.y1 > high + 1
    ]
