"""What runs reach beside theory: the loss over learning rate and another hyperparameter."""

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.patheffects import withStroke

from ..analysis import Sensitivity, Stability
from ..errors import InvalidValue
from ..runs.status import Status
from .drawing.axes import linear_limits, set_linear_ticks, set_log_ticks
from .drawing.beside import along, write_beside, write_inside
from .drawing.captions import height_of, problem_name
from .drawing.hatched import hatch
from .drawing.measure import figure_of, font_size, on_paper
from .drawing.picture import Panel
from .drawing.runs import Entry
from .drawing.style import background, ink
from .drawing.words import SYMBOLS, count_noun, facts, format_number, format_percent, literal

DECADES = 16  # below the loss at the start that have different colours
SMALLEST = 1e-280  # height above the minimum; matplotlib rounds smaller ones to 0
REACHED = 1e-12  # of the height of the start: a run that ends so low has reached the minimum


def must_fit(theory: Stability, field: Sensitivity) -> None:
    """**Raises:** `InvalidValue` if theory and field vary two options, or two optimizers."""
    own, other = (f"{r.option} of {type(r.optimizer).__name__}" for r in (theory, field))
    if own != other:
        raise InvalidValue(
            f"the stability is over {own}, but the sensitivity over {other}; pass two results of "
            "one optimizer and one option."
        )


