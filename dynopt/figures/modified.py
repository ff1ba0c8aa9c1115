"""The modified flow: it comes nearer to the map than the flow that it corrects."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from ..analysis import Comparison, ModifiedComparison
from ..derivations import Modified
from ..errors import InvalidValue
from .drawing import legends, runs
from .drawing.captions import (
    claim,
    conditions,
    dot_sentences,
    failures,
    largest_finite,
    problem_name,
    solver_sentence,
    starts,
)
from .drawing.picture import Panel, Picture, draw_picture
from .drawing.results import result_list
from .drawing.runs import Entry
from .drawing.style import background, mix_colors
from .drawing.words import count_noun, failure, format_number, format_point, join_words
from .plane.landscape import draw_on_contours
from .plane.window import PLANE, smallest_visible

NEARER = 0.8  # of the error against the flow: a larger error is called "hardly nearer"
MAX_DOTS = 50  # along one path
DOT = 0.7  # of the size of a dot elsewhere, so that a line is visible between two of them
DASHES = (0, (4, 2))


class Member(NamedTuple):
    """The flow and the modified flow of one optimizer, as they appear in the picture."""

    flow: Entry
    modified: Entry

    @property
    def error(self) -> float:
        """The largest error of the map against the flow."""
        return largest_finite(self.flow.result.error)

    @property
    def modified_error(self) -> float:
        """The largest error of the map against the modified flow."""
        return largest_finite(self.modified.result.error)

    @property
    def name(self) -> str:
        """The name of the optimizer."""
        return self.flow.name

    @property
    def flows(self) -> dict[str, Any]:
        """The flow and the modified flow, by their names."""
        return {"flow": self.flow.result.flow, "modified flow": self.modified.result.flow}

    @property
    def measured(self) -> bool:
        """Whether all three runs reached their end, and both errors are known."""
        failed = any(map(failure, (self.flow.result.map, *self.flows.values())))
        return not failed and bool(np.isfinite([self.error, self.modified_error]).all())


def draw(
    results: ModifiedComparison | list[ModifiedComparison],
    *,
    ax: Axes | None = None,
    style: str = "notebook",
) -> Picture | Axes:
    """Map, flow and modified flow over the contours of the loss.

    Dots are the map, the thick line is the modified flow and the thin dashed line is the flow. The
    window fits the runs. On the default quadratic, gradient descent is stable for learning rates
    below 0.2; for far smaller ones the map visibly misses the flow, but not the modified flow:

        optimizer, problem = dynopt.SGD(0.03), dynopt.problems.quadratic()
        figures.modified.draw(analysis.modified(optimizer, problem, 50))

    - `results`: one or several results of `analysis.modified` on one problem in two coordinates.
    - `ax`: axes to draw in, instead of a new `Picture`.
    - `style`: "notebook", "paper" or "slides" (where the window is widened to the whole slide).

    **Raises:** `InvalidValue` if the problem has other than two coordinates, or the results are of
    several problems.
    """
    return draw_picture(partial(paint, scale=ax is None), describe, _planar(results), ax, style)


def describe(results: ModifiedComparison | list[ModifiedComparison]) -> str:
    """The picture in one sentence with its numbers."""
    results = _planar(results)
    parts = []
    for member in _members(results):
        map = member.flow.result.map
        end = np.stack(runs.view_points(map, PLANE), 1)[-1:]
        where = f"ends at {format_point(end[0])}" if len(end) else "has no finite start"
        failed = [
            f"its {kind} {failure(run)}" for kind, run in member.flows.items() if failure(run)
        ]
        errors = (
            f"at most {format_number(member.modified_error)} from its modified flow and "
            f"{format_number(member.error)} from its flow"
        )
        what = failure(map) or ", ".join([where, *(failed or [errors])])
        parts.append(f"the map of {member.name} {what}")
    start = starts([result.comparison for result in results])
    return (
        f"The picture shows contours of {problem_name(results[0])} with map (dots), flow (thin "
        f"dashed lines) and modified flow (full lines) from {start}: {'; '.join(parts)}."
    )


def paint(
    ax: Axes, results: list[ModifiedComparison], *, scale: bool = False, fill: float | None = None
) -> Panel:
    """Draw into `ax`; return title, legend entries and caption.

    - `scale`: whether a scale of the loss is drawn next to the frame.
    - `fill`: the height over the width of the frame, to which the window is widened.
    """
    members, comparisons = _members(results), [result.comparison for result in results]
    modified = [result.modified for result in results]

    def draw_lines(_: list[float]) -> list[Line2D]:
        dashed = [
            runs.draw_flow(ax, member.flow, PLANE, **_dashed(member), zorder=2.5)
            for member in members
        ]
        full = [runs.draw_flow(ax, member.modified, PLANE, linestyle="-") for member in members]
        dots = [runs.draw_map(ax, member.flow, PLANE, MAX_DOTS) for member in members]
        for line in dots:
            line.set_markersize(DOT * line.get_markersize())
        return [*dashed, *full, *dots]

    marks, aspect = draw_on_contours(ax, comparisons, draw_lines, scale, fill, near=True)
    map_key, _ = legends.map_and_flow()
    handles = runs.legend_handles([member.flow for member in members])
    for handle in handles:
        handle.set_linestyle("-")  # here dashes tell the flow, not the optimizer
    counts = runs.dot_counts(comparisons)
    return Panel(
        title=_title(comparisons, members),
        handles=handles,
        keys=[map_key, legends.key("modified flow"), legends.key("flow", **_thin()), *marks],
        caption=[*_caption(comparisons, modified), *dot_sentences(comparisons, counts, MAX_DOTS)],
        aspect=aspect,
    )


def _thin() -> dict[str, Any]:
    return {"linestyle": DASHES, "linewidth": 0.7 * mpl.rcParams["lines.linewidth"]}


def _dashed(member: Member) -> dict[str, Any]:
    return _thin() | {"color": mix_colors(member.flow.look.color, background(), 0.25)}


def _planar(results: ModifiedComparison | list[ModifiedComparison]) -> list[ModifiedComparison]:
    results = result_list(results, ModifiedComparison, "analysis.modified")
    dim = results[0].problem.dim
    if dim != 2:
        raise InvalidValue(
            f"modified flows are drawn in a plane, but {problem_name(results[0])} has "
            f"{count_noun(dim, 'coordinate')}; draw figures.global_error of `.comparison` and "
            "`.modified` instead."
        )
    return results


def _members(results: list[ModifiedComparison]) -> list[Member]:
    flows = runs.entries([result.comparison for result in results])
    modified = runs.entries([result.modified for result in results])
    return [Member(*pair) for pair in zip(flows, modified, strict=True)]


def _title(comparisons: list[Comparison], members: list[Member]) -> str:
    """Which maps lie on their modified flows, which are only nearer to them, and which are not."""
    visible = DOT * smallest_visible(comparisons, near=True)
    failed = [
        f"the modified flow of {member.name} {failure(member.modified.result.flow)}"
        for member in members
        if failure(member.modified.result.flow)
    ]
    on_flow: list[Member] = []
    others: dict[str, list[Member]] = {"nearer": [], "hardly nearer": [], "no nearer": []}
    for member in members:
        error, modified_error = member.error, member.modified_error
        if not member.measured:
            continue
        near = modified_error <= NEARER * error
        if near and modified_error <= visible:
            on_flow.append(member)
        else:
            farther = "hardly nearer" if modified_error < error else "no nearer"
            others["nearer" if near else farther].append(member)
    sentences = [_on_flow(on_flow)] if on_flow else []
    sentences += [_nearer(how, group) for how, group in others.items() if group]
    text = "; ".join([*failed, *sentences])
    nothing = "" if failures(comparisons) else "no global error could be measured"
    return claim(comparisons, text or nothing)


def _on_flow(members: Sequence[Member]) -> str:
    names = join_words([member.name for member in members])
    near = join_words([format_number(member.modified_error, 2) for member in members])
    far = join_words([format_number(member.error, 2) for member in members])
    if len(members) == 1:
        return (
            f"the map of {names} lies within {near} of its modified flow, and up to {far} from its "
            "flow"
        )
    return (
        f"the maps of {names} lie within {near} of their modified flows, and up to {far} from "
        "their flows"
    )


def _nearer(how: str, members: Sequence[Member]) -> str:
    """As in "the map of SGD is nearer to its modified flow (0.3) than to its flow (0.5)"."""
    names, digits = join_words([member.name for member in members]), 2
    pairs = [(member.modified_error, member.error) for member in members]
    if any(format_number(near, 2) == format_number(far, 2) for near, far in pairs):
        digits = 4
    near, far = (
        join_words([format_number(error, digits) for error in errors])
        for errors in zip(*pairs, strict=True)
    )
    if len(members) == 1:
        return f"the map of {names} is {how} to its modified flow ({near}) than to its flow ({far})"
    flows = f"to their modified flows ({near}) than to their flows ({far})"
    return f"the maps of {names} are {how} {flows}"


def _caption(comparisons: list[Comparison], modified: list[Comparison]) -> list[str]:
    """The conditions of both flows, and what the modified flow is."""
    optimizers = [comparison.optimizer for comparison in modified]
    orders = sorted({o.order for o in optimizers if isinstance(o, Modified)})
    third = "\xa0+\xa0h²\xa0f₃" if 3 in orders else ""
    series = f"y′\xa0=\xa0f₁\xa0+\xa0h\xa0f₂{third}"
    which = (
        "The flow solves y′\xa0=\xa0f₁, and the modified flow of order "
        f"{join_words([str(order) for order in orders])} solves {series}."
    )
    solver = solver_sentence(comparisons)
    setting = [sentence for sentence in conditions(comparisons) if sentence not in solver]
    return [*setting, which, *solver_sentence([*comparisons, *modified], "each flow")]
