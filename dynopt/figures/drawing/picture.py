"""A picture: one frame with its title, names and caption, or a drawing in somebody else's axes."""

from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from io import BytesIO
from typing import Any, TypeVar

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...errors import InvalidType, InvalidValue
from . import labels as beside, legends
from .labels import Name
from .measure import frame, size_of, wrapped
from .style import context, ink, quiet
from .words import listed

Result = TypeVar("Result")


class Picture(Figure):
    """A matplotlib figure that belongs to no window: it shows itself at the end of a notebook's cell, and saves itself.

    - `alt`: one sentence that says what is to be seen. - `style`: "notebook", "paper" or "slides", in which it is drawn
      and saved, whatever the user's own rcParams say.
    """

    def __init__(self, style: str = "notebook", alt: str = "", **figure: Any):
        self.style = style
        self.alt = alt
        with context(style):
            super().__init__(layout="constrained", **figure)

    def draw(self, renderer) -> None:
        with context(self.style):
            super().draw(renderer)

    def savefig(self, fname, **options: Any) -> None:
        with context(self.style):
            super().savefig(fname, **options)

    def _repr_png_(self) -> bytes:
        buffer = BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()

    def _repr_mimebundle_(self, include=None, exclude=None):
        """The image, and as HTML too, which alone shows the alt text in Jupyter and on pages made by nbconvert."""
        png = self._repr_png_()
        source = f"data:image/png;base64,{b64encode(png).decode()}"
        html = f'<img src="{source}" alt="{escape(self.alt)}" style="max-width: 100%">'
        return {"text/html": html, "image/png": png, "text/plain": self.alt}, {
            "image/png": {"alt": self.alt}
        }

    def lay_out(self) -> None:
        """Give every frame its place, without drawing."""
        engine = self.get_layout_engine()
        if engine is not None:
            engine.execute(self)

    def write_caption(self, sentences: Sequence[str]) -> None:
        """Below everything, over the whole width."""
        room = 72 * self.get_figwidth() - 16
        text = wrapped(" ".join(sentences), room, size_of("figure.labelsize"))
        left = 8 / 72 / self.get_figwidth()
        caption = self.supxlabel(text, x=left, ha="left", color=quiet(), linespacing=1.4)
        caption.set_gid("caption")


@dataclass
class Panel:
    """What a drawing says beside its lines.

    - `title`: its claim. - `names`: a handle per optimizer. - `keys`: handles of what else is drawn. - `below`: of what
      lies below the frame. - `ends`: names that may stand beside their lines instead. - `caption`: sentences.
    - `shape`: the frame's height over its width, where the data fix it.
    """

    title: str
    names: Sequence[Artist]
    keys: Sequence[Artist] = ()
    below: Sequence[Artist] = ()
    ends: Sequence[Name] = ()
    caption: Sequence[str] = ()
    shape: float | None = None


def drawn(
    paint: Callable[[Axes, list[Result]], Panel],
    describe: Callable[[list[Result]], str],
    results: list[Result],
    ax: Axes | None,
    style: str,
) -> Picture | Axes:
    """Paint the results: in `ax`, with a title and names, or as a new `Picture` that has a caption too."""
    must_be_axes(ax)
    with context(style):
        if ax is not None:
            finish(ax, paint(ax, results))
            return ax
        picture = Picture(style, describe(results))
        ax = picture.add_subplot()
        panel = paint(ax, results)
        picture.write_caption(panel.caption)
        _frame(picture, ax, panel)
        return picture


def must_be_axes(ax: Any) -> None:
    """**Raises:** `InvalidType` if `ax` is given and is something else."""
    if ax is not None and not isinstance(ax, Axes):
        raise InvalidType(
            f"`ax` must be a matplotlib Axes, got {ax!r}; pass for example figure.add_subplot()."
        )


