"""The line of the flow: smooth between the saved points, by the velocity of the flow at each."""

from typing import Any

import equinox as eqx
import jax
import numpy as np
from matplotlib.lines import Line2D
from matplotlib.path import Path

from ...analysis import Comparison
from ...optimizers import AbstractOptimizer
from .axes import LARGEST

REACH = 20  # times the size of the view: farther out the stroke ends
LONGEST = 0.8  # of the chord: the longest control arm, in case a velocity is huge for a moment


class SmoothLine(Line2D):
    """A line whose data are the saved points, and whose stroke is a cubic curve through them.

    - `points`: shape `(n, 2)`.
    - `velocity`: the time derivative of the points, shape `(n, 2)`.
    - `t`: the times of the points, shape `(n,)`.
    - `view`: two opposite corners of the view, shape `(2, 2)`. Far outside of it the stroke ends,
      because matplotlib cannot draw to 10³⁰⁰.
    """

    def __init__(
        self,
        points: np.ndarray,
        velocity: np.ndarray,
        t: np.ndarray,
        view: np.ndarray,
        **style: Any,
    ):
        self._stroke = _cubic_path(points, velocity, t, view)
        super().__init__(points[:, 0], points[:, 1], **style)

    def stroke_points(self) -> np.ndarray:
        """Points along the stroke, eight from each saved point to the next."""
        vertices, s = np.asarray(self._stroke.vertices), np.linspace(0, 1, 9)[1:, None, None]
        n = 3 * ((len(vertices) - 1) // 3)
        a, b, c, d = (vertices[i : n + i : 3] for i in range(4))
        curve = (1 - s) ** 3 * a + 3 * s * (1 - s) ** 2 * b + 3 * s**2 * (1 - s) * c + s**3 * d
        between = curve.swapaxes(0, 1).reshape(-1, 2)
        return np.concatenate([vertices[:1], between, vertices[n + 1 :]])

    def recache(self, always: bool = False) -> None:
        super().recache(always)
        self._path, self._subslice = self._stroke, False


def _cubic_path(points: np.ndarray, velocity: np.ndarray, t: np.ndarray, view: np.ndarray) -> Path:
    """Hermite's cubic curve from point to point, as the Bézier curve that it is."""
    if len(points) < 2:
        return Path(points)
    points = np.clip(points, -LARGEST, LARGEST)
    chords, third = np.diff(points, axis=0), np.diff(t)[:, None] / 3
    first_arm, second_arm = (_shorten(v * third, chords) for v in (velocity[:-1], velocity[1:]))
    control = np.stack([points[:-1] + first_arm, points[1:] - second_arm, points[1:]], 1)
    middle, reach = view.mean(0), REACH * np.ptp(view, axis=0)
    near = (np.abs(points - middle) <= reach).all(1)
    end = int(np.argmin(near)) if not near.all() else len(points)
    vertices = np.concatenate([points[:1], control[: max(end - 1, 0)].reshape(-1, 2)])
    codes = [Path.MOVETO] + [Path.CURVE4] * (len(vertices) - 1)
    if 0 < end < len(points):  # the way out of the view is a straight line
        step = points[end] - points[end - 1]
        fraction = min(1.0, float((reach / np.maximum(np.abs(step), 1e-300)).min()))
        vertices = np.concatenate([vertices, [points[end - 1] + fraction * step]])
        codes = [*codes, Path.LINETO]
    return Path(vertices, codes)


def _shorten(arms: np.ndarray, chords: np.ndarray) -> np.ndarray:
    """The control arms, no longer than a fraction of their chords."""
    with np.errstate(all="ignore"):
        arms = np.where(np.isfinite(arms), arms, 0)
        length, longest = (np.hypot(*v.T)[:, None] for v in (arms, LONGEST * chords))
        shorter = arms * (longest / np.where(length > 0, length, 1))
        return np.where(length > longest, shorter, arms)


def velocity(comparison: Comparison) -> Any:
    """dy/dt at the saved points of the flow: a point of phase space of arrays `(n, dim)`."""
    problem, flow = comparison.problem, comparison.flow
    optimizer = comparison.optimizer.for_leaves(problem.start())
    rates = _velocity(optimizer, problem.loss, flow.unravel, flow.t, flow.y)
    return jax.tree.map(lambda a: np.asarray(a, float), rates)


@eqx.filter_jit
def _velocity(optimizer: AbstractOptimizer, loss, unravel, t, y):
    grad = jax.grad(lambda x: loss(unravel(x)))
    return jax.vmap(lambda t, y: optimizer.vector_field(t, y, grad))(t, y)
