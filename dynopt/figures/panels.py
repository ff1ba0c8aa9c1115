"""Several figures in one picture: panels in rows, each with its own claim."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from inspect import signature
from types import ModuleType
from typing import Any

from matplotlib.axes import Axes

from ..checks import whole_number
from ..errors import InvalidType, InvalidValue
from .drawing.captions import summary
from .drawing.frames import Paint, draw_frames
from .drawing.picture import Panel, Picture
from .drawing.style import in_style


@in_style
def draw(
    panels: Sequence[tuple[Any, ...]],
    *,
    columns: int = 2,
    title: str = "",
    style: str = "notebook",
) -> Picture:
    """Draw each panel as its figure does, with one legend and one caption for all.

    A figure that gives each optimizer a frame of its own has as many panels as results.

    - `panels`: pairs of a figure and its results, such as `(figures.paths, runs)`. A third member
      is a title that takes the place of the claim, or of the name of the optimizer.
    - `columns`: how many panels stand side by side.
    - `title`: a title above all panels.
    - `style`: "notebook", "paper" or "slides".

    **Raises:** `InvalidValue` for no panels; `InvalidType` for what is no panel; and as the
    figures do.

    >>> from dynopt import SGD, analysis, figures, problems
    >>> runs = [analysis.compare(SGD(h), problems.booth(), 20) for h in (0.01, 0.02)]
    >>> len(draw([(figures.loss, runs), (figures.race, runs, "The larger rate is faster")]).axes)
    3
    """
    if not isinstance(panels, list | tuple):
        raise InvalidType(
            f"`panels` must be a list of panels, got {panels!r}; pass [(figures.loss, runs)], say."
        )
    checked = [_checked(panel) for panel in panels]
    columns = whole_number("columns", columns, least=1, like=2)
    if not checked:
        raise InvalidValue("`panels` is empty; pass pairs such as (figures.loss, runs).")
    paints = [paint for panel in checked for paint in _paints(*panel)]
    drawn = draw_frames(
        paints,
        title,
        " ".join(_description(*panel) for panel in checked),
        list(dict.fromkeys(line for panel in checked for line in _caption(*panel))),
        None,
        style,
        columns=min(columns, len(paints)),
        share_labels=False,
    )
    assert isinstance(drawn, Picture)
    return drawn


def _paints(figure: ModuleType, results: list[Any], title: str) -> list[Paint]:
    """What paints each frame of a panel."""
    if hasattr(figure, "paint"):
        return [partial(_paint_titled, lambda ax, _: figure.paint(ax, results), title)]
    return [partial(_paint_titled, paint, title) for paint in figure.frames(results)]


def _paint_titled(paint: Paint, title: str, ax: Axes, ratio: float) -> Panel:
    panel = paint(ax, ratio)
    return replace(panel, **{"name" if panel.name else "title": title}) if title else panel


def _caption(figure: ModuleType, results: list[Any], title: str) -> list[str]:
    """The caption of a figure with frames; that of any other is in its panel."""
    return [] if hasattr(figure, "paint") else summary(results)


def _description(figure: ModuleType, results: list[Any], title: str) -> str:
    return ": ".join(filter(None, [title, figure.describe(results)]))


def _checked(panel: Any) -> tuple[ModuleType, list[Any], str]:
    """Figure, results and title of a panel; the title is empty if none is given."""
    figure: Any
    figure, *arguments = panel if isinstance(panel, tuple) and panel else (panel,)
    if len(arguments) not in (1, 2) or not _stands_alone(figure):
        name = getattr(figure, "__name__", repr(figure))
        raise InvalidType(
            "a panel is a figure that draws in frames, from its results alone, and these "
            f"results; got {name} and {len(arguments)} more, pass (figures.loss, runs), say."
        )
    results, title = arguments[0], arguments[1] if len(arguments) == 2 else ""
    if not isinstance(title, str):
        raise InvalidType(f"the title of a panel must be text, got {title!r}; put it in quotes.")
    return figure, list(results) if isinstance(results, list | tuple) else [results], title


def _stands_alone(figure: Any) -> bool:
    """Whether it is a figure that is drawn from its results alone."""
    draws = hasattr(figure, "frames") or hasattr(figure, "paint")
    if not (draws and hasattr(figure, "draw") and hasattr(figure, "describe")):
        return False
    _, *more = signature(figure.describe).parameters.values()
    return all(parameter.default is not parameter.empty for parameter in more)
