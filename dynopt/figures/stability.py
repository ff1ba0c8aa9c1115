"""The stability map: which settings converge, by theory and as measured."""

from functools import partial
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection

from ..analysis import Sensitivity, Stability
from . import stability_field
from .drawing import runs
from .drawing.axes import linear_limits, set_linear_ticks
from .drawing.beside import along, write_beside
from .drawing.frames import draw_frames
from .drawing.measure import font_size, frame_box, on_paper, text_width
from .drawing.picture import Panel, Picture
from .drawing.results import one_result
from .drawing.runs import Entry
from .drawing.style import background, contour_colors, in_style, ink, mix_colors, muted
from .drawing.words import format_number, literal

LEVELS = (0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)  # spectral radii that have a contour


@in_style
def draw(
    results: Stability | list[Stability],
    sensitivity: Sensitivity | list[Sensitivity] | None = None,
    *,
    title: str | None = None,
    ax: Axes | None = None,
    style: str = "notebook",
) -> Picture | Axes:
    """Theory over learning rate × curvature, or theory's line over the losses that runs reach.

    Without `sensitivity`, the picture shows the spectral radius over learning rate × curvature and
    one other hyperparameter. The darker the area, the slower the map. Contours are labelled with
    the radius, the factor by which each step multiplies the distance from the minimizer. Beyond the
    boundary, where the radius is above 1, the area is hatched. A line shows where the radius is
    smallest.

    With `sensitivity`, colours are the losses that runs reach over learning rate and the other
    hyperparameter, the lighter the lower. Two regions are outlined and counted: settings that
    diverge, which are hatched, and settings that reach the minimum. The thick line is the boundary
    of theory at the flattest minimizer, and a dot is the setting of the optimizer itself.

    - `results`: one result of `analysis.stability`.
    - `sensitivity`: one result of `analysis.sensitivity` of the same optimizer and option.
    - `title`: a title in place of the claim.
    - `ax`: axes to draw in, instead of a new `Picture`.
    - `style`: "notebook", "paper" or "slides".

    **Raises:** `InvalidValue` for several results, or for results of two optimizers or options.
    """
    theory, field = _checked(results, sensitivity)
    (entry,) = runs.entries([theory if field is None else field])
    if field is None:
        paint, claim, caption = partial(_paint_theory, entry), _claim(theory), _caption(theory)
    else:
        paint = partial(stability_field.paint_field, theory, field, entry)
        claim = stability_field.claim_of(field)
        caption = stability_field.caption_of(theory, field)
    alt = describe(theory, field)
    return draw_frames([paint], title or literal(claim), alt, caption, ax, style)


def describe(
    results: Stability | list[Stability],
    sensitivity: Sensitivity | list[Sensitivity] | None = None,
) -> str:
    """The picture in one sentence with its numbers."""
    result, field = _checked(results, sensitivity)
    if field is not None:
        return stability_field.sentence_of(result, field)
    rates = result.learning_rate * abs(result.curvature)
    first, last, low, high = map(
        format_number, (rates[0], rates[-1], result.value[0], result.value[-1])
    )
    return (
        f"The picture shows the spectral radius over learning rate × curvature from {first} to "
        f"{last} and {result.option} from {low} to {high}: {_claim(result)}; {_fastest(result)}."
    )


def _checked(results: Any, sensitivity: Any) -> tuple[Stability, Sensitivity | None]:
    theory = one_result(results, Stability, "analysis.stability")
    if sensitivity is None:
        return theory, None
    field = one_result(sensitivity, Sensitivity, "analysis.sensitivity")
    stability_field.must_fit(theory, field)
    return theory, field


