"""The sweep: the final loss over learning rate and one more hyperparameter."""

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.lines import Line2D

from ..analysis import Sensitivity
from ..runs.status import Status
from .drawing.axes import linear_limits, set_linear_ticks, set_log_ticks
from .drawing.captions import problem_name
from .drawing.hatched import hatch, hatched_key
from .drawing.measure import figure_of
from .drawing.picture import Panel, Picture, draw_picture
from .drawing.results import one_result
from .drawing.style import contour_colors, ink, looks
from .drawing.words import capitalize, format_number, literal

DECADES = 16  # below the loss at the start that have different colours
SMALLEST = 1e-280  # height above the minimum; matplotlib rounds smaller ones to 0


def draw(
    results: Sensitivity | list[Sensitivity], *, ax: Axes | None = None, style: str = "notebook"
) -> Picture | Axes:
    """The loss at the end of each run, the lighter the lower, with a ring where it is lowest.

    Runs that diverged are hatched. The line is the boundary of linear theory: beyond it no known
    minimizer is stable.

    - `results`: one result of `analysis.sensitivity`.
    - `ax`: axes to draw in, instead of a new `Picture`.
    - `style`: "notebook", "paper" or "slides".

    **Raises:** `InvalidValue` for several results.
    """
    result = one_result(results, Sensitivity, "analysis.sensitivity")
    return draw_picture(paint, describe, [result], ax, style)


def describe(results: Sensitivity | list[Sensitivity]) -> str:
    """The picture in one sentence with its numbers."""
    result = one_result(results, Sensitivity, "analysis.sensitivity")
    first, last, low, high = map(
        format_number,
        (result.learning_rate[0], result.learning_rate[-1], result.value[0], result.value[-1]),
    )
    return (
        f"The picture shows the loss of {_subject(result)} after {result.steps} steps over "
        f"learning rates from {first} to {last} and {result.option} from {low} to {high}: "
        f"{_claim(result)}; {_diverged(result)}."
    )


def paint(ax: Axes, results: list[Sensitivity]) -> Panel:
    """Draw into `ax`; return title, legend entries and caption."""
    (result,) = results
    rates, values, failed = result.learning_rate, result.value, _failed(result)
    ax.set_xscale("log")
    if len(rates) > 1:
        ax.set_xlim(rates[0], rates[-1])
    limits = (float(values[0]), float(values[-1])) if len(values) > 1 else linear_limits([values])
    ax.set_ylim(*limits)
    ax.grid(False)
    _draw_losses(ax, result)
    handles = [*_draw_boundary(ax, result), *_mark_lowest(ax, result)]
    hatch(ax, rates, values, failed, "failed")
    keys = [hatched_key("diverged")] * bool(failed.any() and min(failed.shape) > 1)
    set_log_ticks(ax.xaxis)
    set_linear_ticks(ax.yaxis)
    ax.set_xlabel("learning rate  η")
    ax.set_ylabel(literal(result.option))
    title = literal(capitalize(_claim(result)))
    return Panel(title, handles, keys, caption=_caption(result))


def _draw_losses(ax: Axes, result: Sensitivity) -> None:
    """The colour of the loss of each run; a loss above that of the start has its colour."""
    heights = _heights(result)
    if not np.isfinite(heights).any():
        return
    start, least = float(_height(result, result.start)), float(np.nanmin(heights))
    positive = min(start, least) > 0
    low = max(least, start / 10**DECADES) if positive else least
    high = max(start, low + max(abs(low), SMALLEST))
    norm = LogNorm(low, high) if positive else Normalize(low, high)
    style: dict[str, Any] = {"cmap": contour_colors(), "norm": norm}
    style |= {"shading": "nearest", "rasterized": True, "zorder": 1}
    cells = np.ma.masked_invalid(np.clip(heights, low, high))
    mesh = ax.pcolormesh(result.learning_rate, result.value, cells, gid="loss", **style)
    decades = []
    if positive:
        exponents = range(int(np.ceil(np.log10(low))), int(np.floor(np.log10(high))) + 1)
        decades = [10.0**e for e in exponents if low < 10.0**e < high]
    above = " above minimum" * (result.problem.minimum is not None)
    draw_scale(ax, mesh, [low, *decades, high], f"loss{above} after {result.steps} steps")


def _draw_boundary(ax: Axes, result: Sensitivity) -> list[Line2D]:
    if not np.isfinite(result.boundary).any():
        return []
    style = {"color": ink(), "linewidth": 1.3 * mpl.rcParams["lines.linewidth"], "zorder": 4}
    label = "boundary of theory"
    return ax.plot(result.boundary, result.value, gid="boundary", label=label, **style)


