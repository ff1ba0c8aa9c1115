"""What the gap and the local error share: an error along the run, above the solver's own."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes

from ...analysis import Comparison, LocalError
from . import legends, runs
from .axes import every, finite, log_view, mark_decades, mark_exit
from .captions import conditions, dotted, own_error, solver_errors
from .labels import Name
from .picture import Panel, say
from .style import ink
from .words import failure, number, plain

MOST = 25  # dots along one run
ROOM = 100  # times the largest error of a healthy run: so much is shown of a diverging one
NEAR = 1e3  # the solver's own error is drawn if it comes this near to an error; else it is told


def paint(
    ax: Axes,
    results: Sequence[Comparison] | Sequence[LocalError],
    quantity: str,
    label: str,
    title: str,
) -> Panel:
    """Error and solver's own error of each result along its run, on a logarithmic axis."""
    entries, (time_axis, times) = runs.entries(results), runs.time_axis(results)
    limits = _limits(results)
    runs.span(ax, time_axis, times)
    ax.set_yscale("log", nonpositive="mask")
    ax.set_ylim(*(limits or (0.1, 10.0)))
    if not limits:
        say(ax, f"no {quantity} above 0 to draw")
    mark_decades(ax.yaxis)
    bottom, own = ax.get_ylim()[0], own_error(results)
    beside = []
    for (result, look, name, key), t in zip(entries, times, strict=True):
        error = np.asarray(result.error, float)
        line = runs.both(ax, t, error, look, f"{quantity} {key}", every(_count(error), MOST))
        mark_exit(ax, line, look.color)
        _solver(ax, t, solver_errors(result), look.color, key, 0.14 / len(results))
        drawable = np.flatnonzero(np.isfinite(error) & (error > 0))
        if drawable.size and not failure(result.map):
            beside.append(Name(plain(name), look.color, [(t[drawable[-1]], error[drawable[-1]])]))
    ax.set_xlabel(time_axis)
    ax.set_ylabel(label)
    return Panel(
        title=title,
        names=runs.handles(entries),
        keys=[legends.dotted("solver's own error")] if own > bottom else [],
        below=[legends.dotted(f"solver's own error, below the frame: at most {number(own, 2)}")]
        if own <= bottom
        else [],
        ends=beside if len(beside) == len(results) else [],
        caption=conditions(results) + dotted(results, [_count(r.error) for r in results], MOST),
    )


def _count(error) -> int:
    return int(np.isfinite(np.asarray(error)).sum())


def _solver(ax: Axes, t: np.ndarray, own: np.ndarray, color: str, key: str, shade: float) -> None:
    """A dotted line, and a band beneath it in which nothing can be measured."""
    t, thin = t[: len(own)], 0.55 * mpl.rcParams["lines.linewidth"]
    ax.plot(
        t,
        own,
        linestyle=legends.DOTTED,
        linewidth=thin,
        color=color,
        zorder=2,
        gid=f"solver error {key}",
    )
    bottom = ax.get_ylim()[0]
    if (own > bottom).any():
        band = ax.fill_between(
            t, bottom, np.fmax(own, bottom), color=ink(), alpha=shade, linewidth=0
        )
        band.set_gid(f"solver band {key}")


def _limits(results: Sequence[Comparison | LocalError]) -> tuple[float, float] | None:
    """Of the errors of runs that did not fail, the first ones of those that did, and the solver's if it is near."""
    healthy = finite([r.error for r in results if not failure(r.map)])
    errors = [healthy]
    for failed in (finite([r.error]) for r in results if failure(r.map)):
        first = failed[failed > 0][:1].max(initial=0)
        errors.append(failed[failed <= ROOM * max(first, healthy.max(initial=0))])
    limits = log_view(errors)
    own = finite(map(solver_errors, results)).max(initial=0)
    if limits and own > limits[0] / NEAR:
        return min(limits[0], own / 3), limits[1]
    return limits
