"""The polar factor of a matrix, and the iteration of Newton and Schulz that approximates it."""

from collections.abc import Callable
from math import prod

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ..errors import InvalidValue
from .averages import safe_divide, safe_sqrt

Matrix = Float[Array, "rows columns"]
QUINTIC = (3.4445, -4.7750, 2.0315), 5  # the coefficients of optax, and the number of steps
CONVERGENT = (15 / 8, -10 / 8, 3 / 8), 20  # coefficients for which the iteration converges


@jax.custom_jvp
def polar_factor(matrix: Matrix) -> Matrix:
    """U Vᵀ of the singular value decomposition U Σ Vᵀ.

    Directions whose singular value is 0, up to round-off, are left out. The derivative is finite
    where singular values are equal, though that of U and V is not; in the directions left out it
    counts as 0.
    """
    u, _, v = _nonzero_singular_values(matrix)
    return jnp.matmul(u, v, precision="highest")


@polar_factor.defjvp
def _tangent_of_polar_factor(primals, tangents):
    u, sigma, v = _nonzero_singular_values(*primals)
    (tangent,) = tangents
    inside = u.T @ tangent @ v.T
    turned = u @ safe_divide(inside - inside.T, sigma[:, None] + sigma[None]) @ v
    left = safe_divide(tangent @ v.T - u @ inside, sigma[None]) @ v
    right = u @ safe_divide(u.T @ tangent - inside @ v, sigma[:, None])
    return polar_factor(*primals), turned + left + right


def _nonzero_singular_values(matrix: Matrix) -> tuple[Array, Array, Array]:
    """U, the diagonal of Σ, and Vᵀ, with zeros in the place of what belongs to σ = 0."""
    u, sigma, v = jnp.linalg.svd(matrix, full_matrices=False)
    is_nonzero = sigma > jnp.finfo(matrix.dtype).eps * max(matrix.shape) * sigma[0]
    return u * is_nonzero[None], sigma * is_nonzero, v * is_nonzero[:, None]


def newton_schulz(matrix: Matrix, coefficients=QUINTIC[0], steps: int = QUINTIC[1]) -> Matrix:
    """The iteration X ← a X + (b A + c A²) X with A = X Xᵀ.

    It starts from X = matrix/(|matrix| + 1e-8), where |.| is the Frobenius norm. It keeps the
    singular vectors and maps each singular value by σ ↦ a σ + b σ³ + c σ⁵.
    """
    a, b, c = coefficients
    is_wide = matrix.shape[0] <= matrix.shape[1]
    x = matrix if is_wide else matrix.T
    x = x / (safe_sqrt(jnp.sum(x**2)) + 1e-8)
    for _ in range(steps):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x if is_wide else x.T


def matrix_shapes(x0: PyTree) -> tuple[tuple[int, ...], ...]:
    """The shape of every leaf of a position that consists of matrices.

    **Raises:** `InvalidValue` for a leaf that is no matrix.
    """
    leaves = jax.tree_util.tree_leaves_with_path(x0)
    for path, leaf in leaves:
        if jnp.ndim(leaf) != 2:
            raise InvalidValue(
                f"Muon moves matrices, but the position{jax.tree_util.keystr(path)} has shape "
                f"{jnp.shape(leaf)}; make it a matrix, such as a column of shape (n, 1), or choose "
                "another optimizer."
            )
    return tuple(jnp.shape(leaf) for _, leaf in leaves)


def scaled_msign(
    m: Array, shapes: tuple[tuple[int, ...], ...] | None, msign: Callable[[Matrix], Matrix]
) -> Array:
    """√max(1, columns/rows) msign(m) of a matrix, or of each matrix in a vector.

    The matrices in a vector have these `shapes`.
    """
    if m.ndim == 1 and shapes is not None:
        ends = [sum(map(prod, shapes[: i + 1])) for i in range(len(shapes) - 1)]
        matrices = (
            part.reshape(shape) for part, shape in zip(jnp.split(m, ends), shapes, strict=True)
        )
        return jnp.concatenate([scaled_msign(matrix, None, msign).ravel() for matrix in matrices])
    ((rows, columns),) = matrix_shapes(m)
    return max(1, columns / rows) ** 0.5 * msign(m)
