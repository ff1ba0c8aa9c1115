"""Noise: optimizers whose gradients are random, and the law of that noise."""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Key

from ...checks import is_concrete, whole_number
from ...errors import InvalidType, InvalidValue
from ..base import AbstractOptimizer
from ..gradient import BatchGradient
from .base import AbstractWrapper, must_be_wrappable
from .probing import can_be_probed, is_affine_in_gradient


class AbstractNoise(AbstractWrapper):
    """An optimizer whose every step uses a random gradient in place of ∇f.

    All gradients that one step asks for have the same noise. Each step has its own random key,
    derived from `key` and the number k = t/h of the step, so that a run is the same each time. In
    float32 the numbers of the steps are exact up to k = 2²⁴.

    What stays when the time step is refined is the temperature h S Sᵀ, where S Sᵀ is the covariance
    of the random gradient.

    A subclass defines `draw` for the map, and `root_at` for the stochastic flow. The vector field
    is that with the mean gradient.
    """

    key: eqx.AbstractVar[Key[Array, "..."]]

    @abc.abstractmethod
    def draw(self, key: Key[Array, ""], k: Array, x: Array, grad: Any) -> Any:
        """The gradient of one step, a function of the position.

        - `key`: that of this step; `k`: the number of the step.
        - `x`: the position at which the step begins.
        """

    @abc.abstractmethod
    def root_at(self, x: Array, grad: Any) -> Array:
        """Sᵀ, of shape `(columns, dim)`: the covariance of the gradient at x is S Sᵀ.

        If the noise `is_diagonal`, it is the diagonal of S as one row, of shape `(1, dim)`.
        """

    is_diagonal = property(
        lambda self: False, doc="Whether the noise of one coordinate is independent of the others."
    )
    is_constant = property(
        lambda self: False, doc="Whether the noise has the same law at every position."
    )
    is_white = property(
        lambda self: True, doc="Whether the noise of one step is independent of the others."
    )

    def wrap_step(self, step, t, y, grad):
        k = jnp.round(jnp.asarray(t) / self.h).astype(int)
        return step(t, y, self.draw(jax.random.fold_in(self.key, k), k, y.x, grad))

    def vector_field(self, t, y, grad):
        return self.optimizer.vector_field(t, y, grad)

    def with_time_step(self, h):
        """The same temperature with another time step.

        **Raises:** `InvalidValue` for an optimizer that is not affine in the gradient, such as
        Adam: at one temperature the noise grows like 1/√h, so that its steps have no limit.
        """
        if self.is_white and not _is_affine(self.optimizer):
            raise InvalidValue(
                f"the noise in each gradient grows like 1/√h when the time step of {self!r} is "
                "refined at one temperature, and an optimizer that is not affine in the gradient "
                "has no limit then; choose time step and noise together, such as "
                "dynopt.Noisy(dynopt.Adam(0.001), sigma=1.0)."
            )
        return super().with_time_step(h)

    def optax(self):
        raise InvalidValue(
            f"optax has no transformation that draws the noise of {self!r}; pass noisy gradients "
            f"to {self.optimizer!r}.optax()."
        )

    def hyperparameters(self):
        return super().hyperparameters() | {"key": seed_of(self.key)}

    @property
    def made_at(self) -> Any:
        """The time step for which the arguments of the constructor hold; None for the own one."""
        return None

    def __repr__(self) -> str:
        if self.made_at is None or not is_concrete((self.made_at, self.h)):
            return super().__repr__()
        if jnp.ndim(self.h):  # a batch
            return super().__repr__()
        n = float(self.made_at / self.h)
        if abs(n - 1) < 1e-9:
            return super().__repr__()
        return f"{self.with_time_step(self.made_at)!r}.refine({n:.12g})"


def _is_affine(optimizer: AbstractOptimizer) -> bool:
    """Whether the vector field is affine in the gradient, for positions that are not known yet.

    It is tested with vectors and, as for Muon, with matrices. An optimizer of named parts takes
    neither; then the optimizer inside it is tested.
    """
    tested = [x for x in (jnp.zeros(2), jnp.zeros((2, 2))) if can_be_probed(optimizer, x)]
    if tested:
        return any(is_affine_in_gradient(optimizer, x) for x in tested)
    inner = getattr(optimizer, "optimizer", None)
    return inner is None or _is_affine(inner)


