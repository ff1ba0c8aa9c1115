"""Half-times: after how many steps the loss of a group is halved, over its number of examples."""

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from ..analysis import HalfTimes
from .drawing import runs
from .drawing.axes import log_limits, set_log_ticks
from .drawing.captions import problem_name
from .drawing.frames import draw_parts
from .drawing.labels import Label, write_labels
from .drawing.legends import draw_inside, key as legend_key
from .drawing.measure import frame_box
from .drawing.picture import Panel, Picture, write_title
from .drawing.results import must_be_axes, result_list
from .drawing.runs import Entry
from .drawing.style import in_style
from .drawing.words import capitalize, count_noun, format_number, join_words, literal

HOLLOW: dict[str, Any] = {"markerfacecolor": "none"}
EDGE = 10**0.075  # the dots end so much to the left of the frame
ALIKE = 0.25  # a slope nearer to 0 than this: rare groups take hardly longer than frequent ones


@in_style
def draw(
    results: HalfTimes | list[HalfTimes],
    *,
    title: str | None = None,
    ax: Axes | None = None,
    style: str = "notebook",
) -> Picture | Axes:
    """The steps after which the loss of each group is halved, over its number of examples.

    Both axes are logarithmic. A dot is one group, or a ring where a flow was measured, and a line
    is fitted to those of one optimizer; its slope is written beside it. Groups whose loss is not
    halved stand at the last step as triangles, and the line misses them.

    - `results`: one or several results of `analysis.half_times` on one problem.
    - `title`: a title in place of the claim.
    - `ax`: axes to draw in, instead of a new `Picture`.
    - `style`: "notebook", "paper" or "slides".

    **Raises:** `InvalidValue` if the results are of several problems.
    """
    entries = _entries(results)
    must_be_axes(ax)
    if ax is not None:
        panel = _paint(ax, entries)
        write_title(ax, title or panel.title, frame_box(ax).width)
        return ax
    picture = Picture(style, describe(results))
    frame = picture.add_subplot()
    picture.write_caption(_caption(entries))
    picture.write_heading(title or _claim(entries), _keys(entries))

    def painted(ax: Axes) -> Panel:
        _paint(ax, entries)
        return Panel("")

    draw_parts(picture, [(frame, painted)])
    return picture


def describe(results: HalfTimes | list[HalfTimes]) -> str:
    """The picture in one sentence with its numbers."""
    entries = _entries(results)
    first = entries[0].result
    parts = (f"{_name(entry)} halves {_halved(entry.result)}{_slope(entry)}" for entry in entries)
    return (
        "The picture shows after how many steps the loss of each group is halved on "
        f"{problem_name(first)}, over {_counts(first)} in a group: {'; '.join(parts)}."
    )


def paint(ax: Axes, results: list[HalfTimes]) -> Panel:
    """Draw into `ax`; return title, keys and caption."""
    return _paint(ax, _entries(results))


def _entries(results: Any) -> list[Entry]:
    """The results with their names, in colours that differ in grey, too."""
    many = result_list(results, HalfTimes, "analysis.half_times", "steps")
    return runs.distinct_in_grey(runs.entries(many))


def _paint(ax: Axes, entries: list[Entry]) -> Panel:
    results: list[HalfTimes] = [entry.result for entry in entries]
    last = [one.step[-1:] for one in results if one.unreached]
    limits = [one.count for one in results], [*(one.steps for one in results), *last]
    ax.set(xlim=(1, 10), ylim=(1, 10), xscale="log", yscale="log")  # a logarithm of 0 is refused
    left, right = log_limits(limits[0], margin=0.0) or (1, 10)
    ax.set(xlim=(left, right / EDGE), ylim=log_limits(limits[1]) or (1, 10))
    set_log_ticks(ax.xaxis)
    set_log_ticks(ax.yaxis)
    for entry in entries:
        _draw_groups(ax, entry)
    labels = [_label(entry, ax.get_xlim()[1]) for entry in entries]
    if not write_labels(ax, labels, "bold"):
        draw_inside(ax, [legend_key(label.text, color=label.color) for label in labels])
    ax.set(xlabel="examples in the group", ylabel="steps until its loss is halved")
    return Panel(_claim(entries), keys=_keys(entries), caption=_caption(entries))


def _keys(entries: list[Entry]) -> list[Line2D]:
    kinds = {entry.result.kind for entry in entries}
    keys = [
        legend_key(name, marker="o", linestyle="none", **look)
        for kind, name, look in (("map", "one group", {}), ("flow", "one group, flow", HOLLOW))
        if kind in kinds
    ]
    missing = [f"{one.result.unreached} of {_name(one)}" for one in entries if one.result.unreached]
    if missing:
        text = literal(f"not halved by the last step: {join_words(missing)}")
        keys.append(legend_key(text, marker="^", linestyle="none", **HOLLOW))
    return keys


