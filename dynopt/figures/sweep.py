"""The sweep: the loss at the end over learning rate and one more hyperparameter, and how far theory lets one go."""

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.lines import Line2D

from ..analysis import Sensitivity
from ..runs.trajectory import Status
from .drawing import hatched
from .drawing.axes import linear_view, mark_decades, mark_plainly
from .drawing.captions import called
from .drawing.picture import Panel, drawn, single
from .drawing.style import field, ink, looks
from .drawing.words import number, plain
from .plane.contours import scale_beside

DECADES = 16  # below the loss at the start that are told apart
LEAST = 1e-280  # height; matplotlib takes less for nothing


def draw(
    results: Sensitivity | list[Sensitivity], *, ax: Axes | None = None, style: str = "notebook"
):
    """A map of the loss at the end of each run, the lighter the lower, and a ring where it is lowest.

    Hatched are the runs that diverged; the line is the boundary of theory, beyond which no known minimizer attracts.

    - `results`: one of `analysis.sensitivity`. - `ax`: axes to draw in, instead of a new `Picture`. - `style`:
      "notebook", "paper" or "slides".
    """
    return drawn(paint, describe, [single(results, Sensitivity, "analysis.sensitivity")], ax, style)


def describe(results: Sensitivity | list[Sensitivity]) -> str:
    """The picture in one sentence with its numbers."""
    seen = single(results, Sensitivity, "analysis.sensitivity")
    rates = f"{number(seen.learning_rate[0])} to {number(seen.learning_rate[-1])}"
    over = f"learning rates from {rates} and {seen.option} from {number(seen.value[0])} to {number(seen.value[-1])}"
    return f"Loss of {_who(seen)} after {seen.steps} steps over {over}: {_claim(seen)}; {'; '.join(_shares(seen))}."


def paint(ax: Axes, results: list[Sensitivity]) -> Panel:
    """Draw in the axes, and say what stands around them."""
    (seen,) = results
    ax.set_xscale("log")
    rates, values = seen.learning_rate, seen.value
    if len(rates) > 1:
        ax.set_xlim(rates[0], rates[-1])
    ax.set_ylim(
        *(linear_view([values]) if len(values) < 2 else (float(values[0]), float(values[-1])))
    )
    ax.grid(False)
    _cells(ax, seen)
    failed, names = _failed(seen), [*_boundary(ax, seen), *_lowest(ax, seen)]
    hatched.cover(ax, rates, values, failed, "failed")
    keys = [hatched.key("diverged")] * bool(failed.any() and min(failed.shape) > 1)
    mark_decades(ax.xaxis)
    mark_plainly(ax.yaxis)
    ax.set_xlabel("learning rate  η")
    ax.set_ylabel(plain(seen.option))
    text = _claim(seen)
    return Panel(
        title=plain(text[:1].upper() + text[1:]), names=names, keys=keys, caption=_caption(seen)
    )


def _cells(ax: Axes, seen: Sensitivity) -> None:
    """The loss of each run, from the start's down; what is higher than the start has its colour."""
    heights = _heights(seen)
    if not np.isfinite(heights).any():
        return
    top = float(_above(seen, seen.start))
    low = max(float(np.nanmin(heights)), top / 10**DECADES)
    top = max(top, 2 * low)
    look: dict[str, Any] = {
        "cmap": field(),
        "norm": LogNorm(low, top),
        "shading": "nearest",
        "rasterized": True,
    }
    shown = np.ma.masked_invalid(np.clip(heights, low, top))
    cells = ax.pcolormesh(seen.learning_rate, seen.value, shown, zorder=1, gid="loss", **look)
    decades = [
        10.0**e for e in range(int(np.ceil(np.log10(low))), int(np.floor(np.log10(top))) + 1)
    ]
    label = f"loss{' above minimum' * (seen.problem.minimum is not None)} after {seen.steps} steps"
    scale_beside(ax, cells, [low, *(d for d in decades if low < d < top), top], label)


