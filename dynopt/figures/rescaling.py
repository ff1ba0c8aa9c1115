"""Rescaling: in other units of the position the same rate is another, and one factor makes up for it."""

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
from .drawing.axes import every, mark_exit
from .drawing.captions import called, claim, conditions, dotted, largest
from .drawing.descent import Descent
from .drawing.picture import Panel, Picture, drawn, several
from .drawing.runs import Entry
from .drawing.style import ground, ink, mixed
from .drawing.words import RAISED, failure, listed, number, plain

MOST = 25  # dots along one run
SAME = 1e-6  # of the longest coordinate: a path that is nearer than this is called the same


def draw(
    results: Rescaling | list[Rescaling], *, ax: Axes | None = None, style: str = "notebook"
) -> Picture | Axes:
    """The loss of three maps, step by step: dots are the run in x, rings the run in z with the corrected rate, shown
    in x, and pale dots that with the same rate. The rings lie on the dots where steps are a power of the gradient.

    - `results`: one or several `analysis.rescaling` of one problem by one scale. - `ax`: axes to draw in, instead of a
      new `Picture`. - `style`: "notebook", "paper" or "slides".

    **Raises:** `InvalidValue` if the results are of several problems, or by several scales.
    """
    return drawn(paint, describe, _of_one_scale(results), ax, style)


def describe(results: Rescaling | list[Rescaling]) -> str:
    """The picture in one sentence with its numbers."""
    seen = _of_one_scale(results)
    said = []
    for one, _, name, _ in runs.entries(seen):
        same = failure(one.same_rate) or f"is up to {number(largest(one.same_rate_distance))} away"
        near = failure(one.corrected) or f"is at most {number(largest(one.distance))} away"
        said.append(
            f"{name} {failure(one.map) or f'ends at {_end(one)}'}, its run in z at {_times(one)} the rate {near}, "
            f"that at the same rate {same}"
        )
    above = " above the minimum" * (seen[0].problem.minimum is not None)
    what = f"Loss{above} on {called(seen[0])} along maps in x (dots) and in z = x/λ (rings and pale dots)"
    return f"{what} with λ = {_scale(seen)}: {'; '.join(said)}."


def paint(ax: Axes, seen: list[Rescaling]) -> Panel:
    """Draw in the axes, and say what stands around them."""
    entries, known = runs.entries(seen), seen[0].problem.minimum is not None
    descents = [
        Descent(r.optimizer, r.problem, run, None, {"map": _heights(r, run)})
        for r in seen
        for run in _runs(r)
    ]
    descent.set_axis(ax, descents, known)
    runs.span(ax, "step", [np.arange(len(r.map.t)) for r in seen])
    for each in entries:
        rings = {**_rings(), "markeredgecolor": mixed(each.look.color, ink(), 0.55)}
        pale = {
            "marker": each.look.marker,
            "color": mixed(each.look.color, ground(), 0.45),
            **_pale(),
        }
        _points(ax, each, each.result.same_rate, "same rate", pale)
        own = _points(
            ax,
            each,
            each.result.map,
            "map",
            runs.marks(each.look) | {"color": each.look.color, "zorder": 4},
        )
        _points(ax, each, each.result.corrected, "corrected", rings)
        mark_exit(ax, own, each.look.color)
    ax.set_xlabel("step k")
    ax.set_ylabel("loss above minimum  f(x) − f*" if known else "loss  f(x)")
    keys = [
        legends.key("in x", marker="o", linestyle="none"),
        legends.key("in z, corrected rate", linestyle="none", **_rings()),
        legends.key("in z, same rate", marker="o", linestyle="none", **_pale()),
    ]
    keys[2].set_color(mixed(str(keys[2].get_color()), ground(), 0.5))
    return Panel(
        title=_title(seen),
        names=runs.handles(entries),
        keys=keys,
        caption=[
            *conditions(seen),
            *_told(entries),
            *dotted(seen, [int(r.map.finite.sum()) for r in seen], MOST),
        ],
    )


