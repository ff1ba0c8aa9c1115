"""What the loss and the energy share: a quantity on its way down along map and flow."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes

from ...optimizers import AbstractOptimizer
from ...problems import Problem
from ...runs.trajectory import Trajectory
from . import legends, runs
from .axes import linear_view, log_view, mark_decades, mark_exit, mark_plainly
from .captions import conditions, dotted
from .labels import Name
from .picture import Panel, say
from .words import failure, plain

MOST = 25  # dots along one run
ROOM = 100  # times the largest value of a healthy run: so much is shown of a diverging one
APART = 0.08  # of the frame: where map and flow end farther apart, a name beside one would be false of the other


class Descent(NamedTuple):
    """The runs of one optimizer, the values along the finite beginning of each, by its kind, and the solver's error."""

    optimizer: AbstractOptimizer
    problem: Problem
    map: Trajectory | None
    flow: Trajectory | None
    values: dict[str, np.ndarray]
    solver_error: Any = np.nan

    @property
    def t(self):
        return runs.leading(self).t

    @property
    def known(self) -> bool:
        """Whether values are counted from the problem's minimum."""
        return self.problem.minimum is not None

    @property
    def whole(self) -> list[np.ndarray]:
        """The values along runs that did not fail."""
        return [
            self.values[run.kind]
            for run in (self.map, self.flow)
            if run is not None and not failure(run)
        ]


def paint(
    ax: Axes,
    descents: Sequence[Descent],
    quantity: str,
    symbols: tuple[str, str],
    title: str,
    most: int = MOST,
) -> Panel:
    """Dots along the maps, at most so many, lines along the flows, and what stands around them.

    `symbols` stand for the quantity, and for what it is above the minimum.
    """
    entries, (time_axis, _) = runs.entries(descents), runs.time_axis(descents)
    known = descents[0].known
    set_axis(ax, descents, known)
    runs.span(
        ax,
        time_axis,
        [_at(time_axis, d, run) for d in descents for run in (d.map, d.flow) if run is not None],
    )
    beside, anything = [], False
    for each in entries:
        descent, look, name, key = each
        for run in (descent.flow, descent.map):
            if run is None:
                continue
            t, values = _at(time_axis, descent, run), descent.values[run.kind]
            drawn = runs.curve if run.kind == "flow" else runs.dots
            line = drawn(
                ax, t, values, look, f"{run.kind} {key}", *([most] if run.kind == "map" else [])
            )
            runs.mark_end(ax, run, t, values, each)
            mark_exit(ax, line, look.color)
            drawable = (
                np.flatnonzero(values > 0) if ax.get_yscale() == "log" else np.arange(len(values))
            )
            anything = anything or drawable.size > 0
            if run is (descent.map if descent.flow is None else descent.flow) and drawable.size:
                if not failure(runs.leading(descent)):
                    beside.append(
                        Name(plain(name), look.color, [(t[drawable[-1]], values[drawable[-1]])])
                    )
    if not anything:
        finite = any(values.size for d in descents for values in d.values.values())
        say(
            ax,
            f"the {quantity} is at its minimum from the start"
            if finite
            else f"no finite {quantity} to draw",
        )
    ax.set_xlabel(time_axis)
    ax.set_ylabel(
        f"{quantity} above minimum  {symbols[1]}" if known else f"{quantity}  {symbols[0]}"
    )
    counts = [len(d.values.get("map", ())) for d in descents]
    kinds = [any(getattr(d, kind) is not None for d in descents) for kind in ("map", "flow")]
    return Panel(
        title=title,
        names=runs.handles(entries),
        keys=[key for key, there in zip(legends.map_and_flow(), kinds, strict=True) if there],
        ends=beside
        if len(beside) == len(descents) and not any(_part(ax, d) for d in descents)
        else [],
        caption=conditions(descents) + dotted(descents, counts, most),
    )


def _part(ax: Axes, descent: Descent) -> bool:
    """Whether its map and its flow end at different heights of the frame."""
    ends = np.clip(
        [values[-1] for values in descent.values.values() if values.size], *ax.get_ylim()
    )
    heights = ax.transLimits.transform(ax.transScale.transform([(0, end) for end in ends]))[:, 1]
    return bool(np.ptp(heights) > APART)


def finite_values(run: Trajectory, values, above: float | None) -> np.ndarray:
    """The values along the finite beginning of a run, above `above` if that is known."""
    with np.errstate(over="ignore"):
        return np.asarray(values, float)[run.finite] - (above or 0.0)


def _at(time_axis: str, descent: Descent, run: Trajectory) -> np.ndarray:
    """Where the points of the finite beginning lie on the axis."""
    t = np.asarray(run.t, float)[run.finite]
    return np.round(t / float(descent.optimizer.h)) if time_axis.startswith("step") else t


def set_axis(ax: Axes, descents: Sequence[Descent], known: bool) -> None:
    """Scale and limits: of the runs that did not fail, with some room above for those that did."""
    healthy = [values for d in descents for values in d.whole]
    values = np.concatenate([*healthy, *(v[:1] for d in descents for v in d.values.values())])
    failed = any(failure(run) for d in descents for run in (d.map, d.flow) if run is not None)
    positive = values[values > 0]
    wide = positive.size == values.size > 0 and positive.max() > 100 * positive.min()
    if known or wide:
        ax.set_yscale("log", nonpositive="mask")
        low, high = log_view([positive]) or (0.1, 10.0)
        ax.set_ylim(low, min(high * (ROOM if failed else 1), 1e300))
        mark_decades(ax.yaxis)
    else:
        low, high = linear_view([values])
        ax.set_ylim(low, high + (high - low) * failed)
        mark_plainly(ax.yaxis)
