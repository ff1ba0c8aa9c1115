"""Several pictures in one: panels in rows, each with its own claim."""

import math
from collections.abc import Sequence
from itertools import chain
from types import ModuleType
from typing import Any

import numpy as np
from matplotlib.artist import Artist

from ..checks import whole
from ..errors import InvalidType, InvalidValue
from . import paths
from .captions import solved
from .measure import frame, size_of, width
from .picture import Panel, Picture, write_title
from .style import context

WIDE = 0.62  # of the width of a picture of its own, for each panel
HIGH = 0.8
ROOM = 0.9  # of a frame's width, before names take their place


def draw(panels: Sequence[tuple[Any, ...]], *, columns: int = 2, style: str = "notebook") -> Picture:
    """Draw each panel as its figure does, under a title of its own, with one caption for all.

    - `panels`: pairs of a figure and its results, such as `(figures.paths, runs)`; a third member is a title to take
      the place of the claim. - `columns`: how many stand side by side. - `style`: "notebook", "paper" or "slides".

    **Raises:** `InvalidValue` for no panels; `InvalidType` for what is no figure; and as the figures do.

    >>> from dynopt import SGD, analysis, figures, problems
    >>> runs = [analysis.gap(SGD(h), problems.booth(), 20) for h in (0.01, 0.02)]
    >>> len(draw([(figures.loss, runs), (figures.gap, runs, "The gap halves with h")]).axes)
    2
    """
    panels, columns = [_checked(panel) for panel in panels], whole("columns", columns, least=1)
    if not panels:
        raise InvalidValue("`panels` is empty; pass pairs such as (figures.loss, runs).")
    with context(style):
        picture = Picture(style, " ".join(_described(*panel) for panel in panels))
        rows, columns = math.ceil(len(panels) / columns), min(columns, len(panels))
        wide, high = (float(side) for side in picture.get_size_inches())
        picture.set_size_inches(wide * max(1, WIDE * columns), high * max(1, HIGH * rows))
        axes = [picture.add_subplot(rows, columns, i + 1) for i in range(len(panels))]
        painted = [figure.paint(ax, results) for (figure, results, _), ax in zip(panels, axes, strict=True)]
        picture.write_caption(_caption([results for _, results, _ in panels], painted))
        keys: dict[str, Artist] = {}
        for (_, _, title), ax, panel in zip(panels, axes, painted, strict=True):
            write_title(ax, title or panel.title, ROOM * frame(ax).width, 4.0)
            keys |= {str(key.get_label()): key for key in [*panel.names, *panel.keys]}
        _write_keys(picture, list(keys.values()))
        picture.lay_out()
        for (figure, results, title), ax, panel in zip(panels, axes, painted, strict=True):
            if figure is paths:  # again, with a window as wide as the frame that the rest leaves
                fill = frame(ax).height / frame(ax).width
                ax.clear()
                paths.paint(ax, results, fill=fill)
            write_title(ax, title or panel.title, frame(ax).width, 4.0)
        return picture


def _described(figure: ModuleType, results: list[Any], title: str) -> str:
    return ": ".join(filter(None, [title, figure.describe(results)]))


def _caption(results: Sequence[list[Any]], painted: Sequence[Panel]) -> list[str]:
    """What each panel says, said once; how exactly the flows were solved, in one sentence for all."""
    said = [
        line for each, panel in zip(results, painted, strict=True) for line in panel.caption if line != solved(each)
    ]
    return [*dict.fromkeys(said), *filter(None, [solved(list(chain.from_iterable(results)))])]


def _write_keys(picture: Picture, keys: list[Artist]) -> None:
    """Names and keys of all panels in one block above them, in as many columns as the page is wide."""
    size, room = size_of("legend.fontsize"), 72 * picture.get_figwidth() - 16
    needed = [width(str(key.get_label()), size) + 5.5 * size for key in keys]
    fitting = [n for n in range(1, len(keys) + 1) if sum(max(part) for part in np.array_split(needed, n)) <= room]
    look: dict[str, Any] = {"frameon": False, "handlelength": 3.2, "fontsize": size}
    block = picture.legend(handles=keys, loc="outside upper left", ncols=max(fitting, default=1), **look)
    block.set_gid("names")


def _checked(panel: Any) -> tuple[ModuleType, list[Any], str]:
    if not (isinstance(panel, tuple) and len(panel) in (2, 3) and hasattr(panel[0], "paint")):
        raise InvalidType(f"a panel is a figure and its results, got {panel!r}; pass (figures.loss, runs), say.")
    figure, results, *title = panel
    return figure, list(results) if isinstance(results, list | tuple) else [results], title[0] if title else ""
