"""Affine noisy maps and flows: how the first two moments change in each step."""

import abc
import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from ..checks import must_be_concrete
from ..derivations import Modified
from ..derivations.series import add_scaled
from ..derivations.stochastic import StochasticEquation
from ..errors import InvalidValue
from ..optimizers import AbstractOptimizer, Minibatch
from ..optimizers.base import must_be_optimizer
from ..optimizers.gradient import BatchGradient
from ..optimizers.wrappers.noise import Driven, noise_of, plus_noise, replace_noise
from ..problems import Problem
from ..problems.problem import must_be_problem
from ..runs.batches import must_be_single
from ..runs.prepare import fit_to_start, flatten_loss

MAX_DIM = 300  # coordinates of phase space for noise with the same law everywhere
MAX_DIM_OF_OPERATOR = 40  # the same for other noise, whose operator has (dim + 1)⁴ entries
TOLERANCE = 1e-9  # of the terms of an affine function: what it may differ from it, in float64
SIZES = (1e-3, 1.0, 1e3)  # of the distances at which a function is compared with an affine one
TIMES = (0.0, 1.0, 1000.0)  # in steps


class NoExactMoments(InvalidValue):
    """Moments are not known exactly, because the step is not affine or phase space is large."""


class TwoMoments(eqx.Module):
    """The mean and the covariance of a random point of phase space.

    - `mean`: shape `(..., dim)`: the position as one vector, then the memory.
    - `cov`: the covariance matrix, shape `(..., dim, dim)`.
    """

    mean: Float[np.ndarray, "*times dim"]
    cov: Float[np.ndarray, "*times dim dim"]

    @property
    def second(self) -> np.ndarray:
        """The second moments E yᵢ yⱼ, of the shape of `cov`."""
        return self.cov + self.mean[..., :, None] * self.mean[..., None, :]


class AbstractLaw(eqx.Module):
    """How the first two moments of a random point of phase space change in each step.

    - `start`: the first point z = (y, 1), shape `(dim + 1,)`.
    """

    start: eqx.AbstractVar[np.ndarray]

    @abc.abstractmethod
    def run(self, steps: int) -> tuple[np.ndarray, np.ndarray]:
        """The means and covariances of y after 0, 1, ..., `steps` steps."""

    @abc.abstractmethod
    def limit(self) -> tuple[np.ndarray, np.ndarray] | None:
        """The mean and the covariance of y after many steps; None if there is no limit."""


class AdditiveLaw(AbstractLaw):
    """The law of z = (y, 1) under z ← M z + noise of a constant covariance.

    - `matrix`: M, shape `(dim + 1, dim + 1)`, and `noise`: the covariance, of the same shape.
    """

    start: np.ndarray
    matrix: np.ndarray
    noise: np.ndarray

    def run(self, steps):
        mean, cov = self.start, np.zeros_like(self.noise)
        means, covs = [mean], [cov]
        for _ in range(steps):
            mean, cov = self.matrix @ mean, self.matrix @ cov @ self.matrix.T + self.noise
            means.append(mean)
            covs.append(cov)
        return np.stack(means)[:, :-1], np.stack(covs)[:, :-1, :-1]

    def limit(self):
        matrix, shift = self.matrix[:-1, :-1], self.matrix[:-1, -1]
        if not _contracts(matrix):
            return None
        mean = np.linalg.solve(np.eye(len(shift)) - matrix, shift)
        cov, power = self.noise[:-1, :-1], matrix
        while np.abs(power).max() > np.finfo(float).tiny:  # that of 2ᵏ steps becomes that of 2ᵏ⁺¹
            cov, power = cov + power @ cov @ power.T, power @ power
        return mean, cov


