"""The sign and its smooth versions: gradients of norms, and of what rounds their corners."""

import jax.numpy as jnp
from jaxtyping import Array

from ..checks import Scalar, concrete_value


def sign(m: Array, smoothing: Scalar) -> Array:
    """tanh(m/s) for the `smoothing` s > 0; sign(m), the gradient of |m|, for s = 0."""
    smooth = smoothing > 0
    return jnp.where(smooth, jnp.tanh(m / jnp.where(smooth, smoothing, 1)), jnp.sign(m))


def size(m: Array, smoothing: Scalar) -> Array:
    """K(m) = s log cosh(m/s), whose gradient is `sign`; |m| for s = 0."""
    smooth = smoothing > 0
    s = jnp.where(smooth, smoothing, 1)
    u = jnp.abs(m / s)
    return jnp.where(smooth, s * (u + jnp.log1p(jnp.exp(-2 * u)) - jnp.log(2)), jnp.abs(m))


def barrier(u: Array, smoothing: Scalar) -> Array:
    """K*(u), the conjugate of `size`: s (u artanh u + ½ log(1-u²)) for |u| < 1, infinite beyond; 0 inside for s = 0."""
    inside = jnp.abs(u) < 1
    v = jnp.where(inside, u, 0)
    edge = jnp.where(jnp.abs(u) == 1, smoothing * jnp.log(2), jnp.inf)
    return jnp.where(inside, smoothing * (v * jnp.arctanh(v) + jnp.log1p(-(v**2)) / 2), edge)


def corners(smoothing: Scalar) -> tuple[str, ...]:
    """What in a page of this smoothing is not smooth, as far as it can be seen."""
    return ("sign",) if concrete_value(smoothing) == 0 else ()
