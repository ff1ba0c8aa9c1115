"""Basins: from where a run ends in which minimizer, by the gradient flow and by the map of each optimizer."""

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
from .drawing import hatched, legends, runs
from .drawing.axes import mark_plainly
from .drawing.captions import called
from .drawing.measure import frame, size_of, wrapped
from .drawing.picture import Picture, must_be_axes, several, write_title
from .drawing.runs import Entry
from .drawing.style import context, ground, ink, mixed, quiet
from .drawing.words import counted, listed, number, percent, plain, setting

DARKER = 0.62  # share of ink where map and flow end in different minimizers


def draw(
    results: Basins | list[Basins], *, ax: Axes | None = None, style: str = "notebook"
) -> Picture | Axes:
    """One panel of the gradient flow, and one of each map: the colour says which minimizer (star) a start ends in.

    Dark are the starts from which the map ends elsewhere than the gradient flow, hatched those from which it diverges.

    - `results`: one or several `analysis.basins` of one problem on one grid. - `ax`: axes to draw the map's panel of a
      single result in, instead of a new `Picture`. - `style`: "notebook", "paper" or "slides".

    **Raises:** `InvalidValue` if the results are of several problems or grids, or several are to share one `ax`.
    """
    seen = _of_one_grid(results)
    must_be_axes(ax)
    if ax is not None and len(seen) > 1:
        raise InvalidValue(
            f"`ax` has room for one map, and there are {len(seen)} results; draw each in axes of its own."
        )
    with context(style):
        if ax is not None:
            (each,) = runs.entries(seen)
            _paint(ax, seen[0], seen[0].map, f"map {each.key}", ~seen[0].differs)
            write_title(ax, _named(each), frame(ax).width, 4.0)
            return ax
        return _page(seen, style)


def describe(results: Basins | list[Basins]) -> str:
    """The picture in one sentence with its numbers."""
    seen = _of_one_grid(results)
    said = [
        f"{name} from {percent(one.disagreement)}{_failing(one)}"
        for one, _, name, _ in runs.entries(seen)
    ]
    stars, starts = (
        len(np.asarray(seen[0].problem.minimizers)),
        f"{len(seen[0].x)} × {len(seen[0].y)} starts",
    )
    where = f"Basins of the {stars} known minimizers of {called(seen[0])} for {starts}, by the gradient flow and maps"
    return f"{where}; starts from which the map ends elsewhere are dark: {listed(said)}."


