"""How pictures look: one colour, line and marker per optimizer, three styles, and nothing left behind in rcParams."""

import contextlib
import zlib
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import matplotlib.style
from matplotlib import font_manager
from matplotlib.colors import LinearSegmentedColormap, to_hex, to_rgb
from matplotlib.typing import ColorType

from ... import optimizers
from ...errors import unknown_name
from ...optimizers import AbstractOptimizer
from ...optimizers.wrappers.base import AbstractWrapper

STYLES = ("notebook", "paper", "slides")
COLORS = (
    "#5790fc",
    "#f89c20",
    "#e42536",
    "#964a8b",
    "#9c9ca1",
    "#7a21dd",
)  # petroff6: told apart by all eyes
SHADES = (0.0, 0.4, 0.65)  # of black, so that pages of one colour differ in it as well
LINES = (
    "-",
    (0, (7, 1.8)),
    (0, (6, 1.6, 1.2, 1.6)),
    (0, (2.6, 1.3)),
    (0, (9, 1.5, 2, 1.5, 2, 1.5)),
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h")
FONTS = (
    "DejaVu Sans",
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "Hiragino Sans",
    "Microsoft YaHei",
    "Noto Sans",
)


class Look(NamedTuple):
    color: str
    line: Any
    marker: str


def look(optimizer: AbstractOptimizer) -> Look:
    """What an optimizer looks like in every picture: by its place in `optimizers.catalogue`, or else by its name.

    One that is derived from another, such as `Modified(SGD(0.1))`, looks like that; one around another, by its name.
    """
    inside = getattr(optimizer, "optimizer", None)
    if isinstance(inside, AbstractOptimizer) and not isinstance(optimizer, AbstractWrapper):
        return look(inside)
    pages, page = list(optimizers.catalogue.values()), type(optimizer)
    n = (
        pages.index(page)
        if page in pages
        else len(pages) + zlib.crc32(optimizer.name.encode()) % 60
    )
    turn = n // len(COLORS)
    color = mixed(COLORS[n % len(COLORS)], "black", SHADES[turn % len(SHADES)])
    return Look(color, LINES[(n + turn) % len(LINES)], MARKERS[n % len(MARKERS)])


def looks(optimizers_: Sequence[AbstractOptimizer]) -> list[Look]:
    """The looks of the runs of one picture, on dark ground lighter.

    A second run of the same look is nearer to the ground, a third to the ink, and so on in turn: what only paled would
    end where it is not seen.
    """
    seen: dict[Look, int] = {}
    drawn = []
    for optimizer in optimizers_:
        own = look(optimizer)
        again = seen[own] = seen.get(own, -1) + 1
        color = readable(own.color) if _luminance(ground()) < 0.2 else own.color
        toward = ground() if again % 2 else ink()
        drawn.append(own._replace(color=mixed(color, toward, 1 - 0.55 ** ((again + 1) // 2))))
    return drawn


def keys(optimizers_: Sequence[AbstractOptimizer]) -> list[str]:
    """What the artists of each run are called, after the catalogue: "sgd", "adam", and "sgd 2" for a second one."""
    known = {optimizer: name for name, optimizer in optimizers.catalogue.items()}
    names = [known.get(type(o)) or o.name.lower() for o in optimizers_]
    counts = [names[: i + 1].count(name) for i, name in enumerate(names)]
    return [
        name if count == 1 else f"{name} {count}" for name, count in zip(names, counts, strict=True)
    ]


@contextlib.contextmanager
def context(style: str) -> Iterator[None]:
    """Draw and save in one of the `STYLES`, whatever the user's own rcParams are; they come back afterwards.

    **Raises:** `UnknownName` for any other style.
    """
    if style not in STYLES:
        raise unknown_name("style", str(style), STYLES)
    with matplotlib.style.context([_read(style), {"font.family": _fonts()}], after_reset=True):
        yield


@cache
def _read(style: str) -> dict[str, Any]:
    file = Path(__file__).with_name(f"{style}.mplstyle")
    return {
        str(name): value
        for name, value in mpl.rc_params_from_file(file, use_default_template=False).items()
    }


@cache
def _fonts() -> list[str]:
    """Those that are here, so that a missing one is neither searched for nor complained about."""
    here = set(font_manager.get_font_names())
    return [font for font in FONTS if font in here] or ["sans-serif"]


def ground() -> str:
    return to_hex(mpl.rcParams["figure.facecolor"])


def ink() -> str:
    return to_hex(mpl.rcParams["text.color"])


def quiet() -> str:
    """For what is said in passing: keys, captions, notes."""
    return mixed(ink(), ground(), 0.3)


def mixed(a: ColorType, b: ColorType, share: float) -> str:
    """`a` with this share of `b`."""
    red, green, blue = (
        (1 - share) * p + share * q for p, q in zip(to_rgb(a), to_rgb(b), strict=True)
    )
    return to_hex((red, green, blue))


def readable(color: str, contrast: float = 4.5) -> str:
    """The colour, as far towards the ink as words on this ground need (contrast after WCAG 2.1)."""
    steps = [mixed(color, ink(), share / 20) for share in range(21)]
    return next((c for c in steps if _contrast(c, ground()) >= contrast), steps[-1])


def _contrast(a: str, b: str) -> float:
    dark, light = sorted(_luminance(c) for c in (a, b))
    return (light + 0.05) / (dark + 0.05)


def _luminance(color: str) -> float:
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color))
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def field() -> LinearSegmentedColormap:
    """For contours: light where the loss is low, never so dark that a path is lost on it."""
    tint = mixed(ink(), "#3d6fb4", 0.5)
    return LinearSegmentedColormap.from_list(
        "field", [mixed(ground(), tint, share) for share in (0.0, 0.4)]
    )
