"""The look of pictures: one colour for each optimizer, in three styles.

Nothing here changes the rcParams of matplotlib for longer than a picture is drawn.
"""

import contextlib
import functools
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import matplotlib as mpl
import matplotlib.style
from matplotlib import font_manager
from matplotlib.colors import LinearSegmentedColormap, to_hex, to_rgb
from matplotlib.typing import ColorType

from ... import optimizers
from ...derivations import Stepped
from ...errors import unknown_name
from ...files import printable
from ...optimizers import AbstractOptimizer
from ...optimizers.wrappers.base import AbstractWrapper
from ...optimizers.wrappers.noise import AbstractNoise

P = ParamSpec("P")
R = TypeVar("R")
STYLES = ("notebook", "paper", "slides")
# The colours of petroff6, which people with any kind of color vision can tell apart, but darker, so
# that dots stand out on the field of contours.
COLORS = ("#3f7be8", "#e07b00", "#d4202f", "#8a3f80", "#7d7d84", "#6a1bc4")
SHADES = (0.0, 0.4, 0.65)  # fractions of black, for optimizers that share a colour
FIRST_FREE, FREE = 100, 890  # numbers of colours that no line of the catalogue has or will have
FONTS = (
    "DejaVu Sans",
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "Hiragino Sans",
    "Microsoft YaHei",
    "Noto Sans",
)


def color_of(optimizer: AbstractOptimizer) -> str:
    """The colour of an optimizer, the same in every picture.

    An optimizer of the catalogue has the colour of its line there. Any other has a colour that
    depends on its name alone. An optimizer that is derived from another, such as
    `Modified(SGD(0.1))`, has the colour of the other, and noise leaves the colour as it is; any
    other wrapper has a name of its own, and a `Stepped` the name of its solver.
    """
    base = getattr(optimizer, "optimizer", None)
    is_named = isinstance(optimizer, AbstractWrapper | Stepped)
    if isinstance(base, AbstractOptimizer) and (
        isinstance(optimizer, AbstractNoise) or not is_named
    ):
        return color_of(base)
    number = optimizers.color_numbers.get(type(optimizer))
    if number is None:
        name = type(optimizer.solver).__name__ if isinstance(optimizer, Stepped) else optimizer.name
        number = FIRST_FREE + zlib.crc32(printable(name).encode()) % FREE
    shade = SHADES[number // len(COLORS) % len(SHADES)]
    return mix_colors(COLORS[number % len(COLORS)], "black", shade)


def colors_of(runs: Sequence[AbstractOptimizer]) -> list[str]:
    """The colours of the optimizers of one picture, lighter on a dark background.

    A second run with the same colour is nearer to the background, a third is nearer to the ink, and
    so on in turn, so that none of them fades until it is invisible.
    """
    counts: dict[str, int] = {}
    drawn = []
    for usual in map(color_of, runs):
        repeats = counts[usual] = counts.get(usual, -1) + 1
        dark = _luminance(background()) < 0.2
        color = readable_color(usual) if dark else usual
        target = background() if repeats % 2 else ink()
        drawn.append(mix_colors(color, target, 1 - 0.55 ** ((repeats + 1) // 2)))
    return drawn


def artist_keys(runs: Sequence[AbstractOptimizer]) -> list[str]:
    """The keys of runs in the `gid` of artists: "sgd", "adam", and "sgd 2" for a second one."""
    catalogue = {kind: name for name, kind in optimizers.catalogue.items()}
    return numbered([catalogue.get(type(o)) or printable(o.name.lower()) for o in runs])


def numbered(names: Sequence[str]) -> list[str]:
    """Names of which none occurs twice: the second "adam" becomes "adam 2"."""
    counts = [names[: i + 1].count(name) for i, name in enumerate(names)]
    return [
        name if count == 1 else f"{name} {count}" for name, count in zip(names, counts, strict=True)
    ]


@contextlib.contextmanager
def context(style: str) -> Iterator[None]:
    """Draw and save in one of the `STYLES`; afterwards the user's own rcParams are back.

    **Raises:** `UnknownName` for any other style.
    """
    if style not in STYLES:
        raise unknown_name("style", str(style), STYLES)
    with matplotlib.style.context([_read(style), {"font.family": _fonts()}], after_reset=True):
        yield


def in_style(draw: Callable[P, R]) -> Callable[P, R]:
    """A function that draws in the style of its keyword `style`, colours of optimizers included."""

    @functools.wraps(draw)
    def drawn(*results: P.args, **options: P.kwargs) -> R:
        with context(str(options.get("style", STYLES[0]))):
            return draw(*results, **options)

    return drawn


@cache
def _read(style: str) -> dict[str, Any]:
    file = Path(__file__).with_name(f"{style}.mplstyle")
    params = mpl.rc_params_from_file(file, use_default_template=False)
    return {str(name): value for name, value in params.items()}


@cache
def _fonts() -> list[str]:
    """The fonts that are installed, because matplotlib warns of each that is not."""
    installed = set(font_manager.get_font_names())
    return [font for font in FONTS if font in installed] or ["sans-serif"]


def background() -> str:
    """The colour of the background."""
    return to_hex(mpl.rcParams["figure.facecolor"])


def ink() -> str:
    """The colour of text, which contrasts most with the background."""
    return to_hex(mpl.rcParams["text.color"])


def muted() -> str:
    """The colour of secondary text: keys, captions and notes."""
    return mix_colors(ink(), background(), 0.3)


def mix_colors(a: ColorType, b: ColorType, fraction: float) -> str:
    """The colour `a` with this fraction of `b`."""
    pairs = zip(to_rgb(a), to_rgb(b), strict=True)
    red, green, blue = ((1 - fraction) * p + fraction * q for p, q in pairs)
    return to_hex((red, green, blue))


def readable_color(color: str, contrast: float = 4.5) -> str:
    """The colour, as near to the ink as text on this background needs (contrast after WCAG 2.1)."""
    steps = [mix_colors(color, ink(), share / 20) for share in range(21)]
    return next((c for c in steps if _contrast(c, background()) >= contrast), steps[-1])


def _contrast(a: str, b: str) -> float:
    dark, light = sorted(_luminance(c) for c in (a, b))
    return (light + 0.05) / (dark + 0.05)


def _luminance(color: str) -> float:
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color))
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contour_colors() -> LinearSegmentedColormap:
    """The colours between contours: light where the loss is low, nowhere as dark as a path."""
    tint = mix_colors(ink(), "#3d6fb4", 0.5)
    ends = [mix_colors(background(), tint, fraction) for fraction in (0.0, 0.14)]
    return LinearSegmentedColormap.from_list("field", ends)