def _page(seen: list[Basins], style: str) -> Picture:
    picture, entries, panels = Picture(style, describe(seen)), runs.entries(seen), len(seen) + 1
    across = (
        panels if panels < 4 or (style == "slides" and panels == 4) else 2 if panels == 4 else 3
    )
    axes = np.ravel(
        picture.subplots(-(-panels // across), across, sharex=True, sharey=True, squeeze=False)
    )
    _paint(axes[0], seen[0], seen[0].flow, "flow", np.ones_like(seen[0].differs))
    for ax, each in zip(axes[1:], entries, strict=False):
        _paint(ax, each.result, each.result.map, f"map {each.key}", ~each.result.differs)
    for ax in axes[panels:]:
        ax.set_axis_off()
    for ax in axes[:panels][-across:]:
        ax.tick_params(labelbottom=True)
    picture.write_caption(_caption(seen))
    wide, size, small = (
        picture.get_figwidth(),
        size_of("axes.titlesize"),
        size_of("legend.fontsize"),
    )
    text = wrapped(_title(entries), 72 * wide - 2 * size, size)
    rows = legends.rows([], _keys(seen), 72 * wide - 2 * size, small)
    picture.suptitle(
        text + "\n" * (len(rows) + 1), x=8 / 72 / wide, ha="left", fontsize=size, color=ink()
    )
    for ax, name in zip(axes, ["gradient flow", *map(_named, entries)], strict=False):
        write_title(ax, name, 72 * 0.8 * wide / across, 4.0)
    _fit(picture, axes, np.ptp(seen[0].y) / np.ptp(seen[0].x))
    for i, row in enumerate(rows):
        height = (text.count("\n") + 1.9) * 1.2 * size + 1.6 * i * small
        place = 8 / 72 / wide, 1 - height / 72 / picture.get_figheight()
        keys = legends.row(
            picture,
            row,
            place,
            loc="upper left",
            bbox_transform=picture.transSubfigure,
            fontsize=small,
        )
        keys.set_in_layout(False)
        picture.add_artist(keys)
    return picture


def _fit(picture: Picture, axes: np.ndarray, shape: float) -> None:
    """As high as the frames need to be wide."""
    for ax in axes:
        ax.set_aspect("auto")
    picture.lay_out()
    box, rows = frame(axes[0]), axes[0].get_gridspec().nrows
    picture.set_figheight(picture.get_figheight() + rows * (box.width * shape - box.height) / 72)
    for ax in axes:
        ax.set_aspect("equal")
    picture.lay_out()


def _paint(ax: Axes, seen: Basins, labels: np.ndarray, gid: str, bright: np.ndarray) -> None:
    """One panel: the colour of each start's minimizer, darker where it is not `bright`."""
    stars = np.asarray(seen.problem.minimizers, float)
    colors = np.array([to_rgb(color) for color in (*tones(len(stars)), nowhere())])
    dark = np.array([to_rgb(mixed(to_hex(color), ink(), DARKER)) for color in colors])
    failed = seen.failed & (gid != "flow")
    image = np.where(bright[..., None], colors[labels], dark[labels])
    image[failed] = to_rgb(ground())
    half = [(axis[1] - axis[0]) / 2 for axis in (seen.x, seen.y)]
    extent = (seen.x[0] - half[0], seen.x[-1] + half[0], seen.y[0] - half[1], seen.y[-1] + half[1])
    ax.imshow(image, origin="lower", extent=extent, interpolation="nearest", zorder=1, gid=gid)
    hatched.cover(ax, seen.x, seen.y, failed, f"failed {gid}")
    (marks,) = ax.plot(*stars.T, linestyle="none", zorder=3, gid="minimizers", **_star())
    marks.set_clip_on(True)
    ax.set(xlim=extent[:2], ylim=extent[2:])
    ax.grid(False)
    for axis in (ax.xaxis, ax.yaxis):
        mark_plainly(axis)


def tones(number: int) -> list[str]:
    """A colour for each minimizer: told apart by all eyes and in grey, since each is darker than the one before."""
    return [
        mixed(to_hex(color), ground(), 0.25)
        for color in colormaps["viridis"](np.linspace(0.97, 0.35, number))
    ]


def nowhere() -> str:
    return mixed(quiet(), ground(), 0.85)


def _star() -> dict[str, Any]:
    size = 1.9 * mpl.rcParams["lines.markersize"]
    face = {"markerfacecolor": ground(), "markeredgecolor": ink(), "markeredgewidth": 0.7}
    return {"marker": "*", "markersize": size, **face}


def _keys(seen: list[Basins]) -> list[Line2D | Patch]:
    some = tones(3)[1]
    keys: list[Line2D | Patch] = [legends.key("minimizer", linestyle="none", **_star())]
    keys += [Patch(facecolor=mixed(some, ink(), DARKER), label="ends elsewhere than the flow")]
    if any(one.failed.any() for one in seen):
        keys += [hatched.key("diverges")]
    if any(((one.map < 0) & ~one.failed).any() or (one.flow < 0).any() for one in seen):
        keys += [Patch(facecolor=nowhere(), label="ends near none")]
    return keys


def _title(entries: Sequence[Entry]) -> str:
    """Which map strays from the gradient flow's basins most, and which least."""
    shares = {each.name: each.result.disagreement for each in entries}
    far, near = (
        max(shares, key=lambda name: shares[name]),
        min(shares, key=lambda name: shares[name]),
    )
    said = f"{far} ends elsewhere than the gradient flow from {percent(shares[far])} of all starts"
    said += f", {near} from {percent(shares[near])}" if near != far else ""
    return plain(said)


def _named(each: Entry) -> str:
    return plain(f"{each.name}: {percent(each.result.disagreement)}")


def _failing(seen: Basins) -> str:
    return f" ({percent(seen.failed.mean())} diverge)" if seen.failed.any() else ""


def _caption(seen: list[Basins]) -> list[str]:
    first = seen[0]
    (left, right), (low, high) = (
        (number(axis[0]), number(axis[-1])) for axis in (first.x, first.y)
    )
    steps = listed(
        sorted({counted(one.steps, "step") for one in seen}, key=lambda said: int(said.split()[0]))
    )
    shares = listed(
        [
            f"{name} {percent(one.disagreement)}{_failing(one)}"
            for one, _, name, _ in runs.entries(seen)
        ]
    )
    return [
        f"{plain(called(first))}, {len(first.x)} × {len(first.y)} starts on [{left}, {right}] × [{low}, {high}].",
        f"{'; '.join(setting(one.optimizer) for one in seen)}.",
        f"Maps after {steps}; the gradient flow x′ = −∇f by Tsit5 and, where stiff, Kvaerno5 (rtol {number(RTOL)}).",
        f"Ends elsewhere: {shares}.",
    ]


def _of_one_grid(results: Basins | list[Basins]) -> list[Basins]:
    seen = several(results, Basins, "analysis.basins", "x")
    if any(
        not (np.array_equal(one.x, seen[0].x) and np.array_equal(one.y, seen[0].y)) for one in seen
    ):
        raise InvalidValue(
            "the results are on several grids; pass analysis.basins of one window and number of points."
        )
    return seen
