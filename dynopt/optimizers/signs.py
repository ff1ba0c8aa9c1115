"""The sign and its smooth approximations, each the gradient of a norm or of a smoothed norm."""

import jax.numpy as jnp
from jaxtyping import Array

from ..checks import Scalar, concrete_value


def sign(m: Array, smoothing: Scalar | Array) -> Array:
    """tanh(m/s) for the `smoothing` s > 0; sign(m), the gradient of |m|, for s = 0."""
    is_smooth = smoothing > 0
    return jnp.where(is_smooth, jnp.tanh(m / jnp.where(is_smooth, smoothing, 1)), jnp.sign(m))


def smoothed_norm(m: Array, smoothing: Scalar) -> Array:
    """K(m) = s log cosh(m/s) in each coordinate, whose gradient is `sign`; |m| for s = 0."""
    is_smooth = smoothing > 0
    s = jnp.where(is_smooth, smoothing, 1)
    u = jnp.abs(m / s)
    return jnp.where(is_smooth, s * (u + jnp.log1p(jnp.exp(-2 * u)) - jnp.log(2)), jnp.abs(m))


def conjugate_norm(u: Array, smoothing: Scalar) -> Array:
    """K*(u), the convex conjugate of `smoothed_norm` in each coordinate.

    It is s (u artanh u + ½ log(1-u²)) for |u| < 1, and infinite for |u| > 1. For s = 0 it is 0 for
    |u| <= 1: the indicator function of the box.
    """
    inside = jnp.abs(u) < 1
    v = jnp.where(inside, u, 0)
    at_edge = jnp.where(jnp.abs(u) == 1, smoothing * jnp.log(2), jnp.inf)
    return jnp.where(inside, smoothing * (v * jnp.arctanh(v) + jnp.log1p(-(v**2)) / 2), at_edge)


def nonsmooth(smoothing: Scalar) -> tuple[str, ...]:
    """The operations without a derivative in a map with this `smoothing`; none if it is traced."""
    return ("sign",) if concrete_value(smoothing) == 0 else ()
