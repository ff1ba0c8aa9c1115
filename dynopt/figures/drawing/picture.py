"""A picture: frames with titles, legends and a caption, or a drawing in axes of the user."""

from base64 import b64encode
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from io import BytesIO
from math import ceil
from pathlib import Path
from typing import Any, TypeVar

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cbook import is_math_text
from matplotlib.figure import Figure
from matplotlib.mathtext import MathTextParser
from matplotlib.transforms import ScaledTranslation

from ...errors import InvalidType
from ...files import printable
from . import legends
from .labels import Label, write_labels
from .measure import font_size, frame_box, wrap_text
from .results import must_be_axes
from .style import context, ink, muted
from .svg import accessible
from .words import literal

Result = TypeVar("Result")
MARGIN = 8  # points from the left edge of a picture to its heading and its caption


class Picture(Figure):
    """A matplotlib figure that belongs to no window.

    It shows itself at the end of a notebook's cell, and `savefig` writes it to a file.

    - `style`: "notebook", "paper" or "slides". The picture is drawn and saved in this style,
      whatever the user's own rcParams are.
    - `alt`: one sentence that says what the picture shows, for readers who cannot see it.
    """

    def __init__(self, style: str = "notebook", alt: str = "", **options: Any):
        self.style = style
        self.alt = printable(alt)
        with context(style):
            super().__init__(layout="constrained", **options)

    def draw(self, renderer) -> None:
        with context(self.style):
            super().draw(renderer)

    def savefig(self, fname, **options: Any) -> None:
        """Write the picture, as `Figure.savefig` does. An SVG says in words what it shows."""
        is_file = hasattr(fname, "write")
        suffix = "" if is_file else Path(fname).suffix[1:]
        if (options.get("format") or suffix).lower() != "svg":
            with context(self.style):
                return super().savefig(fname, **options)
        claim = " ".join((self.get_suptitle() or self.alt).replace(r"\$", "$").split())
        options["metadata"] = {"Title": claim, **(options.get("metadata") or {})}
        buffer = BytesIO()
        with context(self.style):
            super().savefig(buffer, **{**options, "format": "svg"})
        svg = accessible(buffer.getvalue().decode(), self.alt).encode()
        fname.write(svg) if is_file else Path(fname).write_bytes(svg)

    def _repr_png_(self) -> bytes:
        buffer = BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()

    def _repr_mimebundle_(self, include=None, exclude=None):
        """The image, and the image in HTML, which shows the alt text in Jupyter and nbconvert."""
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
        """Write the sentences below everything, over the whole width."""
        width = 72 * self.get_figwidth()
        text = wrap_text(" ".join(sentences), width - 2 * MARGIN, font_size("figure.labelsize"))
        style: dict[str, Any] = {"ha": "left", "color": muted(), "linespacing": 1.4}
        self.supxlabel(text, x=MARGIN / width, **style).set_gid("caption")

    def write_heading(
        self, text: str, *groups: Sequence[Artist], scale: float = 1.0, subtitle: str = ""
    ) -> None:
        """Write a title above all frames, and beneath it one legend of these groups of handles.

        - `scale`: the size of the title, in sizes of the title of a frame.
        - `subtitle`: a sentence beneath the title, in place of a legend.
        """
        text = as_title(text)
        size, width = scale * font_size("axes.titlesize"), 72 * self.get_figwidth() - 2 * MARGIN
        lines = wrap_text(text, width, size).split("\n") if text else []
        size = size if text else font_size("legend.fontsize")
        drop = MARGIN + 1.3 * size * len(lines)
        corner = ScaledTranslation(MARGIN / 72, -drop / 72, self.dpi_scale_trans)
        if subtitle:
            small = font_size("legend.fontsize")
            words = wrap_text(subtitle, width, small)
            style: dict[str, Any] = {"va": "top", "color": muted(), "fontsize": small}
            artist = self.text(0, 1, words, transform=self.transSubfigure + corner, **style)
            artist.set_linespacing(1.3)
            height = 1.3 * small * (words.count("\n") + 1)
        else:
            artist, height = legends.draw_legend(
                self, groups, width, loc="upper left", bbox_to_anchor=(0, 1),
                bbox_transform=self.transSubfigure + corner,
            )  # fmt: skip
            self.add_artist(artist)
        artist.set_in_layout(False)  # lines of the title, left blank, keep its place free
        lines += [" "] * ceil((height + 0.5 * MARGIN) / (1.3 * size) - 0.3)
        style = {"ha": "left", "color": ink(), "linespacing": 1.3}
        x = MARGIN / 72 / self.get_figwidth()
        self.suptitle("\n".join(lines), x=x, fontsize=size, **style)