def _boundary(ax: Axes, seen: Sensitivity) -> list[Line2D]:
    if not np.isfinite(seen.boundary).any():
        return []
    wide = 1.3 * mpl.rcParams["lines.linewidth"]
    line = ax.plot(seen.boundary, seen.value, color=ink(), linewidth=wide, zorder=4, gid="boundary")
    line[0].set_label("boundary of theory")
    return line


def _lowest(ax: Axes, seen: Sensitivity) -> list[Line2D]:
    if not np.isfinite(_heights(seen)).any():
        return []
    (own,), (i, j) = looks([seen.optimizer]), _best(seen)
    size = 1.9 * mpl.rcParams["lines.markersize"]
    ring: dict[str, Any] = {
        "marker": "o",
        "markersize": size,
        "markerfacecolor": "none",
        "linestyle": "none",
    }
    ring |= {
        "markeredgecolor": own.color,
        "markeredgewidth": 0.2 * size,
        "label": "lowest",
        "zorder": 5,
    }
    return ax.plot([seen.learning_rate[j]], [seen.value[i]], gid="lowest", clip_on=False, **ring)


def _failed(seen: Sensitivity) -> np.ndarray:
    return np.isin(seen.result, (Status.diverged, Status.nonfinite)) | ~np.isfinite(seen.loss)


def _heights(seen: Sensitivity) -> np.ndarray:
    """The loss above the known minimum; NaN of runs that failed."""
    return np.where(_failed(seen), np.nan, _above(seen, seen.loss))


def _above(seen: Sensitivity, loss: Any) -> Any:
    """Above the known minimum, but not below the spacing of numbers there."""
    base, number = float(seen.problem.minimum or 0.0), np.finfo(seen.loss.dtype)
    with np.errstate(all="ignore"):
        return np.maximum(np.asarray(loss, float) - base, float(number.eps) * abs(base) or LEAST)


def _best(seen: Sensitivity) -> tuple[int, int]:
    i, j = np.unravel_index(np.nanargmin(_heights(seen)), seen.loss.shape)
    return int(i), int(j)


def _who(seen: Sensitivity) -> str:
    return f"{type(seen.optimizer).__name__} on {plain(called(seen))}"


def _claim(seen: Sensitivity) -> str:
    if not np.isfinite(_heights(seen)).any():
        return f"no run of {_who(seen)} reaches its end"
    i, j = _best(seen)
    at = f"learning rate {number(seen.learning_rate[j])} and {seen.option} {number(seen.value[i])}"
    lowest, heights = (
        number(max(seen.loss[i, j] - (seen.problem.minimum or 0), 0.0)),
        _heights(seen),
    )
    others = int((heights == heights[i, j]).sum()) - 1
    return f"{_who(seen)} comes lowest with {at}, to {lowest}" + f", as {others} others do" * (
        others > 0
    )


def _shares(seen: Sensitivity) -> list[str]:
    """How many runs diverged, on either side of the boundary."""
    failed, beyond = _failed(seen), seen.learning_rate > seen.boundary[:, None]
    if not np.isfinite(seen.boundary).any() or beyond.all() or not beyond.any():
        return [f"{100 * failed.mean():.0f}\xa0% of the runs diverged"]
    inside, outside = (f"{100 * failed[part].mean():.0f}\xa0%" for part in (~beyond, beyond))
    return [f"{outside} of the runs beyond the boundary diverged, and {inside} of those before it"]


def _caption(seen: Sensitivity) -> list[str]:
    lines = [
        f"{plain(repr(seen.optimizer))} with other values of learning_rate and {seen.option}, {plain(called(seen))},",
        f"{len(seen.learning_rate)} × {len(seen.value)} runs of {seen.steps} steps, {seen.loss.dtype}.",
    ]
    if np.isfinite(seen.boundary).any():
        lines.append(
            f"Boundary: beyond it no known minimizer attracts; λ = {number(seen.curvature)} at the flattest."
        )
    (shares,) = _shares(seen)
    return [*lines, f"{shares[:1].upper() + shares[1:]}."]
