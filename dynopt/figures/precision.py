"""Precision: where round-off takes over from truncation."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from ..course.precision import Precision
from ..errors import InvalidValue
from .drawing import legends, runs
from .drawing.axes import log_view, mark_decades
from .drawing.captions import called
from .drawing.labels import Name
from .drawing.picture import Panel, Picture, drawn, single
from .drawing.style import ground, ink, mixed
from .drawing.words import number, plain, setting


def draw(
    results: Precision | list[Precision], *, ax: Axes | None = None, style: str = "notebook"
) -> Picture | Axes:
    """Gap at the end against h, both logarithmic: solid marks are float64, hollow ones float32.

    - `results`: one `analysis.precision`. - `ax`: axes to draw in, instead of a new `Picture`. - `style`: "notebook",
      "paper" or "slides".

    **Raises:** `InvalidValue` for several results, or a run at rest, which has no gap.
    """
    return drawn(paint, describe, [_moving(results)], ax, style)


def describe(results: Precision | list[Precision]) -> str:
    """The picture in one sentence with its numbers."""
    seen = _moving(results)
    last = f"in float64 it falls to {number(float(np.nanmin(seen.double)))}"
    return f"Gap of {seen.optimizer.name} at t = {number(seen.time)} on {called(seen)} against h: {_turned(seen)}; {last}."


def paint(ax: Axes, results: list[Precision]) -> Panel:
    """Draw in the axes, and say what stands around them."""
    (each,) = runs.entries(results)
    seen, look, _, key = each
    (left, right), up = (
        log_view([seen.h], margin=0.05) or (0.1, 1.0),
        log_view([seen.single, seen.double]),
    )
    ax.set(
        xscale="log",
        yscale="log",
        xlim=(left, right * (right / left) ** 0.15),
        ylim=up or (0.1, 1.0),
    )
    thin: dict[str, Any] = {"color": mixed(ink(), ground(), 0.6), "linewidth": 0.8}
    ax.axvline(seen.turn, zorder=1, gid="turn", **thin)
    marks: dict[str, Any] = {
        "marker": look.marker,
        "color": look.color,
        "markeredgecolor": look.color,
    }
    ax.plot(seen.h, seen.double, linestyle=look.line, zorder=3, gid=f"double {key}", **marks)
    ax.plot(
        seen.h,
        seen.single,
        linestyle=legends.DOTTED,
        markerfacecolor=ground(),
        zorder=4,
        gid=f"single {key}",
        **marks,
    )
    mark_decades(ax.xaxis)
    mark_decades(ax.yaxis)
    ax.set_xlabel("time per step  h")
    ax.set_ylabel("gap at the end  |x_map − x_flow|")
    beside = [
        Name(text, look.color, [(seen.h[-1], values[-1])])
        for text, values in (("float64", seen.double), ("float32", seen.single))
    ]
    settings = f"{plain(called(seen))}. {setting(seen.optimizer)}, refined to h\xa0=\xa0{number(float(seen.h[-1]))}."
    formats = f"Map in float32 and float64, up to t\xa0=\xa0{number(seen.time)}."
    flow = f"The flow, in float64 by {seen.solver} (rtol {number(seen.rtol)}),"
    flow += f" errs by at most {number(seen.solver_error)}."
    keys = [
        legends.key("float64", marker="o"),
        legends.key("float32", marker="o", linestyle=legends.DOTTED, markerfacecolor=ground()),
        legends.key("where float32 is best", **thin),
    ]
    title = _turned(seen)
    return Panel(
        title=plain(title[:1].upper() + title[1:]),
        names=[],
        keys=keys,
        ends=beside,
        caption=[settings, formats, flow],
    )


def _moving(results: Precision | list[Precision]) -> Precision:
    seen = single(results, Precision, "course.precision.measure")
    if not seen.double.any():
        raise InvalidValue(
            f"{seen.optimizer!r} is at rest on {called(seen)}, so there is no gap; pass another `x0`."
        )
    return seen


def _turned(seen: Precision) -> str:
    least, last = float(np.nanmin(seen.single)), float(seen.single[-1])
    if seen.turn == seen.h[-1]:
        return f"in float32 the gap falls to {number(least)} and has not turned yet"
    fallen = f"in float32 the gap falls to {number(least, 2)} at h\xa0=\xa0{number(seen.turn)}"
    return f"{fallen} and rises again, to {number(last, 2)}"
