"""Steepest: of all directions of length 1, the one along which the loss falls fastest, in the norm one chooses."""

from typing import Any

import equinox as eqx
import numpy as np

from ..checks import is_concrete
from ..errors import InvalidType, InvalidValue, unknown_name

Points = np.ndarray
NORMS = ("euclidean", "max", "spectral")


class Steepest(eqx.Module):
    """argmin of <∇f, d> over |d| ≤ 1.

    - `norm`: which. - `gradient`: ∇f. - `direction`: d, shaped like it. - `slope`: <∇f, d>, which is minus the dual
      norm of ∇f.
    """

    norm: str = eqx.field(static=True)
    gradient: Points
    direction: Points
    slope: float

    def __repr__(self) -> str:
        return f"Steepest(in the {self.norm} norm, slope {self.slope:.4g})"


def steepest(gradient: Any, norm: str = "euclidean") -> Steepest:
    """The direction of steepest descent, and the slope along it.

    - "euclidean": |d| = √(Σ dᵢ²), d = -g/|g|, slope minus the Euclidean norm: gradient descent.
    - "max": |d| = maxᵢ |dᵢ|, d = -sign(g), slope -Σ |gᵢ|: sign descent.
    - "spectral": |d| the largest singular value of a matrix, d = -U Vᵀ with g = U Σ Vᵀ, only the singular vectors of
      singular values that are not 0, slope minus their sum: Muon.

    Where some gᵢ, or singular value, is 0, other directions are as steep.

    - `gradient`: g, of any shape; for "spectral" a matrix. It is taken as float64. - `norm`: one of those above.

    **Raises:** `UnknownName` for other norms; `InvalidValue` if g is 0 or not finite, or the norm needs a matrix;
    `InvalidType` for what is no array, and inside jit, grad and vmap.

    Source: J. Bernstein and L. Newhouse, Old Optimizer, New Norm: An Anthology (2024), arXiv:2409.20325.

    >>> steepest([3.0, -4.0]).direction.tolist(), steepest([3.0, -4.0], "max").slope
    ([-0.6, 0.8], -7.0)
    """
    if norm not in NORMS:
        raise unknown_name("norm", str(norm), NORMS)
    if not is_concrete(gradient):
        raise InvalidType(
            "`gradient` is traced by jax, and `steepest` looks at its numbers; call it outside jit."
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
            f"the spectral norm is one of matrices, but `gradient` has shape {g.shape}; pass a matrix."
        )
    d = {"euclidean": _unit, "max": np.sign, "spectral": _msign}[norm](g)
    return Steepest(norm, g, -d, -float((g * d).sum()))


def length(d: Points, norm: str) -> float:
    """|d| in one of the norms."""
    return float(
        {"euclidean": np.linalg.norm, "max": lambda d: np.abs(d).max(), "spectral": _top}[norm](d)
    )


def _unit(g: Points) -> Points:
    g = g / np.abs(g).max()  # its square may be too small a number, or too large
    return g / np.linalg.norm(g)


def _top(d: Points) -> float:
    return np.linalg.svd(d, compute_uv=False)[0]


def _msign(g: Points) -> Points:
    u, s, v = np.linalg.svd(g, full_matrices=False)
    kept = s > s[0] * max(g.shape) * np.finfo(float).eps
    return u[:, kept] @ v[kept]
