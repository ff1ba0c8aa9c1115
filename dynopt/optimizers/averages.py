"""Running means that start at zero, corrected for that start; quotients and roots at zero."""

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array

from ..checks import Scalar


def bias_corrected(average: Array, limit: Array, t: ArrayLike, h: Scalar, tau: Scalar) -> Array:
    """A running mean that started at zero, divided by the weight it has accumulated by time `t`.

    At `t = 0` mean and weight are both zero, and the quotient is its `limit`, the value of the
    quantity that is averaged.
    """
    weight = averaging_weight(t, h, tau)
    has_started = weight > 0
    return jnp.where(has_started, average / jnp.where(has_started, weight, 1), limit)


def averaging_weight(t: ArrayLike, h: ArrayLike, tau: Scalar) -> Array:
    """The sum of the weights, by time `t`, in a running mean that started at zero.

    It is 1 - (1 - h/tau)^(t/h) for steps of `h`, and 1 - e^(-t/tau) at `h = 0`.
    """
    return -jnp.expm1(-jnp.asarray(t) * _forgetting_rate(h, tau))


def _forgetting_rate(h: ArrayLike, tau: Scalar) -> Array:
    """-log(1 - h/tau) / h, smooth down to `h = 0`, where it is 1/tau."""
    u = jnp.asarray(h / tau)
    small = u < 0.01
    large_u = jnp.where(small, 0.5, u)
    series = 1 + u * (
        1 / 2
        + u * (1 / 3 + u * (1 / 4 + u * (1 / 5 + u * (1 / 6 + u * (1 / 7 + u * (1 / 8 + u / 9))))))
    )
    return jnp.where(small, series, -jnp.log1p(-large_u) / large_u) / tau


def safe_divide(a: ArrayLike, b: ArrayLike) -> Array:
    """a / b, and 0 where b = 0.

    With eps = 0, a coordinate whose gradient was always zero therefore stays where it is.
    """
    return jnp.where(b == 0, 0, a / jnp.where(b == 0, 1, b))


def safe_sqrt(v: Array) -> Array:
    """√v, with the derivative 0 at v = 0.

    The derivative of the root is infinite there, and NaN once it is multiplied by 0. With it,
    derivatives through a map would be NaN as soon as one coordinate has a gradient of zero.
    """
    is_zero = v == 0
    return jnp.where(is_zero, 0, jnp.sqrt(jnp.where(is_zero, 1, v)))
