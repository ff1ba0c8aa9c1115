"""The plane on which paths in many coordinates are seen: that of their principal directions, or one that is given."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from ...analysis import Comparison
from ...errors import InvalidType, InvalidValue
from ...problems import Problem
from ...problems.arrays import real_array
from ...runs.trajectory import Trajectory
from ..drawing.smooth import unravel
from ..drawing.words import failure, percent

FAR = 1e150  # squares beyond overflow
FLAT = 1e-7  # of the longest extent: thinner is round-off, and no direction of the paths
PARALLEL = 1e-6  # sine of the angle
ROUND_OFF = 1e-14  # of the largest coordinate: no nearer can positions be told apart
THIN = 400  # rows or columns: a matrix that has more of both is not decomposed as it is


@dataclass(frozen=True, eq=False)
class Plane:
    """origin + a u + b v with orthonormal u and v.

    - `origin`: shape `(dim,)`. - `basis`: u and v, shape `(2, dim)`. - `directions`: what each of them is.
    - `through`, `along`: what the origin is, and the basis. - `shares`: how much of the variance lies along u and along
      v; NaN if the paths are one point. - `whose`: the paths of which it is the variance.
    """

    origin: np.ndarray
    basis: np.ndarray
    directions: tuple[str, str]
    through: str
    along: str
    shares: tuple[float, float]
    whose: str

    def project(self, x: Any) -> np.ndarray:
        """The coordinates a and b of the feet of these positions, from `(n, dim)` to `(n, 2)`."""
        return self._from_origin(x) @ self.basis.T

    def distance(self, x: Any) -> np.ndarray:
        """How far these positions lie off the plane, from `(n, dim)` to `(n,)`."""
        x = self._from_origin(x)
        x -= (x @ self.basis.T) @ self.basis
        return np.linalg.norm(x, axis=-1)

    def points(self, y: Any, rows: Any) -> list[np.ndarray]:
        """Where these points of phase space are seen."""
        return list(self.project(np.asarray(y.x)[rows]).T)

    def rates(self, dy: Any, rows: Any) -> list[np.ndarray]:
        """How fast they are seen to move."""
        with np.errstate(all="ignore"):
            return list((np.asarray(dy.x, float)[rows] @ self.basis.T).T)

    @property
    def labels(self) -> tuple[str, str]:
        first, second = (
            f"{name}, {percent(share)} of the variance" if np.isfinite(share) else name
            for name, share in zip(self.directions, self.shares, strict=True)
        )
        return first, second

    def _from_origin(self, x: Any) -> np.ndarray:
        x = np.array(x, float)
        return np.subtract(np.clip(x, -FAR, FAR, out=x), self.origin, out=x)


def plane_of(
    comparisons: Sequence[Comparison], plane: Any = None, origin: Any = None
) -> Plane | None:
    """The plane in which these runs are drawn; None for that of a problem's own two coordinates.

    - `plane`: two directions that span it, each shaped like the position or as one vector; by default the two principal
      directions of all points of map and flow. - `origin`: a point in it; by default the mean of all points.

    A run that failed takes no part unless all did: the way to infinity would be the only direction.

    **Raises:** `InvalidValue` or `InvalidType` if these do not fit the problem, or span no plane.
    """
    problem = comparisons[0].problem
    if plane is None and problem.dim == 2:
        if origin is not None:
            raise InvalidValue(
                f"`origin` chooses among many planes, but {problem.name} has two coordinates and one plane; leave it "
                "out, or pass `plane` too."
            )
        return None
    given = None if plane is None else _spanned(plane, problem)
    through = None if origin is None else _vector("origin", origin, problem)
    runs = [run for comparison in comparisons for run in (comparison.map, comparison.flow)]
    lasting = [run for run in runs if not failure(run)]
    start = np.asarray(comparisons[0].map.y.x[0], float)
    points = np.concatenate([_finite(run) for run in lasting or runs])
    scale = np.abs(points).max(initial=0) or 1.0
    points /= scale
    mean = points.mean(0) if len(points) else np.zeros(problem.dim)
    points -= mean
    if given is None:
        basis, directions, along = _principal(points, start / scale - mean, comparisons[0])
    else:
        (basis, directions), along = given, "two given directions"
    total = np.vdot(points, points)
    shares = np.square(points @ basis.T).sum(0) / total if total > 0 else np.full(2, np.nan)
    where = "the given point"
    if through is None:  # where all runs failed, their mean is nowhere near
        through, where = (
            (mean * scale, "the mean") if lasting else (np.nan_to_num(start), "the start")
        )
    whose = "the paths" if len(lasting) in (0, len(runs)) else "the paths that reached their end"
    return Plane(
        through, basis, directions, where, along, (float(shares[0]), float(shares[1])), whose
    )


def _finite(run: Trajectory) -> np.ndarray:
    """The finite beginning, as a copy."""
    x = np.array(run.y.x[: int(run.finite.sum())], float)
    return np.clip(x, -FAR, FAR, out=x)


def _principal(
    points: np.ndarray, start: np.ndarray, comparison: Comparison
) -> tuple[np.ndarray, tuple[str, str], str]:
    """The right singular vectors of centred points, `(n, dim)`, that start on the left and below.

    Where the points lie on a line or are one point, the gradient at the start says what lies across, or else a
    coordinate does.
    """
    found, sizes = _singular(points)
    rank = int((sizes > max(FLAT * sizes.max(initial=0), ROUND_OFF * len(points) ** 0.5)).sum())
    basis = list(found[: min(rank, 2)])
    names = ["first principal direction", "second principal direction"][: len(basis)]
    while len(basis) < 2:
        across, name = _across(basis, comparison)
        basis, names = [*basis, across], [*names, name]
    along = (
        "the two principal directions"
        if rank > 1
        else f"the {names[0].removeprefix('first ')} and {names[1]}"
    )
    vectors = np.stack(basis)
    begins, largest = vectors @ start, vectors[np.arange(2), np.abs(vectors).argmax(1)]
    clear = np.abs(begins) > 1e-6 * np.linalg.norm(start)  # a sign that is not round-off
    return (
        vectors * np.where(np.where(clear, -begins, largest) < 0, -1, 1)[:, None],
        (names[0], names[1]),
        along,
    )


def _singular(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Right singular vectors, largest first, with their values; of a large matrix only the first few, found by the
    randomized subspace iteration of N. Halko, P. G. Martinsson and J. A. Tropp, "Finding structure with randomness:
    probabilistic algorithms for constructing approximate matrix decompositions", SIAM Review 53(2) (2011)."""
    if min(points.shape) == 0:
        return np.zeros((0, points.shape[1])), np.zeros(0)
    if min(points.shape) > THIN:
        seen = np.linalg.qr(points @ np.random.default_rng(0).normal(size=(points.shape[1], 12)))[0]
        for _ in range(5):
            seen = np.linalg.qr(points @ np.linalg.qr(points.T @ seen)[0])[0]
        points = seen.T @ points
    _, sizes, vectors = np.linalg.svd(points, full_matrices=False)
    return vectors, sizes


