"""Hatched areas: where runs diverge."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from .style import background, ink, mix_colors

HATCH = "////"


def hatch(ax: Axes, x: np.ndarray, y: np.ndarray, where: np.ndarray, gid: str) -> None:
    """Hatch the part of the grid where `where`, of shape `(len(y), len(x))`, is true.

    Nothing is drawn if it is true nowhere, or if the grid has one row or one column only.
    """
    if where.any() and min(where.shape) > 1:
        style: dict[str, Any] = {"colors": "none", "hatches": [HATCH], "zorder": 2}
        area = ax.contourf(x, y, where.astype(float), levels=[0.5, 1.5], **style)
        area.set(gid=gid, edgecolor=_hatch_color(), linewidth=0)


def hatched_key(label: str) -> Patch:
    """The legend entry of a hatched area."""
    color = _hatch_color()
    return Patch(facecolor=background(), edgecolor=color, hatch=HATCH, linewidth=0, label=label)


def _hatch_color() -> str:
    return mix_colors(ink(), background(), 0.6)
