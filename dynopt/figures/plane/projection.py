"""The plane on which paths in many coordinates are projected."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from ...analysis import Comparison
from ...errors import InvalidType, InvalidValue
from ...problems import Problem
from ...problems.arrays import real_array
from ...runs.prepare import flatten_loss
from ...runs.trajectory import Trajectory
from ..drawing.words import failure, format_percent

LARGEST = 1e150  # the squares of larger numbers overflow
FLAT = 1e-7  # of the longest extent of the paths: a shorter extent is round-off, no direction
PARALLEL = 1e-6  # sine of the angle between two directions that are called parallel
ROUND_OFF = 1e-14  # of the largest coordinate: nearer positions cannot be told apart
LARGE = 400  # rows and columns: a larger matrix is reduced before it is decomposed


@dataclass(frozen=True, eq=False)
class Plane:
    """The plane origin + a u + b v with orthonormal u and v.

    - `origin`: shape `(dim,)`.
    - `basis`: u and v, shape `(2, dim)`.
    - `directions`: the names of u and v.
    - `through`, `along`: the name of the origin, and that of the basis.
    - `shares`: the fractions of the variance along u and along v; NaN if the paths are one point.
    - `paths`: the name of the paths of which it is the variance.
    """

    origin: np.ndarray
    basis: np.ndarray
    directions: tuple[str, str]
    through: str
    along: str
    shares: tuple[float, float]
    paths: str

    def project(self, x: Any) -> np.ndarray:
        """The coordinates a and b of the projections of positions, from `(n, dim)` to `(n, 2)`."""
        return self._from_origin(x) @ self.basis.T

    def distance(self, x: Any) -> np.ndarray:
        """The distances of positions from the plane, from `(n, dim)` to `(n,)`."""
        x = self._from_origin(x)
        x -= (x @ self.basis.T) @ self.basis
        return np.linalg.norm(x, axis=-1)

    def points(self, y: Any, rows: Any) -> list[np.ndarray]:
        """The coordinates a and b of the points `y` in these rows, shape `(n,)` each."""
        return list(self.project(np.asarray(y.x)[rows]).T)

    @property
    def labels(self) -> tuple[str, str]:
        """The labels of the two axes."""
        first, second = (
            f"{name}, {format_percent(share)} of the variance" if np.isfinite(share) else name
            for name, share in zip(self.directions, self.shares, strict=True)
        )
        return first, second

    def _from_origin(self, x: Any) -> np.ndarray:
        x = np.array(x, float)
        return np.subtract(np.clip(x, -LARGEST, LARGEST, out=x), self.origin, out=x)


def plane_of(
    comparisons: Sequence[Comparison], plane: Any = None, origin: Any = None
) -> Plane | None:
    """The plane in which these runs are drawn; None for a problem in two coordinates.

    - `plane`: two directions that span it, each of the shape of the position or one vector; by
      default the two principal directions of all points of map and flow.
    - `origin`: a point in it; by default the mean of all points.

    Runs that failed are left out unless all failed: the way to infinity would be the only
    direction.

    **Raises:** `InvalidValue` or `InvalidType` if these do not fit the problem, or span no plane.
    """
    problem = comparisons[0].problem
    if plane is None and problem.dim == 2:
        if origin is not None:
            raise InvalidValue(
                f"`origin` chooses among many planes, but {problem.name} has two coordinates and "
                "one plane; leave it out, or pass `plane` too."
            )
        return None
    basis_and_names = None if plane is None else _span(plane, problem)
    point = None if origin is None else _vector("origin", origin, problem)
    runs = [run for comparison in comparisons for run in (comparison.map, comparison.flow)]
    finished = [run for run in runs if not failure(run)]
    start = np.asarray(comparisons[0].map.y.x[0], float)
    points = np.concatenate([_finite_points(run) for run in finished or runs])
    scale = np.abs(points).max(initial=0) or 1.0
    points /= scale
    mean = points.mean(0) if len(points) else np.zeros(problem.dim)
    points -= mean
    if basis_and_names is None:
        basis, directions, along = _principal(points, start / scale - mean, comparisons[0])
    else:
        (basis, directions), along = basis_and_names, "two given directions"
    total = np.vdot(points, points)
    first, second = np.square(points @ basis.T).sum(0) / total if total > 0 else np.full(2, np.nan)
    if point is not None:
        through = "the given point"
    elif finished:
        point, through = mean * scale, "the mean"
    else:  # the mean of runs that all failed is far away from everything
        point, through = np.nan_to_num(start), "the start"
    some = len(finished) not in (0, len(runs))
    paths = "the paths that reached their end" if some else "the paths"
    return Plane(point, basis, directions, through, along, (float(first), float(second)), paths)


def _finite_points(run: Trajectory) -> np.ndarray:
    """The finite beginning, as a copy."""
    x = np.array(run.y.x[: int(run.finite.sum())], float)
    return np.clip(x, -LARGEST, LARGEST, out=x)


def _principal(
    points: np.ndarray, start: np.ndarray, comparison: Comparison
) -> tuple[np.ndarray, tuple[str, str], str]:
    """The two principal directions of centred points `(n, dim)`, their names, and a common name.

    Their signs are such that the start lies on the left and below. If the points lie on a line, or
    are one point, the missing directions are the gradient at the start and a coordinate.
    """
    vectors, sizes = _singular_vectors(points)
    smallest = max(FLAT * sizes.max(initial=0), ROUND_OFF * len(points) ** 0.5)
    rank = int((sizes > smallest).sum())
    basis = list(vectors[: min(rank, 2)])
    names = ["first principal direction", "second principal direction"][: len(basis)]
    while len(basis) < 2:
        direction, name = _perpendicular(basis, comparison)
        basis, names = [*basis, direction], [*names, name]
    along = f"the {names[0].removeprefix('first ')} and {names[1]}"
    if rank > 1:
        along = "the two principal directions"
    vectors = np.stack(basis)
    projected, largest = vectors @ start, vectors[np.arange(2), np.abs(vectors).argmax(1)]
    certain = np.abs(projected) > 1e-6 * np.linalg.norm(start)  # its sign is not round-off
    signs = np.where(np.where(certain, -projected, largest) < 0, -1, 1)
    return vectors * signs[:, None], (names[0], names[1]), along


def _singular_vectors(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Right singular vectors, largest first, and singular values.

    Of a large matrix only the first few are found, by the randomized subspace iteration of N.
    Halko, P. G. Martinsson and J. A. Tropp, "Finding structure with randomness: probabilistic
    algorithms for constructing approximate matrix decompositions", SIAM Review 53(2) (2011).
    """
    if min(points.shape) == 0:
        return np.zeros((0, points.shape[1])), np.zeros(0)
    if min(points.shape) > LARGE:
        random = np.random.default_rng(0).normal(size=(points.shape[1], 12))
        subspace = np.linalg.qr(points @ random)[0]
        for _ in range(5):
            subspace = np.linalg.qr(points @ np.linalg.qr(points.T @ subspace)[0])[0]
        points = subspace.T @ points
    _, sizes, vectors = np.linalg.svd(points, full_matrices=False)
    return vectors, sizes