def paint_field(
    theory: Stability, field: Sensitivity, entry: Entry, ax: Axes, ratio: float
) -> Panel:
    """Draw the loss reached, theory's line over it, and two regions, into `ax`."""
    rates, values = field.learning_rate, field.value
    ax.set_xscale("log")
    if len(rates) > 1:
        ax.set_xlim(rates[0], rates[-1])
    ax.set_ylim(*((values[0], values[-1]) if len(values) > 1 else linear_limits([values])))
    ax.grid(False)
    failed, reached = has_failed(field), has_reached(field)
    _draw_losses(ax, field)
    hatch(ax, rates, values, failed, "diverges")
    edges = [
        _outline(ax, field, where, f"outline of {gid}")
        for where, gid in ((failed, "diverges"), (reached, "reached"))
    ]
    line = line_of(theory, field)
    if np.isfinite(line).any():
        style: dict[str, Any] = {"color": ink(), "zorder": 4, "path_effects": _halo(2.4)}
        width = 1.5 * mpl.rcParams["lines.linewidth"]
        ax.plot(line, theory.value, gid="boundary", linewidth=width, **style)
    covered = _mark_setting(ax, field, entry, np.concatenate(edges))
    texts = covered[sum(map(len, edges)) :]
    goal = f"reach {_goal(field)}"
    words = ((failed, "diverge", "number diverges"), (reached, goal, "number"))
    for where, verb, gid in words:
        if where.any():
            i, j = _middle(where)
            at = on_paper(ax, np.array([[rates[j], values[i]]]))[0]
            text = f"{where.sum()}\n{verb}"
            texts = write_inside(ax, text, at, texts, ink(), gid, fontweight="bold")
    in_frame = np.flatnonzero((rates[0] < line) & (line < rates[-1]))
    if in_frame.size:
        path = np.stack([line, theory.value], 1)[in_frame]
        at = on_paper(ax, path[len(path) // 4][None])[0]
        write_beside(ax, "theory", at, np.concatenate([texts, along(ax, path)]), ink(),
                     "boundary text", fontweight="bold")  # fmt: skip
    set_log_ticks(ax.xaxis)
    set_linear_ticks(ax.yaxis)
    ax.tick_params("x", pad=0.45 * font_size("xtick.labelsize"))  # apart from the lowest of y
    ax.set(xlabel="learning rate  η", ylabel=literal(field.option))
    return Panel("", name=entry.name, color=entry.color, fact=_fact(field))


def claim_of(field: Sensitivity) -> str:
    """As in "216 of 6144 settings reach the minimum, 2100 diverge"."""
    failed, reached = (int(where.sum()) for where in (has_failed(field), has_reached(field)))
    total = f"{failed} of {field.loss.size}" if not reached else f"{failed}"
    parts = [f"{reached} of {field.loss.size} settings reach {_goal(field)}"] * bool(reached)
    parts += [f"{total}{' settings' * (not reached)} diverge"]
    return ", ".join(parts)


def sentence_of(theory: Stability, field: Sensitivity) -> str:
    """The picture in one sentence with its numbers."""
    ends = field.learning_rate[0], field.learning_rate[-1], field.value[0], field.value[-1]
    first, last, low, high = map(format_number, ends)
    return (
        f"The picture shows {_noun(field)} of {type(field.optimizer).__name__} on "
        f"{literal(problem_name(field))} after {count_noun(field.steps, 'step')} over learning "
        f"rates from {first} to {last} and {field.option} from {low} to {high}: "
        f"{claim_of(field)}; {_beside_theory(theory, field)}."
    )


def _goal(field: Sensitivity) -> str:
    """What settings reach: the minimum or the lowest of all losses, or of a game |g| = 0."""
    symbol, is_known = field.problem.symbol, field.problem.minimum is not None
    if not field.problem.owns_field:
        return "the minimum" if is_known else "the lowest loss"
    return f"{symbol}\xa0=\xa00" if is_known and symbol == "|g|" else f"the lowest {symbol}"


def _noun(field: Sensitivity) -> str:
    return height_of(field.problem).noun if field.problem.owns_field else "the loss"


def caption_of(theory: Stability, field: Sensitivity) -> list[str]:
    """The runs, what counts as reached, and what theory gets right, in one line."""
    steps = count_noun(field.steps, "step")
    return [
        f"{field.loss.size} runs on {literal(problem_name(field))}, {steps} in "
        f"{field.loss.dtype}; reached: to {format_number(_tolerance(field))} of the height at the "
        f"start; {_beside_theory(theory, field)}."
    ]


def line_of(theory: Stability, field: Sensitivity) -> np.ndarray:
    """Theory's critical learning rate at each value, at the flattest minimizer; NaN if unknown."""
    with np.errstate(all="ignore"):
        line = theory.boundary * abs(theory.curvature) / field.curvature
    return np.where(np.isfinite(line), line, np.nan)


def has_failed(field: Sensitivity) -> np.ndarray:
    """Which runs diverged."""
    return np.isin(field.result, (Status.diverged, Status.nonfinite)) | ~np.isfinite(field.loss)


def has_reached(field: Sensitivity) -> np.ndarray:
    """Which runs ended at the minimum, or where none is known, at the lowest loss of all."""
    heights = np.where(has_failed(field), np.nan, np.asarray(field.loss, float) - _base(field))
    with np.errstate(all="ignore"):
        return heights <= _tolerance(field) * max(field.start - _base(field), 0)


def _base(field: Sensitivity) -> float:
    if field.problem.minimum is not None:
        return float(field.problem.minimum)
    losses = field.loss[~has_failed(field)]
    return float(losses.min()) if losses.size else 0.0


def _tolerance(field: Sensitivity) -> float:
    return max(REACHED, float(np.finfo(field.loss.dtype).eps))


def _beside_theory(theory: Stability, field: Sensitivity) -> str:
    """How many runs diverge on either side of theory's line."""
    failed = has_failed(field)
    line = np.interp(field.value, theory.value, line_of(theory, field))
    if not np.isfinite(line).any():
        return "theory knows no boundary here"
    beyond = field.learning_rate > line[:, None]
    shares = [format_percent(failed[w].mean()) if w.any() else "none" for w in (beyond, ~beyond)]
    return f"beyond theory's line {shares[0]} diverge, before it {shares[1]}"


def _fact(field: Sensitivity) -> str:
    value = format_number(float(getattr(field.optimizer, field.option)))
    return facts(field.optimizer, f"{SYMBOLS.get(field.option, field.option)}\xa0=\xa0{value}")


def _draw_losses(ax: Axes, field: Sensitivity) -> None:
    """The colour of the loss of each run; a loss above that of the start has its colour."""
    base, spacing = 0.0, SMALLEST
    if field.problem.minimum is not None:
        base = float(field.problem.minimum)
        spacing = float(np.finfo(field.loss.dtype).eps) * abs(base) or SMALLEST
    heights = np.where(has_failed(field), np.nan, np.asarray(field.loss, float) - base)
    start = field.start - base
    if field.problem.minimum is not None:
        heights, start = np.maximum(heights, spacing), max(start, spacing)
    if not np.isfinite(heights).any():
        return
    least = float(np.nanmin(heights))
    positive = min(start, least) > 0
    low = max(least, start / 10**DECADES) if positive else least
    high = max(start, low + max(abs(low), SMALLEST))
    norm = LogNorm(low, high) if positive else Normalize(low, high)
    style: dict[str, Any] = {"cmap": "cividis_r", "norm": norm, "shading": "nearest"}
    cells = np.ma.masked_invalid(np.clip(heights, low, high))
    mesh = ax.pcolormesh(
        field.learning_rate, field.value, cells, gid="loss", rasterized=True, zorder=1, **style
    )
    decades = []
    if positive:
        exponents = range(int(np.ceil(np.log10(low))), int(np.floor(np.log10(high))) + 1)
        decades = [10.0**e for e in exponents if low < 10.0**e < high]
    above = " above minimum" * (field.problem.minimum is not None)
    what = field.problem.symbol if field.problem.owns_field else f"loss{above}"
    _draw_scale(ax, mesh, [low, *decades, high], f"{what} after {field.steps} steps")


def _draw_scale(ax: Axes, colored: Any, levels: list[float], label: str) -> None:
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


def _outline(ax: Axes, field: Sensitivity, where: np.ndarray, gid: str) -> np.ndarray:
    """The edge of a region, with a halo; returns places on paper along it."""
    if not where.any() or where.all() or min(where.shape) < 2:
        return np.zeros((0, 2))
    lines = ax.contour(
        field.learning_rate, field.value, where.astype(float), levels=[0.5], colors=[ink()],
        linewidths=0.9, zorder=3,
    )  # fmt: skip
    lines.set(gid=gid, path_effects=_halo(1.6))
    return along(ax, *(path.vertices for path in lines.get_paths()))


def _mark_setting(ax: Axes, field: Sensitivity, entry: Entry, drawn: np.ndarray) -> np.ndarray:
    """A dot at the setting of the optimizer itself, with its name."""
    rate = float(field.optimizer.hyperparameters()["learning_rate"])
    value = float(getattr(field.optimizer, field.option))
    (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
    if not (left <= rate <= right and low <= value <= high):
        return drawn
    size = 1.9 * mpl.rcParams["lines.markersize"]
    ax.plot(
        [rate], [value], "o", markersize=size, color=entry.color, zorder=6, gid="setting",
        markeredgecolor=background(), markeredgewidth=0.16 * size, clip_on=False,
    )  # fmt: skip
    at = on_paper(ax, np.array([[rate, value]]))[0]
    return write_beside(
        ax, "this setting", at, drawn, entry.color, "setting text", fontweight="bold"
    )


def _middle(where: np.ndarray) -> tuple[int, int]:
    """The cell of a region that is farthest from its edge."""
    left = where
    while True:
        padded = np.pad(left, 1)
        inner = left & padded[2:, 1:-1] & padded[:-2, 1:-1] & padded[1:-1, 2:] & padded[1:-1, :-2]
        if not inner.any():
            cells = np.argwhere(left)
            i, j = cells[np.abs(cells - np.median(cells, axis=0)).sum(1).argmin()]
            return int(i), int(j)
        left = inner


def _halo(extra: float) -> list[Any]:
    return [withStroke(linewidth=mpl.rcParams["lines.linewidth"] + extra, foreground=background())]
