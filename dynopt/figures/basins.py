"""Basins of attraction: in which minimizer a run ends, for each start of a grid."""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ..analysis import Basins
from ..analysis.basins import RTOL
from ..errors import InvalidValue
from .drawing import legends, runs
from .drawing.axes import set_linear_ticks
from .drawing.captions import problem_name
from .drawing.hatched import hatch, hatched_key
from .drawing.measure import frame_box
from .drawing.picture import Picture, write_title
from .drawing.results import must_be_axes, result_list
from .drawing.runs import Entry
from .drawing.style import background, context, ink, mix_colors, muted
from .drawing.words import (
    count_noun,
    format_number,
    format_percent,
    join_words,
    literal,
    setting,
)

DARKER = 0.62  # fraction of ink where map and flow end in different minimizers


def draw(
    results: Basins | list[Basins], *, ax: Axes | None = None, style: str = "notebook"
) -> Picture | Axes:
    """One panel of the gradient flow, and one of each map: colours are minimizers, at the stars.

    Starts from which the map ends elsewhere than the gradient flow are dark. Starts from which the
    map diverges are hatched.

    - `results`: one or several results of `analysis.basins` on one problem and one grid.
    - `ax`: axes to draw the panel of a single map in, instead of a new `Picture`.
    - `style`: "notebook", "paper" or "slides".

    **Raises:** `InvalidValue` if the results are of several problems or grids, or several are to
    share one `ax`.
    """
    results = _of_one_grid(results)
    must_be_axes(ax)
    if ax is not None and len(results) > 1:
        raise InvalidValue(
            f"`ax` has room for one map, and there are {len(results)} results; draw each in axes "
            "of its own."
        )
    with context(style):
        if ax is None:
            return _draw_panels(results, style)
        (entry,) = runs.entries(results)
        _paint_map(ax, entry)
        write_title(ax, _panel_title(entry), frame_box(ax).width)
        return ax


def describe(results: Basins | list[Basins]) -> str:
    """The picture in one sentence with its numbers."""
    results = _of_one_grid(results)
    first = results[0]
    count = len(np.asarray(first.problem.minimizers))
    return (
        f"The picture shows the basins of the {count} known minimizers of {problem_name(first)} "
        f"for {len(first.x)} × {len(first.y)} starts, by the gradient flow and by maps; starts "
        f"from which the map ends elsewhere than the flow are dark: {_shares(results)}."
    )


