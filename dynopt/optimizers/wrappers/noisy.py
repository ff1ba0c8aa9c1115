"""Noisy gradients: a random vector is added to every gradient."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Key, PyTree

from ...checks import Scalar, nonnegative
from ...errors import InvalidType, InvalidValue
from ..base import AbstractOptimizer, replace_fields
from .noise import AbstractNoise, as_key, must_take_noise, plus_noise


class Noisy(AbstractNoise):
    """Noisy gradients turn gradient descent into a stochastic differential equation.

    The map, for the step Φ of the inner optimizer:

        yₖ₊₁ = Φ(yₖ) with ∇f(x) + σ ξₖ, or ∇f(x) + S(xₖ) ξₖ, in place of ∇f(x)

    where the ξₖ are independent standard normal vectors, one for each step. All gradients within
    one step have the same noise.

    The flow is a stochastic differential equation in the sense of Ito. For the vector field F(y, g)
    of the inner optimizer it is

        dy = F(y, ∇f) dt + √h (∂F/∂g) S dW        if F is affine in the gradient, as that of SGD
        dy = F̄ dt + Σⱼ √(h wⱼ) (Fⱼ - F̄) dWⱼ      otherwise

    with S = σ 1, Fⱼ = F(y, ∇f + σ ξⱼ) and F̄ = Σⱼ wⱼ Fⱼ for values ξⱼ of the noise and their
    probabilities wⱼ; where they are random values, their covariance is made free of bias. The noise
    of a second moment, such as v of Adam, is limited so that it stays positive. In the first steps
    after a small v, as of Adam and AdaGrad, the law of the flow is not that of the map: it is
    wider, and the position keeps the difference until it has forgotten these steps.

    The time step: it is that of the inner optimizer. What stays when it is refined is the
    temperature h S Sᵀ, so that `refine(n)` runs with n times the variance in each gradient
    (variance amplification). So the map converges to its flow in law, with weak order 1 where F is
    affine in the gradient. If σ were held instead, the noise would vanish with h, and the equation
    without noise would have the same weak order as the stochastic one.

    Lyapunov function: none is known; the noise raises the loss again and again.

    Elsewhere: `optax.add_noise` adds noise whose variance falls with the number of the step.

    Arguments:

    - `optimizer`: the inner optimizer.
    - `sigma`: σ, the standard deviation of each coordinate of the gradient, at the time step of
      `optimizer`; at least 0.
    - `root`: S in place of σ, at that time step: an array of shape `(dim, columns)`, or a function
      of a position that returns one. The coordinates are those of the position as one vector.
    - `key`: a seed, 0 by default, or a typed key of JAX. The same key gives the same run.

    **Raises:** `InvalidValue` if not exactly one of `sigma` and `root` is given, for a σ that is
    negative or not finite, for a root of the wrong shape or with numbers that are not finite, and
    for an optimizer that is noisy already; `InvalidType` for other keys and roots.

    >>> from dynopt import SGD
    >>> Noisy(SGD(0.1), sigma=0.5)
    Noisy(SGD(learning_rate=0.1), sigma=0.5, key=0)
    >>> float(Noisy(SGD(0.1), sigma=0.5).refine(4).sigma)
    1.0

    Source: Q. Li, C. Tai and W. E, "Stochastic modified equations and adaptive stochastic gradient
    algorithms" (2017); for the refinement Z. Li, S. Malladi and S. Arora, "On the validity of
    modeling SGD with stochastic differential equations (SDEs)" (2021).
    """

    optimizer: AbstractOptimizer
    scale: Scalar  # sqrt(h) sigma, which stays when the time step is refined
    root: Callable[[PyTree], Array] | None
    key: Key[Array, "..."]
    unravel: Callable | None = eqx.field(static=True)

    def __init__(self, optimizer, sigma=None, root=None, key=0):
        must_take_noise(optimizer)
        if (sigma is None) == (root is None):
            given = "neither" if sigma is None else "both"
            raise InvalidValue(
                f"{given} of `sigma` and `root` is given; pass one of them, such as sigma=0.5."
            )
        self.optimizer, self.unravel = optimizer, None
        self.scale = optimizer.h**0.5 * (1.0 if sigma is None else nonnegative("sigma", sigma))
        self.root = None if root is None else as_root(root)
        self.key = as_key(key)

    @property
    def sigma(self):
        """σ at the time step h; None if there is a root."""
        return self.scale / self.h**0.5 if self.root is None else None

    @property
    def made_at(self):
        return None if self.root is None else self.scale**2

    is_diagonal = property(lambda self: self.root is None)
    is_constant = property(lambda self: self.root is None or isinstance(self.root, ConstantRoot))

    def for_leaves(self, x0):
        zeros = jax.tree.map(jnp.zeros_like, x0)
        if self.root is not None:
            dim = sum(jnp.size(leaf) for leaf in jax.tree.leaves(x0))
            S = jax.eval_shape(self.root, zeros)
            if getattr(S, "ndim", None) != 2 or S.shape[0] != dim:
                found = f"has the shape {S.shape}" if hasattr(S, "shape") else f"returns {S!r}"
                raise InvalidValue(
                    f"`root` {found}, but the positions have {dim} coordinates; pass or return an "
                    f"array of shape ({dim}, columns), such as jax.numpy.eye({dim})."
                )
        return replace_fields(super().for_leaves(x0), unravel=ravel_pytree(zeros)[1])

    def draw(self, key, k, x, grad):
        root = self.root_at(x, grad)
        if self.is_diagonal:
            return plus_noise(grad, root[0] * jax.random.normal(key, x.shape, x.dtype))
        return plus_noise(grad, jax.random.normal(key, (len(root),), x.dtype) @ root)

    def root_at(self, x, grad):
        factor = self.scale / self.h**0.5
        if self.root is None:
            return jnp.asarray(factor * jnp.ones_like(x), x.dtype)[None]
        S = self.root(x if self.unravel is None else self.unravel(x))
        return factor * jnp.asarray(S, x.dtype).T


class ConstantRoot(eqx.Module):
    """The same matrix S at every position."""

    matrix: np.ndarray

    def __call__(self, x):
        return self.matrix


def as_root(root: Any) -> Any:
    """The function x ↦ S(x); an array becomes a constant function.

    **Raises:** `InvalidType` and `InvalidValue` for what is no matrix of finite numbers.
    """
    if callable(root):
        return root
    try:
        matrix = np.asarray(root, float)
    except (TypeError, ValueError):
        raise InvalidType(
            f"`root` must be an array of shape (dim, columns) or a function of the position that "
            f"returns one, got {root!r}; pass for example jax.numpy.eye(2)."
        ) from None
    if matrix.ndim != 2 or not np.isfinite(matrix).all():
        fault = (
            "holds numbers that are not finite"
            if matrix.ndim == 2
            else (f"has the shape {matrix.shape}")
        )
        raise InvalidValue(
            f"`root` {fault}; pass an array of finite numbers of shape (dim, columns), such as "
            "jax.numpy.eye(2)."
        )
    return ConstantRoot(matrix)
