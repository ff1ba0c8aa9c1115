"""The modified flow: nearer to the dots than the flow that it corrects."""

from collections.abc import Sequence
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from ..analysis import Comparison
from ..derivations import Modified
from ..errors import InvalidValue
from .drawing import legends, runs
from .drawing.captions import called, claim, conditions, dotted, failures, largest, solved
from .drawing.picture import Panel, Picture, drawn, of_one_problem, several
from .drawing.runs import Entry
from .drawing.style import ground, mixed
from .drawing.words import counted, failure, listed, number, point
from .plane.landscape import on_contours
from .plane.window import PLANE, just_seen

HARDLY = 0.8  # of the distance to the flow: a modified flow that is farther from the dots than this is hardly nearer
MOST = 50  # dots along one path
SMALL = 0.7  # of a dot elsewhere: a line is to be seen between two of them
DASHES = (0, (4, 2))
WALL = 0.7  # the frame's height over its width on a slide, beside the longer keys


class Pair(NamedTuple):
    """One optimizer: flow and modified flow as they appear in the picture, and how far each is from the dots."""

    flow: Entry
    modified: Entry
    away: float
    within: float

    @property
    def name(self) -> str:
        return self.flow.name

    @property
    def lasted(self) -> bool:
        """Whether all three runs reached their end."""
        return not any(
            map(failure, (self.flow.result.map, self.flow.result.flow, self.modified.result.flow))
        )


def draw(
    comparisons: Comparison | list[Comparison],
    modified_comparisons: Comparison | list[Comparison],
    *,
    ax: Axes | None = None,
    style: str = "notebook",
) -> Picture | Axes:
    """Map, flow and modified flow over the contours of the loss: the dots of the map lie on the modified flow.

    Dots are the map, the thick line is the modified flow, the thin dashed one the flow. The window fits the runs. On
    the quadratic gradient descent can bear learning rates below 0.2; long before that its flow misses the dots in plain
    view, and its modified flow does not:

        page, problem = dynopt.SGD(0.03), dynopt.problems.quadratic()
        figures.modified.draw(analysis.gap(page, problem, 50), analysis.gap(dynopt.Modified(page), problem, 50))

    - `gaps`: one or several `analysis.gap` of one problem in two coordinates. - `modified_gaps`: the same of
      `dynopt.Modified` of each page. - `ax`: axes to draw in, instead of a new `Picture`. - `style`: "notebook",
      "paper" or "slides" (where the window is widened to fill the wall).

    **Raises:** `InvalidValue` if the problem has other than two coordinates, the results are of several problems, or
    the two lists do not belong together.
    """
    comparisons, modified = _paired(comparisons, modified_comparisons)
    fill = WALL if ax is None and style == "slides" else None

    def painted(ax_: Axes, comparisons: list[Comparison]) -> Panel:
        return paint(ax_, comparisons, modified, scale=ax is None, fill=fill)

    return drawn(
        painted, lambda comparisons: describe(comparisons, modified), comparisons, ax, style
    )


def describe(
    comparisons: Comparison | list[Comparison], modified_comparisons: Comparison | list[Comparison]
) -> str:
    """The picture in one sentence with its numbers."""
    comparisons, modified = _paired(comparisons, modified_comparisons)
    said = []
    for pair in _pairs(comparisons, modified):
        run, ends = (
            pair.flow.result,
            [(pair.flow.result.flow, "flow"), (pair.modified.result.flow, "modified flow")],
        )
        last = np.stack(runs.at(run.map, PLANE), 1)[-1:]
        where = f"ends at {point(last[0])}" if len(last) else "has no finite start"
        lost = [f"its {which} {failure(flow)}" for flow, which in ends if failure(flow)]
        lines = [
            f"at most {number(pair.within)} from its modified flow and {number(pair.away)} from its flow"
        ]
        said.append(f"{pair.name} {failure(run.map) or ', '.join([where, *(lost or lines)])}")
    start = point(np.asarray(comparisons[0].map.y.x[0], float))
    what = f"Contours of {called(comparisons[0])} with map (dots), flow (thin dashed lines) and modified flow (full lines)"
    return f"{what} from {start}: {'; '.join(said)}."


def paint(
    ax: Axes,
    comparisons: list[Comparison],
    modified: list[Comparison],
    scale: bool = False,
    fill: float | None = None,
) -> Panel:
    """Draw in the axes, and say what stands around them; `scale` and `fill` are those of `paths.paint`."""
    pairs = _pairs(comparisons, modified)

    def lines(_: list[float]) -> list[Line2D]:
        thin = [
            runs.flow_of(ax, pair.flow, PLANE, color=_pale(pair), **_thin(), zorder=2.5)
            for pair in pairs
        ]
        full = [runs.flow_of(ax, pair.modified, PLANE, linestyle="-") for pair in pairs]
        dots = [runs.map_of(ax, pair.flow, PLANE, MOST) for pair in pairs]
        for dot in dots:
            dot.set_markersize(SMALL * dot.get_markersize())
        return [*thin, *full, *dots]

    marks, shape = on_contours(ax, comparisons, lines, scale, fill, near=True)
    map, _ = legends.map_and_flow()
    keys = [map, legends.key("modified flow"), legends.key("flow", **_thin())]
    names = runs.handles([pair.flow for pair in pairs])
    for name in names:
        name.set_linestyle("-")  # dashes tell the flow here, not the optimizer
    return Panel(
        title=_title(comparisons, pairs),
        names=names,
        keys=[*keys, *marks],
        caption=_caption(comparisons, modified)
        + dotted(comparisons, runs.counts(comparisons), MOST),
        shape=shape,
    )


