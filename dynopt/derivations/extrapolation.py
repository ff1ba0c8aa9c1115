"""The Taylor coefficients at h = 0 of a curve that cannot be computed at h = 0."""

from collections.abc import Callable
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, PyTree

NODES = 8  # time steps at which the curve is differentiated
MAX_H = 1 / 4  # the longest of them, in units of the time step of the optimizer as it was made
MAX_H_WITH_COUNTER = 1 / 32  # the longest in the same units, where the state counts its steps
MAX_H_OVER_T = 1 / 8  # the longest in units of the time since the start, where it counts them


def extrapolated_taylor(
    curve: Callable[[Array], PyTree], terms: int, max_h: ArrayLike, nodes: int = NODES
) -> list[PyTree]:
    """The Taylor coefficients of h, h², ... at h = 0 of a curve that exists for 0 < h ≤ `max_h`.

    Its derivative is taken at `nodes` Chebyshev points of that interval, and the polynomial
    through these values is extrapolated to h = 0.
    """
    max_h = jnp.asarray(max_h)
    points, to_coefficients = _polynomial(nodes)
    slopes = jax.vmap(lambda h: jax.jvp(curve, (h,), (jnp.ones_like(h),))[1])(
        max_h * points.astype(max_h.dtype)
    )

    def coefficient(k):
        row = to_coefficients[k - 1]
        return jax.tree.map(
            lambda d: jnp.tensordot(row.astype(d.dtype), d, 1) / (k * max_h ** (k - 1)), slopes
        )

    return [coefficient(k) for k in range(1, terms + 1)]


def longest_step(first_h: ArrayLike, t: Array, has_counter: bool) -> Array:
    """The longest time step at which a map is differentiated at the time `t`.

    - `first_h`: the time step of the optimizer as it was made.
    - `has_counter`: whether steps are counted; it is then much shorter than the time since the
      first of them.
    """
    if not has_counter:
        return jnp.asarray(MAX_H * first_h)
    longest = MAX_H_WITH_COUNTER * first_h
    return jax.lax.stop_gradient(jnp.where(t > 0, jnp.minimum(longest, MAX_H_OVER_T * t), longest))


@cache
def _polynomial(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Chebyshev points u of [0, 1], and the matrix from values there to coefficients of uᵏ."""
    points = (1 - np.cos((2 * np.arange(n) + 1) * np.pi / (2 * n))) / 2
    columns = []
    for i, u in enumerate(points):
        others = np.delete(points, i)
        columns.append(np.polynomial.polynomial.polyfromroots(others) / np.prod(u - others))
    return points, np.stack(columns, 1)
