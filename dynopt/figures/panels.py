"""Several pictures in one: panels in rows, each with its own claim."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from inspect import signature
from types import ModuleType
from typing import Any

import numpy as np
from matplotlib.artist import Artist

from ..checks import whole_number
from ..errors import InvalidType, InvalidValue
from . import paths
from .drawing.captions import solved
from .drawing.measure import frame, size_of, width
from .drawing.picture import Panel, Picture, write_title
from .drawing.style import context
from .plane.projection import plane_of

WIDE = 0.62  # of the width of a picture of its own, for each panel
HIGH = 0.8
ROOM = 0.9  # of a frame's width, before names take their place


def draw(
    panels: Sequence[tuple[Any, ...]], *, columns: int = 2, style: str = "notebook"
) -> Picture:
    """Draw each panel as its figure does, under a title of its own, with one caption for all.

    - `panels`: pairs of a figure and its results, such as `(figures.paths, runs)`; a third member is a title to take
      the place of the claim. - `columns`: how many stand side by side. - `style`: "notebook", "paper" or "slides".

    **Raises:** `InvalidValue` for no panels; `InvalidType` for what is no panel; and as the figures do.

    >>> from dynopt import SGD, analysis, figures, problems
    >>> runs = [analysis.gap(SGD(h), problems.booth(), 20) for h in (0.01, 0.02)]
    >>> len(draw([(figures.loss, runs), (figures.gap, runs, "The gap halves with h")]).axes)
    2
    """
    if not isinstance(panels, list | tuple):
        raise InvalidType(
            f"`panels` must be a list of panels, got {panels!r}; pass [(figures.loss, runs)], say."
        )
    panels, columns = (
        [_checked(panel) for panel in panels],
        whole_number("columns", columns, least=1, like=2),
    )
    if not panels:
        raise InvalidValue("`panels` is empty; pass pairs such as (figures.loss, runs).")
    with context(style):
        picture = Picture(style, " ".join(_described(*panel) for panel in panels))
        rows, columns = math.ceil(len(panels) / columns), min(columns, len(panels))
        wide, high = (float(side) for side in picture.get_size_inches())
        picture.set_size_inches(wide * max(1, WIDE * columns), high * max(1, HIGH * rows))
        axes = [picture.add_subplot(rows, columns, i + 1) for i in range(len(panels))]
        paints = [_paint(figure, results) for figure, results, _ in panels]
        painted = [
            paint(ax, results)
            for paint, (_, results, _), ax in zip(paints, panels, axes, strict=True)
        ]
        picture.write_caption(_caption([results for _, results, _ in panels], painted))
        keys: dict[tuple[str, ...], Artist] = {}
        for (_, _, title), ax, panel in zip(panels, axes, painted, strict=True):
            write_title(ax, title or panel.title, ROOM * frame(ax).width, 4.0)
            keys |= {_looks(key): key for key in [*panel.names, *panel.keys]}
        _write_keys(picture, list(keys.values()))
        picture.lay_out()
        for paint, (figure, results, title), ax, panel in zip(
            paints, panels, axes, painted, strict=True
        ):
            if figure is paths:  # again, with a window as wide as the frame that the rest leaves
                fill = frame(ax).height / frame(ax).width
                ax.clear()
                paint(ax, results, fill=fill)
            write_title(ax, title or panel.title, frame(ax).width, 4.0)
        return picture


def _paint(figure: ModuleType, results: list[Any]) -> Callable[..., Panel]:
    """As the figure alone would be painted: paths in more than two coordinates are projected."""
    if figure is not paths:
        return figure.paint
    plane = plane_of(results)
    return partial(paths.paint, plane=plane, found=paths.unseen(results, plane))


def _described(figure: ModuleType, results: list[Any], title: str) -> str:
    return ": ".join(filter(None, [title, figure.describe(results)]))


def _caption(results: Sequence[list[Any]], painted: Sequence[Panel]) -> list[str]:
    """What each panel says, said once; how exactly the flows were solved, in one sentence for all."""
    said, flows = [], []
    for each, panel in zip(results, painted, strict=True):
        own = solved(each)
        said += [line for line in panel.caption if line != own]
        flows += each if own in panel.caption else []
    return [*dict.fromkeys(said), *([solved(flows)] if flows else [])]


def _looks(key: Artist) -> tuple[str, ...]:
    """By what keys are told apart: words, and how they are drawn."""
    drawn = ("color", "linestyle", "marker", "markerfacecolor", "facecolor")
    return str(key.get_label()), *(str(getattr(key, f"get_{what}", str)()) for what in drawn)


def _write_keys(picture: Picture, keys: list[Artist]) -> None:
    """Names and keys of all panels in one block above them, in as many columns as the page is wide."""
    size, room = size_of("legend.fontsize"), 72 * picture.get_figwidth() - 16
    needed = [width(str(key.get_label()), size) + 5.5 * size for key in keys]
    fitting = [
        n
        for n in range(1, len(keys) + 1)
        if sum(max(part) for part in np.array_split(needed, n)) <= room
    ]
    look: dict[str, Any] = {"frameon": False, "handlelength": 3.2, "fontsize": size}
    block = picture.legend(
        handles=keys, loc="outside upper left", ncols=max(fitting, default=1), **look
    )
    block.set_gid("names")


def _checked(panel: Any) -> tuple[ModuleType, list[Any], str]:
    figure: Any
    figure, *rest = panel if isinstance(panel, tuple) and panel else (panel,)
    if not (len(rest) in (1, 2) and _stands_alone(figure)):
        raise InvalidType(
            "a panel is a figure that draws in one frame, from its results alone, and these results; got "
            f"{getattr(figure, '__name__', repr(figure))} and {len(rest)} more, pass (figures.loss, runs), say."
        )
    results, *title = rest
    if title and not isinstance(title[0], str):
        raise InvalidType(f"the title of a panel must be text, got {title[0]!r}; put it in quotes.")
    return (
        figure,
        list(results) if isinstance(results, list | tuple) else [results],
        title[0] if title else "",
    )


def _stands_alone(figure: Any) -> bool:
    if not all(hasattr(figure, name) for name in ("draw", "paint", "describe")):
        return False
    _, *more = signature(figure.describe).parameters.values()
    return all(parameter.default is not parameter.empty for parameter in more)
