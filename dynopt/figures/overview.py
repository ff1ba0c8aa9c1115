"""The overview: all pictures of one problem on one page."""

from collections.abc import Callable, Sequence

from matplotlib.artist import Artist
from matplotlib.axes import Axes

from ..analysis import Comparison, LocalError, Order
from . import global_error, local_error, loss, order, paths, phase
from .drawing import descent, legends, runs
from .drawing.captions import called, conditions, dotted, largest, solved
from .drawing.measure import frame, size_of
from .drawing.picture import Panel, Picture, finish, of_one_problem, several, write_title
from .drawing.style import context, ink
from .drawing.words import listed, number, plain
from .plane.projection import Plane, plane_of
from .plane.residual import Residual, sentences, within

Paints = dict[str, Callable[[Axes], Panel]]
ABOVE, BELOW = ["paths", "loss", "phase"], ["gap", "local_error", "order"]


def draw(
    comparisons: Comparison | list[Comparison],
    local_errors: LocalError | list[LocalError],
    orders: Order | list[Order],
    *,
    style: str = "notebook",
) -> Picture:
    """Paths, loss, phase plane, gap, local error and order of one problem on one page, each with its own claim.

    Paths are left out if the problem has one coordinate only, the phase plane unless some optimizer has a velocity, and
    local errors and orders if there are none.

    - `gaps`, `local_errors`, `orders`: one or several results of `analysis.gap`, `.local_error` and `.order`.
    - `style`: "notebook", "paper" or "slides".

    **Raises:** `InvalidValue` if the results are of several problems.
    """
    comparisons, local, orders = _of_one_problem(comparisons, local_errors, orders)
    plane = plane_of(comparisons) if comparisons[0].problem.dim > 1 else None
    found = paths.unseen(comparisons, plane)
    paints = _paints(comparisons, local, orders, plane, found)
    with context(style):
        picture = Picture(style, describe(comparisons, local, orders))
        wide, high = picture.get_size_inches()
        picture.set_size_inches(2 * float(wide), 2 * float(high))
        axes: dict[str, Axes] = picture.subplot_mosaic(_places(paints))  # pyright: ignore
        panels = {name: paint(axes[name]) for name, paint in paints.items() if name != "paths"}
        projected = (
            []
            if plane is None
            else sentences(comparisons[0], plane, found, hollow=not within(found))
        )
        lines = len(_rows_of_names(picture, panels, unseen=2 * ("paths" in paints)))
        _write_around(picture, comparisons, local, orders, projected, lines)
        for name, panel in panels.items():
            axes[name].set_gid(name)
            write_title(axes[name], panel.title, 72 * picture.get_figwidth() / 3.6, 4.0)
        if "paths" in paints:  # last: its window is widened to the frame that the others leave
            axes["paths"].set(gid="paths", xlabel="x", ylabel="y", title=" \n ")
            picture.lay_out()
            panels = {"paths": paints["paths"](axes["paths"])} | panels
        picture.lay_out()
        for name, panel in panels.items():
            write_title(axes[name], panel.title, frame(axes[name]).width, 4.0)
        if "order" in panels:
            finish(axes["order"], panels["order"], panels["order"].names)
        _write_names(picture, panels)
        return picture


def describe(
    comparisons: Comparison | list[Comparison],
    local_errors: LocalError | list[LocalError],
    orders: Order | list[Order],
) -> str:
    """The page in one sentence with its numbers."""
    comparisons, local, orders = _of_one_problem(comparisons, local_errors, orders)
    panels = listed([name.replace("_", " ") for name in _paints(comparisons, local, orders)])
    apart = ", ".join(
        f"{name} {number(largest(g.error))}" for g, _, name, _ in runs.entries(comparisons)
    )
    missed = ", ".join(
        f"{name} {number(largest(r.error))}" for r, _, name, _ in runs.entries(local)
    )
    said = [f"largest gaps {apart}"]
    said += [f"largest errors of one step {missed}"] if local else []
    said += [f"orders {order.measured_slopes(orders)}"] if orders else []
    return f"Map and flow on {called(comparisons[0])}, in panels of {panels}: {'; '.join(said)}."


