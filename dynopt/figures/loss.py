"""The loss along map and flow, and the Lyapunov function where one is known."""

from functools import partial
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from ..analysis import Comparison
from ..analysis.lyapunov import lyapunov_along, rises
from ..errors import DynoptError
from ..runs.status import Status
from .drawing import descent, legends, runs
from .drawing.axes import mark_exit
from .drawing.captions import height_of, largest_finite, problem_name, summary
from .drawing.descent import HeightAxis, height_axis
from .drawing.frames import Paint, draw_frames
from .drawing.measure import figure_of, font_size, frame_box, on_paper, stroke, wrap_text
from .drawing.motion import Motion, motion_of
from .drawing.notes import Line, write_halo, write_note
from .drawing.picture import Panel, Picture, write_notice
from .drawing.results import result_list
from .drawing.runs import Entry
from .drawing.style import in_style, ink
from .drawing.ties import draw_ring
from .drawing.words import (
    capitalize,
    count_noun,
    facts,
    failure,
    format_number,
    join_words,
    literal,
)

LONG = 120  # letters: a longer title has two claims only
UNBOUNDED = (Status.diverged, Status.nonfinite)  # runs that the frame does not have to hold
LEVEL = 1.5  # a run ends level with another on a logarithmic axis: the factor between the two ends
NEAR = 0.02  # and on a linear axis: their distance, in heights of the frame
SHORTEST = 4.0  # points: a smaller rise of the Lyapunov function has no number


class Course(NamedTuple):
    """One optimizer: loss and Lyapunov function along its map and flow, above the minimum.

    - `steps`: the times of the `flow`, in steps of the map.
    - `map`, `flow`: the loss; `map_lyapunov`, `flow_lyapunov`: the Lyapunov function. All are cut
      where the run fails, and those of the latter are empty where none is known.
    - `rises`, `flow_rises`: by how much the Lyapunov function has risen since the step before.
    """

    entry: Entry
    steps: np.ndarray
    map: np.ndarray
    flow: np.ndarray
    map_lyapunov: np.ndarray
    flow_lyapunov: np.ndarray
    rises: np.ndarray
    flow_rises: np.ndarray

    @property
    def failed(self) -> bool:
        return bool(failure(self.entry.result.map) or failure(self.entry.result.flow))

    @property
    def motion(self) -> Motion:
        return motion_of(self.entry.result)

    @property
    def leaves(self) -> bool:
        """Whether the map leaves its flow, be it that it diverges later or not."""
        return self.motion.kind == "leaves"

    @property
    def is_loss(self) -> bool:
        """Whether the Lyapunov function is the loss, but for round-off."""
        pair = self.map, self.map_lyapunov
        if len(pair[0]) != len(pair[1]):
            return False
        return np.allclose(*pair, rtol=1e-5, atol=1e-6 * self.map.max(initial=0), equal_nan=True)

    @property
    def ends(self) -> tuple[float, float]:
        return self.map[-1], self.flow[-1]


@in_style
def draw(
    results: Comparison | list[Comparison],
    *,
    title: str | None = None,
    ax: Axes | None = None,
    style: str = "notebook",
) -> Picture | Axes:
    """The loss over the steps, each optimizer in a frame of its own.

    Coloured dots on a thread are the map, a line in ink is the flow.

    Where the minimum f* is known, the picture shows f(x) - f* on a logarithmic axis. Otherwise it
    shows f(x), on a logarithmic axis only if f is positive and falls a hundredfold. All frames have
    the same vertical axis. The time axis counts the steps of each map; those of its flow are the
    same times, t = k h.

    Of a game, which has no loss that is descended, the picture shows the norm of the field, |g|, or
    what the `Game` was told to show; of a `Held` loss its value.

    Where a Lyapunov function E of the optimizer is known, a thin line shows it along the flow and a
    thread along the map; bold strokes are steps in which the map raises it, and the largest of them
    carries its number. Of gradient descent E is the loss.

    A map that diverges leaves the frame, of which three decades above the start are visible.

    - `results`: one or several results of `analysis.compare` on one problem.
    - `title`: a title in place of the claim.
    - `ax`: axes to draw one result in, instead of a new `Picture`.
    - `style`: "notebook", "paper" or "slides".

    **Raises:** `InvalidValue` if the results are of several problems, a run falls below the stated
    minimum, or one `ax` is given for several results.
    """
    comparisons = result_list(results, Comparison, "analysis.compare")
    courses = _courses(comparisons)
    axis = _axis(courses)
    return draw_frames(
        _frames(courses, axis),
        title or _title(courses, axis),
        _describe(courses),
        summary(comparisons),
        ax,
        style,
    )


