"""The modified flow: it comes nearer to the map than the flow that it corrects."""

from functools import partial

import numpy as np
from matplotlib.axes import Axes

from ..analysis import ModifiedComparison
from ..errors import InvalidValue
from .drawing import legends, runs
from .drawing.beside import along
from .drawing.captions import (
    claim,
    contour_sentence,
    failures,
    landscape_name,
    largest_finite,
    problem_name,
    starts,
    summary,
)
from .drawing.frames import draw_frames
from .drawing.notes import Line, write_note
from .drawing.picture import Panel, Picture
from .drawing.results import result_list
from .drawing.runs import Entry
from .drawing.style import in_style, ink
from .drawing.ties import HIDDEN, Tied, draw_tied, tie_keys, tied
from .drawing.words import count_noun, facts, failure, format_number, join_words
from .plane.landscape import draw_landscape
from .plane.window import PLANE, window_of

NEARER = 0.8  # of the error against the flow: a map so near to its modified flow is nearer to it
DASHES = (0, (3.2, 1.6))  # of the modified flow, the only dashed line in the pictures


@in_style
def draw(
    results: ModifiedComparison | list[ModifiedComparison],
    *,
    title: str | None = None,
    ax: Axes | None = None,
    style: str = "notebook",
) -> Picture | Axes:
    """Map, flow and modified flow over the contours of the loss, each optimizer in its own frame.

    Coloured dots are the map, the full line is the flow and the dashed line is the modified flow.
    Ties join map and flow at equal times; the longest carries its length. Where the error is too
    small to be visible, map and modified flow are drawn magnified about the flow, by the factor
    that the frame tells. On the default quadratic, gradient descent is stable for learning rates
    below 0.2; for far smaller ones the map visibly misses the flow, but not the modified flow:

        optimizer, problem = dynopt.SGD(0.03), dynopt.problems.quadratic()
        figures.modified.draw(analysis.modified(optimizer, problem, 50))

    - `results`: one or several results of `analysis.modified` on one problem in two coordinates.
    - `title`: a title in place of the claim.
    - `ax`: axes to draw one result in, instead of a new `Picture`.
    - `style`: "notebook", "paper" or "slides".

    **Raises:** `InvalidValue` if the problem has other than two coordinates, the results are of
    several problems, or one `ax` is given for several results.
    """
    results = _planar(results)
    paints = [partial(_paint_frame, entry) for entry in runs.entries(results)]
    return draw_frames(
        paints,
        title or nearness(results),
        describe(results),
        [
            *summary([result.comparison for result in results]),
            *contour_sentence(results[0].problem),
        ],
        ax,
        style,
    )


def describe(results: ModifiedComparison | list[ModifiedComparison]) -> str:
    """The picture in one sentence with its numbers."""
    results = _planar(results)
    parts = []
    for result, _, name, _ in runs.entries(results):
        failed = _failure(result)
        near, far = (format_number(error, 2) for error in _errors(result))
        within = f"is at most {near} from its modified flow and at most {far} from its flow"
        parts.append(f"the map of {name} {failed or within}")
    start = starts([result.comparison for result in results])
    return (
        f"The picture shows contours of {landscape_name(results[0])} with map (dots), flow (full "
        f"lines) and modified flow (dashed lines) from {start}: {'; '.join(parts)}."
    )


def _paint_frame(entry: Entry, ax: Axes, ratio: float) -> Panel:
    """Draw the three runs of one optimizer into `ax`."""
    result = entry.result
    points = tied(result.comparison, PLANE)
    dashed = _modified_curve(result, points)
    draw_landscape(ax, result.comparison, window_of(result.comparison, points, ratio))
    draw_tied(ax, points, entry._replace(result=result.comparison))
    draw_dashed(ax, dashed, entry.key)
    if _is_hidden(ax, dashed, points.curve):
        words = Line("modified flow lies on the flow", ink(), f"hidden {entry.key}")
        write_note(ax, [words], [points.curve, points.map])
    return Panel(
        "",
        keys=[*tie_keys(points), legends.key("modified flow", linestyle=DASHES, color=ink())],
        name=entry.name,
        color=entry.color,
        fact=facts(result.optimizer, *_facts(result)),
    )


