"""Rescaling: in other units of the position, another learning rate gives the same path."""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from ..analysis import Rescaling
from ..errors import InvalidValue
from ..runs.trajectory import Trajectory
from .drawing import descent, legends, runs
from .drawing.axes import dot_stride, mark_exit
from .drawing.captions import claim, conditions, dot_sentences, largest_finite, problem_name
from .drawing.descent import Descent
from .drawing.picture import Panel, Picture, draw_picture
from .drawing.results import result_list
from .drawing.runs import Entry
from .drawing.style import background, ink, mix_colors
from .drawing.words import SUPERSCRIPTS, failure, format_number, join_words, literal

MAX_DOTS = 25  # along one run
SAME = 1e-6  # of the largest coordinate: paths that are nearer than this are called the same


def draw(
    results: Rescaling | list[Rescaling], *, ax: Axes | None = None, style: str = "notebook"
) -> Picture | Axes:
    """The loss of three maps over their steps.

    Dots are the run in x. Rings are the run in z = x/λ with the corrected learning rate, and pale
    dots the run in z with the same learning rate, both shown in x. The rings lie on the dots where
    the steps are a power of the gradient.

    - `results`: one or several results of `analysis.rescaling` on one problem with one scale.
    - `ax`: axes to draw in, instead of a new `Picture`.
    - `style`: "notebook", "paper" or "slides".

    **Raises:** `InvalidValue` if the results are of several problems, or have several scales.
    """
    return draw_picture(paint, describe, _of_one_scale(results), ax, style)


def describe(results: Rescaling | list[Rescaling]) -> str:
    """The picture in one sentence with its numbers."""
    results = _of_one_scale(results)
    parts = []
    for result, _, name, _ in runs.entries(results):
        near, far = map(_largest, (result.distance, result.same_rate_distance))
        values = _heights(result, result.map)
        end = f"ends at {format_number(values[-1])}" if values.size else "has no finite loss"
        corrected = failure(result.corrected) or f"is at most {near} away"
        same_rate = failure(result.same_rate) or f"is up to {far} away"
        parts.append(
            f"{name} {failure(result.map) or end}, its run in z at {_times(result)} the learning "
            f"rate {corrected}, that at the same learning rate {same_rate}"
        )
    above = " above the minimum" * (results[0].problem.minimum is not None)
    return (
        f"The picture shows the loss{above} on {problem_name(results[0])} along maps in x (dots) "
        f"and in z = x/λ (rings and pale dots) with λ = {_scale(results)}: {'; '.join(parts)}."
    )


def paint(ax: Axes, results: list[Rescaling]) -> Panel:
    """Draw into `ax`; return title, legend entries and caption."""
    entries, above_minimum = runs.entries(results), results[0].problem.minimum is not None
    descents = [
        Descent(result.optimizer, result.problem, run, None, {"map": _heights(result, run)})
        for result in results
        for run in (result.map, result.same_rate, result.corrected)
    ]
    descent.set_value_axis(ax, descents, above_minimum)
    runs.set_time_limits(ax, "step", [np.arange(len(result.map.t)) for result in results])
    for entry in entries:
        result, look = entry.result, entry.look
        rings = _ring_style() | {"markeredgecolor": mix_colors(look.color, ink(), 0.55)}
        pale = _pale_style() | {"marker": look.marker}
        pale["color"] = mix_colors(look.color, background(), 0.45)
        dots = runs.marker_style(look) | {"color": look.color, "zorder": 4}
        _draw_losses(ax, entry, result.same_rate, "same rate", pale)
        line = _draw_losses(ax, entry, result.map, "map", dots)
        _draw_losses(ax, entry, result.corrected, "corrected", rings)
        mark_exit(ax, line, look.color)
    ax.set_xlabel("step k")
    ax.set_ylabel("loss above minimum  f(x) − f*" if above_minimum else "loss  f(x)")
    counts = [int(result.map.finite.sum()) for result in results]
    return Panel(
        title=_title(results),
        handles=runs.legend_handles(entries),
        keys=_keys(),
        caption=[
            *conditions(results),
            *_distance_sentences(entries),
            *dot_sentences(results, counts, MAX_DOTS),
        ],
    )


def _of_one_scale(results: Rescaling | list[Rescaling]) -> list[Rescaling]:
    results = result_list(results, Rescaling, "analysis.rescaling", "distance")
    scales = sorted({float(result.scale) for result in results})
    if len(scales) > 1:
        values = join_words([f"{scale:g}" for scale in scales])
        raise InvalidValue(f"the results have several scales, {values}; draw one picture for each.")
    return results


