"""A network of matrices alone: its output is linear in the input, its gradient flow is not."""

from itertools import pairwise
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..checks import is_concrete, positive, whole_number
from ..errors import InvalidValue
from .arrays import real_array
from .layers import chain
from .problem import Problem, source_in_docstring


class DeepLinear(eqx.Module):
    """f(W₁, ..., W_L) = ½ |W_L ... W₁ - S|² with S = U diag(s) Vᵀ; x is the tuple of layers.

    - `left`: U, shape (out, r), with orthonormal columns.
    - `strengths`: s >= 0, shape (r,).
    - `right`: V, shape (in, r), with orthonormal columns.

    >>> loss = DeepLinear(jnp.eye(1), jnp.array([3.0]), jnp.eye(1))
    >>> float(loss((2 * jnp.eye(1), jnp.eye(1))))
    0.5
    >>> loss.conserved((2 * jnp.eye(1), jnp.eye(1)))[0].tolist()
    [[-3.0]]
    """

    left: Float[Array, "out r"]
    strengths: Float[Array, " r"]
    right: Float[Array, "in r"]

    def __call__(self, x):
        product = chain(*x)
        target = chain(self.right.T, jnp.diag(self.strengths), self.left)
        return ((product - target.astype(product.dtype)) ** 2).sum() / 2

    def conserved(self, x) -> tuple[Array, ...]:
        """W_{l+1}ᵀ W_{l+1} - W_l W_lᵀ for each pair of neighbours, conserved by gradient flow.

        All are 0 at a balanced start. One step of gradient descent changes them by O(η²), and so a
        run by O(η).
        """
        return tuple(
            chain(second, second.T) - chain(first.T, first) for first, second in pairwise(x)
        )

    def modes(self, x) -> Array:
        """u, how much of each singular pair is learned: the diagonal of Uᵀ W_L ... W₁ V.

        It grows from u₀ to s.
        """
        return jnp.diagonal(chain(self.right, *x, self.left.T)).astype(jnp.result_type(*x))

    def learned(self, t, u0) -> Array:
        """The modes at the time t under the gradient flow of two layers.

            u' = 2u (s - u),   u(t) = s e^(2st) / (e^(2st) - 1 + s/u₀)

        for s > 0 and a balanced start in the singular vectors of S. Strong modes are learned first.
        For an array of times the modes are stacked, `(..., r)`.
        """
        return jnp.vectorize(lambda t: u0 * self._growth(t, u0), signature="()->(r)")(t)

    def gradient_flow(self, t, x0) -> tuple[Array, Array]:
        """The solution of the gradient flow of two layers at the time t.

            W₁(t) = W₁(0) V diag(√(u/u₀)) Vᵀ,   W₂(t) = U diag(√(u/u₀)) Uᵀ W₂(0)

        for a start that is balanced and in the singular vectors of S.

        **Raises:** `InvalidValue` for other starts and depths, of which this is not the solution.
        """
        if len(x0) != 2:
            raise InvalidValue(
                f"this closed form is that of two layers, got {len(x0)}; use deep_linear(depth=2)."
            )
        first, second = map(jnp.asarray, x0)
        u0 = self.modes((first, second))
        if is_concrete((self, first, second)):
            self._must_be_aligned(first, second, u0)

        def layers(t):
            root = jnp.diag(jnp.sqrt(self._growth(t, u0)))
            w1 = chain(self.right.T, root, self.right, first)
            w2 = chain(second, self.left.T, root, self.left)
            return w1.astype(first.dtype), w2.astype(second.dtype)

        return jnp.vectorize(layers, signature="()->(a,b),(c,d)")(t)

    def _growth(self, t, u0) -> Array:
        """u(t)/u₀ = 1/(e^(-2st) + u₀ (1 - e^(-2st))/s), also where s = 0 or u₀ = 0."""
        s = jnp.where(self.strengths > 0, self.strengths, 1)
        rise = jnp.where(self.strengths > 0, -jnp.expm1(-2 * s * t) / s, 2 * t)
        return 1 / (jnp.exp(-2 * self.strengths * t) + u0 * rise)

    def _must_be_aligned(self, first, second, u0):
        tolerance = np.sqrt(jnp.finfo(u0.dtype).eps) * (1 + np.abs(u0).max())
        (imbalance,) = self.conserved((first, second))
        outside = chain(self.right.T, jnp.diag(u0), self.left) - chain(first, second)
        for fault, matrix in (
            ("not balanced", imbalance),
            ("not in the singular vectors of the target", outside),
        ):
            error = float(np.abs(matrix).max())
            if error > tolerance:
                raise InvalidValue(
                    f"`x0` is {fault}, off by {error:.2g}; pass the start of deep_linear(), or "
                    "integrate."
                )
        if (np.asarray(u0) < -tolerance).any():
            raise InvalidValue(
                f"`x0` has the mode {float(u0.min()):.2g}; pass a start whose modes are >= 0."
            )


def deep_linear(target: Any = (3.0, 1.0), depth=2, width=None, start=0.01) -> Problem:
    """A product of matrices that learns a matrix, one singular value after the other.

        f(W₁, ..., W_L) = ½ |W_L ... W₁ - S|²

    Domain: everywhere. Minimizers: all factorisations of S; f = 0 there, or half the sum of the
    squares of those singular values for which the layers are too narrow. The origin is a saddle.
    With two layers and this start, the gradient flow has a closed form,
    `problem.loss.gradient_flow`; and it conserves W_{l+1}ᵀ W_{l+1} - W_l W_lᵀ,
    `problem.loss.conserved`.

    - `target`: S, a matrix of shape (out, in), or a list of numbers that stand on its diagonal; by
      default (3, 1).
    - `depth`: L, the number of layers, 2 (default) or more.
    - `width`: that of all hidden layers, by default min(out, in).
    - `start`: u₀, how much of each mode is learned at the start, by default 0.01. The start is
      balanced and lies in the singular vectors of S.

    >>> problem = deep_linear()
    >>> [round(float(u), 3) for u in problem.loss.learned(1.0, 0.01)]  # the stronger mode is first
    [1.723, 0.069]

    Source: A. M. Saxe, J. L. McClelland and S. Ganguli, "Exact solutions to the nonlinear dynamics
    of learning in deep linear neural networks", ICLR (2014); for what is conserved, S. Arora,
    N. Cohen and E. Hazan, "On the optimization of deep networks: implicit acceleration by
    overparameterization", ICML (2018).
    """
    target, start = real_array("target", target), positive("start", start)
    target = np.diag(target) if np.ndim(target) == 1 else target
    if np.ndim(target) != 2 or 0 in np.shape(target):
        raise InvalidValue(
            f"`target` has shape {np.shape(target)}; pass a matrix, or a list for its diagonal."
        )
    left, strengths, right = np.linalg.svd(target, full_matrices=False)
    depth = whole_number("depth", depth, least=2)
    width = len(strengths) if width is None else whole_number("width", width, least=1)
    scale = start ** (1 / depth)
    embedding = np.eye(width, len(strengths))
    first = scale * embedding @ right
    hidden = [scale * np.eye(width)] * (depth - 2)
    last = scale * left @ embedding.T
    return Problem(
        DeepLinear(jnp.asarray(left), jnp.asarray(strengths), jnp.asarray(right.T)),
        (first, *hidden, last),
        name="deep_linear",
        minimum=float((strengths[width:] ** 2).sum() / 2),
        source=source_in_docstring(deep_linear),
    )