def _mark_lowest(ax: Axes, result: Sensitivity) -> list[Line2D]:
    """A ring around the run with the lowest loss."""
    if not np.isfinite(_heights(result)).any():
        return []
    (look,), (i, j) = looks([result.optimizer]), _lowest(result)
    size = 1.9 * mpl.rcParams["lines.markersize"]
    style: dict[str, Any] = {
        "marker": "o", "markersize": size, "markerfacecolor": "none", "linestyle": "none",
        "markeredgecolor": look.color, "markeredgewidth": 0.2 * size, "label": "lowest",
        "clip_on": False, "zorder": 5,
    }  # fmt: skip
    return ax.plot([result.learning_rate[j]], [result.value[i]], gid="lowest", **style)


def _failed(result: Sensitivity) -> np.ndarray:
    """Which runs diverged."""
    has_failed = np.isin(result.result, (Status.diverged, Status.nonfinite))
    return has_failed | ~np.isfinite(result.loss)


def _heights(result: Sensitivity) -> np.ndarray:
    """The losses, above the minimum if that is known; NaN for runs that failed."""
    return np.where(_failed(result), np.nan, _height(result, result.loss))


def _height(result: Sensitivity, loss: Any) -> Any:
    """The height above the known minimum, at least the spacing of floating-point numbers there.

    The loss itself if no minimum is known.
    """
    if result.problem.minimum is None:
        return np.asarray(loss, float)
    minimum, eps = float(result.problem.minimum), np.finfo(result.loss.dtype).eps
    with np.errstate(all="ignore"):
        spacing = float(eps) * abs(minimum) or SMALLEST
        return np.maximum(np.asarray(loss, float) - minimum, spacing)


def _lowest(result: Sensitivity) -> tuple[int, int]:
    """The indices of the run with the lowest loss."""
    i, j = np.unravel_index(np.nanargmin(_heights(result)), result.loss.shape)
    return int(i), int(j)


def _subject(result: Sensitivity) -> str:
    return f"{type(result.optimizer).__name__} on {literal(problem_name(result))}"


def _claim(result: Sensitivity) -> str:
    """Which hyperparameters lead to the lowest loss, and how many others do."""
    heights = _heights(result)
    if not np.isfinite(heights).any():
        return f"no run of {_subject(result)} reaches its end"
    i, j = _lowest(result)
    loss = result.loss[i, j]
    if result.problem.minimum is not None:
        loss = max(loss - result.problem.minimum, 0.0)
    symbol = "" if result.problem.minimum is None else "f\xa0−\xa0f*\xa0=\xa0"
    rate, value = format_number(result.learning_rate[j]), format_number(result.value[i])
    others = int((heights == heights[i, j]).sum()) - 1
    reach = "other run reaches" if others == 1 else "other runs reach"
    return (
        f"the loss of {_subject(result)} is lowest, {symbol}{format_number(loss)}, with learning "
        f"rate {rate} and {result.option} {value}" + f"; {others} {reach} it, too" * (others > 0)
    )


def _diverged(result: Sensitivity) -> str:
    """How many runs diverged, on either side of the boundary."""
    failed, beyond = _failed(result), result.learning_rate > result.boundary[:, None]
    if not np.isfinite(result.boundary).any() or beyond.all() or not beyond.any():
        return f"{100 * failed.mean():.0f}\xa0% of the runs diverged"
    before, after = (f"{100 * failed[part].mean():.0f}\xa0%" for part in (~beyond, beyond))
    return f"{after} of the runs beyond the boundary diverged, and {before} of those before it"


def _caption(result: Sensitivity) -> list[str]:
    name = literal(problem_name(result))
    grid = f"{len(result.learning_rate)} × {len(result.value)} runs of {result.steps} steps"
    sentences = [
        f"The {grid} on {name}, in {result.loss.dtype}, are those of "
        f"{literal(repr(result.optimizer))} with other values of learning_rate and {result.option}."
    ]
    if np.isfinite(result.boundary).any():
        curvature = format_number(result.curvature)
        sentences.append(
            "Beyond the boundary no known minimizer is stable; at the flattest, "
            f"λ\xa0=\xa0{curvature}."
        )
    return [*sentences, f"{capitalize(_diverged(result))}."]


def draw_scale(ax: Axes, colored: Any, levels: list[float], label: str) -> None:
    """A colour bar next to the frame, with a tick at some of the levels."""
    ticks = levels[:: 1 + len(levels) // 8]
    bar_axes = ax.inset_axes((1.02, 0, 0.022, 1), gid="scale")
    bar = figure_of(ax).colorbar(colored, cax=bar_axes)
    bar_axes.set_ylim(levels[0] / 2 if levels[0] > 0 else levels[0], levels[-1])
    bar_axes.set_yticks(ticks, [format_number(level) for level in ticks])
    bar_axes.set_yticks([], minor=True)
    bar_axes.tick_params(length=0)
    bar.set_label(label)
    for spine in bar_axes.spines.values():
        spine.set_visible(False)