def _heights(result: Rescaling, run: Trajectory) -> np.ndarray:
    """The finite losses of a run, above the minimum if that is known."""
    return descent.finite_heights(run, run.loss, result.problem.minimum)


def _largest(distances) -> str:
    return format_number(largest_finite(distances))


def _draw_losses(
    ax: Axes, entry: Entry, run: Trajectory, kind: str, style: dict[str, Any]
) -> Line2D:
    """The losses of a run over its steps."""
    values, gid = _heights(entry.result, run), f"{kind} {entry.key}"
    (line,) = ax.plot(np.arange(len(values)), values, linestyle="none", gid=gid, **style)
    line.set_markevery(dot_stride(len(values), MAX_DOTS))
    return line


def _ring_style() -> dict[str, Any]:
    size = 1.8 * mpl.rcParams["lines.markersize"]
    return {
        "marker": "o", "markersize": size, "markerfacecolor": "none",
        "markeredgewidth": 0.14 * size, "zorder": 5,
    }  # fmt: skip


def _pale_style() -> dict[str, Any]:
    return {"markersize": 0.85 * mpl.rcParams["lines.markersize"], "zorder": 3}


def _keys() -> list[Line2D]:
    keys = [
        legends.key("in x", marker="o", linestyle="none"),
        legends.key("in z, corrected rate", linestyle="none", **_ring_style()),
        legends.key("in z, same rate", marker="o", linestyle="none", **_pale_style()),
    ]
    keys[2].set_color(mix_colors(str(keys[2].get_color()), background(), 0.5))
    return keys


def _scale(results: Sequence[Rescaling]) -> str:
    return _fraction(float(results[0].scale))


def _fraction(x: float) -> str:
    """A number, or one over a whole number."""
    inverse = round(1 / x)
    return f"1/{inverse}" if inverse > 1 and abs(inverse * x - 1) < 1e-9 else format_number(x)


def _times(result: Rescaling) -> str:
    """The corrected learning rate, in those of x, as in "4 times" or "1/9 of"."""
    factor = _fraction(1 / float(result.factor))
    return f"{factor} of" if factor.startswith("1/") else f"{factor} times"


def _title(results: list[Rescaling]) -> str:
    """Who takes the same path with which learning rate, and who takes one that is only near."""
    same: dict[str, list[str]] = {}
    near: list[tuple[str, str]] = []
    for result, _, name, _ in runs.entries(results):
        if failure(result.map) or failure(result.corrected):
            continue
        distance = largest_finite(result.distance)
        if distance <= SAME * largest_finite(np.abs(np.asarray(result.map.y.x))):
            same.setdefault(_times(result), []).append(name)
        else:
            comes = f"{name} at {_times(result)} the learning rate comes within"
            near.append((comes, format_number(distance, 2)))
    parts = []
    if same:
        (times, names), *others = same.items()
        takes = "takes" if len(names) == 1 else "take"
        first = f"{join_words(names)} {takes} the same path at {times} the learning rate"
        clauses = [f"{join_words(names)} at {times} the learning rate" for times, names in others]
        parts = [", ".join([first, *clauses])]
    target = "it" if same else "its path in x"
    parts += [f"{comes} {distance} of {target}" for comes, distance in near]
    head = f"in z\xa0=\xa0x/λ, λ\xa0=\xa0{_scale(results)}, "
    return claim(results, (head + "; ".join(parts)) * bool(parts))


def _distance_sentences(entries: Sequence[Entry]) -> list[str]:
    """The learning rates in z, and how far apart the positions are."""
    near, far, factors = [], [], []
    for result, _, name, _ in entries:
        near.append(f"{name} {failure(result.corrected) or _largest(result.distance)}")
        far.append(f"{name} {failure(result.same_rate) or _largest(result.same_rate_distance)}")
        factors.append(f"for {name} by {_power_of_scale(1 + float(result.power))}")
    return [
        literal(f"The learning rate in z is that in x divided {join_words(factors)}."),
        literal(
            f"The largest |x\xa0−\xa0λz| is {', '.join(near)} with the corrected learning rate and "
            f"{', '.join(far)} with the same."
        ),
    ]


def _power_of_scale(exponent: float) -> str:
    raised = format_number(exponent).replace("−", "-").translate(SUPERSCRIPTS)
    return "λ" + ("" if exponent == 1 else raised)
