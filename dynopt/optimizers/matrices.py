"""The polar factor of a matrix, and Newton and Schulz's way towards it."""

from collections.abc import Callable
from math import prod

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ..errors import InvalidValue

Matrix = Float[Array, "rows columns"]
QUINTIC = (3.4445, -4.7750, 2.0315), 5  # optax's coefficients, and how many steps
CONVERGENT = (15 / 8, -10 / 8, 3 / 8), 20


def polar_factor(matrix: Matrix) -> Matrix:
    """U Vᵀ of the singular value decomposition U Σ Vᵀ; directions whose singular value is 0 stay out of it."""
    u, sigma, v = jnp.linalg.svd(matrix, full_matrices=False)
    size = jnp.finfo(matrix.dtype).eps * max(matrix.shape) * sigma[0]
    return jnp.matmul(u * (sigma > size)[None], v, precision="highest")


def newton_schulz(matrix: Matrix, coefficients=QUINTIC[0], steps: int = QUINTIC[1]) -> Matrix:
    """X ← a X + (b A + c A²) X with A = X Xᵀ, from X = matrix/(|matrix| + 1e-8), |.| of Frobenius.

    It keeps singular vectors and sends each singular value through σ ↦ a σ + b σ³ + c σ⁵.
    """
    a, b, c = coefficients
    wide = matrix.shape[0] <= matrix.shape[1]
    x = matrix if wide else matrix.T
    x = x / (jnp.linalg.norm(x) + 1e-8)
    for _ in range(steps):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x if wide else x.T


def matrix_shapes(x0: PyTree) -> tuple[tuple[int, ...], ...]:
    """The shape of every leaf.

    **Raises:** `InvalidValue` for a leaf that is no matrix.
    """
    leaves = jax.tree_util.tree_leaves_with_path(x0)
    for path, leaf in leaves:
        if jnp.ndim(leaf) != 2:
            raise InvalidValue(
                f"Muon moves matrices, but the position{jax.tree_util.keystr(path)} has shape {jnp.shape(leaf)}; "
                "make it a matrix, such as a column of shape (n, 1), or choose another optimizer."
            )
    return tuple(jnp.shape(leaf) for _, leaf in leaves)


def orthogonal(
    m: Array, shapes: tuple[tuple[int, ...], ...] | None, sign: Callable[[Matrix], Matrix]
) -> Array:
    """√max(1, columns/rows) times the `sign` of a matrix, or of each of those that lie in one vector."""
    if m.ndim == 1 and shapes is not None:
        ends = [sum(map(prod, shapes[: i + 1])) for i in range(len(shapes) - 1)]
        parts = (
            part.reshape(shape) for part, shape in zip(jnp.split(m, ends), shapes, strict=True)
        )
        return jnp.concatenate([orthogonal(part, None, sign).ravel() for part in parts])
    ((rows, columns),) = matrix_shapes(m)
    return max(1, columns / rows) ** 0.5 * sign(m)