def _of_one_problem(
    comparisons, local_errors, orders
) -> tuple[list[Comparison], list[LocalError], list[Order]]:
    comparisons = several(comparisons, Comparison, "analysis.gap")
    local = [] if local_errors == [] else several(local_errors, LocalError, "analysis.local_error")
    orders = [] if orders == [] else several(orders, Order, "analysis.order")
    of_one_problem([*comparisons[:1], *local[:1], *orders[:1]])
    return comparisons, local, orders


def _paints(
    comparisons: list[Comparison],
    local: list[LocalError],
    orders: list[Order],
    plane: Plane | None = None,
    found: Sequence[Residual] = (),
) -> Paints:
    """What there is to draw, in reading order."""
    moving = [g for g in comparisons if hasattr(g.map.y, "p")]
    paints: Paints = {
        "paths": lambda ax: paths.paint(ax, comparisons, fill=_fill(ax), plane=plane, found=found),
        "loss": lambda ax: loss.paint(ax, comparisons),
        "phase": lambda ax: phase.paint(ax, moving),
        "global_error": lambda ax: global_error.paint(ax, comparisons),
        "local_error": lambda ax: local_error.paint(ax, local),
        "order": lambda ax: order.paint(ax, orders, brief=True),
    }
    there = {
        "paths": comparisons[0].problem.dim > 1,
        "phase": bool(moving),
        "local_error": bool(local),
        "order": bool(orders),
    }
    return {name: paint for name, paint in paints.items() if there.get(name, True)}


def _fill(ax: Axes) -> float:
    """The height of the frame over its width."""
    return frame(ax).height / frame(ax).width


def _places(paints: Paints) -> list[list[str]]:
    """Runs above, errors below; a panel that is left out gives its place to its neighbours."""
    rows = [[name for name in names if name in paints] for names in (ABOVE, BELOW)]
    if rows == [["paths", "loss"], BELOW]:
        return [["paths", "loss", "gap"], ["paths", "local_error", "order"]]
    return [[name for name in row for _ in range(6 // len(row))] for row in rows]


def _write_around(
    picture: Picture,
    comparisons: list[Comparison],
    local: list[LocalError],
    orders: list[Order],
    projected: list[str],
    lines: int,
) -> None:
    """The page's title, with so many lines left free for the names, and its caption."""
    restarted = [solved(local).replace("The flow", "Each restarted flow")] if local else []
    counts = runs.counts(comparisons)
    dots = [
        *dotted(comparisons, counts, runs.MOST, " on paths and orbits"),
        *dotted(comparisons, counts, descent.MOST, " elsewhere"),
    ]
    refined = order.refined(orders) if orders else []
    picture.write_caption([*conditions(comparisons), *restarted, *projected, *dots, *refined])
    size, left = 1.25 * size_of("axes.titlesize"), 8 / 72 / picture.get_figwidth()
    text = f"Map and flow on {plain(called(comparisons[0]))}" + lines * "\n"
    picture.suptitle(text, x=left, ha="left", fontsize=size, color=ink(), linespacing=1.3)


def _write_names(picture: Picture, panels: dict[str, Panel]) -> None:
    """The names and keys that all panels share, under the page's title."""
    size, small = 1.25 * size_of("axes.titlesize"), size_of("legend.fontsize")
    for i, handles in enumerate(_rows_of_names(picture, panels)):
        place = (
            8 / 72 / picture.get_figwidth(),
            1 - (1.75 + 1.3 * i) * size / 72 / picture.get_figheight(),
        )
        row = legends.row(
            picture,
            handles,
            place,
            loc="upper left",
            bbox_transform=picture.transSubfigure,
            fontsize=small,
        )
        row.set_in_layout(False)
        picture.add_artist(row)


def _rows_of_names(
    picture: Picture, panels: dict[str, Panel], unseen: int = 0
) -> list[list[Artist]]:
    """Names and keys in as many rows as the page is wide; room is left for so many keys that are not there yet."""
    keys = {str(key.get_label()): key for panel in panels.values() for key in panel.keys}
    size = size_of("legend.fontsize")
    room = 72 * picture.get_figwidth() - (2 + 11 * unseen) * size
    return legends.rows(panels["loss"].names, list(keys.values()), room, size)
