"""Text beside a mark, at the place where it covers least."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from .measure import figure_of, font_size, on_paper, text_width
from .notes import write_halo

ANGLES = np.arange(16) * np.pi / 8 + np.pi / 2
WAYS = np.stack([np.cos(ANGLES), np.sin(ANGLES)], 1)
FARTHER = (0, 8, 16, 28)  # points beyond the nearest place


def write_beside(
    ax: Axes, text: str, at: np.ndarray, drawn: np.ndarray, color: str, gid: str, **style: Any
) -> np.ndarray:
    """Write text beside the place `at`, in the frame, where it covers least of what is drawn.

    - `at`, `drawn`: places on paper in points (1/72 inch), shapes `(2,)` and `(n, 2)`.

    Returns `drawn` together with places that the text covers, for the text that is written next.
    """
    half, low, high = _extent(ax, text, style)
    places = np.concatenate([at + WAYS * (half + 4 + farther) for farther in FARTHER])
    outside = ((places - half < low) | (places + half > high)).any(-1)
    covered = (np.abs(drawn - places[:, None]) < half + 1).all(-1).sum(1)
    place = places[np.argmin(covered + 1e6 * outside)]
    return _write(ax, text, place, half, drawn, color, gid, style)


def write_inside(
    ax: Axes, text: str, at: np.ndarray, drawn: np.ndarray, color: str, gid: str, **style: Any
) -> np.ndarray:
    """Write text with its middle at the place `at`, or as near to it as the frame allows.

    It is moved up or down from what is drawn; the arguments are those of `write_beside`.
    """
    half, low, high = _extent(ax, text, style)
    shifts = np.array([0, 1, -1, 2, -2, 3, -3, 4, -4])[:, None] * np.array([0, half[1]])
    places = np.clip(at + shifts, low + half, np.maximum(high - half, low + half))
    covered = (np.abs(drawn - places[:, None]) < half + 1).all(-1).sum(1)
    return _write(ax, text, places[covered.argmin()], half, drawn, color, gid, style)


def _extent(ax: Axes, text: str, style: dict[str, Any]) -> tuple[np.ndarray, ...]:
    """Half the size of the text, and the lower left and upper right corner of the frame."""
    size = style.setdefault("fontsize", font_size("axes.labelsize"))
    wide = 0.6 if style.get("fontweight") == "bold" else 0.52
    low, high = on_paper(ax, np.array([ax.get_xlim(), ax.get_ylim()]).T)
    lines = text.split("\n")
    width = max(text_width(line, size) for line in lines)
    return np.array([wide * width + 1, 0.62 * size * len(lines)]), low, high


def _write(
    ax: Axes, text: str, place: np.ndarray, half: np.ndarray, drawn: np.ndarray, color: str,
    gid: str, style: dict[str, Any],
) -> np.ndarray:  # fmt: skip
    x, y = ax.transData.inverted().transform(place * figure_of(ax).dpi / 72)
    usual = {"ha": "center", "va": "center", "fontweight": "normal", "gid": gid}
    write_halo(ax, text, (x, y), color, **usual | style)
    corners = np.mgrid[-1:1:25j, -1:1:13j].reshape(2, -1).T  # text counts for more than a line
    return np.concatenate([drawn, place + half * corners])


def along(ax: Axes, *lines: Any) -> np.ndarray:
    """Places on paper along some lines of shape `(n, 2)`, at most 2 points apart, in the frame."""
    low, high = on_paper(ax, np.array([ax.get_xlim(), ax.get_ylim()]).T)
    places = [np.zeros((0, 2))]
    for line in lines:
        corners = on_paper(ax, np.asarray(line, float))
        lengths = np.hypot(*np.diff(corners, axis=0).T)
        places.append(corners)
        for corner, way, length in zip(corners, np.diff(corners, axis=0), lengths, strict=False):
            fractions = np.linspace(0, 1, min(int(length / 2) + 2, 2000))
            places.append(corner + fractions[:, None] * way)
    drawn = np.concatenate(places)
    return drawn[((low - 9 < drawn) & (drawn < high + 9)).all(1)]
