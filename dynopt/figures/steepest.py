"""Steepest: in another ball of length 1, another direction goes down fastest."""

import numpy as np
from matplotlib.axes import Axes

from ..course.steepest import Steepest, length
from ..errors import InvalidValue
from ..optimizers import SGD, Muon, Signum
from .drawing import legends, runs
from .drawing.picture import Panel, Picture, drawn, single
from .drawing.style import ground, ink, look, mixed, quiet, readable
from .drawing.words import number, point

OPTIMIZERS = {
    "euclidean": ("Gradient descent", SGD(1.0)),
    "max": ("Sign descent", Signum(1.0)),
    "spectral": ("Muon", Muon(1.0)),
}
TURNS = 721  # points around the ball


def draw(
    results: Steepest | list[Steepest], *, ax: Axes | None = None, style: str = "notebook"
) -> Picture | Axes:
    """The ball of directions of length 1, -∇f, the steepest of them, and the line on which all are as steep.

    The plane is that of the two coordinates; for other shapes it is that which -∇f and the steepest direction span,
    with -∇f to the right.

    - `results`: one `analysis.steepest`. - `ax`: axes to draw in, instead of a new `Picture`. - `style`: "notebook",
      "paper" or "slides".

    **Raises:** `InvalidValue` for several results, or a single coordinate.
    """
    return drawn(paint, describe, [_planar(results)], ax, style)


def describe(results: Steepest | list[Steepest]) -> str:
    """The picture in one sentence with its numbers."""
    seen = _planar(results)
    own = f"slope {number(seen.slope)}, along −∇f {number(_along(seen))}"
    return f"Ball of length 1 in the {seen.norm} norm, with the steepest direction {point(seen.direction)}: {own}."


def paint(ax: Axes, results: list[Steepest]) -> Panel:
    """Draw in the axes, and say what stands around them."""
    (seen,) = results
    basis = _basis(seen)
    turn = np.linspace(0, 2 * np.pi, TURNS)
    wrap_step = np.stack([np.cos(turn), np.sin(turn)], 1)
    ball = (
        wrap_step
        / np.array([length(np.tensordot(u, basis, 1), seen.norm) for u in wrap_step])[:, None]
    )
    tip, down = (np.array([np.vdot(b, v) for b in basis]) for v in (seen.direction, -seen.gradient))
    down = down / np.linalg.norm(down)
    reach = 1.25 * np.abs(ball).max()
    ax.fill(
        *ball.T,
        facecolor=mixed(quiet(), ground(), 0.85),
        edgecolor=quiet(),
        linewidth=1,
        zorder=1,
        gid="ball",
    )
    level = tip + np.outer([-3 * reach, 3 * reach], [-down[1], down[0]])
    ax.plot(*level.T, linestyle=legends.DOTTED, color=quiet(), zorder=2, gid="level")
    called, optimizer = OPTIMIZERS[seen.norm]
    color = readable(look(optimizer).color)
    runs.arrow(
        ax, (0, 0), down / length(np.tensordot(down, basis, 1), seen.norm), ink(), 1.2, "downhill"
    )
    runs.arrow(ax, (0, 0), tip, color, 3.0, "steepest", 2)
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach))
    ax.set_aspect("equal", anchor="W")
    flat = seen.gradient.shape == (2,)
    ax.set(xlabel="d₁" if flat else "along −∇f", ylabel="d₂" if flat else "across it")
    ax.grid(False)
    keys = [
        legends.key(called, color=color, linewidth=3),
        legends.key("−∇f", color=ink(), linewidth=1.2),
        legends.key("as steep", linestyle=legends.DOTTED),
    ]
    title = f"{called}: slope {number(seen.slope)}, and {number(_along(seen))} along −∇f"
    caption = [
        f"Directions of length 1 in the {seen.norm} norm; ∇f\xa0=\xa0{_rows(seen.gradient)}, float64."
    ]
    return Panel(title=title, names=[], keys=keys, caption=caption, shape=1.0)


def _rows(gradient: np.ndarray) -> str:
    return point(gradient) if gradient.ndim < 2 else f"({', '.join(map(point, gradient))})"


def _planar(results: Steepest | list[Steepest]) -> Steepest:
    seen = single(results, Steepest, "course.steepest.measure")
    if seen.gradient.size < 2:
        raise InvalidValue(
            "balls are drawn in a plane, but the gradient is one number; pass one of two or more."
        )
    return seen


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
