"""Steepest: in another ball of length 1, another direction goes down fastest."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from ..analysis import Steepest
from ..analysis.steepest import length
from . import legends
from .picture import Panel, Picture, drawn, single
from .style import ground, ink, mixed, quiet
from .words import number, point

OPTIMIZERS = {"euclidean": "gradient descent", "max": "sign descent", "spectral": "Muon"}
COLOR = "#e42536"
TURNS = 721  # points around the ball


def draw(results: Steepest | list[Steepest], *, ax: Axes | None = None, style: str = "notebook") -> Picture | Axes:
    """The ball of directions of length 1, -∇f, the steepest of them, and the line on which all are as steep.

    The plane is that of the two coordinates; for other shapes it is that which -∇f and the steepest direction span,
    with -∇f to the right.

    - `results`: one `analysis.steepest`. - `ax`: axes to draw in, instead of a new `Picture`. - `style`: "notebook",
      "paper" or "slides".

    **Raises:** `InvalidValue` for several results.
    """
    return drawn(paint, describe, [single(results, Steepest, "analysis.steepest")], ax, style)


def describe(results: Steepest | list[Steepest]) -> str:
    """The picture in one sentence with its numbers."""
    seen = single(results, Steepest, "analysis.steepest")
    own = f"slope {number(seen.slope)}, along −∇f {number(_along(seen))}"
    return f"Ball of length 1 in the {seen.norm} norm, with the steepest direction {point(seen.direction)}: {own}."


def paint(ax: Axes, results: list[Steepest]) -> Panel:
    """Draw in the axes, and say what stands around them."""
    (seen,) = results
    basis = _basis(seen)
    turn = np.linspace(0, 2 * np.pi, TURNS)
    around = np.stack([np.cos(turn), np.sin(turn)], 1)
    ball = around / np.array([length(np.tensordot(u, basis, 1), seen.norm) for u in around])[:, None]
    tip, down = (np.array([np.vdot(b, v) for b in basis]) for v in (seen.direction, -seen.gradient))
    down = down / np.linalg.norm(down)
    reach = 1.25 * np.abs(ball).max()
    ax.fill(*ball.T, facecolor=mixed(quiet(), ground(), 0.85), edgecolor=quiet(), linewidth=1, zorder=1, gid="ball")
    level = tip + np.outer([-3 * reach, 3 * reach], [-down[1], down[0]])
    ax.plot(*level.T, linestyle=legends.DOTTED, color=quiet(), zorder=2, gid="level")
    for end, color, gid in (
        (down / length(np.tensordot(down, basis, 1), seen.norm), ink(), "downhill"),
        (tip, COLOR, "steepest"),
    ):
        look: dict[str, Any] = {"arrowstyle": "-|>,head_length=0.5,head_width=0.22", "color": color, "linewidth": 2}
        look |= {"shrinkA": 0, "shrinkB": 0, "mutation_scale": 14}
        ax.annotate("", tuple(end), xytext=(0, 0), arrowprops=look, zorder=4 if gid == "steepest" else 3, gid=gid)
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    flat = seen.gradient.shape == (2,)
    ax.set(xlabel="d₁" if flat else "along −∇f", ylabel="d₂" if flat else "across it")
    ax.grid(False)
    keys = [
        legends.key("steepest", color=COLOR, linewidth=2),
        legends.key("along −∇f", color=ink(), linewidth=2),
        legends.key("as steep", linestyle=legends.DOTTED),
    ]
    title = f"{OPTIMIZERS[seen.norm].capitalize()}: slope {number(seen.slope)}, and {number(_along(seen))} along −∇f"
    caption = [f"Directions of length 1 in the {seen.norm} norm; ∇f\xa0=\xa0{point(seen.gradient)}, float64."]
    return Panel(title=title, names=[], keys=keys, caption=caption, shape=1.0)


def _along(seen: Steepest) -> float:
    """The slope along -∇f, made as long as 1 in this norm."""
    return -float(np.vdot(seen.gradient, seen.gradient)) / length(seen.gradient, seen.norm)


def _basis(seen: Steepest) -> np.ndarray:
    """Two orthonormal directions: the coordinates, or those that -∇f and the steepest span."""
    g, d = seen.gradient, seen.direction
    if g.shape == (2,):
        return np.eye(2)
    first = -g / np.linalg.norm(g)
    other = d - np.vdot(first, d) * first
    if np.linalg.norm(other) < 1e-9 * np.linalg.norm(d):  # parallel: any other direction will do
        other = np.eye(g.size)[np.argmin(np.abs(g))].reshape(g.shape)
        other = other - np.vdot(first, other) * first
    return np.stack([first, other / np.linalg.norm(other)])
