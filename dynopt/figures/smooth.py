"""The flow's line: smooth between the times at which the flow was seen, by its own velocity at each of them."""

from typing import Any

import equinox as eqx
import jax
import numpy as np
from matplotlib.lines import Line2D
from matplotlib.path import Path

from ..analysis import Gap
from ..optimizers import AbstractOptimizer

LONGEST = 0.8  # of the chord: a velocity that is huge for a moment only gives the direction


class SmoothLine(Line2D):
    """A line whose data are the points alone, and whose stroke is a cubic curve through them.

    - `x`, `y`: the points. - `velocity`: dx/dt and dy/dt there, shape `(n, 2)`. - `t`: their times.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray, velocity: np.ndarray, t: np.ndarray, **style: Any):
        self._stroke = _cubic(np.stack([x, y], 1), velocity, t)
        super().__init__(x, y, **style)

    def recache(self, always: bool = False) -> None:
        super().recache(always)
        self._path, self._subslice = self._stroke, False


def _cubic(points: np.ndarray, velocity: np.ndarray, t: np.ndarray) -> Path:
    """Hermite's cubic from point to point, as the Bézier curve that it is."""
    if len(points) < 2:
        return Path(points)
    chord, third = np.diff(points, axis=0), np.diff(t)[:, None] / 3
    out, back = (_no_longer(v * third, chord) for v in (velocity[:-1], velocity[1:]))
    corners = np.stack([points[:-1] + out, points[1:] - back, points[1:]], 1).reshape(-1, 2)
    return Path(np.concatenate([points[:1], corners]), [Path.MOVETO] + [Path.CURVE4] * len(corners))


def _no_longer(arm: np.ndarray, chord: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        arm = np.where(np.isfinite(arm), arm, 0)
        length, most = (np.linalg.norm(v, axis=1, keepdims=True) for v in (arm, LONGEST * chord))
        return np.where(length > most, arm * (most / np.where(length > 0, length, 1)), arm)


def velocity(gap: Gap) -> Any:
    """dy/dt at the points of the flow, as the optimizer's page gives it: fields of phase space, arrays `(n, dim)`."""
    seen = _velocity(gap.optimizer, gap.problem.loss, gap.map.unravel, gap.flow.t, gap.flow.y)
    return jax.tree.map(lambda a: np.asarray(a, float), seen)


@eqx.filter_jit
def _velocity(page: AbstractOptimizer, loss, unravel, t, y):
    grad = jax.grad(lambda x: loss(unravel(x)))
    return jax.vmap(lambda t, y: page.flow(t, y, grad))(t, y)