def _paint_theory(entry: Entry, ax: Axes, ratio: float) -> Panel:
    """Draw the spectral radius, the boundary and the fastest value into `ax`."""
    result: Stability = entry.result
    rates = result.learning_rate * abs(result.curvature)
    left, right = _limits(rates)
    low, high = _limits(result.value)
    ax.set(xlim=(left, right), ylim=(low, high))
    ax.grid(False)
    _draw_radius(ax, rates, result)
    _hatch_unstable(ax, result)
    boundary = result.boundary * abs(result.curvature)
    lines = {"boundary": (boundary, result.value), "optimal": (rates, result.optimal)}
    style: dict[str, Any] = {"linewidth": 1.3 * mpl.rcParams["lines.linewidth"], "zorder": 4}
    for gid, color in (("boundary", ink()), ("optimal", entry.color)):
        ax.plot(*lines[gid], gid=gid, color=color, **style)
    inner = [np.stack(line, 1) for line in lines.values()]
    inner = [row[np.isfinite(row).all(1) & (row[:, 0] <= right)] for row in inner]
    around = font_size("axes.labelsize") * np.mgrid[-1.3:1.3:27j, -0.6:0.6:13j].reshape(2, -1).T
    labels = [on_paper(ax, np.array([text.get_position()])) + around for text in ax.texts]
    drawn = np.concatenate([along(ax, *(row for row in inner if len(row))), *labels])
    words = ("radius 1", ink()), (literal(f"fastest {result.option}"), entry.color)
    for (text, color), row in zip(words, inner, strict=True):
        if len(row):
            at = on_paper(ax, row[len(row) // 2][None])[0]
            drawn = write_beside(ax, text, at, drawn, color, text, fontweight="bold")
    for i in (0, -1) if len(result.value) > 1 else (0,):
        if np.isfinite(boundary[i]) and left <= boundary[i] <= right:
            at = on_paper(ax, np.array([[boundary[i], result.value[i]]]))[0]
            text = format_number(boundary[i])
            drawn = write_beside(ax, text, at, drawn, ink(), f"number {i}", fontweight="bold")
    corner = on_paper(ax, np.array([[right, (low + high) / 4]]))[0]
    if (boundary < right).any():
        write_beside(ax, "unstable", corner, drawn, ink(), "unstable text")
    set_linear_ticks(ax.xaxis)
    set_linear_ticks(ax.yaxis)
    rate = _rate(result).replace("\xa0", " ")
    ax.set(xlabel=f"learning rate × curvature  {rate}", ylabel=literal(result.option))
    return Panel("", name=entry.name, color=entry.color)


def _limits(values: np.ndarray) -> tuple[float, float]:
    """From the first value to the last, or around a single value."""
    return (float(values[0]), float(values[-1])) if len(values) > 1 else linear_limits([values])


def _draw_radius(ax: Axes, rates: np.ndarray, result: Stability) -> None:
    """The radius where it is below 1, with a labelled contour at each level."""
    low, high = np.nanmin(result.radius), np.nanmax(result.radius)
    levels = [level for level in LEVELS if low < level < high]
    if min(result.radius.shape) < 2 or not levels:
        return
    grid = rates, result.value, result.radius
    fill: dict[str, Any] = {"cmap": contour_colors(), "vmin": levels[0] - 0.15, "vmax": 1.02}
    ax.contourf(*grid, levels=[0, *levels, 1], **fill, zorder=1).set_gid("field")
    line: dict[str, Any] = {"colors": [mix_colors(ink(), background(), 0.45)], "linewidths": 0.6}
    lines = ax.contour(*grid, levels=levels, **line, zorder=2)
    lines.set_gid("contours")
    size = 0.85 * font_size("legend.fontsize")
    width = 2 * text_width("0.95", size) / frame_box(ax).width * (rates[-1] - rates[0])
    places = [place for level in levels if (place := _plateau(rates, result, level, width))]
    if places:
        style: dict[str, Any] = {"fontsize": size, "colors": [muted()], "inline_spacing": 3}
        ax.clabel(lines, fmt=format_number, manual=places, **style)


def _plateau(
    rates: np.ndarray, result: Stability, level: float, width: float
) -> tuple[float, float] | None:
    """The middle of the row along which the radius stays nearest to the level.

    None if the row has no room for a label of this width.
    """
    near = np.abs(result.radius - level) < 0.01
    row = int(np.argmax(near.sum(1)))
    along = rates[near[row]]
    wide = along.size and np.ptp(along) > width
    return (float(along.mean()), float(result.value[row])) if wide else None


def _hatch_unstable(ax: Axes, result: Stability) -> PolyCollection:
    """The area to the right of the boundary."""
    right = 2 * ax.get_xlim()[1]
    edge = np.clip(np.nan_to_num(result.boundary * abs(result.curvature), nan=0.0), 0, right)
    pen = mix_colors(ink(), background(), 0.8)
    style: dict[str, Any] = {
        "facecolor": background(), "edgecolor": pen, "hatch": "//", "linewidth": 0, "zorder": 2,
    }  # fmt: skip
    return ax.fill_betweenx(result.value, edge, right, gid="unstable", **style)


def _claim(result: Stability) -> str:
    """The largest stable learning rate at both ends of the other hyperparameter."""
    critical = result.boundary * abs(result.curvature)
    (entry,) = runs.entries([result])
    name, option = entry.name, result.option
    low, high = (format_number(result.value[i], 2) for i in (0, -1))
    first, last = (format_number(critical[i]) for i in (0, -1))
    return (
        f"{name} is stable up to {_rate(result)}\xa0=\xa0{first} with {option} {low}, up to {last} "
        f"with {option} {high}"
    )


def _rate(result: Stability) -> str:
    return "η\xa0|λ|" if isinstance(result.curvature, complex) else "η\xa0λ"


def _fastest(result: Stability) -> str:
    """Where on the grid the radius is smallest."""
    i, j = np.unravel_index(np.nanargmin(result.radius), result.radius.shape)
    least = format_number(result.radius[i, j], 2)
    rate = format_number(result.learning_rate[j] * abs(result.curvature))
    value = format_number(result.value[i])
    return (
        f"the radius is smallest, {least}, at {_rate(result)}\xa0=\xa0{rate} and {result.option} "
        f"{value}"
    )


def _caption(result: Stability) -> list[str]:
    if isinstance(result.curvature, complex):
        parts = (format_number(part) for part in (result.curvature.real, result.curvature.imag))
        field = "g = λ x with λ = {} + {}i in the complex plane".format(*parts)
    else:
        field = f"f = λ x²/2 with λ = {format_number(result.curvature)}"
    return [
        f"Linearised at rest on {field}; averages of g² are frozen; "
        f"k steps multiply a perturbation by about rᵏ; {_fastest(result)}."
    ]
