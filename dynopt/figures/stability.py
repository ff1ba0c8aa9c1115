"""The stability map: for which learning rates a map is stable, and where it is fastest."""

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection

from ..analysis import Stability
from .drawing.axes import linear_limits, set_linear_ticks
from .drawing.measure import font_size, frame_box, text_width
from .drawing.picture import Panel, Picture, draw_picture
from .drawing.results import one_result
from .drawing.style import background, contour_colors, ink, looks, mix_colors, muted
from .drawing.words import capitalize, format_number, literal

LEVELS = (0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)  # spectral radii that have a contour


def draw(
    results: Stability | list[Stability], *, ax: Axes | None = None, style: str = "notebook"
) -> Picture | Axes:
    """The spectral radius over learning rate × curvature and one other hyperparameter.

    The darker the area, the slower the map. Contours are labelled with the radius, the factor by
    which each step multiplies the distance from the minimizer. Beyond the boundary, where the
    radius is above 1, the area is hatched. A line shows where the radius is smallest.

    - `results`: one result of `analysis.stability`.
    - `ax`: axes to draw in, instead of a new `Picture`.
    - `style`: "notebook", "paper" or "slides".

    **Raises:** `InvalidValue` for several results.
    """
    result = one_result(results, Stability, "analysis.stability")
    return draw_picture(paint, describe, [result], ax, style)


def describe(results: Stability | list[Stability]) -> str:
    """The picture in one sentence with its numbers."""
    result = one_result(results, Stability, "analysis.stability")
    rates = result.learning_rate * result.curvature
    first, last, low, high = map(
        format_number, (rates[0], rates[-1], result.value[0], result.value[-1])
    )
    return (
        f"The picture shows the spectral radius over learning rate × curvature from {first} to "
        f"{last} and {result.option} from {low} to {high}: {_claim(result)}; {_fastest(result)}."
    )


def paint(ax: Axes, results: list[Stability]) -> Panel:
    """Draw into `ax`; return title, legend entries and caption."""
    (result,) = results
    (look,) = looks([result.optimizer])
    rates = result.learning_rate * result.curvature
    ax.set_xlim(_limits(rates))
    ax.set_ylim(_limits(result.value))
    ax.grid(False)
    _draw_radius(ax, rates, result)
    hatched = _hatch_unstable(ax, result)
    style: dict[str, Any] = {"linewidth": 1.3 * mpl.rcParams["lines.linewidth"], "zorder": 4}
    boundary = result.boundary * result.curvature
    (edge,) = ax.plot(boundary, result.value, color=ink(), gid="boundary", **style)
    style |= {"color": look.color, "linestyle": look.line}
    (fastest,) = ax.plot(rates, result.optimal, gid="optimal", **style)
    edge.set_label("critical: radius 1")
    fastest.set_label(literal(f"fastest {result.option}"))
    set_linear_ticks(ax.xaxis)
    ax.set_xlabel("learning rate × curvature  η λ")
    ax.set_ylabel(literal(result.option))
    title = literal(capitalize(_claim(result)))
    return Panel(title, handles=[edge, fastest], keys=[hatched], caption=_caption(result))


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
    edge = np.clip(np.nan_to_num(result.boundary * result.curvature, nan=0.0), 0, right)
    pen = mix_colors(ink(), background(), 0.8)
    style: dict[str, Any] = {
        "facecolor": background(), "edgecolor": pen, "hatch": "//", "linewidth": 0, "zorder": 2,
    }  # fmt: skip
    label = "unstable: radius above 1"
    return ax.fill_betweenx(result.value, edge, right, label=label, gid="unstable", **style)


def _claim(result: Stability) -> str:
    """The largest stable learning rate at both ends of the other hyperparameter."""
    critical = result.boundary * result.curvature
    name, option = type(result.optimizer).__name__, result.option
    low, high = (format_number(result.value[i], 2) for i in (0, -1))
    first, last = (format_number(critical[i]) for i in (0, -1))
    return (
        f"{name} is stable up to η\xa0λ\xa0=\xa0{first} with {option} {low}, up to {last} with "
        f"{option} {high}"
    )


def _fastest(result: Stability) -> str:
    """Where on the grid the radius is smallest."""
    i, j = np.unravel_index(np.nanargmin(result.radius), result.radius.shape)
    least = format_number(result.radius[i, j], 2)
    rate = format_number(result.learning_rate[j] * result.curvature)
    value = format_number(result.value[i])
    return f"the radius is smallest, {least}, at η\xa0λ\xa0=\xa0{rate} and {result.option} {value}"


def _caption(result: Stability) -> list[str]:
    curvature = format_number(result.curvature)
    grid = f"{len(result.learning_rate)} × {len(result.value)} points, in float64"
    return [
        f"The map is linearised at rest on f = λ x²/2 with λ = {curvature}, and r is its spectral",
        "radius: k steps multiply a perturbation by about rᵏ. Averages of g² are frozen.",
        literal(
            f"The optimizer is {result.optimizer!r} with other values of learning_rate and "
            f"{result.option}, on {grid}."
        ),
        f"{capitalize(_fastest(result))}.",
    ]
