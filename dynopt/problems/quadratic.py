"""A quadratic bowl or saddle, on which every run has a closed form."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from ..checks import Scalar, nonnegative, number
from ..errors import InvalidValue
from .arrays import real_array
from .problem import Problem, source_in_docstring


class Quadratic(eqx.Module):
    """f(x) = ½ xᵀ H x with H = Q diag(λ) Qᵀ.

    Along each eigenvector every method below multiplies the coordinate of the start by one number,
    its factor. For an array of steps `k` or times `t` the positions are stacked, `(..., dim)`.

    - `eigenvalues`: λ, the curvatures, shape `(dim,)`.
    - `basis`: Q, an orthogonal matrix whose columns are the eigenvectors, shape `(dim, dim)`.

    >>> bowl = Quadratic(jnp.array([1.0, 10.0]), jnp.eye(2))
    >>> float(bowl(jnp.array([2.0, 1.0])))
    7.0
    >>> bowl.sgd(3, jnp.array([2.0, 1.0]), learning_rate=0.5).tolist()  # 2 (1 - 0.5)³ and (1 - 5)³
    [0.25, -64.0]
    """

    eigenvalues: Float[Array, " dim"]
    basis: Float[Array, "dim dim"]

    def __call__(self, x):
        x = jnp.asarray(x) * 1.0  # whole numbers are allowed
        z = _times(self.basis.T.astype(x.dtype), x)
        return 0.5 * (self.eigenvalues.astype(z.dtype) * z**2).sum()

    def sgd(self, k, x0, learning_rate) -> Array:
        """The position of gradient descent after k steps, by the factor (1 - η λ)ᵏ."""
        return self._follow(lambda k: jnp.power(1 - learning_rate * self.eigenvalues, k), k, x0)

    def momentum(self, k, x0, learning_rate, momentum) -> Array:
        """The position of the heavy ball after k steps from rest. With h = √η, the velocity first,

            p ← μ p - h λ x,   x ← x + h p,

        is (x, p) ← M (x, p) with M = [[1 - ηλ, hμ], [-hλ, μ]] and det M = μ; the factor is (Mᵏ)₁₁.
        """
        lam, h = self.eigenvalues, learning_rate**0.5
        mu = momentum * jnp.ones_like(lam)
        row_x = jnp.stack([1 - learning_rate * lam, h * mu], -1)
        row_p = jnp.stack([-h * lam, mu], -1)
        matrix = jnp.stack([row_x, row_p], -2)
        return self._follow(lambda k: _power(matrix, k)[:, 0, 0], k, x0)

    def gradient_flow(self, t, x0) -> Array:
        """The solution of x′ = -H x at the time t, by the factor e^(-λt)."""
        return self._follow(lambda t: jnp.exp(-self.eigenvalues * t), t, x0)

    def oscillator(self, t, x0, friction) -> Array:
        """The solution of x″ + a x′ + H x = 0 at the time t >= 0, from rest.

        With ω² = |a²/4 - λ| the factor is

            e^(-at/2) (cos ωt + a/(2ω) sin ωt)      underdamped, a² < 4λ
            e^(-at/2) (1 + at/2)                    critical
            e^(-at/2) (cosh ωt + a/(2ω) sinh ωt)    overdamped, and on a saddle

        and is smooth in a and λ across the three.
        """
        a = nonnegative("friction", friction)
        return self._follow(lambda t: _damped(t, a, self.eigenvalues), t, x0)

    def _follow(self, factor: Callable[[Array], Array], when, x0) -> Array:
        x0 = jnp.asarray(x0) * 1.0
        z = _times(self.basis.T, x0)
        path = jnp.vectorize(
            lambda when: _times(self.basis, factor(when) * z), signature="()->(dim)"
        )
        return path(when).astype(x0.dtype)


def quadratic(eigenvalues: Any = (1.0, 10.0), rotation: Any = None) -> Problem:
    """A bowl with given curvatures, f(x) = ½ xᵀ Q diag(λ) Qᵀ x; a saddle where one is negative.

    Domain: everywhere. Minimizer: 0, where f = 0; none if an eigenvalue is negative. Gradient
    descent is stable below the learning rate 2/max λ.

    - `eigenvalues`: λ, one for each dimension; one number makes a parabola. By default (1, 10).
    - `rotation`: the directions of the eigenvectors: an angle in radians (in the plane), or Q, an
      orthogonal matrix; by default the axes. The start turns with them.

    >>> problem = quadratic((1.0, 4.0), rotation=0.5)
    >>> round(float(problem.loss(problem.start())), 3)
    6.5

    **Raises:** `InvalidValue` if `rotation` does not fit the dimension or is not orthogonal.

    Source: every textbook; for the closed forms of momentum, G. Goh, "Why momentum really works",
    Distill (2017).
    """
    lam = jnp.atleast_1d(jnp.asarray(real_array("eigenvalues", eigenvalues)))
    if lam.ndim != 1 or lam.size == 0:
        raise InvalidValue(
            f"`eigenvalues` has shape {lam.shape}; pass a list of numbers, one for each dimension."
        )
    basis = _as_basis(rotation, lam.size, lam.dtype)
    is_bowl = not isinstance(lam, Tracer) and bool((lam >= 0).all())
    return Problem(
        Quadratic(lam, basis),
        _start(basis, rotation),
        name="quadratic",
        minimizers=np.zeros((1, lam.size)) if is_bowl else None,
        minimum=0.0 if is_bowl else None,
        window=((-3, 3), (-3, 3)) if lam.size == 2 else None,
        source=source_in_docstring(quadratic),
    )


def _as_basis(rotation: Any, dim: int, dtype) -> Array:
    if rotation is None:
        return jnp.eye(dim, dtype=dtype)
    if np.ndim(rotation) == 0:
        angle = number("rotation", rotation)
        if dim != 2:
            raise InvalidValue(
                f"`rotation` is an angle but there are {dim} eigenvalues; pass a ({dim}, {dim}) "
                "matrix."
            )
        c, s = jnp.cos(angle), jnp.sin(angle)
        return jnp.array([[c, -s], [s, c]], dtype)
    matrix = real_array("rotation", rotation)
    if matrix.shape != (dim, dim):
        raise InvalidValue(
            f"`rotation` has shape {matrix.shape}; pass ({dim}, {dim}), one column for each "
            "eigenvalue."
        )
    if not isinstance(matrix, Tracer):
        error = np.abs(matrix.T @ matrix - np.eye(dim)).max()
        if error > np.sqrt(jnp.finfo(matrix.dtype).eps):
            raise InvalidValue(
                f"`rotation` is not orthogonal by {error:.1g}; pass numpy.linalg.qr(rotation)[0]."
            )
    return jnp.asarray(matrix, dtype)


def _start(basis: Array, rotation: Any):
    """The same point of the bowl for every rotation."""
    start = np.resize([-2.0, 1.5], len(basis))
    return start if rotation is None else _times(basis, start)


def _times(a, b) -> Array:
    """The product a b; GPUs would otherwise round the factors to half the digits."""
    return jnp.matmul(a, b, precision="highest")


def _power(matrix: Array, k: Array) -> Array:
    """Mᵏ for a stack of 2x2 matrices, by repeated squaring."""

    def double(bit, carry):
        power, square = carry
        remaining = k >> bit
        power = jnp.where(remaining & 1 == 1, _times(power, square), power)
        # The last square is not computed: that of a growing matrix would overflow.
        square = jnp.where(remaining > 1, _times(square, square), square)
        return power, square

    one = jnp.broadcast_to(jnp.eye(2, dtype=matrix.dtype), matrix.shape)
    return jax.lax.fori_loop(0, 31, double, (one, matrix))[0]


def _damped(t: Array, a: Scalar, lam: Array) -> Array:
    """The solution of x″ + a x′ + λ x = 0 with x(0) = 1, x′(0) = 0."""
    square = a**2 / 4 - lam
    z = square * t**2
    is_near = jnp.abs(z) < 1  # here one series in z = (a²/4 - λ) t² serves all three regimes
    z = jnp.where(is_near, z, 0)
    cosh = sinh = jnp.ones_like(z)
    for n in range(9, 0, -1):
        cosh = 1 + cosh * z / ((2 * n - 1) * (2 * n))
        sinh = 1 + sinh * z / ((2 * n) * (2 * n + 1))
    near = jnp.exp(-a * t / 2) * (cosh + a * t / 2 * sinh)
    w = jnp.sqrt(jnp.where(is_near, 1, jnp.abs(square)))
    slow = lam / (a / 2 + w)  # a/2 - ω, without the cancellation
    fast = jnp.exp(-2 * w * t)
    under = jnp.exp(-a * t / 2) * (jnp.cos(w * t) + a / (2 * w) * jnp.sin(w * t))
    over = jnp.exp(-slow * t) * (1 + fast + a / (2 * w) * (1 - fast)) / 2
    return jnp.where(is_near, near, jnp.where(square < 0, under, over))