@dataclass
class Panel:
    """What the `paint` of a figure returns: everything that stands around the frame.

    - `title`: the claim of the figure, one sentence.
    - `handles`: legend entries of the optimizers, one for each.
    - `keys`: legend entries of everything else that is drawn.
    - `labels`: labels for the right margin, which take the place of `handles` if there is room.
    - `caption`: sentences.
    - `aspect`: the height of the frame over its width, where the data fix it.
    - `name`, `color`, `fact`: the head of a frame that holds one optimizer, and its colour.
    """

    title: str
    handles: Sequence[Artist] = ()
    keys: Sequence[Artist] = ()
    labels: Sequence[Label] = ()
    caption: Sequence[str] = ()
    aspect: float | None = None
    name: str = ""
    color: str = "black"
    fact: str = ""


def draw_picture(
    paint: Callable[[Axes, list[Result]], Panel],
    describe: Callable[[list[Result]], str],
    results: list[Result],
    ax: Axes | None,
    style: str,
) -> Picture | Axes:
    """Paint the results into `ax`, or into a new `Picture` with legend and caption."""
    must_be_axes(ax)
    if ax is not None:
        panel = paint(ax, results)
        write_title(ax, panel.title, frame_box(ax).width)
        if not write_labels(ax, panel.labels) and (panel.handles or panel.keys):
            legends.draw_inside(ax, [*panel.handles, *panel.keys])
        return ax
    picture = Picture(style, describe(results))
    ax = picture.add_subplot()
    panel = paint(ax, results)
    picture.write_caption(panel.caption)
    _write_around(picture, ax, panel)
    if panel.aspect is not None and style != "slides":
        _fit_height(picture, ax, panel.aspect)
    return picture


def _write_around(picture: Picture, ax: Axes, panel: Panel) -> None:
    """Title and legend above the only frame of a picture; labels in its margin if they fit."""
    width = 72 * picture.get_figwidth() * 0.88
    width -= 1.3 * font_size("axes.labelsize") * ax.get_ylabel().count("\n")

    def write_above(*groups: Sequence[Artist]) -> None:
        height = legends.draw_above(ax, groups, width)
        write_title(ax, panel.title, width, height)
        picture.lay_out()

    write_above(*([] if panel.labels else [panel.handles]), panel.keys)
    if panel.labels and not write_labels(ax, panel.labels):
        write_above(panel.handles, panel.keys)


def _fit_height(picture: Picture, ax: Axes, aspect: float) -> None:
    """Make the picture as high as its frame needs, but no higher than a sheet of paper."""
    data_aspect = ax.get_aspect()
    ax.set_aspect("auto")
    picture.lay_out()
    ax.set_aspect(data_aspect)
    box = frame_box(ax)
    missing = aspect - box.height / box.width
    width = picture.get_figwidth()
    height = picture.get_figheight() + box.width * missing / 72
    picture.set_figheight(min(max(height, 0.45 * width), 1.25 * width))


def distinct(handles: Iterable[Artist]) -> list[Artist]:
    """The handles without those that read and look like an earlier one."""
    properties = ("color", "linestyle", "marker", "markerfacecolor", "facecolor")
    distinct: dict[tuple[str, ...], Artist] = {}
    for handle in handles:
        look = (str(getattr(handle, f"get_{name}", str)()) for name in properties)
        distinct.setdefault((str(handle.get_label()), *look), handle)
    return list(distinct.values())


def write_title(ax: Axes, text: str, width: float, above: float = 4.0) -> None:
    """The title, on lines of at most `width` points, `above` points above the frame."""
    size = font_size("axes.titlesize")
    pad = above + 0.5 * size
    ax.set_title(
        wrap_text(as_title(text), width, size),
        x=0, ha="left", pad=pad, color=ink(), linespacing=1.25,
    )  # fmt: skip


def as_title(text: Any) -> str:
    """A title that matplotlib can draw: formulas that it cannot read are taken literally.

    **Raises:** `InvalidType` if it is no text.
    """
    if not isinstance(text, str):
        raise InvalidType(f"`title` must be text, got {text!r}; put it in quotes.")
    try:
        for line in text.split("\n"):
            if is_math_text(line):
                MathTextParser("path").parse(line)
    except ValueError:
        return literal(text)
    return text


def write_notice(ax: Axes, text: str) -> None:
    """Text in the middle of the frame, in place of a drawing that would be empty."""
    style: dict[str, Any] = {"ha": "center", "va": "center", "color": muted(), "gid": "notice"}
    ax.text(0.5, 0.5, text, transform=ax.transAxes, **style)