def _draw_groups(ax: Axes, entry: Entry) -> None:
    """Dots, triangles and the line of one optimizer."""
    result, color, _, key = entry
    is_halved = np.isfinite(result.steps)
    size = 0.9 * mpl.rcParams["lines.markersize"]
    style: dict[str, Any] = {"color": color, "linestyle": "none", "markersize": size, "alpha": 0.75}
    dots = np.stack([result.count, result.steps], 1)[is_halved]
    missing = np.stack([result.count, np.full(len(result.count), result.step[-1])], 1)[~is_halved]
    ax.plot(
        *dots.T, "o", zorder=3, gid=f"{result.kind} {key}", **style,
        **HOLLOW if result.kind == "flow" else {},
    )  # fmt: skip
    ax.plot(*missing.T, "^", zorder=3, gid=f"unreached {key}", **style, **HOLLOW)
    if not np.isnan(result.slope):
        ends = [result.count[is_halved].min(), result.count[is_halved].max()]
        width = 1.3 * mpl.rcParams["lines.linewidth"]
        ax.plot(
            ends, _fitted(result, ends), color=color, linewidth=width, zorder=4, gid=f"fit {key}"
        )


def _fitted(result: HalfTimes, count: Any) -> Any:
    """The steps of the fitted line at some counts."""
    is_halved = np.isfinite(result.steps)
    x, y = np.log(result.count[is_halved]), np.log(result.steps[is_halved])
    return np.exp(y.mean() + result.slope * (np.log(count) - x.mean()))


def _label(entry: Entry, right: float) -> Label:
    """The name and the slope at the right end of the line, or of the groups if there is none."""
    result, text = entry.result, literal(_name(entry))
    if np.isnan(result.slope):
        last = np.argmax(result.count)
        height = result.step[-1] if np.isnan(result.steps[last]) else result.steps[last]
    else:
        height, text = _fitted(result, result.count.max()), f"{text}  slope {_number(result.slope)}"
    return Label(text, entry.color, (right, height))


def _name(entry: Entry) -> str:
    return f"the flow of {entry.name}" if entry.result.kind == "flow" else entry.name


def _claim(entries: list[Entry]) -> str:
    """Which optimizers learn rare groups later, and which all alike, with their slopes."""
    kinds: dict[str, list[Entry]] = {"later": [], "alike": [], "earlier": [], "unknown": []}
    for entry in entries:
        slope = entry.result.slope
        is_alike = abs(slope) < ALIKE
        kind = "unknown" if np.isnan(slope) else "alike" if is_alike else "later"
        kinds["earlier" if slope >= ALIKE else kind].append(entry)
    phrases = {
        "later": "{} {learn} rare groups later than frequent ones, {slope} {}",
        "alike": "{} {learn} all groups about alike, {slope} {}",
        "earlier": "{} {learn} rare groups before frequent ones, {slope} {}",
        "unknown": "{} {halve} too few groups for a slope",
    }
    return literal(
        capitalize(
            "; ".join(
                phrases[kind].format(
                    join_words([_name(one) for one in some]),
                    join_words([_number(one.result.slope) for one in some]),
                    learn="learn" if len(some) > 1 else "learns",
                    halve="halve" if len(some) > 1 else "halves",
                    slope="slopes" if len(some) > 1 else "slope",
                )
                for kind, some in kinds.items()
                if some
            )
        )
    )


def _caption(entries: list[Entry]) -> list[str]:
    """Problem, groups and steps; the errors of the slopes; what the lines miss."""
    first = entries[0].result
    last = join_words(
        [format_number(n) for n in sorted({float(e.result.step[-1]) for e in entries})]
    )
    where = (
        f"On {literal(problem_name(first))}, {count_noun(len(first.group), 'group')} of "
        f"{_counts(first)}, {last} steps."
    )
    errors = [
        f"{format_number(e.result.stderr, 1)} ({literal(_name(e))})"
        for e in entries
        if np.isfinite(e.result.stderr)
    ]
    sentences = [where]
    if errors:
        sentences.append(f"Standard errors of the slopes: {join_words(errors)}.")
    if any(e.result.unreached and np.isfinite(e.result.slope) for e in entries):
        sentences.append(
            "Lines are fitted to dots alone, and too flat where slow groups are missing."
        )
    return sentences


def _halved(result: HalfTimes) -> str:
    return f"{len(result.group) - result.unreached} of {count_noun(len(result.group), 'group')}"


def _slope(entry: Entry) -> str:
    result = entry.result
    if np.isnan(result.slope):
        return ""
    return f" with the slope {_number(result.slope)} ± {format_number(result.stderr, 1)}"


def _counts(result: HalfTimes) -> str:
    low, high = int(result.count.min()), int(result.count.max())
    return f"{low} to {count_noun(high, 'example')}" if low < high else count_noun(low, "example")


def _number(slope: float) -> str:
    return f"{slope:.2f}".replace("-", "−")