def _across(basis: list[np.ndarray], comparison: Comparison) -> tuple[np.ndarray, str]:
    """A direction across those that are there."""
    start = comparison.map.y.x[0]
    gradient = np.asarray(
        jax.grad(lambda x: comparison.problem.loss(unravel(comparison)(x)))(start), float
    )
    rest = _rest(gradient, basis)
    if rest is not None:
        return rest, "the gradient at the start, across it" if basis else "gradient at the start"
    size = sum((np.abs(u) for u in basis), np.zeros(len(gradient)))
    axis = np.eye(1, len(gradient), int(size.argmin()))[0]
    rest = _rest(axis, basis)
    return axis if rest is None else rest, "a direction across it" if basis else "first coordinate"


def _rest(vector: np.ndarray, basis: list[np.ndarray]) -> np.ndarray | None:
    """What of a vector lies across an orthonormal basis, as a unit vector; None if nothing does."""
    size = np.abs(vector).max()
    if not np.isfinite(size) or size == 0:
        return None
    vector = vector / size
    vector = vector / np.linalg.norm(vector)
    rest = vector
    for _ in range(2):  # the second time for the round-off of the first
        for u in basis:
            rest = rest - (rest @ u) * u
        if np.linalg.norm(rest) < PARALLEL:
            return None
        rest = rest / np.linalg.norm(rest)
    return rest


def _spanned(plane: Any, problem: Problem) -> tuple[np.ndarray, tuple[str, str]]:
    """The two directions that a user gave, orthonormal; the first keeps its direction."""
    pair = isinstance(plane, tuple | list | np.ndarray | jax.Array) and len(plane) == 2
    if not pair:
        raise InvalidType(
            f"`plane` must be two directions, got {type(plane).__name__}; pass a pair, each shaped like the position."
        )
    first, second = (_vector(f"plane[{i}]", plane[i], problem) for i in (0, 1))
    for i, vector in enumerate((first, second)):
        if not vector.any():
            raise InvalidValue(
                f"`plane[{i}]` is zero, which is no direction; pass one that points somewhere."
            )
    u = _rest(first, [])
    v = None if u is None else _rest(second, [u])
    if u is None or v is None:
        raise InvalidValue(
            "the two directions of `plane` are parallel and span a line; pass two that are not."
        )
    made = "" if abs(v @ second) > (1 - 1e-12) * np.linalg.norm(second) else ", orthogonalised"
    return np.stack([u, v]), ("first direction given", f"second direction{made or ' given'}")


def _vector(name: str, value: Any, problem: Problem) -> np.ndarray:
    """`value` as one finite vector `(dim,)`, given as that or shaped like the position."""
    own = jax.tree.leaves(problem.x0)
    if jax.tree.structure(value) == jax.tree.structure(problem.x0):
        leaves = [real_array(name, leaf) for leaf in jax.tree.leaves(value)]
        if [leaf.shape for leaf in leaves] == [np.shape(leaf) for leaf in own]:
            return np.concatenate([np.ravel(leaf) for leaf in leaves]).astype(float)
    vector = None if isinstance(value, dict) else real_array(name, value)
    alone = jax.tree.structure(problem.x0) == jax.tree.structure(0)
    if vector is None or vector.shape not in [
        (problem.dim,),
        *(np.shape(leaf) for leaf in own if alone),
    ]:
        got = "another structure" if vector is None else f"shape {vector.shape}"
        raise InvalidValue(
            f"`{name}` has {got} but {problem.name} has {problem.dim} coordinates; pass it shaped like the position, "
            f"or as one vector of shape ({problem.dim},)."
        )
    return np.ravel(vector).astype(float)