def describe(results: Comparison | list[Comparison]) -> str:
    """The picture in one sentence with its numbers."""
    return _describe(_courses(result_list(results, Comparison, "analysis.compare")))


def frames(comparisons: list[Comparison]) -> list[Paint]:
    """What paints each optimizer into a frame, given the axes and the ratio of its sides."""
    courses = _courses(comparisons)
    return _frames(courses, _axis(courses))


def _frames(courses: list[Course], axis: HeightAxis) -> list[Paint]:
    return [partial(_paint_frame, course, axis) for course in courses]


def _courses(comparisons: list[Comparison]) -> list[Course]:
    courses = []
    for entry in runs.entries(comparisons):
        result: Comparison = entry.result
        minimum, curve = result.problem.minimum, result.curve
        steps = np.asarray(curve.t, float)[curve.finite] / float(result.optimizer.h)
        on_map, on_flow, along = (_lyapunov(result, r) for r in (result.map, result.flow, curve))
        heights = [descent.finite_heights(run, run.loss, minimum) for run in (result.map, curve)]
        heights += [
            np.asarray(values, float)[run.finite] - (minimum or 0) if len(values) else np.empty(0)
            for run, values in ((result.map, on_map), (curve, along))
        ]
        risen = (
            np.asarray(rises(values, rtol))[run.finite] if len(values) else np.empty(0)
            for run, values, rtol in (
                (result.map, on_map, 0.0),
                (result.flow, on_flow, result.flow.stats["rtol"]),
            )
        )
        courses.append(Course(entry, steps, *heights, *risen))
    return courses


def _lyapunov(result: Comparison, run: Any) -> Any:
    """The Lyapunov function along a run; empty if none is known."""
    try:
        return lyapunov_along(result.optimizer, result.problem, run)
    except DynoptError:
        return ()


def _axis(courses: list[Course]) -> HeightAxis:
    shown, failed = [], []
    for course in courses:
        comparison = course.entry.result
        for run, heights in (
            (comparison.map, (course.map, course.map_lyapunov)),
            (comparison.flow, (course.flow, course.flow_lyapunov)),
        ):
            unbounded = run.status in UNBOUNDED or (run is comparison.map and course.leaves)
            (failed if unbounded else shown).extend(heights)
    above_minimum = courses[0].entry.result.problem.minimum is not None
    return height_axis(shown, failed, above_minimum)


def _paint_frame(course: Course, axis: HeightAxis, ax: Axes, ratio: float) -> Panel:
    """Draw the runs of one optimizer into `ax`."""
    result, color, name, key = course.entry
    k, height = np.arange(len(course.map)), height_of(result.problem)
    axis.set_up(ax)
    runs.set_step_limits(ax, [np.arange(len(result.map.t))])
    (line,) = ax.plot(course.steps, course.flow, color=ink(), zorder=3, gid=f"flow {key}")
    mark_exit(ax, line, ink())
    descent.draw_map(
        ax, k, course.map, color, key, 0.9 if course.leaves or result.map.status else 0.5
    )
    mark_exit(ax, next(a for a in ax.lines if a.get_gid() == f"thread {key}"), color)
    for arrow in (line for line in ax.lines if line.get_gid() == f"exit thread {key}"):
        arrow.set_ydata(np.minimum(arrow.get_ydata(), 0.96))  # below what stands above
    runs.mark_failure(ax, result.map, k, course.map, course.entry)
    runs.mark_failure(ax, result.flow, course.steps, course.flow, course.entry)
    keys = legends.run_keys()
    if course.rises.size:
        keys += _draw_lyapunov(ax, course)
    curves = [(course.steps, course.flow), (k, course.map)]
    if course.rises.size:
        curves += [(course.steps, course.flow_lyapunov), (k, course.map_lyapunov)]
    drawn = [np.stack([x, y], 1)[axis.shows(y)] for x, y in curves]
    if not any(map(len, drawn)):
        finite = course.map.size or course.flow.size
        at_minimum = "the loss is at its minimum from the start"
        if height.word != "loss":
            at_minimum = f"{height.symbol} is 0 from the start"
        write_notice(ax, at_minimum if finite else f"no finite {height.word} to draw")
    else:
        if course.flow.size and not failure(result.flow):
            draw_ring(ax, np.array([course.steps[-1:], course.flow[-1:]]), f"ring {key}")
        write_note(ax, _note(course), drawn)
    ax.set_xlabel("step k")
    wrapped = wrap_text(height.label, frame_box(ax).height, font_size("axes.labelsize"))
    ax.set_ylabel(wrapped if wrapped.count("\n") < 2 else height.symbol)  # a low frame has no room
    time_step = f"h\xa0=\xa0{format_number(float(result.optimizer.h))}"
    fact = facts(result.optimizer, time_step)
    return Panel("", keys=keys, name=name, color=color, fact=fact)


