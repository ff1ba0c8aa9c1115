"""The spectrum: eigenvalues of the flow, of the map and of the modified flow at one position."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Complex, PyTree

from ..checks import must_be_concrete
from ..derivations import Modified
from ..errors import InvalidValue
from ..optimizers import AbstractOptimizer
from ..optimizers.base import must_be_optimizer
from ..optimizers.wrappers.noise import must_have_no_noise
from ..problems import Problem
from ..problems.field import norm
from ..problems.problem import must_be_problem
from ..runs.batches import must_be_single
from ..runs.prepare import fit_to_start, flatten_loss
from .critical_curvature import UNSTABLE, first_crossing
from .rescaling import with_learning_rate
from .spectral_radius import MANY_STEPS, radii_of
from .stability import GRID, GROWING

MAX_DIM = 2000  # coordinates of phase space, of whose Jacobian all eigenvalues are computed
MAX_DIM_OF_SEARCH = 100  # up to so many, the largest stable learning rate is searched
MAX_RATES = 64  # learning rates per compiled call
RATES_AT_ONCE = 8  # whose Jacobians are held in memory together
NUM_DIRECTIONS = 3  # along which derivatives are compared with differences
DISTANCES = 1e-4, 1e-6  # of these differences
ROUND_OFF = 1e4  # differences are trusted down to so many ulp of what they are taken of


class Spectrum(eqx.Module):
    """The eigenvalues of an optimizer on a problem, linearised in phase space at one position.

    - `flow`: those of the Jacobian of the vector field, in units of 1/time, by falling real part;
      None if the optimizer has no flow.
    - `map`: those of the Jacobian of one step, by falling modulus. They are e^(hλ) of `flow` up to
      O(h²).
    - `modified`: those of the modified vector field; None if no modified equation is known.
    - `stable_rate`: the largest learning rate at which no |eigenvalue| of the map is above 1; inf
      if there is no such limit, 0 if no learning rate is stable, NaN if it is not known.
    - `learning_rate`: that of the optimizer; its time step if it has none.
    - `x`: the position, and `place`: what it is, "equilibrium", "minimizer", "start" or "position".
    - `optimizer`, `problem`: what was linearised.

    All eigenvalues are NaN where there is no derivative.
    """

    flow: Complex[np.ndarray, " n"] | None
    map: Complex[np.ndarray, " n"]
    modified: Complex[np.ndarray, " n"] | None
    stable_rate: float
    learning_rate: float
    x: PyTree
    place: str = eqx.field(static=True)
    optimizer: AbstractOptimizer
    problem: Problem

    @property
    def radius(self) -> float:
        """The spectral radius of the map, its largest |eigenvalue|."""
        return float(np.abs(self.map).max())

    @property
    def stability(self) -> str:
        """In words, up to which learning rate no |eigenvalue| of the map is above 1."""
        if np.isnan(self.map).any():
            return "without a derivative there"
        if np.isnan(self.stable_rate):
            return f"{'stable' if self.radius <= UNSTABLE else 'unstable'} at this learning rate"
        if self.stable_rate == 0:
            return "unstable at every learning rate"
        if self.stable_rate == np.inf:
            return "stable at every learning rate"
        return f"stable up to the learning rate {self.stable_rate:.4g}"

    def __repr__(self) -> str:
        subject = f"{self.optimizer} on {self.problem.name} at the {self.place}"
        radius = "" if np.isnan(self.radius) else f"radius {self.radius:.6g}, "
        return f"Spectrum(of {subject}, {radius}{self.stability})"


def spectrum(optimizer: AbstractOptimizer, problem: Problem, x: Any = None) -> Spectrum:
    """The eigenvalues of flow, map and modified flow at a position, and the largest stable rate.

    Near an equilibrium a perturbation of the flow develops like e^(λt), for each eigenvalue λ of
    `flow`, and one of the map like μᵏ, for each eigenvalue μ of `map`. They are computed from the
    derivatives of `vector_field` and `step` in all coordinates of phase space, with the memory as
    it begins and at a time long after any cold start, in float64, whatever JAX is set to. The field
    need be no gradient: on a game λ is complex, and the imaginary part is the frequency at which
    the players turn. On a loss the eigenvalues of `SGD` are -λ(∇²f) and 1 - ηλ(∇²f).

    The largest stable learning rate is the first one at which the spectral radius exceeds 1. It is
    found by making the optimizer anew with other learning rates, inside of all its wrappers; an
    optimizer that is made from a time step gets another time step. All other hyperparameters stay
    as they are. It is searched from 1e-6 to 1e6 in units of 1/(slope of the field), with five
    points per power of ten, in phase spaces of up to 100 coordinates, and refined to about 1e-12;
    where two eigenvalues meet as they leave the unit disc, to about 1e-8.

    Where a corner or a jump lies in the field, such as |ψ| of a gradient penalty, or in the step,
    such as √v of Adam at rest, there is no derivative, and the eigenvalues are NaN. Derivatives are
    compared with differences on both sides to find that out. `spectral_radius` freezes √v.

    - `x`: the position, by default the known equilibrium or minimizer nearest to the start, and
      the start if none is known. Elsewhere than at an equilibrium, eigenvalues say how neighbours
      spread during one step.

    **Raises:** `InvalidType` or `InvalidValue` for wrong input, as `Problem.start` does for `x`;
    `InvalidValue` where the field is not 0 at the point that the problem states as its equilibrium
    or minimizer, inside a JAX transformation, and in phase spaces of more than 2000 coordinates;
    `ProblemError` if JAX differentiates the field of the problem wrongly.

    >>> from dynopt import SGD, Alternating, problems
    >>> game = problems.dirac_gan()
    >>> print(f"{spectrum(SGD(0.1), game).radius:.6f}, {(1 + 0.05**2) ** 0.5:.6f}")
    1.001249, 1.001249
    >>> result = spectrum(Alternating(SGD(0.1), game.players), game)
    >>> print(f"{result.radius:.6f}, {result.stability}")
    1.000000, stable up to the learning rate 4
    >>> print(result.flow.imag)
    [ 0.5 -0.5]

    Source: L. Mescheder, A. Geiger and S. Nowozin, "Which training methods for GANs do actually
    converge?" (2018), section 2.
    """
    must_have_no_noise("spectrum", optimizer)
    must_be_optimizer(optimizer)
    must_be_single(optimizer)
    must_be_problem(problem)
    must_be_concrete("spectrum", optimizer, problem, x)
    position, place = _position(problem, x)
    original = optimizer.optimizer if isinstance(optimizer, Modified) else optimizer
    with jax.enable_x64(True):
        start = jax.tree.map(lambda leaf: jnp.asarray(leaf, float), position)
        double = fit_to_start(original, start, jnp.float64)
        dim = sum(map(np.size, jax.tree.leaves(_start("step", double, problem.loss, start))))
        if dim > MAX_DIM:
            raise InvalidValue(
                f"the phase space has {dim} coordinates, but all eigenvalues are computed in up to "
                f"{MAX_DIM}; take a smaller problem, or analysis.spectral_radius at curvatures."
            )
        of_map = _eigenvalues("step", double, problem.loss, start)
        of_flow = _flow_eigenvalues(double, problem.loss, start)
        modified = optimizer if isinstance(optimizer, Modified) else _modified(original)
        of_modified, stable_rate = None, np.nan
        if np.isnan(of_map).any():
            of_modified = modified and of_map
        elif modified is not None:
            fitted = fit_to_start(modified, start, jnp.float64)
            of_modified = _flow_eigenvalues(fitted, problem.loss, start, is_smooth=True)
        if dim <= MAX_DIM_OF_SEARCH and np.isfinite(of_map).all():
            stable_rate = _stable_rate(double, problem.loss, start)
    return Spectrum(
        of_flow,
        of_map[np.argsort(-np.abs(of_map), kind="stable")],
        of_modified,
        stable_rate,
        float(getattr(optimizer, "learning_rate", optimizer.h)),
        position,
        place,
        optimizer,
        problem,
    )


def _position(problem: Problem, x: Any) -> tuple[PyTree, str]:
    """The position that is meant, and what it is."""
    start = problem.start(x)
    if x is not None or problem.minimizers is None or not len(problem.minimizers):
        return start, "start" if x is None else "position"
    flat, unravel = ravel_pytree(start)
    distances = np.linalg.norm(problem.minimizers - np.asarray(flat), axis=1)
    nearest = unravel(jnp.asarray(problem.minimizers[distances.argmin()], flat.dtype))
    place = "minimizer" if problem.conservative else "equilibrium"
    there, at_start = (float(norm(problem.field(z))) for z in (nearest, start))
    if there > 1e-3 * at_start + 1e-6:  # it may be rounded
        raise InvalidValue(
            f"{problem.name} states a point as its {place} where the norm of the field is "
            f"{there:.3g}; correct it, or pass `x`."
        )
    return nearest, place


def _modified(optimizer: AbstractOptimizer) -> Modified | None:
    """The optimizer with its modified equation, if one is known and the map is smooth."""
    if optimizer.regularity.nonsmooth or optimizer.regularity.order < 1:
        return None
    try:
        return Modified(optimizer)
    except InvalidValue:
        return None


def _flow_eigenvalues(
    optimizer: AbstractOptimizer, loss: Callable, start: PyTree, is_smooth: bool = False
) -> np.ndarray | None:
    """Those of the vector field, by falling real part; None if the optimizer has no flow."""
    try:
        values = _eigenvalues("vector_field", optimizer, loss, start, is_smooth)
    except InvalidValue:
        return None
    return values[np.lexsort((-np.imag(values), -np.real(values)))]


def _eigenvalues(
    method: str,
    optimizer: AbstractOptimizer,
    loss: Callable,
    start: PyTree,
    is_smooth: bool = False,
) -> np.ndarray:
    """Those of the Jacobian of a method; NaN where there is no derivative.

    - `is_smooth`: whether it is known that there is one.
    """
    matrix, agrees = _jacobian(method, optimizer, loss, start, is_smooth)
    if not (agrees and np.isfinite(matrix).all()):
        return np.full(len(matrix), complex(np.nan, np.nan))
    return np.linalg.eigvals(np.asarray(matrix)).astype(complex)


@eqx.filter_jit
def _jacobian(
    method: str, optimizer: AbstractOptimizer, loss: Callable, start: PyTree, is_smooth: bool
):
    """The Jacobian of a method at the first point of phase space, and whether it is a derivative.

    It is none if differences on one side do not come nearer to it with the distance, and
    differ from it by more than round-off.
    """
    function, z = _in_one_vector(method, optimizer, loss, start)
    matrix = jax.jacfwd(function)(z)
    if is_smooth:
        return matrix, True
    one_side = np.random.default_rng(0).normal(size=(NUM_DIRECTIONS, z.size))
    directions = np.concatenate([one_side, -one_side])
    steps = [np.zeros((1, z.size)), *(distance * directions for distance in DISTANCES)]
    value, *values = jax.vmap(function)(z[None] + np.vstack(steps))
    distances = np.repeat(DISTANCES, len(directions))[:, None]
    along = jnp.tile(directions @ matrix.T, (len(DISTANCES), 1))
    far, near = jnp.split(jnp.abs((jnp.stack(values) - value[None]) / distances - along), 2)
    ulp = ROUND_OFF * jnp.finfo(z.dtype).eps / DISTANCES[1]
    size = DISTANCES[1] + jnp.abs(z).max()  # of the points at which the function is evaluated
    round_off = ulp * (jnp.abs(value).max() + size + jnp.abs(matrix).max())
    return matrix, jnp.all(near <= jnp.maximum(far / 3, round_off))


def _in_one_vector(
    method: str, optimizer: AbstractOptimizer, loss: Callable, start: PyTree
) -> tuple[Callable[[Array], Array], Array]:
    """A method as a function of one vector, late in a run, and the first point as one vector."""
    _, _, grad = flatten_loss(loss, start)
    z, unravel = ravel_pytree(_start(method, optimizer, loss, start))
    t = jnp.asarray(MANY_STEPS * optimizer.h)

    def function(z):
        return ravel_pytree(getattr(optimizer, method)(t, unravel(z), grad))[0]

    return function, z


def _start(method: str, optimizer: AbstractOptimizer, loss: Callable, start: PyTree) -> Any:
    x, _, grad = flatten_loss(loss, start)
    return (optimizer.init if method == "step" else optimizer.init_flow)(x, grad)


def _stable_rate(optimizer: AbstractOptimizer, loss: Callable, start: PyTree) -> float:
    """The first learning rate at which an |eigenvalue| of the map exceeds 1."""
    scale = float(_slope_of_field(loss, start)) or 1.0

    def radii(rates: np.ndarray) -> np.ndarray:
        filled = np.resize(rates, MAX_RATES)  # one compilation serves any number of rates
        matrices = np.asarray(_jacobians(optimizer, loss, start, filled))[: rates.size]
        return radii_of(matrices).reshape(rates.shape)

    grid = GRID[None] / scale
    try:
        rate = first_crossing(radii, grid, radii(grid))
    except InvalidValue:  # the optimizer cannot be made with another rate
        return np.nan
    grows = 0 < rate[0] < np.inf and radii(0.9 * rate)[0] > GROWING
    return 0.0 if grows else float(rate[0])


@eqx.filter_jit
def _slope_of_field(loss: Callable, start: PyTree) -> Array:
    """The change of the field per distance, along one direction."""
    x, _, grad = flatten_loss(loss, start)
    way = np.random.default_rng(0).normal(size=x.shape)
    return jnp.linalg.norm(jax.jvp(grad, (x,), (way,))[1]) / np.linalg.norm(way)


@eqx.filter_jit
def _jacobians(
    optimizer: AbstractOptimizer, loss: Callable, start: PyTree, rates: Array | np.ndarray
) -> Array:
    """The Jacobians of the maps with these learning rates."""

    def of_map(rate):
        changed = with_learning_rate(optimizer, rate).for_leaves(start)
        function, z = _in_one_vector("step", changed, loss, start)
        return jax.jacfwd(function)(z)

    return jax.lax.map(of_map, jnp.asarray(rates), batch_size=RATES_AT_ONCE)