def _perpendicular(basis: list[np.ndarray], comparison: Comparison) -> tuple[np.ndarray, str]:
    """A direction perpendicular to the basis, and its name: the gradient, or else a coordinate."""
    run, problem = comparison.map, comparison.problem
    start, _, grad = flatten_loss(problem.loss, run.unravel(run.y.x[0]))
    gradient = np.asarray(grad(start), float)
    direction = _orthogonalize(gradient, basis)
    if direction is not None:
        what = "field" if problem.owns_field else "gradient"
        name = f"{what} at the start"
        return direction, f"the {name}, perpendicular to it" if basis else name
    sizes = sum((np.abs(u) for u in basis), np.zeros(len(gradient)))
    axis = np.eye(1, len(gradient), int(sizes.argmin()))[0]
    direction = _orthogonalize(axis, basis)
    name = "a direction perpendicular to it" if basis else "first coordinate"
    return axis if direction is None else direction, name


def _orthogonalize(vector: np.ndarray, basis: list[np.ndarray]) -> np.ndarray | None:
    """The part of a vector perpendicular to an orthonormal basis, as a unit vector.

    None if there is no such part.
    """
    size = np.abs(vector).max()
    if not np.isfinite(size) or size == 0:
        return None
    vector = vector / size
    vector = vector / np.linalg.norm(vector)
    for _ in range(2):  # the second time removes the round-off of the first
        for u in basis:
            vector = vector - (vector @ u) * u
        if np.linalg.norm(vector) < PARALLEL:
            return None
        vector = vector / np.linalg.norm(vector)
    return vector


def _span(plane: Any, problem: Problem) -> tuple[np.ndarray, tuple[str, str]]:
    """The two directions of a user, made orthonormal, and their names.

    The first keeps its direction.
    """
    if not isinstance(plane, tuple | list | np.ndarray | jax.Array) or len(plane) != 2:
        raise InvalidType(
            f"`plane` must be two directions, got {type(plane).__name__}; pass a pair, each of the "
            "shape of the position."
        )
    first, second = (_vector(f"plane[{i}]", plane[i], problem) for i in (0, 1))
    for i, vector in enumerate((first, second)):
        if not vector.any():
            raise InvalidValue(f"`plane[{i}]` is zero, which is no direction; pass another vector.")
    u = _orthogonalize(first, [])
    v = None if u is None else _orthogonalize(second, [u])
    if u is None or v is None:
        raise InvalidValue(
            "the two directions of `plane` are parallel and span a line; pass two that are not."
        )
    changed = abs(v @ second) <= (1 - 1e-12) * np.linalg.norm(second)
    name = "second direction, orthogonalised" if changed else "second direction given"
    return np.stack([u, v]), ("first direction given", name)


def _vector(name: str, value: Any, problem: Problem) -> np.ndarray:
    """`value` as one finite vector `(dim,)`, given as that or in the shape of the position."""
    leaves_of_x0 = jax.tree.leaves(problem.x0)
    if jax.tree.structure(value) == jax.tree.structure(problem.x0):
        leaves = [real_array(name, leaf) for leaf in jax.tree.leaves(value)]
        if [leaf.shape for leaf in leaves] == [np.shape(leaf) for leaf in leaves_of_x0]:
            return np.concatenate([np.ravel(leaf) for leaf in leaves]).astype(float)
    vector = None if isinstance(value, dict) else real_array(name, value)
    one_leaf = jax.tree.structure(problem.x0) == jax.tree.structure(0)
    shapes = [(problem.dim,), *(np.shape(leaf) for leaf in leaves_of_x0 if one_leaf)]
    if vector is None or vector.shape not in shapes:
        got = "another structure" if vector is None else f"shape {vector.shape}"
        raise InvalidValue(
            f"`{name}` has {got} but {problem.name} has {problem.dim} coordinates; pass it in the "
            f"shape of the position, or as one vector of shape ({problem.dim},)."
        )
    return np.ravel(vector).astype(float)
