"""The stochastic differential equation of a noisy optimizer, derived from its vector field."""

from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..checks import is_concrete
from ..errors import InvalidValue
from ..optimizers import AbstractOptimizer
from ..optimizers.wrappers.noise import (
    AbstractNoise,
    noise_of,
    plus_noise,
    replace_noise,
    with_drawn_noise,
    with_noise,
)
from ..optimizers.wrappers.probing import (
    acts_on_each_coordinate,
    is_affine_in_gradient,
    is_quadratic_in_gradient,
    positive_memories,
)
from .expansion import small_step, taylor
from .memoryless import Memoryless
from .modified import Modified
from .series import add_scaled

# Weights and nodes of Gauss-Hermite quadrature for a standard normal variable, which is exact for
# polynomials up to the fifth degree.
HERMITE = ((1 / 6, -(3**0.5)), (2 / 3, 0.0), (1 / 6, 3**0.5))
MOST_NOISE = 0.15  # of a second moment, as a share of it, without a warning
SAMPLES = 16  # of the noise, where this quadrature is not exact


class StochasticEquation(eqx.Module):
    """dy = a(t, y) dt + Σⱼ bⱼ(t, y) dWⱼ in the sense of Ito, the limit of a noisy map.

    For a vector field F(y, g) that is affine in the gradient and a root S of the covariance,

        a = F(y, ∇f),    bⱼ = √h (∂F/∂g) sⱼ    for the columns sⱼ of S

    Otherwise the noise is pushed through the vector field: with values eⱼ of the noise and their
    probabilities wⱼ,

        Fⱼ = F(y, ∇f + eⱼ),    a = Σⱼ wⱼ Fⱼ,    bⱼ = √(h wⱼ) (Fⱼ - a)

    These columns are a root of h Cov F by themselves. The values are the three nodes of
    Gauss-Hermite quadrature where that is exact: for normal noise of single coordinates in which F
    is a polynomial of the second degree, as for Adam. Elsewhere they are 16 random values of the
    noise. Then a and Σⱼ bⱼ bⱼᵀ are random, too, with the means E F and h Cov F, and
    `StochasticFlow` draws them anew for each step of its solver.

    A memory that no gradient makes negative, such as the second moment v of Adam, would be made
    negative by normal noise. Its noise is limited to half of it in each time h, which matters in
    the first steps after v = 0. Later its relative size is √(h/τ) for the time τ over which v
    averages, and map and flow are near where that is small.

    Of a `Modified` optimizer it is the modified equation, whose weak order is 2 for additive noise:
    with the second terms φ₂ of the map and Ψ₂ = ½ d²/dh² (∂Φ_h/∂g) at h = 0,

        a = F + h (φ₂ - ½ F′F) - (h/4) Σⱼ F″(bⱼ, bⱼ),    bⱼ + h (√h Ψ₂ sⱼ - ½ F′bⱼ)

    - `optimizer`: a noisy optimizer, fitted to its positions.
    - `affine`: whether F is affine in the gradient.
    - `quadratic`: whether F is not affine, and the quadrature is exact.
    - `positive`: the numbers of the leaves of y that are memories that no gradient makes negative.
    - `doubt`: the text of a warning if √(h/τ) is more than 0.15 for one of them, or else empty.
    - `separable`: whether each coordinate has noise of its own, one Brownian motion for each column
      and coordinate. It is so if the noise of the coordinates is independent and the vector field
      acts on each coordinate by itself; the columns are then vectors of products.

    **Raises:** `InvalidValue` if the optimizer has no noise, or noise that is not white, and if the
    noise has no finite variance at the start, as that of RMSprop from v = 0, or enters memories
    that `Memoryless` has left out.
    """

    optimizer: AbstractOptimizer
    separable: bool = eqx.field(static=True)
    affine: bool = eqx.field(static=True)
    quadratic: bool = eqx.field(static=True)
    positive: tuple[int, ...] = eqx.field(static=True)
    doubt: str = eqx.field(static=True)

    def __init__(self, optimizer: AbstractOptimizer, x: Array):
        noise = noise_of(optimizer)
        if noise is None:
            raise InvalidValue(
                f"{optimizer!r} has no noise, so its flow is an ordinary differential equation; "
                "give it noise with dynopt.Noisy(optimizer, sigma=0.5)."
            )
        if not noise.is_white:
            raise InvalidValue(
                f"{noise!r} draws without replacement: the noise of an epoch sums to nearly 0, so "
                "that no stochastic differential equation belongs to it; use replace=True, or run "
                'its map with dynopt.iterate or dynopt.ensemble(..., of="map").'
            )
        self.optimizer = optimizer
        noiseless = replace_noise(self._first, lambda noise: noise.optimizer)
        self.affine = is_affine_in_gradient(noiseless, x)
        regularity = noiseless.regularity
        if not self.affine and regularity.initial_layer and not regularity.bias_corrected:
            raise InvalidValue(
                f"the flow of {optimizer!r} begins where a second moment v is 0 and divides by √v, "
                "so that its noise grows like 1/√t for t → 0 and has no finite variance; begin "
                "with v > 0, such as RMSprop with initial_scale=1.0 or bias_correction=True, or "
                'run its map with dynopt.iterate or dynopt.ensemble(..., of="map").'
            )
        if not self.affine and _holds_memoryless(noiseless):
            raise InvalidValue(
                f"{optimizer!r} leaves out memories, which average the noise of many steps, so "
                "that it cannot be pushed through its vector field; take the optimizer without "
                "dynopt.Memoryless."
            )
        memories = {} if self.affine else positive_memories(noiseless, x)
        self.positive = tuple(memories)
        self.doubt = self._doubt(memories)
        self.separable = (
            noise.is_diagonal
            and not self._is_modified  # the Hessian couples the coordinates
            and acts_on_each_coordinate(noiseless, x)
        )
        self.quadratic = (
            not self.affine and self.separable and is_quadratic_in_gradient(noiseless, x)
        )

    def _doubt(self, memories: dict[int, float]) -> str:
        """What is wrong with normal noise in these memories; empty if they are long enough."""
        if not is_concrete(self.optimizer) or jnp.ndim(self.optimizer.h):
            return ""
        share = (float(self.optimizer.h) * max(memories.values(), default=0.0)) ** 0.5
        if share <= MOST_NOISE:
            return ""
        return (
            f"the noise in a second moment of {self.optimizer!r} is {share:.0%} of it, so that it "
            "is far from normal, and the laws of map and flow differ; use a longer memory, such as "
            "decay=0.99 of RMSprop."
        )

    @property
    def noise(self) -> AbstractNoise:
        noise = noise_of(self.optimizer)
        assert noise is not None
        return noise

    def with_key(self, key: Any) -> "StochasticEquation":
        """The same equation with other random values of the noise."""
        return eqx.tree_at(lambda equation: equation.noise.key, self, key)

    @property
    def is_additive(self) -> bool:
        """Whether b depends on the time alone, so that Ito and Stratonovich are the same.

        The corrected diffusion of a modified equation depends on the point where F is not linear.
        """
        return self.affine and self.noise.is_constant and not self._is_modified

    @property
    def _is_modified(self) -> bool:
        return isinstance(self.optimizer, Modified)

    @property
    def _first(self) -> AbstractOptimizer:
        """The optimizer whose vector field is F."""
        return self.optimizer.optimizer if isinstance(self.optimizer, Modified) else self.optimizer

    def brownian_shape(self, t: Any, y: Any, grad: Any) -> tuple[int, ...]:
        """The shape of W: `(columns, dim)` if it is separable, and `(columns,)` otherwise."""
        columns = jax.eval_shape(lambda t, y: self.columns(t, y, grad), t, y)
        number = jax.tree.leaves(columns)[0].shape[0]
        return (number, *y.x.shape) if self.separable else (number,)

    def drift(self, t: Any, y: Any, grad: Any) -> Any:
        """a(t, y), with the fields of y."""
        if not self.affine:
            return self._pushed(t, y, grad)[0]
        drift = self.optimizer.vector_field(t, y, grad)
        if not self._is_modified:
            return drift
        field, columns = self._field(t, grad), self._first_columns(t, y, grad)

        def curvature(column):
            along = partial(_derivative, field, column)
            return _derivative(along, column, y)

        curvatures = jax.lax.map(curvature, columns)
        total = jax.tree.map(lambda leaf: leaf.sum(0), curvatures)
        return add_scaled(drift, (-self.optimizer.h / 4, total))

    def columns(self, t: Any, y: Any, grad: Any) -> Any:
        """The columns bⱼ(t, y), with the fields of y and a leading axis."""
        if not self.affine:
            return self._pushed(t, y, grad)[1]
        columns = self._first_columns(t, y, grad)
        if not self._is_modified:
            return columns
        h, field, t = self.optimizer.h, self._field(t, grad), jnp.asarray(t, y.x.dtype)
        inner = replace_noise(self._first, lambda noise: noise.optimizer)

        def second(root):
            def response(h):
                return _derivative(
                    lambda e: small_step(inner, h, t, y, plus_noise(grad, e)),
                    root,
                    jnp.zeros_like(root),
                )

            return taylor(inner, response, 2, t)[-1]

        seconds = jax.vmap(second)(self._roots(y, grad))
        turned = jax.vmap(lambda column: _derivative(field, column, y))(columns)
        return add_scaled(columns, (h**1.5, seconds), (-h / 2, turned))

    def _roots(self, y, grad) -> Array:
        """The columns of S as rows; if it is separable, the diagonal of S as one row."""
        roots = self.noise.root_at(y.x, grad)
        is_dense = self.noise.is_diagonal and not self.separable
        return jnp.diag(roots[0]) if is_dense else roots

    def _field(self, t, grad):
        return lambda y: self._first.vector_field(t, y, grad)

    def _first_columns(self, t, y, grad) -> Any:
        def response(e):
            return with_noise(self._first, e).vector_field(t, y, grad)

        slopes = jax.vmap(lambda root: _derivative(response, root, jnp.zeros_like(root)))(
            self._roots(y, grad)
        )
        return jax.tree.map(lambda slope: self.optimizer.h**0.5 * slope, slopes)

    def _pushed(self, t, y, grad) -> tuple[Any, Any]:
        """The mean of random vector fields, and columns from their deviations."""

        def field(optimizer):
            return optimizer.vector_field(t, y, grad)

        if self.quadratic:
            weights, nodes = (jnp.array([*pair], y.x.dtype) for pair in zip(*HERMITE, strict=True))
            noise = nodes[:, None] * self.noise.root_at(y.x, grad)
            fields = jax.vmap(lambda e: field(with_noise(self.optimizer, e)))(noise)
            of_columns = weights
        else:
            keys = jax.random.split(self.noise.key, SAMPLES)
            fields = jax.vmap(lambda key: field(with_drawn_noise(self.optimizer, key)))(keys)
            weights = jnp.full(SAMPLES, 1 / SAMPLES, y.x.dtype)
            of_columns = jnp.full(SAMPLES, 1 / (SAMPLES - 1), y.x.dtype)  # without bias
        scales = jnp.sqrt(self.optimizer.h * of_columns)
        mean = jax.tree.map(lambda leaf: jnp.tensordot(weights, leaf, 1), fields)
        deviations = jax.tree.map(lambda leaf, mean: leaf - mean[None], fields, mean)
        leaves, structure = jax.tree.flatten(deviations)
        columns = [jax.vmap(jnp.multiply)(scales, leaf) for leaf in leaves]
        for i in self.positive:
            columns[i] *= self._limit(jax.tree.leaves(y)[i], columns[i])[None]
        return mean, structure.unflatten(columns)

    def _limit(self, memory, columns) -> Array:
        """The factor by which the noise of a memory in one time h becomes at most half of it."""
        variance, most = self.optimizer.h * (columns**2).sum(0), jnp.maximum(memory, 0) / 2
        is_large = variance > most**2
        return jnp.where(is_large, most / jnp.sqrt(jnp.where(is_large, variance, 1)), 1)

    def combine(self, columns: Any, increments: Array) -> Any:
        """Σⱼ bⱼ dWⱼ, for increments of `brownian_shape`."""
        if not self.separable:
            return jax.tree.map(lambda leaf: jnp.tensordot(increments, leaf, 1), columns)
        return jax.tree.map(lambda leaf: (leaf * increments).sum(0), columns)


def _holds_memoryless(optimizer: AbstractOptimizer) -> bool:
    def is_memoryless(value):
        return isinstance(value, Memoryless)

    return any(map(is_memoryless, jax.tree.leaves(optimizer, is_leaf=is_memoryless)))


def _derivative(function, direction, at) -> Any:
    return jax.jvp(function, (at,), (direction,))[1]
