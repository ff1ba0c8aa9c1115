"""The eigenvalues of optimizers: of flow and modified flow in the plane, of the map in the disc."""

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Circle, Rectangle

from ..analysis import Spectrum
from ..errors import InvalidValue
from .drawing import runs
from .drawing.axes import set_linear_ticks
from .drawing.beside import along, write_beside
from .drawing.captions import problem_name
from .drawing.frames import draw_parts
from .drawing.legends import key as legend_key
from .drawing.measure import font_size, frame_box, on_paper, stroke, text_width
from .drawing.picture import Panel, Picture, write_notice, write_title
from .drawing.results import must_be_axes, result_list
from .drawing.style import background, in_style, ink, mix_colors, readable_color
from .drawing.words import format_number, join_words, literal

MARGIN = 0.3  # around the eigenvalues, in units of the larger side of their box
NARROWEST = 0.02  # side of a frame
NOTICE = "no derivative, and so no eigenvalues"
CIRCLE = np.exp(2j * np.pi * np.linspace(0, 1, 721))


@in_style
def draw(
    results: Spectrum | list[Spectrum],
    *,
    title: str | None = None,
    ax: Axes | None = None,
    style: str = "notebook",
) -> Picture | Axes:
    """The eigenvalues λ of flow and modified flow, and those of the map beside the unit circle.

    On the left a ring in ink is an eigenvalue of the flow, and a coloured diamond one of the
    modified flow. To the right of the imaginary axis perturbations grow. On the right a coloured
    dot is an eigenvalue of the map, with the number of the largest modulus, and a ring in ink is
    exp(hλ), where the flow leads in the time of one step. Outside of the unit circle perturbations
    grow. Unstable areas are hatched.

    - `results`: one or several results of `analysis.spectrum` on one problem.
    - `title`: a title in place of the claim.
    - `ax`: axes to draw the right part in, instead of a new `Picture`.
    - `style`: "notebook", "paper" or "slides".

    **Raises:** `InvalidValue` if the results are of several problems or positions.
    """
    spectra = _checked(results)
    must_be_axes(ax)
    if ax is not None:
        panel = paint(ax, spectra)
        write_title(ax, title or panel.title, frame_box(ax).width)
        return ax
    picture = Picture(style, describe(spectra))
    if style != "slides":
        width, height = (float(side) for side in picture.get_size_inches())
        picture.set_size_inches(1.4 * width, 0.95 * height)
    left, right = picture.subplots(1, 2)
    picture.write_caption(_caption(spectra))
    dot = {"marker": "o", "linestyle": "none", **_size(1.4)}
    handles = [legend_key(literal(e.name), color=e.color, **dot) for e in runs.entries(spectra)]
    picture.write_heading(title or _claim(spectra), [*handles, *_keys(spectra)])
    draw_parts(
        picture,
        [(left, lambda ax: _paint_flows(ax, spectra)), (right, lambda ax: paint(ax, spectra))],
    )
    return picture


def describe(results: Spectrum | list[Spectrum]) -> str:
    """The picture in one sentence with its numbers."""
    spectra = _checked(results)
    return (
        "The picture shows the eigenvalues of flow, modified flow and map in the complex plane, "
        f"linearised at the {spectra[0].place} of {problem_name(spectra[0])}: {_claim(spectra)}; "
        f"{_radii(spectra)}."
    )


def paint(ax: Axes, results: list[Spectrum]) -> Panel:
    """Draw the eigenvalues of the maps beside the unit circle; return title and caption."""
    spectra = _checked(results)
    entries = runs.entries(spectra)
    with np.errstate(over="ignore", invalid="ignore"):
        flows = [np.exp(float(s.optimizer.h) * s.flow) for s in spectra if s.flow is not None]
    _set_limits(ax, [np.ones(1), *flows, *(s.map for s in spectra)])
    _hatch_unstable(ax)
    ax.add_patch(Circle((0, 0), 1, facecolor=background(), zorder=1.5, gid="disc"))
    circle = _points(CIRCLE)
    ax.plot(*circle.T, color=ink(), linewidth=stroke(0.8), zorder=2, gid="unit circle")
    points = [_points(s.map) for s in spectra]
    for flow in flows:
        _draw_rings(ax, flow)
    dots = np.concatenate([on_paper(ax, p) for p in points])
    around = 5 * np.mgrid[-1:1:5j, -1:1:5j].reshape(2, -1).T  # points: dots have a size
    dots = (dots[np.isfinite(dots).all(1)][:, None] + around).reshape(-1, 2)
    drawn = np.concatenate([along(ax, circle), dots])
    room = frame_box(ax).width / 3
    for (result, color, name, key), point in zip(entries, points, strict=True):
        ax.plot(*point.T, "o", color=color, zorder=5, gid=f"map {key}", **_size(1.4))
        if _known(point):
            largest = np.abs(result.map) > result.radius * (1 - 1e-9)
            at = max(point[largest].tolist(), key=lambda place: place[1])
            fits = text_width(name, font_size("axes.labelsize")) < room
            text = f"{literal(name)}\n{_radius(result)}" if fits else _radius(result)
            strong = readable_color(color)
            drawn = write_beside(
                ax, text, on_paper(ax, np.array([at]))[0], drawn, strong, f"radius {key}",
                fontweight="bold",
            )  # fmt: skip
    if not any(map(_known, points)):
        write_notice(ax, NOTICE)
    ax.set(xlabel="Re μ", ylabel="Im μ")
    return Panel(
        _claim(spectra), caption=_caption(spectra), name="Map", color=ink(),
        fact="μ, and exp(hλ) of the flow",
    )  # fmt: skip