def _thin() -> dict:
    return {"linestyle": DASHES, "linewidth": 0.7 * mpl.rcParams["lines.linewidth"]}


def _pale(pair: Pair) -> str:
    return mixed(pair.flow.look.color, ground(), 0.25)


def _paired(
    comparisons: Comparison | list[Comparison], modified_comparisons: Comparison | list[Comparison]
) -> tuple[list[Comparison], list[Comparison]]:
    """Both as lists that belong together, in the plane."""
    comparisons, modified = (
        several(results, Comparison, "analysis.gap")
        for results in (comparisons, modified_comparisons)
    )
    if comparisons[0].problem.dim != 2:
        raise InvalidValue(
            f"modified flows are drawn in a plane but {called(comparisons[0])} has "
            f"{counted(comparisons[0].problem.dim, 'coordinate')}; draw the gap of each, which has any dimension."
        )
    of_one_problem([comparisons[0], modified[0]])
    if len(comparisons) != len(modified):
        raise InvalidValue(
            f"there are {counted(len(comparisons), 'gap')} but {counted(len(modified), 'modified gap')}; pass for each gap "
            "that of dynopt.Modified of its page, in the same order."
        )
    for own, other in zip(comparisons, modified, strict=True):
        optimizer = other.optimizer
        if not isinstance(optimizer, Modified) or repr(optimizer.optimizer) != repr(own.optimizer):
            raise InvalidValue(
                f"a modified gap of {optimizer} stands beside the gap of {own.optimizer}; pass that of "
                f"dynopt.Modified({own.optimizer})."
            )
        lengths = len(own.map.t) - 1, len(other.map.t) - 1
        if lengths[0] != lengths[1]:
            raise InvalidValue(
                f"{own.optimizer} ran {counted(lengths[0], 'step')} but its modified gap {lengths[1]}; measure both "
                "over the same steps."
            )
        starts = [np.asarray(comparison.map.y.x[0], float) for comparison in (own, other)]
        if not np.array_equal(*starts, equal_nan=True):
            raise InvalidValue(
                f"{own.optimizer} starts at {point(starts[0])} but its modified gap at {point(starts[1])}; measure "
                "both from the same x0."
            )
    return comparisons, modified


def _pairs(comparisons: list[Comparison], modified: list[Comparison]) -> list[Pair]:
    return [
        Pair(own, other, largest(own.result.error), largest(other.result.error))
        for own, other in zip(runs.entries(comparisons), runs.entries(modified), strict=True)
    ]


def _title(comparisons: list[Comparison], pairs: list[Pair]) -> str:
    """Whose dots lie on the modified flow, whose only nearer to it, and whose not; after the runs that failed."""
    known = [pair for pair in pairs if pair.lasted and np.isfinite([pair.within, pair.away]).all()]
    seen, groups = (
        SMALL * just_seen(comparisons, near=True),
        {"on": [], "nearer": [], "hardly nearer": [], "no nearer": []},
    )
    for pair in known:
        near = pair.within <= HARDLY * pair.away
        farther = "hardly nearer" if pair.within < pair.away else "no nearer"
        groups[("on" if pair.within <= seen else "nearer") if near else farther].append(pair)
    said = [_lie(where, those, len(known)) for where, those in groups.items() if those]
    said[1:] = [text.replace("the dots of", "those of", 1) for text in said[1:]]
    lost = [
        f"the modified flow of {pair.name} {failure(pair.modified.result.flow)}"
        for pair in pairs
        if failure(pair.modified.result.flow)
    ]
    text = "; ".join([*lost, *said])
    return (
        claim(comparisons, text)
        if failures(comparisons) or text
        else claim(comparisons, "no gap could be measured")
    )


def _lie(where: str, pairs: Sequence[Pair], of: int) -> str:
    """As in "the dots of SGD lie on its modified flow, within 0.055, where its flow is 0.18 away"."""
    names, many = listed([pair.name for pair in pairs]), len(pairs) > 1
    said = [(number(p.within, 2), number(p.away, 2)) for p in pairs]
    if any(near == far for near, far in said):
        said = [(number(p.within, 4), number(p.away, 4)) for p in pairs]
    within, away = map(listed, zip(*said, strict=True))
    flow, modified = (
        ("their flows", "their modified flows") if many else ("its flow", "its modified flow")
    )
    if where in ("hardly nearer", "no nearer"):
        return f"the dots of {names} lie {where} to {modified} ({within}) than to {flow} ({away})"
    lie = "on" if where == "on" else "nearer to"
    if of == 1:
        return f"the dots lie {lie} the modified flow: {names} within {within}, where its flow is {away} away"
    distance = f"within {within}, where {flow} {'are' if many else 'is'} {away} away"
    return f"the dots of {names} lie {lie} {modified}, {distance}"


def _caption(comparisons: list[Comparison], modified: list[Comparison]) -> list[str]:
    """The conditions of both, and what the modified flow is."""
    orders = sorted(
        {
            comparison.optimizer.order
            for comparison in modified
            if isinstance(comparison.optimizer, Modified)
        }
    )
    terms = "\xa0+\xa0h²\xa0f₃" if 3 in orders else ""
    series = f"y′\xa0=\xa0f₁\xa0+\xa0h\xa0f₂{terms}"
    which = f"Flow: y′\xa0=\xa0f₁; modified flow, of order {listed([str(n) for n in orders])}: {series}."
    said = [sentence for sentence in conditions(comparisons) if sentence != solved(comparisons)]
    return [*said, which, *filter(None, [solved([*comparisons, *modified])])]
