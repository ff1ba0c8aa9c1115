"""What the figures of the global and of the local error share: an error over time."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes

from ...analysis import Comparison, LocalError
from . import legends, runs
from .axes import dot_stride, finite_values, log_limits, mark_exit, set_log_ticks
from .captions import (
    claim,
    conditions,
    dot_sentences,
    failures,
    largest_finite,
    largest_solver_error,
    solver_errors,
)
from .labels import Label
from .picture import Panel, write_notice
from .style import ink
from .words import failure, format_number, literal

Errors = Sequence[Comparison] | Sequence[LocalError]
MAX_DOTS = 25  # along one run
HEADROOM = 100  # times the largest error of a run that did not fail: so much of others is shown
NEAR = 1e3  # the solver's error is drawn if it is larger than an error divided by this


def paint(ax: Axes, results: Errors, quantity: str, symbol: str) -> Panel:
    """Draw errors and solver's errors into `ax`; return title, legend entries and caption.

    - `quantity`: the name of the error, for the title and the axis.
    - `symbol`: its formula, for the axis.
    """
    entries, (label, times) = runs.entries(results), runs.time_axis(results)
    limits = _limits(results)
    runs.set_time_limits(ax, label, times)
    ax.set_yscale("log", nonpositive="mask")
    ax.set_ylim(*(limits or (0.1, 10.0)))
    if not limits:
        write_notice(ax, f"no {quantity} above 0 to draw")
    set_log_ticks(ax.yaxis)
    labels, counts = [], []
    for (result, look, name, key), t in zip(entries, times, strict=True):
        error = np.asarray(result.error, float)
        counts.append(int(np.isfinite(error).sum()))
        stride = dot_stride(counts[-1], MAX_DOTS)
        line = runs.draw_dotted_curve(ax, t, error, look, f"{quantity} {key}", stride)
        mark_exit(ax, line, look.color)
        _draw_solver_error(ax, t, solver_errors(result), look.color, key, 0.14 / len(results))
        drawable = np.flatnonzero(np.isfinite(error) & (error > 0))
        if drawable.size and not failure(result.map):
            end = t[drawable[-1]], error[drawable[-1]]
            labels.append(Label(literal(name), look.color, end))
    ax.set_xlabel(label)
    ax.set_ylabel(f"{quantity}  {symbol}")
    visible = bool(largest_solver_error(results) > ax.get_ylim()[0])
    return Panel(
        title=_title(results, quantity),
        handles=runs.legend_handles(entries),
        keys=[legends.dotted_key("error of the solver")] * visible,
        labels=labels if len(labels) == len(results) else [],
        caption=[*conditions(results), *dot_sentences(results, counts, MAX_DOTS)],
    )


def _draw_solver_error(
    ax: Axes, t: np.ndarray, error: np.ndarray, color: str, key: str, alpha: float
) -> None:
    """A dotted line, and a shaded band beneath it, in which nothing can be measured."""
    t, thin = t[: len(error)], 0.55 * mpl.rcParams["lines.linewidth"]
    style = {"linestyle": legends.DOTTED, "linewidth": thin, "color": color, "zorder": 2}
    ax.plot(t, error, **style, gid=f"solver error {key}")
    bottom = ax.get_ylim()[0]
    if (error > bottom).any():
        top = np.fmax(error, bottom)
        band = ax.fill_between(t, bottom, top, color=ink(), alpha=alpha, linewidth=0)
        band.set_gid(f"solver band {key}")


def _limits(results: Errors) -> tuple[float, float] | None:
    """Limits of the vertical axis; None if no error is above 0.

    They show the errors of runs that did not fail, the first errors of those that did, and the
    error of the solver if it is near.
    """
    healthy = finite_values([r.error for r in results if not failure(r.map)])
    errors = [healthy]
    for failed in (finite_values([r.error]) for r in results if failure(r.map)):
        first = failed[failed > 0][:1].max(initial=0)
        errors.append(failed[failed <= HEADROOM * max(first, healthy.max(initial=0))])
    limits = log_limits(errors)
    solver = finite_values(map(solver_errors, results)).max(initial=0)
    if limits and solver > limits[0] / NEAR:
        return min(limits[0], solver / 3), limits[1]
    return limits


def _title(results: Errors, quantity: str) -> str:
    """The optimizers with the largest and the smallest error."""
    largest = {
        name: largest_finite(result.error)
        for result, _, name, _ in runs.entries(results)
        if not failure(result.map) and not failure(getattr(result, "flow", result.map))
    }
    if not largest:
        return claim(results, "" if failures(results) else f"no {quantity} could be measured")
    first, last = max(largest, key=lambda n: largest[n]), min(largest, key=lambda n: largest[n])
    most = f"at most {format_number(largest[first], 2)}"
    if len(largest) == 1:
        return claim(results, f"the {quantity} of {first} is {most}")
    least = f"at most {format_number(largest[last], 2)}"
    return claim(
        results, f"the {quantity} is largest for {first}, {most}, and smallest for {last}, {least}"
    )
