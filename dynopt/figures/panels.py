"""Several figures in one picture: panels in rows, each with its own claim."""

import math
from collections.abc import Sequence
from inspect import signature
from types import ModuleType
from typing import Any

from ..checks import whole_number
from ..errors import InvalidType, InvalidValue
from .drawing.captions import solver_sentence
from .drawing.picture import Panel, Picture, draw_panels, painter
from .drawing.style import context

WIDTH = 0.62  # of each panel, in widths of a picture of its own
HEIGHT = 0.8


def draw(
    panels: Sequence[tuple[Any, ...]], *, columns: int = 2, style: str = "notebook"
) -> Picture:
    """Draw each panel as its figure does, under a title of its own, with one caption for all.

    - `panels`: pairs of a figure and its results, such as `(figures.paths, runs)`. A third member
      is a title that takes the place of the claim.
    - `columns`: how many panels stand side by side.
    - `style`: "notebook", "paper" or "slides".

    **Raises:** `InvalidValue` for no panels; `InvalidType` for what is no panel; and as the
    figures do.

    >>> from dynopt import SGD, analysis, figures, problems
    >>> runs = [analysis.compare(SGD(h), problems.booth(), 20) for h in (0.01, 0.02)]
    >>> halves = figures.global_error, runs, "The global error is proportional to h"
    >>> len(draw([(figures.loss, runs), halves]).axes)
    2
    """
    if not isinstance(panels, list | tuple):
        raise InvalidType(
            f"`panels` must be a list of panels, got {panels!r}; pass [(figures.loss, runs)], say."
        )
    checked = [_checked(panel) for panel in panels]
    columns = whole_number("columns", columns, least=1, like=2)
    if not checked:
        raise InvalidValue("`panels` is empty; pass pairs such as (figures.loss, runs).")
    with context(style):
        picture = Picture(style, " ".join(_description(*panel) for panel in checked))
        rows, columns = math.ceil(len(checked) / columns), min(columns, len(checked))
        width, height = (float(side) for side in picture.get_size_inches())
        picture.set_size_inches(width * max(1, WIDTH * columns), height * max(1, HEIGHT * rows))
        draw_panels(
            picture,
            [picture.add_subplot(rows, columns, i + 1) for i in range(len(checked))],
            [painter(figure.paint, results) for figure, results, _ in checked],
            caption=lambda painted: _caption([results for _, results, _ in checked], painted),
            titles=[title for _, _, title in checked],
        )
        return picture


def _description(figure: ModuleType, results: list[Any], title: str) -> str:
    return ": ".join(filter(None, [title, figure.describe(results)]))


def _caption(results: Sequence[list[Any]], panels: Sequence[Panel]) -> list[str]:
    """The sentences of all panels, each once; one sentence on the solver of all flows."""
    sentences, flows = [], []
    for own_results, panel in zip(results, panels, strict=True):
        solver = solver_sentence(own_results)
        sentences += [line for line in panel.caption if line not in solver]
        flows += own_results if any(line in panel.caption for line in solver) else []
    return [*dict.fromkeys(sentences), *(solver_sentence(flows) if flows else [])]


def _checked(panel: Any) -> tuple[ModuleType, list[Any], str]:
    """Figure, results and title of a panel; the title is empty if none is given."""
    figure: Any
    figure, *arguments = panel if isinstance(panel, tuple) and panel else (panel,)
    if len(arguments) not in (1, 2) or not _stands_alone(figure):
        name = getattr(figure, "__name__", repr(figure))
        raise InvalidType(
            "a panel is a figure that draws in one frame, from its results alone, and these "
            f"results; got {name} and {len(arguments)} more, pass (figures.loss, runs), say."
        )
    results, title = arguments[0], arguments[1] if len(arguments) == 2 else ""
    if not isinstance(title, str):
        raise InvalidType(f"the title of a panel must be text, got {title!r}; put it in quotes.")
    return figure, list(results) if isinstance(results, list | tuple) else [results], title


def _stands_alone(figure: Any) -> bool:
    """Whether it is a figure that is drawn from its results alone."""
    if not all(hasattr(figure, name) for name in ("draw", "paint", "describe")):
        return False
    _, *more = signature(figure.describe).parameters.values()
    return all(parameter.default is not parameter.empty for parameter in more)
