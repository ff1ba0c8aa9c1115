"""What the figures of the loss and of the Lyapunov function share: a quantity over time."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes

from ...errors import InvalidValue
from ...optimizers import AbstractOptimizer
from ...problems import Problem
from ...runs.trajectory import Trajectory
from . import legends, runs
from .axes import linear_limits, log_limits, mark_exit, set_linear_ticks, set_log_ticks
from .captions import conditions, dot_sentences
from .labels import Label
from .picture import Panel, write_notice
from .words import failure, literal

MAX_DOTS = 25  # along one run
HEADROOM = 100  # times the largest value of a run that did not fail: so much of others is shown
SAME_HEIGHT = 0.08  # of the frame: a label fits map and flow if their ends are nearer than this


class Descent(NamedTuple):
    """The runs of one optimizer, and a quantity along the finite beginning of each.

    - `map`, `flow`: the runs; None for a run that is not drawn.
    - `values`: the quantity along the runs, by their kind, "map" or "flow".
    - `solver_error`: an estimate of the error of the flow, for the caption.
    """

    optimizer: AbstractOptimizer
    problem: Problem
    map: Trajectory | None
    flow: Trajectory | None
    values: dict[str, np.ndarray]
    solver_error: Any = np.nan

    @property
    def t(self):
        """The times of the leading run."""
        return runs.leading_run(self).t

    @property
    def runs(self) -> list[Trajectory]:
        """The runs that are drawn, the flow first, so that the dots lie on top."""
        return [run for run in (self.flow, self.map) if run is not None]


def paint(
    ax: Axes,
    descents: Sequence[Descent],
    quantity: str,
    ylabels: tuple[str, str],
    title: str,
    most: int = MAX_DOTS,
) -> Panel:
    """Draw dots along the maps and lines along the flows into `ax`; return what stands around them.

    - `quantity`: its name, for notices.
    - `ylabels`: the label of its axis, and that of its height above the minimum of the loss.
    - `most`: the largest number of dots along one run.
    """
    entries, (label, _) = runs.entries(descents), runs.time_axis(descents)
    above_minimum = descents[0].problem.minimum is not None
    set_value_axis(ax, descents, above_minimum)
    runs.set_time_limits(ax, label, [_times(label, d, run) for d in descents for run in d.runs])
    labels = []
    for entry in entries:
        descent, look, name, key = entry
        for run in descent.runs:
            t, values = _times(label, descent, run), descent.values[run.kind]
            gid = f"{run.kind} {key}"
            if run.kind == "flow":
                line = runs.draw_curve(ax, t, values, look, gid)
            else:
                line = runs.draw_dots(ax, t, values, look, gid, most)
            runs.mark_failure(ax, run, t, values, entry)
            mark_exit(ax, line, look.color)
        run = descent.runs[0]
        drawable = _drawable(ax, descent.values[run.kind])
        if drawable.size and not failure(runs.leading_run(descent)) and _end_together(ax, descent):
            last = drawable[-1]
            end = _times(label, descent, run)[last], descent.values[run.kind][last]
            labels.append(Label(literal(name), look.color, end))
    if not any(_drawable(ax, values).size for d in descents for values in d.values.values()):
        finite = any(values.size for d in descents for values in d.values.values())
        at_minimum = f"the {quantity} is at its minimum from the start"
        write_notice(ax, at_minimum if finite else f"no finite {quantity} to draw")
    ax.set_xlabel(label)
    ax.set_ylabel(ylabels[above_minimum])
    counts = [len(d.values.get("map", ())) for d in descents]
    kinds = [any(getattr(d, kind) is not None for d in descents) for kind in ("map", "flow")]
    return Panel(
        title=title,
        handles=runs.legend_handles(entries),
        keys=[key for key, drawn in zip(legends.map_and_flow(), kinds, strict=True) if drawn],
        labels=labels if len(labels) == len(descents) else [],
        caption=[*conditions(descents), *dot_sentences(descents, counts, most)],
    )


def _drawable(ax: Axes, values: np.ndarray) -> np.ndarray:
    """The indices of the values that the axis can show."""
    return np.flatnonzero(values > 0) if ax.get_yscale() == "log" else np.arange(len(values))


def _end_together(ax: Axes, descent: Descent) -> bool:
    """Whether map and flow end at the same height of the frame, so that one label fits both."""
    ends = [values[-1] for values in descent.values.values() if values.size]
    points = [(0, end) for end in np.clip(ends, *ax.get_ylim())]
    heights = ax.transLimits.transform(ax.transScale.transform(points))[:, 1]
    return bool(np.ptp(heights) <= SAME_HEIGHT)


def finite_heights(run: Trajectory, values, minimum: float | None) -> np.ndarray:
    """The values along the finite beginning of a run, above the minimum if that is known.

    **Raises:** `InvalidValue` if they fall below the minimum by more than round-off and more than a
    thousandth of the way that they fall.
    """
    values = np.asarray(values, float)[run.finite]
    if minimum is None or not values.size:
        return values
    with np.errstate(over="ignore", invalid="ignore"):
        heights = values - minimum
        round_off = np.finfo(run.loss.dtype).eps + 1e-5 * (np.abs(values) + abs(minimum))
        tolerance = round_off + 1e-3 * (values[0] - values)
    if (heights < -tolerance).any():
        raise InvalidValue(
            f"`minimum` of {run.problem.name} is {minimum:.6g}, but a run reaches "
            f"{values.min():.6g}; make the problem with the right `minimum`."
        )
    return heights


def _times(label: str, descent: Descent, run: Trajectory) -> np.ndarray:
    """The positions of the finite beginning of a run on the time axis with this label."""
    t = np.asarray(run.t, float)[run.finite]
    return np.round(t / float(descent.optimizer.h)) if label.startswith("step") else t


def set_value_axis(ax: Axes, descents: Sequence[Descent], above_minimum: bool) -> None:
    """Scale and limits of the vertical axis.

    They show all of the runs that did not fail, and leave some room above for those that did. The
    axis is logarithmic if the values are heights `above_minimum`, or if they are positive and fall
    a hundredfold.
    """
    pairs = [(run, d.values[run.kind]) for d in descents for run in d.runs]
    healthy = [values for run, values in pairs if not failure(run)]
    failed = len(healthy) < len(pairs)
    values = np.concatenate([*healthy, *(values[:1] for _, values in pairs)])
    positive = values[values > 0]
    wide = positive.size == values.size > 0 and positive.max() > 100 * positive.min()
    if above_minimum or wide:
        ax.set_yscale("log", nonpositive="mask")
        low, high = log_limits([positive]) or (0.1, 10.0)
        ax.set_ylim(low, min(high * (HEADROOM if failed else 1), 1e300))
        set_log_ticks(ax.yaxis)
    else:
        low, high = linear_limits([values])
        ax.set_ylim(low, high + (high - low) * failed)
        set_linear_ticks(ax.yaxis)
