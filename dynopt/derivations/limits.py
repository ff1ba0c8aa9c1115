"""The limit h → 0 of a curve that cannot be computed at h = 0."""

from collections.abc import Callable
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, PyTree

CLOCKS = 8  # whose derivatives the polynomial runs through
# The longest of them: in steps, in steps where they are counted, in the time since the start.
SPAN, SPAN_COUNTED, SPAN_SINCE = 1 / 4, 1 / 32, 1 / 8


def extrapolated(
    curve: Callable[[Array], PyTree], terms: int, span: ArrayLike, clocks: int = CLOCKS
) -> list[PyTree]:
    """The Taylor coefficients of h, h², ... at h = 0 of a curve that is known for 0 < h ≤ span.

    Its derivative is taken at Chebyshev points of that interval; the polynomial through them is extrapolated to 0.
    """
    span = jnp.asarray(span)
    places, powers = _polynomial(clocks)
    slopes = jax.vmap(lambda h: jax.jvp(curve, (h,), (jnp.ones_like(h),))[1])(
        span * places.astype(span.dtype)
    )
    return [
        jax.tree.map(
            lambda d, k=k: (
                jnp.tensordot(powers[k - 1].astype(d.dtype), d, 1) / (k * span ** (k - 1))
            ),
            slopes,
        )
        for k in range(1, terms + 1)
    ]


@cache
def _polynomial(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Chebyshev points of [0, 1]; and the matrix from values there to the coefficients of 1, u, u², ..."""
    points = (1 - np.cos((2 * np.arange(n) + 1) * np.pi / (2 * n))) / 2
    columns = []
    for i, u in enumerate(points):
        others = np.delete(points, i)
        columns.append(np.polynomial.polynomial.polyfromroots(others) / np.prod(u - others))
    return points, np.stack(columns, 1)