class OperatorLaw(AbstractLaw):
    """The law of z = (y, 1) whose second moments Q obey a linear recursion.

    - `operator`: the matrix that takes Q, as a vector, to the next one.
    """

    start: np.ndarray
    operator: np.ndarray

    def run(self, steps):
        second = np.outer(self.start, self.start).ravel()
        seconds = [second]
        for _ in range(steps):
            seconds.append(self.operator @ seconds[-1])
        return self._mean_and_cov(np.stack(seconds))

    def limit(self):
        operator, shift = self.operator[:-1, :-1], self.operator[:-1, -1]
        if not _contracts(operator):
            return None
        second = np.linalg.solve(np.eye(len(shift)) - operator, shift)
        return self._mean_and_cov(np.append(second, 1.0))

    def _mean_and_cov(self, seconds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        size = len(self.start)
        second = seconds.reshape(*seconds.shape[:-1], size, size)
        mean = second[..., :-1, -1]
        return mean, second[..., :-1, :-1] - mean[..., :, None] * mean[..., None, :]


def _contracts(matrix: np.ndarray) -> bool:
    """Whether all eigenvalues lie inside the unit circle, by more than round-off."""
    if not np.isfinite(matrix).all():
        return False
    round_off = 4 * len(matrix) * np.finfo(float).eps
    return bool(np.abs(np.linalg.eigvals(matrix)).max(initial=0) < 1 - round_off)


def affine_laws(
    analysis: str,
    optimizer: AbstractOptimizer,
    problem: Problem,
    x0: Any,
    include_flows: bool = True,
) -> tuple[AbstractLaw, AbstractLaw | None, AbstractLaw | None]:
    """The laws of the map, of the flow over the time h, and of the modified flow over this time.

    Those of flows that are not known, or not included, are None.

    **Raises:** as `moments` does.
    """
    must_be_optimizer(optimizer)
    must_be_single(optimizer)
    must_be_problem(problem)
    must_be_concrete(analysis, optimizer, problem, x0)
    original = optimizer.optimizer if isinstance(optimizer, Modified) else optimizer
    start = problem.start(x0)
    with jax.enable_x64(True):
        start = jax.tree.map(lambda leaf: jnp.asarray(leaf, float), start)
        x = ravel_pytree(start)[0]

        def fit(optimizer):
            return fit_to_start(optimizer, start, x.dtype)

        def law_of(what: str, dynamics: Any) -> AbstractLaw:
            return _law(what, dynamics, problem, start, analysis, optimizer)

        fitted = fit(original)
        noise = noise_of(fitted)
        if noise is None or not noise.is_white:
            StochasticEquation(fitted, x)  # raises an error that says what to type
        of_map = law_of("step", fitted)
        if not include_flows or not _has_flow(fitted, problem, start):
            return of_map, None, None
        of_flow = law_of("vector field", StochasticEquation(fitted, x))
        modified = optimizer if isinstance(optimizer, Modified) else modified_of(original)
        of_modified = modified and law_of(
            "modified vector field", StochasticEquation(fit(modified), x)
        )
    return of_map, of_flow, of_modified


def _has_flow(optimizer: AbstractOptimizer, problem: Problem, start: PyTree) -> bool:
    x, _, grad = flatten_loss(problem.loss, start)
    try:
        jax.eval_shape(lambda y: optimizer.vector_field(y.x[0], y, grad), optimizer.init(x, grad))
    except InvalidValue:
        return False
    return True


def modified_of(optimizer: AbstractOptimizer) -> Modified | None:
    """The optimizer with its modified equation, if one is known and the map is smooth."""
    regularity = optimizer.regularity
    if regularity.nonsmooth or regularity.order < 1:
        return None
    try:
        return Modified(optimizer)
    except InvalidValue:
        return None


def _law(
    what: str,
    dynamics: AbstractOptimizer | StochasticEquation,
    problem: Problem,
    start: PyTree,
    analysis: str,
    optimizer: AbstractOptimizer,
) -> AbstractLaw:
    """The law of a map, or of a stochastic equation over the time h, if it is affine.

    - `what`: what it is called in messages.
    """
    is_flow = isinstance(dynamics, StochasticEquation)
    fitted = dynamics.optimizer if is_flow else dynamics
    noise = noise_of(fitted)
    assert noise is not None
    y = jax.eval_shape(lambda: _first_point(dynamics, problem.loss, start))
    dim, limit = (
        sum(map(np.size, jax.tree.leaves(y))),
        MAX_DIM if noise.is_constant else MAX_DIM_OF_OPERATOR,
    )
    if dim > limit:
        raise NoExactMoments(
            f"the phase space of {optimizer!r} on {problem.name} has {dim} coordinates, but exact "
            f"moments are computed in up to {limit}; estimate them with "
            f"{_ensemble(analysis)}."
        )
    system = _affine_system(dynamics, problem.loss, start, noise.is_constant)
    z, matrix, columns, is_affine, is_steady = system
    if not (is_affine and is_steady):
        fault = "is not affine in the point of phase space and in the noise"
        fault = "depends on the time" if is_affine else fault
        raise NoExactMoments(
            f"exact moments are known for quadratic losses and affine optimizers such as SGD, "
            f"Momentum, Nesterov and averages of them, but the {what} of {optimizer!r} on "
            f"{problem.name} {fault}; estimate them with {_ensemble(analysis)}."
        )
    h = float(fitted.h)
    if noise.is_constant:
        cov = columns[:, :, -1].T @ columns[:, :, -1]
        return AdditiveLaw(z, *(_over_time(matrix, cov, h) if is_flow else (matrix, cov)))
    pairs = np.einsum("jab,jcd->acbd", columns, columns).reshape(2 * [len(z) ** 2])
    if not is_flow:
        return OperatorLaw(z, np.kron(matrix, matrix) + pairs)
    one = np.eye(len(z))
    generator = np.kron(matrix, one) + np.kron(one, matrix) + pairs
    return OperatorLaw(z, np.asarray(_exponential(h * generator)))


def _ensemble(analysis: str) -> str:
    """What to type in place of an exact analysis."""
    return {
        "stationary": "dynopt.ensemble(optimizer, problem, steps).cov[-1] after many steps",
    }.get(analysis, "dynopt.ensemble(optimizer, problem, steps)")


_exponential = jax.jit(jax.scipy.linalg.expm)


def _over_time(matrix: np.ndarray, cov: np.ndarray, time: float) -> tuple[np.ndarray, np.ndarray]:
    """e^(tA) and the covariance ∫₀ᵗ e^(sA) C e^(sAᵀ) ds that dz = A z dt + √C dW has collected.

    It is a block of one matrix exponential for a short time, which is then doubled.
    """
    norm = np.linalg.norm(matrix, 1) * time
    doublings = max(0, int(np.ceil(np.log2(norm)))) if 0 < norm < np.inf else 0
    blocks = np.block([[-matrix, cov], [np.zeros_like(cov), matrix.T]])
    block = np.asarray(_exponential(time / 2**doublings * blocks))
    size = len(matrix)
    power = block[size:, size:].T
    total = power @ block[:size, size:]
    for _ in range(doublings):
        total, power = total + power @ total @ power.T, power @ power
    return power, (total + total.T) / 2


def drive(optimizer: AbstractOptimizer, xi: Array) -> AbstractOptimizer:
    """The optimizer with ξ in place of the random numbers of the noise inside it.

    Its gradient is ∇f + Σⱼ ξⱼ sⱼ with the columns sⱼ of the root of the covariance. Those of
    minibatches are functions of the position, as their gradients are.
    """

    def driven(noise):
        def change(grad, start):
            def along(x):
                root = noise.root_at(x, grad)
                return xi * root[0] if noise.is_diagonal else xi @ root

            if not isinstance(noise, Minibatch):
                return plus_noise(grad, along(start))
            full = BatchGradient(lambda x: grad(x) + along(x))
            return BatchGradient(full, lambda x, i, k: full(x))

        return Driven(noise.optimizer, change)

    return replace_noise(optimizer, driven)


def _first_point(dynamics: Any, loss: Callable, start: PyTree) -> Any:
    x, _, grad = flatten_loss(loss, start)
    if isinstance(dynamics, StochasticEquation):
        return dynamics.optimizer.init_flow(x, grad)
    return dynamics.init(x, grad)


def _noise_shape(dynamics: Any, y: Any, grad: Callable) -> tuple[int, ...]:
    """The shape of ξ."""
    if isinstance(dynamics, StochasticEquation):
        return dynamics.brownian_shape(y.x[0], y, grad)
    noise = noise_of(dynamics)
    assert noise is not None
    root = noise.root_at(y.x, grad)
    return root[0].shape if noise.is_diagonal else root[:, 0].shape


def _affine_system(dynamics: Any, loss: Callable, start: PyTree, is_constant: bool):
    """The matrices M and Nⱼ of (y, ξ) ↦ M z + Σⱼ ξⱼ Nⱼ z with z = (y, 1).

    Of an equation the function is its drift plus Σⱼ ξⱼ bⱼ. It returns the first z, M, all Nⱼ,
    whether the function is this one, and whether it is the same at all times.
    """
    evaluated = jax.tree.map(np.asarray, _evaluate(dynamics, loss, start, is_constant))
    y, points, vectors, values, value, slopes, responses, slopes_of_responses = evaluated
    dim, number = responses.shape
    matrix = np.zeros((dim + 1, dim + 1))
    matrix[:-1, :-1], matrix[:-1, -1] = slopes, value
    matrix[-1, -1] = not isinstance(dynamics, StochasticEquation)
    columns = np.zeros((number, dim + 1, dim + 1))
    columns[:, :-1, -1] = responses.T
    if not is_constant:
        columns[:, :-1, :-1] = slopes_of_responses.transpose(1, 0, 2)

    def affine(points, vectors, matrix, columns):
        z = np.pad(points, ((0, 0), (0, 1)), constant_values=1.0)
        return (z @ matrix.T + np.einsum("pj,jab,pb->pa", vectors, columns, z))[:, :-1]

    size = affine(*map(np.abs, (points, vectors, matrix, columns)))
    tolerance = TOLERANCE * size.max(1, keepdims=True)
    is_affine = (np.abs(values[0] - affine(points, vectors, matrix, columns)) <= tolerance).all()
    is_steady = (np.abs(values - values[0]) <= tolerance).all()
    return np.append(y, 1.0), matrix, columns, is_affine, is_steady


@eqx.filter_jit
def _evaluate(dynamics: Any, loss: Callable, start: PyTree, is_constant: bool):
    """The first y, a few points y and vectors ξ, the values there at a few times, and at y = ξ = 0
    the value and the derivatives in y, in ξ, and in ξ and y unless the noise is constant."""
    _, _, grad = flatten_loss(loss, start)
    is_flow = isinstance(dynamics, StochasticEquation)
    first = _first_point(dynamics, loss, start)
    y, unravel = ravel_pytree(first)
    shape = _noise_shape(dynamics, first, grad)

    @jax.jit  # so that it is traced once for all that follows
    def function(y, xi, t):
        point, xi = unravel(y), xi.reshape(shape)
        if is_flow:
            noise = dynamics.combine(dynamics.columns(t, point, grad), xi)
            return ravel_pytree(add_scaled(dynamics.drift(t, point, grad), (1, noise)))[0]
        return ravel_pytree(drive(dynamics, xi).step(t, point, grad))[0]

    draw = np.random.default_rng(0).normal
    distances = np.array(SIZES)[:, None] * draw(size=(len(SIZES), y.size))
    points = y[None] + (1 + jnp.abs(y).max()) * distances
    vectors = draw(size=(len(SIZES), math.prod(shape)))
    values = jax.vmap(lambda t: jax.vmap(lambda y, xi: function(y, xi, t))(points, vectors))(
        (dynamics.optimizer if is_flow else dynamics).h * np.array(TIMES)
    )

    def at_zero(y):
        def value(y, xi):
            value = function(y, xi, jnp.zeros_like(y[0]))
            return value, value

        (slopes, responses), value = jax.jacfwd(value, (0, 1), has_aux=True)(
            y, jnp.zeros_like(vectors[0])
        )
        return responses, (value, slopes)

    responses, (value, slopes) = at_zero(jnp.zeros_like(y))
    of_responses = None if is_constant else jax.jacfwd(lambda y: at_zero(y)[0])(jnp.zeros_like(y))
    return y, points, vectors, values, value, slopes, responses, of_responses


def mean_of_quadratic(
    phi: Callable, start: PyTree, mean: np.ndarray, cov: np.ndarray
) -> np.ndarray:
    """E φ(x) for a quadratic φ of positions like `start`, as a vector.

    - `mean`, `cov`: those of a point of phase space.

    **Raises:** `NoExactMoments` if φ is not quadratic.
    """
    dim = sum(map(np.size, jax.tree.leaves(start)))
    moments = jnp.asarray(mean[:dim]), jnp.asarray(cov[:dim, :dim])
    values, is_quadratic = _mean_of_quadratic(phi, start, *moments)
    if not is_quadratic:
        raise NoExactMoments("the test function is not quadratic; estimate it from an ensemble.")
    return np.asarray(values)


@eqx.filter_jit
def _mean_of_quadratic(phi: Callable, start: PyTree, mean: Array, cov: Array):
    """E φ(x) for a quadratic φ, and whether it is quadratic."""
    unravel = ravel_pytree(start)[1]

    def flat(x):
        return jnp.ravel(phi(unravel(x)))

    value, slope, curvature = flat(mean), jax.jacfwd(flat)(mean), jax.jacfwd(jax.jacrev(flat))(mean)
    moves = (1 + jnp.abs(mean).max()) * np.random.default_rng(0).normal(size=(3, len(mean)))
    series = [
        value + slope @ move + jnp.einsum("kij,i,j->k", curvature, move, move) / 2 for move in moves
    ]
    at_moves = jnp.stack([flat(mean + move) for move in moves])
    fault = jnp.abs(jnp.stack(series) - at_moves).max()
    is_quadratic = fault <= 1e-9 * (jnp.abs(at_moves).max() + jnp.abs(value).max())
    return value + jnp.einsum("kij,ij->k", curvature, cov) / 2, is_quadratic