class Driven(AbstractWrapper):
    """An optimizer with `change(grad, x)` in place of each gradient, x where the step begins."""

    optimizer: AbstractOptimizer
    change: Callable[[Any, Array], Any]

    def __init__(self, optimizer, change):
        self.optimizer, self.change = optimizer, change

    def wrap_step(self, step, t, y, grad):
        return step(t, y, self.change(grad, y.x))

    def vector_field(self, t, y, grad):
        return self.optimizer.vector_field(t, y, self.change(grad, y.x))


def with_noise(optimizer: AbstractOptimizer, e: Array) -> AbstractOptimizer:
    """A noisy optimizer whose noise is one constant vector."""
    return replace_noise(
        optimizer, lambda noise: Driven(noise.optimizer, lambda grad, _: plus_noise(grad, e))
    )


def with_drawn_noise(optimizer: AbstractOptimizer, key: Key[Array, ""]) -> AbstractOptimizer:
    """A noisy optimizer whose noise is that of one key at any time."""

    def draw(noise):
        first = jnp.zeros((), int)
        return Driven(noise.optimizer, lambda grad, x: noise.draw(key, first, x, grad))

    return replace_noise(optimizer, draw)


def plus_noise(grad: Callable, noise: Array) -> BatchGradient:
    """A gradient, and its parts over data, to which a constant vector is added."""
    part: Any = getattr(grad, "part", None)
    loss: Any = getattr(grad, "loss", None)
    return BatchGradient(
        lambda x: grad(x) + noise,
        part and (lambda x, i, k: part(x, i, k) + noise),
        getattr(grad, "additive", True),
        loss and (lambda x: loss(x) + jnp.vdot(noise, x)),
    )


def noise_of(optimizer: AbstractOptimizer) -> AbstractNoise | None:
    """The noise inside an optimizer, at any depth; None if there is none."""
    leaves = jax.tree.leaves(optimizer, is_leaf=_is_noise)
    return next(filter(_is_noise, leaves), None)


def replace_noise(
    optimizer: AbstractOptimizer, replacement: Callable[[AbstractNoise], AbstractOptimizer]
) -> AbstractOptimizer:
    """The optimizer with `replacement(noise)` in the place of the noise inside it."""
    return jax.tree.map(
        lambda leaf: replacement(leaf) if _is_noise(leaf) else leaf, optimizer, is_leaf=_is_noise
    )


def _is_noise(value: Any) -> bool:
    return isinstance(value, AbstractNoise)


def must_take_noise(optimizer: Any) -> None:
    """**Raises:** `InvalidType` if `optimizer` is no optimizer; `InvalidValue` if it is noisy."""
    must_be_wrappable(optimizer)
    if noise_of(optimizer) is not None:
        raise InvalidValue(
            f"{optimizer!r} is noisy already; wrap the optimizer inside it, with the sum of the "
            "two variances if there are two noises."
        )


def as_key(key: Any) -> Key[Array, ""]:
    """One typed random key, made from a seed if `key` is a whole number.

    **Raises:** `InvalidType`, and `InvalidValue` for a negative seed.
    """
    if isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        if key.ndim == 0:
            return key
        raise InvalidType(
            f"`key` holds {key.size} random keys, but an optimizer has one; pass one of them, and "
            "run many paths with dynopt.ensemble."
        )
    if isinstance(key, Tracer) and jnp.issubdtype(key.dtype, jnp.integer) and not key.ndim:
        return jax.random.key(key)
    if isinstance(key, bool) or not eqx.is_array_like(key) or jnp.ndim(key) > 0:
        raise InvalidType(
            f"`key` must be a seed or a typed random key, got {key!r}; pass for example key=0 or "
            "key=jax.random.key(0)."
        )
    return jax.random.key(whole_number("key", key, least=0, most=2**32 - 1, like=0))


def seed_of(key: Any) -> Any:
    """The seed from which a key was made; the key itself if there is none, or if it is traced."""
    if isinstance(key, Tracer) or jnp.ndim(key) > 0:
        return key
    with jax.ensure_compile_time_eval():
        seed = int(jax.random.key_data(key)[..., -1])
        again = jax.random.key(seed)
        if again.dtype == key.dtype and (again == key).all():
            return seed
    return key


def must_have_no_noise(analysis: str, optimizer: Any) -> None:
    """**Raises:** `InvalidValue` if the optimizer is noisy."""
    if noise_of(optimizer) is not None:
        quiet = replace_noise(optimizer, lambda noise: noise.optimizer)
        raise InvalidValue(
            f"`{analysis}` is for optimizers without noise, got {optimizer!r}; pass {quiet!r}, or "
            "run many noisy paths with dynopt.ensemble."
        )
