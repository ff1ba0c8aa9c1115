"""Hatched ground: where runs end in nothing."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from .style import ground, ink, mixed

LINES = "////"


def cover(ax: Axes, x: np.ndarray, y: np.ndarray, where: np.ndarray, gid: str) -> None:
    """Hatch the part of a grid where something is so, shape `(y, x)`, if there is any and the grid is one."""
    if where.any() and min(where.shape) > 1:
        look: dict[str, Any] = {
            "levels": [0.5, 1.5],
            "colors": "none",
            "hatches": [LINES],
            "zorder": 2,
        }
        ax.contourf(x, y, where.astype(float), **look).set(gid=gid, edgecolor=_pen(), linewidth=0)


def key(label: str) -> Patch:
    return Patch(facecolor=ground(), edgecolor=_pen(), hatch=LINES, linewidth=0, label=label)


def _pen() -> str:
    return mixed(ink(), ground(), 0.6)