def _frame(picture: Picture, ax: Axes, panel: Panel) -> None:
    """Title, names and keys around the frame; names stand beside their lines if the rest leaves room."""
    room, keys = 72 * picture.get_figwidth() * 0.88, [*panel.keys, *panel.below]
    room -= (
        1.3 * size_of("axes.labelsize") * ax.get_ylabel().count("\n")
    )  # so much farther right the frame begins
    if panel.shape is not None and picture.style == "slides":
        legends.aside(ax, [*panel.names, *keys])
        write_title(ax, panel.title, room, 4.0)
        return
    if panel.ends:
        write_title(ax, panel.title, room, legends.above(ax, [], keys, room))
        picture.lay_out()
    if not beside.write(ax, panel.ends):
        write_title(ax, panel.title, room, legends.above(ax, panel.names, keys, room))
    if panel.shape is not None:
        _fit_height(picture, ax, panel.shape)


def _fit_height(picture: Picture, ax: Axes, shape: float) -> None:
    """As high as the frame needs to be wide, but no higher than a page."""
    aspect = ax.get_aspect()
    ax.set_aspect("auto")
    picture.lay_out()
    box, wide = frame(ax), picture.get_figwidth()
    high = picture.get_figheight() + (box.width * shape - box.height) / 72
    picture.set_figheight(min(max(high, 0.45 * wide), 1.25 * wide))
    ax.set_aspect(aspect)


def finish(ax: Axes, panel: Panel, entries: Sequence[Artist] | None = None) -> None:
    """Title and names within the frame's own width; `entries` are those of a legend, by default all names and keys."""
    write_title(ax, panel.title, frame(ax).width, 4.0)
    entries = [*panel.names, *panel.keys] if entries is None else entries
    if not beside.write(ax, panel.ends) and entries:
        legends.within(ax, entries)


def write_title(ax: Axes, text: str, room: float, above: float) -> None:
    """The claim, from the left end of the frame over at most `room` points, `above` points above it."""
    size = size_of("axes.titlesize")
    text = wrapped(text, room, size)
    ax.set_title(text, x=0, ha="left", pad=above + 0.5 * size, color=ink(), linespacing=1.25)


def several(
    results: Any, kind: type[Result], made_by: str, measured: str = "error"
) -> list[Result]:
    """The results as a list, all of the right kind and of one problem.

    **Raises:** `InvalidType` for anything else; `InvalidValue` for none, for a batch and for several problems.
    """
    many = list(results) if isinstance(results, list | tuple) else [results]
    if not many:
        raise InvalidValue(f"`results` is empty; pass one or more results of {made_by}.")
    for result in many:
        if not isinstance(result, kind):
            got = type(result).__name__
            raise InvalidType(
                f"`results` must come from {made_by}, got {got}; pass one or a list of them."
            )
        if getattr(result, measured).ndim != 1:
            raise InvalidValue(
                "`results` holds a batch; pass one of its members, jax.tree.map(lambda a: a[0], batch)."
            )
    of_one_problem(many)
    return many


def single(result: Any, kind: type[Result], made_by: str) -> Result:
    """The one result, alone or in a list, of the right kind.

    **Raises:** `InvalidType` for anything else; `InvalidValue` for several.
    """
    many = result if isinstance(result, list | tuple) else [result]
    if len(many) != 1:
        raise InvalidValue(
            f"`results` holds {len(many)} results; pass one of {made_by}, and draw a picture for each."
        )
    if not isinstance(many[0], kind):
        raise InvalidType(
            f"`results` must come from {made_by}, got {type(many[0]).__name__}; pass one of them."
        )
    return many[0]


def of_one_problem(results: Sequence[Any]) -> None:
    problems = sorted(
        {f"{result.problem.name} in {result.problem.dim} coordinates" for result in results}
    )
    if len(problems) > 1:
        raise InvalidValue(
            f"the results are of several problems, {listed(problems)}; draw one picture for each."
        )


def say(ax: Axes, words: str) -> None:
    """Words in place of a drawing that would be empty."""
    ax.text(
        0.5,
        0.5,
        words,
        transform=ax.transAxes,
        ha="center",
        va="center",
        color=quiet(),
        gid="words",
    )
