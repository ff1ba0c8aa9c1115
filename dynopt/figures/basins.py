"""Basins of attraction: in which minimizer a run ends, for each start of a grid."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, MultipleLocator

from ..analysis import Basins
from ..errors import InvalidValue
from .drawing import runs
from .drawing.axes import set_linear_ticks
from .drawing.captions import problem_name
from .drawing.hatched import hatch, hatched_key
from .drawing.measure import font_size, frame_box, wrap_text
from .drawing.picture import Picture, write_title
from .drawing.results import must_be_axes, result_list
from .drawing.runs import Entry
from .drawing.style import background, in_style, ink, mix_colors, muted, readable_color
from .drawing.words import count_noun, facts, format_number, format_percent, join_words, literal

WIDTHS = {3: 1.15, 4: 1.3, 5: 1.5}  # of the picture, in widths of the style, by columns
DIGITS = 3.5  # the room of each tick on an axis, in sizes of its label


@in_style
def draw(
    results: Basins | list[Basins],
    *,
    title: str | None = None,
    ax: Axes | None = None,
    style: str = "notebook",
) -> Picture | Axes:
    """The basins of the gradient flow and of each map, and where the two agree.

    Each minimizer has a colour, which its star and its basin share. For each map there is a panel
    of agreement: starts from which map and gradient flow end in the same minimizer are grey, and
    all others have the colour of the optimizer. Starts from which the map diverges are hatched.

    - `results`: one or several results of `analysis.basins` on one problem and one grid.
    - `title`: a title in place of the claim.
    - `ax`: axes to draw the basins of a single map in, instead of a new `Picture`.
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
    entries = runs.entries(results)
    if ax is None:
        return _draw_panels(entries, title or _title(entries), style)
    _paint_map(ax, entries[0])
    write_title(ax, title or _title(entries), frame_box(ax).width)
    return ax


def describe(results: Basins | list[Basins]) -> str:
    """The picture in one sentence with its numbers."""
    results = _of_one_grid(results)
    first = results[0]
    known = count_noun(len(np.asarray(first.problem.minimizers)), "known minimizer")
    return (
        f"The picture shows the basins of the {known} of {problem_name(first)} "
        f"for {len(first.x)} × {len(first.y)} starts, by the gradient flow and by maps, and where "
        f"the two agree. The maps end elsewhere than the flow from these fractions of the starts: "
        f"{_shares(results)}."
    )


def _draw_panels(entries: list[Entry], title: str, style: str) -> Picture:
    """The gradient flow, and a column of basins and agreement of each map; of one map a row."""
    results = [entry.result for entry in entries]
    picture, count = Picture(style, describe(results)), len(entries)
    rows, columns = (1, 3) if count == 1 else (2, count + 1)
    if style != "slides":
        wider = WIDTHS.get(columns, 0.3 * columns)
        picture.set_figwidth(wider * picture.get_figwidth())
    grid = picture.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    maps, agreements = (grid[0, 1:2], grid[0, 2:]) if count == 1 else (grid[0, 1:], grid[1, 1:])
    _paint(grid[0, 0], results[0], results[0].flow, "flow")
    if count > 1:
        grid[1, 0].set_axis_off()
        grid[0, 0].tick_params(labelbottom=True)
        grid[1, 1].tick_params(labelleft=True)
    for entry, ax, agreement in zip(entries, maps, agreements, strict=True):
        _paint_map(ax, entry)
        _paint_agreement(agreement, entry)
    picture.write_caption(_caption(results))
    picture.write_heading(title, _keys(results), scale=1.1)
    width = 72 * 0.8 * picture.get_figwidth() / columns
    _write_head(grid[0, 0], "flow", ink(), "", width)
    for entry, ax, agreement in zip(entries, maps, agreements, strict=True):
        color, share = entry.color, format_percent(entry.result.disagreement)
        _write_head(ax, entry.name, color, facts(entry.result.optimizer), width)
        _write_head(agreement, share, color, "end elsewhere", width)
    _fit_height(picture, np.ravel(grid), np.ptp(results[0].y) / np.ptp(results[0].x))
    return picture


def _write_head(ax: Axes, text: str, color: str, fact: str, width: float) -> None:
    """Bold words above a panel, and a grey line of facts between the two."""
    size = font_size("axes.labelsize")
    ax.set_title(
        wrap_text(literal(text), width / 1.2, 1.1 * size), loc="left", fontweight="bold",
        fontsize=1.1 * size, color=readable_color(color), pad=1.6 * size,
    )  # fmt: skip
    ax.annotate(
        fact, (0, 1), xycoords="axes fraction", xytext=(0, 0.4 * size), gid="fact",
        textcoords="offset points", va="bottom", fontsize=0.9 * size, color=muted(),
    )  # fmt: skip