def _of_one_scale(results: Rescaling | list[Rescaling]) -> list[Rescaling]:
    seen = several(results, Rescaling, "analysis.rescaling", "distance")
    scales = sorted({float(one.scale) for one in seen})
    if len(scales) > 1:
        raise InvalidValue(
            f"the results are by several scales, {listed([f'{s:g}' for s in scales])}; draw one picture for each."
        )
    return seen


def _runs(seen: Rescaling) -> tuple[Trajectory, ...]:
    return seen.map, seen.same_rate, seen.corrected


def _heights(seen: Rescaling, run: Trajectory) -> np.ndarray:
    return descent.finite_values(run, run.loss, seen.problem.minimum)


def _end(seen: Rescaling) -> str:
    values = _heights(seen, seen.map)
    return number(values[-1]) if values.size else "nothing finite"


def _points(ax: Axes, each: Entry, run: Trajectory, kind: str, look: dict[str, Any]) -> Line2D:
    """The losses of a run over its steps."""
    values = _heights(each.result, run)
    (line,) = ax.plot(
        np.arange(len(values)), values, linestyle="none", gid=f"{kind} {each.key}", **look
    )
    line.set_markevery(every(len(values), MOST))
    return line


def _rings() -> dict[str, Any]:
    size = 1.8 * mpl.rcParams["lines.markersize"]
    return {
        "marker": "o", "markersize": size, "markerfacecolor": "none", "markeredgewidth": 0.14 * size, "zorder": 5,
    }  # fmt: skip


def _pale() -> dict[str, Any]:
    return {"markersize": 0.85 * mpl.rcParams["lines.markersize"], "zorder": 3}


def _scale(seen: Sequence[Rescaling]) -> str:
    return _fraction(float(seen[0].scale))


def _fraction(x: float) -> str:
    """A number, or one over a whole number."""
    whole = round(1 / x)
    return f"1/{whole}" if whole > 1 and abs(whole * x - 1) < 1e-9 else number(x)


def _times(seen: Rescaling) -> str:
    """The corrected rate in z, of that in x, as in "4 times" or "1/9 of"."""
    share = _fraction(1 / float(seen.factor))
    return f"{share} of" if share.startswith("1/") else f"{share} times"


def _title(seen: list[Rescaling]) -> str:
    """Who takes the same path at which rate, and who takes one that is only near."""
    same: dict[str, list[str]] = {}
    near: list[str] = []
    for one, _, name, _ in runs.entries(seen):
        away, size = largest(one.distance), largest(np.abs(np.asarray(one.map.y.x)))
        if failure(one.map) or failure(one.corrected):
            continue
        if away <= SAME * size:
            same.setdefault(_times(one), []).append(name)
        else:
            near.append(f"{name} at {_times(one)} the rate comes within {number(away, 2)} of it")
    said = [f"{listed(whose)} at {times} the rate" for times, whose in same.items()]
    if said:
        takes = "takes" if len(next(iter(same.values()))) == 1 else "take"
        said[0] = said[0].replace(" at ", f" {takes} the same path at ", 1)
    else:
        near = [text.removesuffix("it") + "its path in x" for text in near]
    head = f"in z\xa0=\xa0x/λ, λ\xa0=\xa0{_scale(seen)}, "
    said = [", ".join(said)] * bool(said) + near
    return claim(seen, (head + "; ".join(said)) * bool(said))


def _told(entries: Sequence[Entry]) -> list[str]:
    """How far apart the positions are, in numbers."""
    near = [
        f"{c.name} {failure(c.result.corrected) or number(largest(c.result.distance))}"
        for c in entries
    ]
    far = [
        f"{c.name} {failure(c.result.same_rate) or number(largest(c.result.same_rate_distance))}"
        for c in entries
    ]
    factors = listed([f"for {c.name} by {_power(1 + float(c.result.power))}" for c in entries])
    return [
        plain(f"The rate in z is that in x divided {factors}."),
        plain(
            f"Largest |x\xa0−\xa0λz|: {', '.join(near)} at the corrected rate; {', '.join(far)} at the same."
        ),
    ]


def _power(exponent: float) -> str:
    return "λ" + ("" if exponent == 1 else number(exponent).replace("−", "-").translate(RAISED))
