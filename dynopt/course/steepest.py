"""Steepest descent in a norm: the direction of length 1 along which the loss falls fastest."""

from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from ..checks import is_concrete
from ..errors import InvalidType, InvalidValue, unknown_name
from ..figures.drawing import legends, runs
from ..figures.drawing.picture import Panel, Picture, draw_picture
from ..figures.drawing.results import one_result
from ..figures.drawing.style import (
    background,
    color_of,
    in_style,
    ink,
    mix_colors,
    muted,
    readable_color,
)
from ..figures.drawing.words import format_number, format_point
from ..optimizers import SGD, Muon, Signum

NORMS = ("euclidean", "max", "spectral")
# For each norm the name of its steepest descent, and the optimizer whose colour it has.
DESCENTS = {
    "euclidean": ("Gradient descent", SGD(1.0)),
    "max": ("Sign descent", Signum(1.0)),
    "spectral": ("Muon", Muon(1.0)),
}
BALL_POINTS = 721  # around the ball


class Steepest(eqx.Module):
    """The d that minimizes <∇f, d> over all d with |d| ≤ 1.

    - `norm`: the name of the norm.
    - `gradient`: ∇f.
    - `direction`: d, of the shape of the gradient.
    - `slope`: <∇f, d>, which is minus the dual norm of ∇f.
    """

    norm: str = eqx.field(static=True)
    gradient: Float[np.ndarray, "..."]
    direction: Float[np.ndarray, "..."]
    slope: float

    def __repr__(self) -> str:
        return f"Steepest(in the {self.norm} norm, slope {self.slope:.4g})"


def measure(gradient: Any, norm: str = "euclidean") -> Steepest:
    """The direction of steepest descent in a norm, and the slope of the loss along it.

    - "euclidean": |d| = √(Σ dᵢ²). The direction is d = -g/|g| and the slope is minus the Euclidean
      norm of g. This is the direction of gradient descent.
    - "max": |d| = maxᵢ |dᵢ|. The direction is d = -sign(g) and the slope is -Σ |gᵢ|. This is the
      direction of sign descent.
    - "spectral": |d| is the largest singular value of a matrix. With g = U Σ Vᵀ, taken over the
      singular values that are not 0, the direction is d = -U Vᵀ and the slope is minus the sum of
      the singular values. This is the direction of Muon.

    Where some gᵢ, or some singular value, is 0, other directions are as steep.

    - `gradient`: g, of any shape; a matrix for "spectral". It is converted to float64.
    - `norm`: one of the names above.

    **Raises:** `UnknownName` for another norm; `InvalidValue` if g is 0 or not finite, or if the
    norm needs a matrix; `InvalidType` for what is no array, and inside `jit`, `grad` and `vmap`.

    Source: J. Bernstein and L. Newhouse, Old Optimizer, New Norm: An Anthology (2024),
    arXiv:2409.20325.

    >>> measure([3.0, -4.0]).direction.tolist(), measure([3.0, -4.0], "max").slope
    ([-0.6, 0.8], -7.0)
    """
    if norm not in NORMS:
        raise unknown_name("norm", str(norm), NORMS)
    if not is_concrete(gradient):
        raise InvalidType(
            "`gradient` is traced by jax, but the steepest direction needs its numbers; call this "
            "outside of jit."
        )
    try:
        g = np.asarray(gradient, float)
    except (TypeError, ValueError):
        raise InvalidType(
            f"`gradient` must be an array, got {gradient!r}; pass for example [3.0, -4.0]."
        ) from None
    if not np.isfinite(g).all() or not g.any():
        raise InvalidValue(
            "`gradient` must be finite and not 0; pass a point that is no minimizer."
        )
    if norm == "spectral" and g.ndim != 2:
        raise InvalidValue(
            f"the spectral norm is a norm of matrices, but `gradient` has shape {g.shape}; pass a "
            "matrix."
        )
    d = {"euclidean": _unit_vector, "max": np.sign, "spectral": _polar_factor}[norm](g)
    return Steepest(norm, g, -d, -float((g * d).sum()))


def length(d: np.ndarray, norm: str) -> float:
    """|d| in one of the norms."""
    norms = {
        "euclidean": np.linalg.norm,
        "max": lambda d: np.abs(d).max(),
        "spectral": lambda d: np.linalg.svd(d, compute_uv=False)[0],
    }
    return float(norms[norm](d))


def _unit_vector(g: np.ndarray) -> np.ndarray:
    g = g / np.abs(g).max()  # otherwise the squares may overflow or underflow
    return g / np.linalg.norm(g)


def _polar_factor(g: np.ndarray) -> np.ndarray:
    """U Vᵀ of the singular value decomposition, without the singular values that are 0."""
    u, s, v = np.linalg.svd(g, full_matrices=False)
    nonzero = s > s[0] * max(g.shape) * np.finfo(float).eps
    return u[:, nonzero] @ v[nonzero]