def _fit_height(picture: Picture, axes: np.ndarray, aspect: float) -> None:
    """Make the picture as high as its frames need."""
    for ax in axes:
        ax.set_aspect("auto")
    picture.lay_out()
    box, rows = frame_box(axes[0]), axes[0].get_gridspec().nrows
    if picture.style != "slides":
        missing = rows * (box.width * aspect - box.height) / 72
        picture.set_figheight(picture.get_figheight() + missing)
    for ax in axes:
        ax.set_aspect("equal")


def _paint_map(ax: Axes, entry: Entry) -> None:
    """The basins of one map."""
    _paint(ax, entry.result, entry.result.map, f"map {entry.key}")
    hatch(ax, entry.result.x, entry.result.y, entry.result.failed, f"failed map {entry.key}")


def _paint(ax: Axes, result: Basins, labels: np.ndarray, gid: str) -> None:
    """The colour of the minimizer that is reached from each start."""
    stars = np.asarray(result.problem.minimizers, float)
    colors = np.array([to_rgb(color) for color in (*tones(len(stars)), _no_minimizer())])
    image = colors[labels]
    if gid != "flow":
        image[result.failed] = to_rgb(background())
    _paint_image(ax, result, image, gid)
    size = 2.4 * mpl.rcParams["lines.markersize"]
    for star, color in zip(stars, tones(len(stars)), strict=True):
        ax.plot(
            *star, "*", markersize=size, markerfacecolor=mix_colors(color, ink(), 0.3),
            markeredgecolor=ink(), markeredgewidth=0.8, zorder=3, gid="minimizer",
        )  # fmt: skip


def _paint_agreement(ax: Axes, entry: Entry) -> None:
    """Where the map ends in the same minimizer as the flow, and where it does not."""
    result: Basins = entry.result
    colors = np.array([to_rgb(same_color()), to_rgb(entry.color)])
    image = colors[result.differs.astype(int)]
    image[result.failed] = to_rgb(background())
    _paint_image(ax, result, image, f"agreement {entry.key}")
    hatch(ax, result.x, result.y, result.failed, f"failed agreement {entry.key}")


def _paint_image(ax: Axes, result: Basins, image: np.ndarray, gid: str) -> None:
    """One pixel for each start, on axes that have the same ticks in both directions."""
    x, y = result.x, result.y
    dx, dy = (x[1] - x[0]) / 2, (y[1] - y[0]) / 2
    extent = (x[0] - dx, x[-1] + dx, y[0] - dy, y[-1] + dy)
    ax.imshow(image, origin="lower", extent=extent, interpolation="nearest", zorder=1, gid=gid)
    ax.set(xlim=extent[:2], ylim=extent[2:])
    ax.grid(False)
    most = frame_box(ax).width / (DIGITS * font_size("xtick.labelsize"))
    ticks = MaxNLocator(max(int(most), 2)).tick_values(0, max(np.ptp(x), np.ptp(y)))
    for axis in (ax.xaxis, ax.yaxis):
        set_linear_ticks(axis)
        axis.set_major_locator(MultipleLocator(float(ticks[1] - ticks[0])))


def tones(number: int) -> list[str]:
    """A hue for each minimizer, each darker than the one before, so that they differ in grey."""
    return [
        mix_colors(to_hex(color), background(), 0.25)
        for color in colormaps["viridis"](np.linspace(0.97, 0.35, number))
    ]


def same_color() -> str:
    """The colour of starts from which map and flow end in the same minimizer."""
    return mix_colors(muted(), background(), 0.85)


def _no_minimizer() -> str:
    """The colour of starts from which the run ends near no minimizer."""
    return mix_colors(muted(), background(), 0.55)


def _keys(results: list[Basins]) -> list[Patch]:
    keys = [Patch(facecolor=same_color(), label="ends where the flow does")]
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
        f"{most} ends elsewhere than the flow from {format_percent(shares[most])} of these starts"
    )
    return literal(text + f", {least} from {format_percent(shares[least])}" * (least != most))


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
    return [
        f"On {literal(problem_name(first))}, {len(first.x)} × {len(first.y)} starts in "
        f"[{left}, {right}] × [{low}, {high}]; the maps take {steps}, the flow is x′ = −∇f."
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