def draw_dashed(ax: Axes, curve: np.ndarray, key: str) -> None:
    """The modified flow."""
    style = {"color": ink(), "linestyle": DASHES, "dash_capstyle": "butt", "zorder": 3.2}
    ax.plot(*curve.T, **style, gid=f"modified flow {key}")


def _facts(result: ModifiedComparison) -> list[str]:
    """How near the map is to its modified flow and to its flow, or what failed."""
    failed, errors = _failure(result), _errors(result)
    near, far = (format_number(error, 2) for error in errors)
    if failed:
        return [failed]
    if 0 < errors[0] <= NEARER * errors[1]:
        times = format_number(errors[1] / errors[0], 2)
        return [f"{times} times nearer to its modified flow", f"{near}, not {far}"]
    return [f"{near} from its modified flow, {far} from its flow"]


def _modified_curve(result: ModifiedComparison, points: Tied) -> np.ndarray:
    """The modified flow, moved away from the flow by the same magnification as the map."""
    curve = np.stack(runs.view_points(result.modified.curve, PLANE), 1)
    if points.magnification == 1:
        return curve
    n = min(len(curve), len(points.curve))
    return points.curve[:n] + points.magnification * (curve[:n] - points.curve[:n])


def _is_hidden(ax: Axes, dashed: np.ndarray, curve: np.ndarray) -> bool:
    """Whether the modified flow lies on the curve of the flow everywhere, as far as is visible."""
    places, flow = along(ax, dashed), along(ax, curve)
    if not len(places) or not len(flow):
        return False
    return max(float(np.hypot(*(flow - place).T).min()) for place in places) < HIDDEN


def _planar(results: ModifiedComparison | list[ModifiedComparison]) -> list[ModifiedComparison]:
    results = result_list(results, ModifiedComparison, "analysis.modified")
    dim = results[0].problem.dim
    if dim != 2:
        raise InvalidValue(
            f"modified flows are drawn in a plane, but {problem_name(results[0])} has "
            f"{count_noun(dim, 'coordinate')}; draw figures.loss of `.comparison` and `.modified` "
            "instead."
        )
    return results


def _errors(result: ModifiedComparison) -> tuple[float, float]:
    """The largest error of the map against the modified flow, and against the flow."""
    return largest_finite(result.modified_error), largest_finite(result.error)


def _failure(result: ModifiedComparison) -> str:
    """What failed first: the map, the modified flow or the flow; empty if nothing did."""
    drawn = result.map, result.modified_flow, result.flow
    named = zip(("", "its modified flow ", "its flow "), drawn, strict=True)
    return next((f"{who}{failure(run)}" for who, run in named if failure(run)), "")


def nearness(results: list[ModifiedComparison]) -> str:
    """Which maps are nearer to their modified flows than to their flows, and which are not."""
    nearer: dict[str, tuple[float, float]] = {}
    others: list[str] = []
    failed = [
        f"the modified flow of {name} {failure(result.modified_flow)}"
        for result, _, name, _ in runs.entries(results)
        if failure(result.modified_flow)
    ]
    for result, _, name, _ in runs.entries(results):
        near, far = _errors(result)
        if _failure(result) or not np.isfinite([near, far]).all():
            continue
        if near <= NEARER * far:
            nearer[name] = near, far
        else:
            others.append(name)
    parts = [
        f"the map of {name} is {format_number(far / near, 2)} times nearer to its modified flow "
        "than to its flow"
        for name, (near, far) in list(nearer.items())[:1]
        if len(nearer) == 1 and near > 0
    ]
    if len(nearer) > 1:
        ratios = join_words([format_number(far / near, 2) for near, far in nearer.values()])
        parts.append(
            f"the maps of {join_words(list(nearer))} are {ratios} times nearer to their modified "
            "flows than to their flows"
        )
    if others:
        parts.append(f"the modified flow is no nearer to {join_words(others)} than the flow")
    nothing = "" if failures(results) else "no global error could be measured"
    return claim([r.comparison for r in results], "; ".join([*failed, *parts]) or nothing)