def _draw_lyapunov(ax: Axes, course: Course) -> list[Any]:
    """The Lyapunov function along flow and map, its rises and their largest; returns their keys."""
    _, color, _, key = course.entry
    k, values = np.arange(len(course.rises)), course.map_lyapunov
    keys = []
    if not course.is_loss:
        thin = {"color": ink(), "linewidth": stroke(0.8), "zorder": 2.9}
        ax.plot(course.steps, course.flow_lyapunov, **thin, gid=f"lyapunov flow {key}")
        ax.plot(
            k, values, color=color, linewidth=stroke(0.5), alpha=0.45, zorder=2.5,
            gid=f"lyapunov map {key}",
        )  # fmt: skip
        _write_names(ax, course)
    risen = np.flatnonzero(course.rises > 0)
    if risen.size:
        before, after = (np.stack([j, values[j]], 1) for j in (risen - 1, risen))
        ax.add_collection(
            LineCollection(
                list(np.stack([before, after], 1)), colors=color, linewidths=stroke(2.2),
                zorder=3.7, gid=f"rises {key}",
            ),
            autolim=False,
        )  # fmt: skip
        keys.append(legends.key("step in which E rises", linewidth=stroke(2.2)))
        _write_largest_rise(ax, course)
    return keys


def _write_names(ax: Axes, course: Course) -> None:
    """The letters E and f beside the two lines, where these are farthest apart."""
    points = [
        on_paper(ax, np.stack([course.steps, values], 1))
        for values in (course.flow_lyapunov, course.flow)
    ]
    frame = on_paper(ax, np.array([ax.get_xlim(), ax.get_ylim()]).T)
    width, height = frame[1] - frame[0]
    upper, lower = (np.clip(one[:, 1], *frame[:, 1]) for one in points)
    x = points[0][:, 0] - frame[0, 0]
    room = 5 + 1.3 * font_size("axes.labelsize")  # above E, and below f
    inside = (0.08 * width < x) & (x < 0.92 * width) & (upper < frame[1, 1] - room)
    apart = np.where(inside & (lower > frame[0, 1] + room), upper - lower, -np.inf)
    if not apart.size or not np.isfinite(apart.max()):
        return
    wide = np.flatnonzero(apart > 0.12 * height)
    i = int(wide[len(wide) // 2] if wide.size else apart.argmax())
    key = course.entry.key
    for text, values, up in (("E", course.flow_lyapunov, 5), ("f", course.flow, -5)):
        write_halo(
            ax, text, (course.steps[i], values[i]), ink(), xytext=(0, up), ha="center",
            textcoords="offset points", va="bottom" if up > 0 else "top", gid=f"name {text} {key}",
        )  # fmt: skip


def _write_largest_rise(ax: Axes, course: Course) -> None:
    """The number of the largest rise beside its stroke, if that is long enough to be visible."""
    j = int(np.nanargmax(course.rises))
    _, color, _, key = course.entry
    ends = np.array([[j - 1, course.map_lyapunov[j - 1]], [j, course.map_lyapunov[j]]])
    places = on_paper(ax, ends)
    frame = on_paper(ax, np.array([ax.get_xlim(), ax.get_ylim()]).T)
    if not np.ptp(places[:, 1]) > SHORTEST or not (places[1] < frame[1]).all():
        return
    middle = ax.transData.inverted().transform(places.mean(0) * figure_of(ax).dpi / 72)
    write_halo(
        ax, f"+{format_number(course.rises[j], 2)}", middle, color, xytext=(5, 0),
        textcoords="offset points", ha="left", va="center", gid=f"largest rise {key}",
    )  # fmt: skip


def _note(course: Course) -> list[Line]:
    """How map and flow end, and how often the map raises the Lyapunov function."""
    result, color, _, key = course.entry
    map, flow = (
        run.status.short * bool(run.status)
        or (f"ends at {format_number(values[-1], 2)}" if values.size else "is not finite")
        for run, values in ((result.map, course.map), (result.flow, course.flow))
    )
    map = f"leaves at step {course.motion.step}" if course.leaves else map
    lines = [
        Line(f"map {map}", color, f"note map {key}"),
        Line(f"flow {flow}", ink(), f"note flow {key}"),
    ]
    if (course.rises > 0).any():
        equal = "E = f" if course.is_loss else "E"
        often = count_noun(int((course.rises > 0).sum()), "time")
        lines.insert(1, Line(f"{equal} rises {often}", color, f"note rises {key}"))
    return lines


def _end_kind(course: Course, axis: HeightAxis) -> str:
    """Whether the map ends above its flow, below it, or level with it."""
    map, flow = course.ends
    if axis.is_log:
        level = max(map, flow) <= LEVEL * min(map, flow)
    else:
        level = abs(map - flow) <= NEAR * (axis.high - axis.low)
    return "level with" if level else "above" if map > flow else "below"


def _title(courses: list[Course], axis: HeightAxis) -> str:
    """Which maps end above or below their flows, and which raise the Lyapunov function."""
    symbol = height_of(courses[0].entry.result.problem).symbol
    parts, groups = [], {"above": [], "below": [], "level with": []}
    for course in courses:
        if course.failed or course.leaves:
            parts.append(_failure_claim(course, symbol))
        elif course.map.size and course.flow.size:
            groups[_end_kind(course, axis)].append(course)
    parts += _end_claims({k: m for k, m in groups.items() if m}, symbol, bool(parts))
    raising = [
        course
        for course in courses
        if not (course.failed or course.leaves) and (course.rises > 0).any()
    ]
    if raising:
        most = max(raising, key=lambda course: int((course.rises > 0).sum()))
        who = most.entry.name if len(courses) > 1 else "the map"
        often = count_noun(int((most.rises > 0).sum()), "time")
        function = "E\xa0=\xa0f" if most.is_loss else "E"
        parts.append(f"{who} raises {function} {often}")
    while len(parts) > 2 and len("; ".join(parts)) > LONG:
        parts.pop()
    return literal(capitalize("; ".join(parts) or problem_name(courses[0].entry.result)))


def _failure_claim(course: Course, symbol: str) -> str:
    """As in "SGD leaves at step 3, its flow takes f − f* to 10⁻¹⁵"."""
    result, _, name, _ = course.entry
    motion = course.motion
    if failure(result.flow) or not course.flow.size:
        return f"{name} {motion.failure}"
    what = f"leaves at step {motion.step}" if motion.kind == "leaves" else motion.failure
    return f"{name} {what}, its flow takes {symbol} to {format_number(course.flow[-1], 2)}"


def _end_claims(groups: dict[str, list[Course]], symbol: str, others: bool) -> list[str]:
    """As in "RMSprop ends above its flow, at f − f* = 3.7 against 0.36; the others end level".

    - `others`: whether there are maps that are not in these groups.
    """
    parts = []
    order = sorted(groups.items(), key=lambda group: -max(_distance(c) for c in group[1]))
    for i, (kind, members) in enumerate(order):
        names = join_words([course.entry.name for course in members])
        ends, its = ("end", "their flows") if len(members) > 1 else ("ends", "its flow")
        if i == len(order) - 1 and len(members) > 1 and not others:
            names = "the others" if i else "all" if len(members) > 2 else names
        if parts:
            parts.append(f"{names} {ends} {kind.removesuffix(' with')}")
            continue
        far = max(members, key=_distance)
        map, flow = (format_number(value, 2) for value in far.ends)
        who = f"{far.entry.name} " * (len(members) > 1)
        at = f", {who}at {symbol}\xa0=\xa0{map} against {flow}"
        parts.append(f"{names} {ends} {kind} {its}{at}")
    return parts


def _distance(course: Course) -> float:
    """How far apart the ends are, to compare optimizers: in decades of the larger."""
    low, high = sorted(np.abs(course.ends))
    return float(np.log(max(high, 1e-300)) - np.log(max(low, 1e-300)))


def _describe(courses: list[Course]) -> str:
    height = height_of(courses[0].entry.result.problem)
    parts = []
    for course in courses:
        result, _, name, _ = course.entry
        map, flow = (
            failure(run)
            or (
                f"ends at {format_number(values[-1], 2)}"
                if values.size
                else f"has no finite {height.word}"
            )
            for run, values in ((result.map, course.map), (result.flow, course.flow))
        )
        map = f"leaves at step {course.motion.step} and {map}" if course.leaves else map
        part = f"the map of {name} {map}, its flow {flow}"
        if course.rises.size:
            both = zip(("map", "flow"), (course.rises, course.flow_rises), strict=True)
            function = "the Lyapunov function" + ", which is the loss," * course.is_loss
            part += f", and {function} {join_words([_rising(*one) for one in both])}"
        parts.append(part)
    first = courses[0].map[:1]
    start = f", from {format_number(first[0])}" if first.size else ""
    return (
        f"The picture shows {height.noun} on {problem_name(courses[0].entry.result)} over the "
        f"steps of map (dots) and flow (lines){start}: {'; '.join(parts)}."
    )


def _rising(kind: str, risen: np.ndarray) -> str:
    """As in "rises 2 times by at most 0.3 along the map"."""
    number = int((risen > 0).sum())
    if not number:
        return f"never rises along the {kind}"
    most = format_number(largest_finite(risen))
    return f"rises {count_noun(number, 'time')} by at most {most} along the {kind}"
