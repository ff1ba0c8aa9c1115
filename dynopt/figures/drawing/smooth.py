"""The flow's line: smooth between the times at which the flow was seen, by its own velocity at each of them."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import numpy as np
from matplotlib.lines import Line2D
from matplotlib.path import Path

from ...analysis import Comparison
from ...optimizers import AbstractOptimizer
from .axes import LARGEST

FAR = 20  # times the view
LONGEST = 0.8  # of the chord: a velocity that is huge for a moment only gives the direction


class SmoothLine(Line2D):
    """A line whose data are the points alone, and whose stroke is a cubic curve through them.

    - `points`: shape `(n, 2)`. - `velocity`: their rate of change there. - `t`: their times. - `view`: the corners of
      the view; far outside of it the stroke ends, for no pen draws to 10³⁰⁰.
    """

    def __init__(
        self,
        points: np.ndarray,
        velocity: np.ndarray,
        t: np.ndarray,
        view: np.ndarray,
        **style: Any,
    ):
        self._stroke = _cubic(points, velocity, t, view)
        super().__init__(points[:, 0], points[:, 1], **style)

    def seen(self) -> np.ndarray:
        """Points along the stroke, eight from each to the next."""
        corners, s = np.asarray(self._stroke.vertices), np.linspace(0, 1, 9)[1:, None, None]
        n = (len(corners) - 1) // 3
        a, b, c, d = (
            corners[: 3 * n : 3],
            corners[1 : 3 * n : 3],
            corners[2 : 3 * n : 3],
            corners[3 : 3 * n + 1 : 3],
        )
        curve = (1 - s) ** 3 * a + 3 * s * (1 - s) ** 2 * b + 3 * s**2 * (1 - s) * c + s**3 * d
        return np.concatenate(
            [corners[:1], curve.swapaxes(0, 1).reshape(-1, 2), corners[3 * n + 1 :]]
        )

    def recache(self, always: bool = False) -> None:
        super().recache(always)
        self._path, self._subslice = self._stroke, False


def _cubic(points: np.ndarray, velocity: np.ndarray, t: np.ndarray, view: np.ndarray) -> Path:
    """Hermite's cubic from point to point, as the Bézier curve that it is."""
    if len(points) < 2:
        return Path(points)
    points = np.clip(points, -LARGEST, LARGEST)
    chord, third = np.diff(points, axis=0), np.diff(t)[:, None] / 3
    out, back = (_no_longer(v * third, chord) for v in (velocity[:-1], velocity[1:]))
    corners = np.stack([points[:-1] + out, points[1:] - back, points[1:]], 1)
    middle, reach = view.mean(0), FAR * np.ptp(view, axis=0)
    near = (np.abs(points - middle) <= reach).all(1)
    end = int(np.argmin(near)) if not near.all() else len(points)
    vertices = np.concatenate([points[:1], corners[: max(end - 1, 0)].reshape(-1, 2)])
    codes = [Path.MOVETO] + [Path.CURVE4] * (len(vertices) - 1)
    if 0 < end < len(points):  # the way out, as a straight line
        step = points[end] - points[end - 1]
        share = min(1.0, float((reach / np.maximum(np.abs(step), 1e-300)).min()))
        vertices, codes = (
            np.concatenate([vertices, [points[end - 1] + share * step]]),
            [*codes, Path.LINETO],
        )
    return Path(vertices, codes)


def _no_longer(arm: np.ndarray, chord: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        arm = np.where(np.isfinite(arm), arm, 0)
        length, most = (np.hypot(*v.T)[:, None] for v in (arm, LONGEST * chord))
        return np.where(length > most, arm * (most / np.where(length > 0, length, 1)), arm)


def velocity(comparison: Comparison) -> Any:
    """dy/dt at the points of the flow, as the optimizer's page gives it: fields of phase space, arrays `(n, dim)`."""
    optimizer = comparison.optimizer.for_leaves(comparison.problem.start())
    seen = _velocity(
        optimizer,
        comparison.problem.loss,
        unravel(comparison),
        comparison.flow.t,
        comparison.flow.y,
    )
    return jax.tree.map(lambda a: np.asarray(a, float), seen)


def unravel(comparison: Comparison) -> Callable:
    """From a vector to a position as the problem knows it; one for all vectors, so that nothing is compiled twice."""
    plain = isinstance(comparison.problem.x0, np.ndarray) and comparison.problem.x0.ndim == 1
    return _same if plain else comparison.map.unravel


def _same(x):
    return x


@eqx.filter_jit
def _velocity(optimizer: AbstractOptimizer, loss, unravel, t, y):
    grad = jax.grad(lambda x: loss(unravel(x)))
    return jax.vmap(lambda t, y: optimizer.vector_field(t, y, grad))(t, y)
