"""Steepest descent in a norm: the direction of length 1 along which the loss falls fastest."""

from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Float

from ..checks import is_concrete
from ..errors import InvalidType, InvalidValue, unknown_name

NORMS = ("euclidean", "max", "spectral")


class Steepest(eqx.Module):
    """The d that minimizes <∇f, d> over all d with |d| ≤ 1.

    - `norm`: the name of the norm.
    - `gradient`: ∇f.
    - `direction`: d, of the shape of the gradient.
    - `slope`: <∇f, d>, which is minus the dual norm of ∇f.
    """

    norm: str = eqx.field(static=True)
    gradient: Float[np.ndarray, "..."]
    direction: Float[np.ndarray, "..."]
    slope: float

    def __repr__(self) -> str:
        return f"Steepest(in the {self.norm} norm, slope {self.slope:.4g})"


def measure(gradient: Any, norm: str = "euclidean") -> Steepest:
    """The direction of steepest descent in a norm, and the slope of the loss along it.

    - "euclidean": |d| = √(Σ dᵢ²). The direction is d = -g/|g| and the slope is minus the Euclidean
      norm of g. This is the direction of gradient descent.
    - "max": |d| = maxᵢ |dᵢ|. The direction is d = -sign(g) and the slope is -Σ |gᵢ|. This is the
      direction of sign descent.
    - "spectral": |d| is the largest singular value of a matrix. With g = U Σ Vᵀ, taken over the
      singular values that are not 0, the direction is d = -U Vᵀ and the slope is minus the sum of
      the singular values. This is the direction of Muon.

    Where some gᵢ, or some singular value, is 0, other directions are as steep.

    - `gradient`: g, of any shape; a matrix for "spectral". It is converted to float64.
    - `norm`: one of the names above.

    **Raises:** `UnknownName` for another norm; `InvalidValue` if g is 0 or not finite, or if the
    norm needs a matrix; `InvalidType` for what is no array, and inside `jit`, `grad` and `vmap`.

    Source: J. Bernstein and L. Newhouse, Old Optimizer, New Norm: An Anthology (2024),
    arXiv:2409.20325.

    >>> measure([3.0, -4.0]).direction.tolist(), measure([3.0, -4.0], "max").slope
    ([-0.6, 0.8], -7.0)
    """
    if norm not in NORMS:
        raise unknown_name("norm", str(norm), NORMS)
    if not is_concrete(gradient):
        raise InvalidType(
            "`gradient` is traced by jax, but the steepest direction needs its numbers; call this "
            "outside of jit."
        )
    try:
        g = np.asarray(gradient, float)
    except (TypeError, ValueError):
        raise InvalidType(
            f"`gradient` must be an array, got {gradient!r}; pass for example [3.0, -4.0]."
        ) from None
    if not np.isfinite(g).all() or not g.any():
        raise InvalidValue(
            "`gradient` must be finite and not 0; pass a point that is no minimizer."
        )
    if norm == "spectral" and g.ndim != 2:
        raise InvalidValue(
            f"the spectral norm is a norm of matrices, but `gradient` has shape {g.shape}; pass a "
            "matrix."
        )
    d = {"euclidean": _unit_vector, "max": np.sign, "spectral": _polar_factor}[norm](g)
    return Steepest(norm, g, -d, -float((g * d).sum()))


def length(d: np.ndarray, norm: str) -> float:
    """|d| in one of the norms."""
    norms = {
        "euclidean": np.linalg.norm,
        "max": lambda d: np.abs(d).max(),
        "spectral": lambda d: np.linalg.svd(d, compute_uv=False)[0],
    }
    return float(norms[norm](d))


def _unit_vector(g: np.ndarray) -> np.ndarray:
    g = g / np.abs(g).max()  # otherwise the squares may overflow or underflow
    return g / np.linalg.norm(g)


def _polar_factor(g: np.ndarray) -> np.ndarray:
    """U Vᵀ of the singular value decomposition, without the singular values that are 0."""
    u, s, v = np.linalg.svd(g, full_matrices=False)
    nonzero = s > s[0] * max(g.shape) * np.finfo(float).eps
    return u[:, nonzero] @ v[nonzero]