def _paint_flows(ax: Axes, spectra: list[Spectrum]) -> Panel:
    """Draw the eigenvalues of the flows and of the modified flows into `ax`."""
    flows = [s.flow for s in spectra if s.flow is not None]
    _set_limits(ax, [np.zeros(1), *flows, *(s.modified for s in spectra if s.modified is not None)])
    _hatch_unstable(ax)
    low, high = ax.get_ylim()
    left = ax.get_xlim()[0]
    ax.add_patch(
        Rectangle((left, low), -left, high - low, facecolor=background(), zorder=1.5, gid="half")
    )
    ax.axvline(0, color=ink(), linewidth=stroke(0.8), zorder=2, gid="imaginary axis")
    for flow in flows:
        _draw_rings(ax, flow)
    for result, color, _, key in runs.entries(spectra):
        if result.modified is not None:
            ax.plot(
                *_points(result.modified).T, "D", color=color, zorder=5, gid=f"modified {key}",
                **_size(1.1),
            )  # fmt: skip
    if not any(_known(flow) for flow in flows):
        write_notice(ax, NOTICE if flows else "no flow is known")
    ax.set(xlabel="Re λ", ylabel="Im λ")
    return Panel("", name="Flow", color=ink(), fact="λ, in units of 1/time")


def _checked(results: Any) -> list[Spectrum]:
    spectra = result_list(results, Spectrum, "analysis.spectrum", "map")
    first = spectra[0]
    for other in spectra[1:]:
        if str(other.x) != str(first.x):
            raise InvalidValue(
                "the results are linearised at different positions; draw a picture of each, or "
                "pass the same `x` to analysis.spectrum."
            )
    return spectra


def _set_limits(ax: Axes, values: list[np.ndarray]) -> None:
    """A box around complex numbers, in the proportions of the frame."""
    numbers = np.concatenate(values)
    numbers = numbers[np.isfinite(numbers)]
    sides = [(part.min(), part.max()) for part in _points(numbers).T]
    middle = [sum(side) / 2 for side in sides]
    box = frame_box(ax)
    ratio = box.height / box.width
    spans = [high - low for low, high in sides]
    half = max(spans[0], spans[1] / ratio, NARROWEST) * (0.5 + MARGIN)
    ax.set(
        xlim=(middle[0] - half, middle[0] + half),
        ylim=(middle[1] - ratio * half, middle[1] + ratio * half),
    )
    set_linear_ticks(ax.xaxis)
    set_linear_ticks(ax.yaxis)
    ax.grid(False)


def _hatch_unstable(ax: Axes) -> None:
    """Hatch the frame; what is stable is then drawn over it."""
    (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
    pen = mix_colors(ink(), background(), 0.8)
    style: dict[str, Any] = {"facecolor": background(), "edgecolor": pen, "hatch": "//"}
    ax.add_patch(
        Rectangle((left, low), right - left, high - low, linewidth=0, zorder=1, **style)
    ).set_gid("unstable")


def _draw_rings(ax: Axes, values: np.ndarray) -> None:
    style = {"markerfacecolor": "none", "markeredgecolor": ink(), "linestyle": "none"}
    ax.plot(*_points(values).T, marker="o", zorder=4, gid="flow", **style, **_size(2.4))


def _size(factor: float) -> dict[str, Any]:
    size = factor * mpl.rcParams["lines.markersize"]
    return {"markersize": size, "markeredgewidth": 0.16 * mpl.rcParams["lines.markersize"]}


def _points(values: np.ndarray) -> np.ndarray:
    """Complex numbers as points of the plane, shape `(n, 2)`."""
    return np.stack([np.real(values), np.imag(values)], 1)


def _known(values: np.ndarray) -> bool:
    return bool(np.isfinite(values).all())


def _keys(spectra: list[Spectrum]) -> list[Any]:
    ring = {"marker": "o", "markeredgecolor": ink(), "markerfacecolor": "none", **_size(2.0)}
    keys = [
        legend_key("flow", linestyle="none", **ring),
        legend_key("modified flow", linestyle="none", marker="D", **_size(1.1)),
    ]
    return keys if any(s.modified is not None for s in spectra) else keys[:1]


def _claim(spectra: list[Spectrum]) -> str:
    """Up to which learning rate each optimizer is stable."""
    phrases = []
    for result, _, name, _ in runs.entries(spectra):
        stability = result.stability
        if phrases:  # the first says that it is a learning rate
            stability = stability.replace(" the learning rate", "")
        is_known = np.isfinite(result.radius)
        phrases.append(
            f"{name} is {stability}"
            if is_known
            else f"{name} has no derivative at the {result.place}"
        )
    return literal(f"On {problem_name(spectra[0])} {'; '.join(phrases)}")


def _radius(result: Spectrum) -> str:
    return format_number(result.radius, 4)


def _radii(spectra: list[Spectrum]) -> str:
    entries = runs.entries(spectra)
    radii = [
        f"{_radius(result)} for {name} with h\xa0=\xa0{format_number(float(result.optimizer.h))}"
        for result, _, name, _ in entries
        if np.isfinite(result.radius)
    ]
    return f"the largest |μ| is {join_words(radii)}" if radii else "there are no eigenvalues"


def _caption(spectra: list[Spectrum]) -> list[str]:
    place = f"Linearised at the {spectra[0].place} of {literal(problem_name(spectra[0]))}"
    return [f"{place}; {literal(_radii(spectra))}. Unstable areas are hatched."]