@in_style
def draw(
    results: Steepest | list[Steepest], *, ax: Axes | None = None, style: str = "notebook"
) -> Picture | Axes:
    """The ball of directions of length 1, -∇f, the steepest direction, and all that are as steep.

    The plane is that of the two coordinates. For a gradient of another shape it is the plane that
    -∇f and the steepest direction span, with -∇f to the right.

    - `results`: one result of `measure`.
    - `ax`: axes to draw in, instead of a new `Picture`.
    - `style`: "notebook", "paper" or "slides".

    **Raises:** `InvalidValue` for several results, or a gradient of a single coordinate.
    """
    return draw_picture(paint, describe, [_planar(results)], ax, style)


def describe(results: Steepest | list[Steepest]) -> str:
    """The picture in one sentence with its numbers."""
    result = _planar(results)
    return (
        f"The picture shows the ball of length 1 in the {result.norm} norm with the steepest "
        f"direction {format_point(result.direction)}: its slope is {format_number(result.slope)}, "
        f"that along −∇f is {format_number(_slope_along_gradient(result))}."
    )


def paint(ax: Axes, results: list[Steepest]) -> Panel:
    """Draw into `ax`; return title, legend entries and caption."""
    (result,) = results
    basis = _basis(result)

    def on_ball(directions: np.ndarray) -> np.ndarray:
        """Directions of the plane, shape `(n, 2)`, scaled to length 1 in the norm."""
        sizes = [length(np.tensordot(d, basis, 1), result.norm) for d in directions]
        return directions / np.array(sizes)[:, None]

    angle = np.linspace(0, 2 * np.pi, BALL_POINTS)
    ball = on_ball(np.stack([np.cos(angle), np.sin(angle)], 1))
    tip, down = (
        np.array([np.vdot(b, v) for b in basis]) for v in (result.direction, -result.gradient)
    )
    down = down / np.linalg.norm(down)
    reach = 1.25 * np.abs(ball).max()
    face = mix_colors(muted(), background(), 0.85)
    ax.fill(*ball.T, facecolor=face, edgecolor=muted(), linewidth=1, zorder=1, gid="ball")
    level = tip + np.outer([-3 * reach, 3 * reach], [-down[1], down[0]])
    ax.plot(*level.T, linestyle=legends.DOTTED, color=muted(), zorder=2, gid="level")
    name, optimizer = DESCENTS[result.norm]
    color = readable_color(color_of(optimizer))
    (down,) = on_ball(down[None])
    runs.draw_arrow(ax, (0, 0), down, ink(), 1.2, "downhill")
    runs.draw_arrow(ax, (0, 0), tip, color, 3.0, "steepest", 2)
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach))
    ax.set_aspect("equal", anchor="W")
    ax.grid(False)
    coordinates = result.gradient.shape == (2,)
    ax.set_xlabel("d₁" if coordinates else "along −∇f")
    ax.set_ylabel("d₂" if coordinates else "perpendicular to it")
    keys = [
        legends.key(name, color=color, linewidth=3),
        legends.key("−∇f", color=ink(), linewidth=1.2),
        legends.key("as steep", linestyle=legends.DOTTED),
    ]
    along = format_number(_slope_along_gradient(result))
    title = f"{name}: the slope is {format_number(result.slope)}, along −∇f it is {along}"
    caption = (
        f"The directions have length 1 in the {result.norm} norm; "
        f"∇f\xa0=\xa0{_format_gradient(result.gradient)}, in float64."
    )
    return Panel(title, keys=keys, caption=[caption], aspect=1.0)


def _format_gradient(gradient: np.ndarray) -> str:
    """A vector, or a matrix row by row."""
    if gradient.ndim < 2:
        return format_point(gradient)
    return f"({', '.join(map(format_point, gradient))})"


def _planar(results: Steepest | list[Steepest]) -> Steepest:
    result = one_result(results, Steepest, "course.steepest.measure")
    if result.gradient.size < 2:
        raise InvalidValue(
            "balls are drawn in a plane, but the gradient is one number; pass one of two or more."
        )
    return result


def _slope_along_gradient(result: Steepest) -> float:
    """The slope along -∇f, scaled to length 1 in the norm."""
    return -float(np.vdot(result.gradient, result.gradient)) / length(result.gradient, result.norm)


def _basis(result: Steepest) -> np.ndarray:
    """Two orthonormal directions: the coordinates, or those that -∇f and the steepest span."""
    g, d = result.gradient, result.direction
    if g.shape == (2,):
        return np.eye(2)
    first = -g / np.linalg.norm(g)
    second = d - np.vdot(first, d) * first
    if np.linalg.norm(second) < 1e-9 * np.linalg.norm(d):  # the two are parallel
        second = np.eye(g.size)[np.argmin(np.abs(g))].reshape(g.shape)
        second = second - np.vdot(first, second) * first
    return np.stack([first, second / np.linalg.norm(second)])