def _draw_panels(results: list[Basins], style: str) -> Picture:
    """One panel of the gradient flow, and one of each map."""
    picture, entries, count = Picture(style, describe(results)), runs.entries(results), len(results)
    columns = count + 1 if count < 3 or (style == "slides" and count == 3) else 2 + (count > 3)
    grid = picture.subplots(
        -(-(count + 1) // columns), columns, sharex=True, sharey=True, squeeze=False
    )
    axes, others = np.split(np.ravel(grid), [count + 1])
    flow = results[0].flow
    _paint(axes[0], results[0], flow, "flow", np.ones(flow.shape, bool))
    for ax, entry in zip(axes[1:], entries, strict=True):
        _paint_map(ax, entry)
    for ax in others:
        ax.set_axis_off()
    for ax in axes[-columns:]:
        ax.tick_params(labelbottom=True)
    picture.write_caption(_caption(results))
    picture.write_heading(_title(entries), _keys(results))
    titles = ["gradient flow", *map(_panel_title, entries)]
    for ax, title in zip(axes, titles, strict=True):
        write_title(ax, title, 72 * 0.8 * picture.get_figwidth() / columns)
    _fit_height(picture, np.ravel(grid), np.ptp(results[0].y) / np.ptp(results[0].x))
    return picture


def _fit_height(picture: Picture, axes: np.ndarray, aspect: float) -> None:
    """Make the picture as high as its frames need."""
    for ax in axes:
        ax.set_aspect("auto")
    picture.lay_out()
    box, rows = frame_box(axes[0]), axes[0].get_gridspec().nrows
    missing = rows * (box.width * aspect - box.height) / 72
    picture.set_figheight(picture.get_figheight() + missing)
    for ax in axes:
        ax.set_aspect("equal")


def _paint_map(ax: Axes, entry: Entry) -> None:
    """The panel of one map."""
    _paint(ax, entry.result, entry.result.map, f"map {entry.key}", ~entry.result.differs)


def _paint(ax: Axes, result: Basins, labels: np.ndarray, gid: str, bright: np.ndarray) -> None:
    """One panel: the colour of the minimizer of each start, darker where it is not `bright`."""
    stars = np.asarray(result.problem.minimizers, float)
    colors = np.array([to_rgb(color) for color in (*tones(len(stars)), _no_minimizer())])
    dark = np.array([to_rgb(mix_colors(to_hex(color), ink(), DARKER)) for color in colors])
    failed = result.failed & (gid != "flow")
    image = np.where(bright[..., None], colors[labels], dark[labels])
    image[failed] = to_rgb(background())
    x, y = result.x, result.y
    dx, dy = (x[1] - x[0]) / 2, (y[1] - y[0]) / 2
    extent = (x[0] - dx, x[-1] + dx, y[0] - dy, y[-1] + dy)
    ax.imshow(image, origin="lower", extent=extent, interpolation="nearest", zorder=1, gid=gid)
    hatch(ax, x, y, failed, f"failed {gid}")
    (marks,) = ax.plot(*stars.T, linestyle="none", zorder=3, gid="minimizers", **_star_style())
    marks.set_clip_on(True)
    ax.set(xlim=extent[:2], ylim=extent[2:])
    ax.grid(False)
    for axis in (ax.xaxis, ax.yaxis):
        set_linear_ticks(axis)


def tones(number: int) -> list[str]:
    """A colour for each minimizer, each darker than the one before, so that they differ in grey."""
    return [
        mix_colors(to_hex(color), background(), 0.25)
        for color in colormaps["viridis"](np.linspace(0.97, 0.35, number))
    ]


def _no_minimizer() -> str:
    """The colour of starts from which the run ends near no minimizer."""
    return mix_colors(muted(), background(), 0.85)


def _star_style() -> dict[str, Any]:
    size = 1.9 * mpl.rcParams["lines.markersize"]
    return {
        "marker": "*", "markersize": size, "markerfacecolor": background(),
        "markeredgecolor": ink(), "markeredgewidth": 0.7,
    }  # fmt: skip


def _keys(results: list[Basins]) -> list[Line2D | Patch]:
    dark = mix_colors(tones(3)[1], ink(), DARKER)
    keys: list[Line2D | Patch] = [legends.key("minimizer", linestyle="none", **_star_style())]
    keys += [Patch(facecolor=dark, label="ends elsewhere than the flow")]
    if any(result.failed.any() for result in results):
        keys += [hatched_key("diverges")]
    if any(((r.map < 0) & ~r.failed).any() or (r.flow < 0).any() for r in results):
        keys += [Patch(facecolor=_no_minimizer(), label="ends near no minimizer")]
    return keys


def _title(entries: Sequence[Entry]) -> str:
    """The map that ends elsewhere most often, and the one that does so least often."""
    shares = {entry.name: entry.result.disagreement for entry in entries}
    most, least = max(shares, key=lambda n: shares[n]), min(shares, key=lambda n: shares[n])
    text = (
        f"the map of {most} ends elsewhere than the gradient flow from "
        f"{format_percent(shares[most])} of the starts"
    )
    text += f", that of {least} from {format_percent(shares[least])}" * (least != most)
    return literal(text[:1].upper() + text[1:])


def _panel_title(entry: Entry) -> str:
    return literal(f"{entry.name}: {format_percent(entry.result.disagreement)}")


def _shares(results: list[Basins]) -> str:
    """From how many starts each map ends elsewhere, and diverges."""
    parts = []
    for result, _, name, _ in runs.entries(results):
        diverge = f" ({format_percent(result.failed.mean())} diverge)" * bool(result.failed.any())
        parts.append(f"{name} {format_percent(result.disagreement)}{diverge}")
    return join_words(parts)


def _caption(results: list[Basins]) -> list[str]:
    first = results[0]
    left, right, low, high = map(format_number, (first.x[0], first.x[-1], first.y[0], first.y[-1]))
    steps = join_words([count_noun(n, "step") for n in sorted({r.steps for r in results})])
    settings = "; ".join(setting(result.optimizer) for result in results)
    return [
        f"The {len(first.x)} × {len(first.y)} starts on {literal(problem_name(first))} lie in "
        f"[{left}, {right}] × [{low}, {high}].",
        f"The maps take {steps}: {settings}.",
        "The gradient flow x′ = −∇f is solved by Tsit5 and, where it is stiff, by Kvaerno5 (rtol "
        f"{format_number(RTOL)}).",
        f"The maps end elsewhere from these fractions of the starts: {_shares(results)}.",
    ]


def _of_one_grid(results: Basins | list[Basins]) -> list[Basins]:
    results = result_list(results, Basins, "analysis.basins", "x")
    x, y = results[0].x, results[0].y
    if any(not (np.array_equal(r.x, x) and np.array_equal(r.y, y)) for r in results):
        raise InvalidValue(
            "the results are on several grids; pass results of analysis.basins with one window and "
            "one number of points."
        )
    return results
