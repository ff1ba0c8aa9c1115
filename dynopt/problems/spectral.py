"""Losses of one matrix and its spectral norm: by how much it stretches a vector at most."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..checks import is_concrete, nonnegative, whole_number
from ..errors import InvalidValue
from .arrays import real_array
from .layers import chain
from .problem import Problem, source_in_docstring


def spectral_norm(W: Any, iterations: Any = None) -> Array:
    """The largest singular value σ₁ of a matrix: the largest |Wv| of a unit vector v.

    By default it is taken from the singular value decomposition. With `iterations=k` it is
    computed by k steps of the power iteration, from a vector u that is always the same, as
    σ = u·Wv:

        v ← Wᵀu / |Wᵀu|,   u ← Wv / |Wv|

    That is a lower bound, whose error each step multiplies by (σ₂/σ₁)⁴ in the long run; so k must
    grow like σ₁/(σ₁ - σ₂). With C = WᵀW, a step of v is the step of Euler's method that takes the
    time 1/(v·Cv) along Oja's flow v′ = Cv - (v·Cv)v, put back on the unit sphere.

    Derivatives are taken through all steps. The error of the gradient falls like k (σ₂/σ₁)^(4k),
    and the Hessian is right in the limit, too. If u and v are held constant instead, as in spectral
    normalization of deep-learning libraries, the gradient uvᵀ has an error like (σ₂/σ₁)^(2k), but
    its derivative is 0 for any k: all of the curvature of σ₁ is lost.

    Where σ₁ = σ₂ its gradient jumps, and what comes back is a subgradient. Hessian products of the
    decomposition are NaN there, and so they are if any other two singular values are equal. Those
    of the power iteration are finite, but depend on the first u.

    - `W`: a matrix of real numbers, of any shape; use `jax.vmap` for many. In the power iteration
      its entries are squared, and the squares must be in the range of the dtype.
    - `iterations`: k, a whole number of at least 1, or None for the decomposition.

    **Raises:** `InvalidValue` or `InvalidType` if `W` is no matrix of finite real numbers, or k no
    such number.

    >>> f"{spectral_norm([[3.0, 0.0], [0.0, 2.0]]):.3f}"
    '3.000'
    >>> f"{spectral_norm([[3.0, 0.0], [0.0, 2.0]], iterations=2):.3f}"
    '2.996'

    Source: T. Miyato, T. Kataoka, M. Koyama and Y. Yoshida, "Spectral normalization for generative
    adversarial networks", ICLR (2018); for the flow, E. Oja, "Simplified neuron model as a
    principal component analyzer", Journal of Mathematical Biology 15 (1982).
    """
    matrix = jnp.asarray(_matrix("W", W))
    if iterations is None:
        return jnp.linalg.svd(matrix, compute_uv=False)[0]
    iterations = whole_number("iterations", iterations, least=1, like=10)
    u = np.random.RandomState(0).normal(size=len(matrix))

    def step(u, _):
        v = _normalized(chain(u, matrix.T))
        return _normalized(chain(v, matrix)), v

    u, v = jax.lax.scan(step, jnp.asarray(u, matrix.dtype), length=iterations)
    return jnp.vdot(u, chain(v[-1], matrix), precision="highest")


class SpectralBowl(eqx.Module):
    """f(W) = ½ |W/σ₁(W) - S|², which is the same for all positive multiples of W.

    - `target`: S.
    - `iterations`: as for `spectral_norm`.
    """

    target: Float[Array, "out in"]
    iterations: int | None = eqx.field(static=True)

    def __call__(self, W):
        normalized = W / spectral_norm(W, self.iterations)
        return ((normalized - self.target.astype(W.dtype)) ** 2).sum() / 2


class Shrinkage(eqx.Module):
    """f(W) = ½ |W - S|² + λ |W|_q, with the spectral norm if q is None.

    - `target`: S.
    - `strength`: λ.
    - `smooth`: q.
    """

    target: Float[Array, "out in"]
    strength: Float[Array, ""]
    smooth: int | None = eqx.field(static=True)

    def __call__(self, W):
        norm = spectral_norm(W) if self.smooth is None else _schatten_norm(W, self.smooth)
        square = ((W - self.target.astype(W.dtype)) ** 2).sum()
        return square / 2 + self.strength.astype(W.dtype) * norm

    def gradient_flow(self, t) -> Array:
        """The solution at the time t of the gradient flow from S, for the exact norm.

            W(t) = U diag(min(sᵢ, θ)) Vᵀ   with   Σ max(sᵢ - θ, 0) = λ (1 - e^(-t))

        and S = U diag(s) Vᵀ. The threshold θ falls from the largest sᵢ, and singular values that it
        meets fall on with it. As t → ∞ the solution tends to the minimizer. For an array of times
        the solutions are stacked.

        **Raises:** `InvalidValue` if the norm is smoothed, which has no such solution.
        """
        if self.smooth is not None:
            raise InvalidValue(
                f"this closed form is that of the exact norm, got smooth={self.smooth}; use "
                "spectral_shrinkage(smooth=None)."
            )
        u, s, vt = jnp.linalg.svd(self.target, full_matrices=False)
        counts = jnp.arange(1, len(s) + 1)

        def solution(t):
            removed = self.strength.astype(s.dtype) * -jnp.expm1(-t)
            threshold = jnp.maximum(((jnp.cumsum(s) - removed) / counts).max(), 0)
            return chain(vt, jnp.diag(jnp.minimum(s, threshold)), u).astype(s.dtype)

        return jnp.vectorize(solution, signature="()->(m,n)")(jnp.asarray(t, s.dtype))


def spectral_normalised(target: Any = None, iterations: Any = None, key: Any = 0) -> Problem:
    """A bowl of a matrix that is divided by its spectral norm, as layers of networks are.

        f(W) = ½ |W/σ₁(W) - S|²

    f is the same for all positive multiples of W. So the gradient g is orthogonal to W; the
    gradient flow keeps |W|; and gradient descent with the learning rate η raises it:

        |Wₖ₊₁|² = |Wₖ|² + η² |gₖ|²

    From cW with c²η it takes the same steps, c times as large. Hence what counts is η/|W|², which
    falls by itself. The modified flow knows it: there (|W|²)′ = η |g|².

    Domain: W ≠ 0; the gradient jumps where the two largest singular values are equal. Minimizers:
    all positive multiples of the matrix that is closest to S among those of the spectral norm 1. It
    has the singular vectors of S, and its singular values are those of S, cut to 1; if all are
    below 1, the largest becomes 1.

    - `target`: S, a matrix; by default 4 × 3, Gaussian, and divided by its spectral norm.
    - `iterations`: how σ₁ is computed, as for `spectral_norm`; by default exactly. From a lower
      bound of σ₁ the loss may fall below that of the minimizers, so that no minimum is known.
    - `key`: a whole number, 0 by default, from which the start is drawn, and the default of S.
      Entries of the start are standard normal: the singular values must differ.

    The position is one matrix of the shape of S.

    >>> problem = spectral_normalised()
    >>> W, g = problem.start(), problem.field(problem.start())
    >>> abs(float((W * g).sum())) < 1e-6
    True

    **Raises:** `InvalidValue` or `InvalidType` as `spectral_norm` does.

    Source: T. van Laarhoven, "L2 regularization versus batch and weight normalization" (2017); for
    σ₁, T. Miyato et al., "Spectral normalization for generative adversarial networks", ICLR (2018).
    """
    draw = np.random.RandomState(whole_number("key", key, least=0, most=2**32 - 1)).normal
    shape = (4, 3) if target is None else np.shape(_matrix("target", target))
    start = draw(size=shape)
    if target is None:
        target = draw(size=shape)
        target = target / np.linalg.norm(target, 2)
    target = _matrix("target", target)
    if iterations is not None:
        iterations = whole_number("iterations", iterations, least=1, like=10)
    return Problem(
        SpectralBowl(jnp.asarray(target), iterations),
        start.astype(target.dtype),
        name="spectral_normalised",
        minimum=_least_distance(target) if iterations is None and is_concrete(target) else None,
        source=source_in_docstring(spectral_normalised),
    )


def spectral_shrinkage(target: Any = None, strength: Any = 1.0, smooth: Any = 8) -> Problem:
    """A bowl with a penalty on the spectral norm, which shrinks large singular values alone.

        f(W) = ½ |W - S|² + λ |W|_q,   |W|_q = (Σ σᵢ(W)^q)^(1/q)

    with Schatten's q-norm, which tends to the spectral norm σ₁ as q → ∞: σ₁ <= |W|_q <= n^(1/q) σ₁
    for n singular values. With `smooth=None` it is σ₁ itself, whose gradient jumps where σ₁ = σ₂.
    The gradient flow comes there in finite time and then slides along with equal singular values,
    `problem.loss.gradient_flow`, while gradient descent chatters around it, and solvers stop.

    Domain: everywhere; f is convex, and smooth but at W = 0 if q is not None. Minimizer: one. It
    has the singular vectors of S. For the exact norm its singular values are min(sᵢ, θ), where the
    threshold θ takes λ away from the sᵢ in all; if they have less than λ, it is 0.

    - `target`: S, a matrix, and the start; by default 3 × 3 with singular values 3, 2.8 and 1.
    - `strength`: λ >= 0, by default 1.
    - `smooth`: q, an even number, 8 by default, or None. Larger q are closer to σ₁, with curvatures
      of up to about 1 + λ q/(2σ₁). They go up to 174/log(n), 158 for three singular values: beyond
      it powers vanish in float32.

    The position is one matrix of the shape of S.

    >>> exact = spectral_shrinkage(smooth=None)
    >>> np.linalg.svd(exact.minimizers.reshape(3, 3))[1].round(3).tolist()
    [2.4, 2.4, 1.0]

    **Raises:** `InvalidValue` or `InvalidType` for numbers that are not allowed, or a target that
    is no matrix.

    Source: N. Parikh and S. Boyd, "Proximal algorithms", Foundations and Trends in Optimization
    1(3) (2014), section 6.7.
    """
    target = _default_target() if target is None else _matrix("target", target)
    strength = nonnegative("strength", strength)
    if smooth is not None:
        smooth = whole_number("smooth", smooth, least=2, most=_most(target), like=8)
        if smooth % 2:
            raise InvalidValue(
                f"`smooth` is {smooth}, but powers of singular values are smooth if they are even; "
                f"pass smooth={smooth + 1}, or None for the exact norm."
            )
    loss = Shrinkage(jnp.asarray(target), jnp.asarray(strength, float), smooth)
    best = None
    if is_concrete((target, strength)):
        best = _minimizer(target, float(strength), smooth)
    return Problem(
        loss,
        target,
        name="spectral_shrinkage" + ("_exact" if smooth is None else ""),
        minimizers=None if best is None else best[0].ravel(),
        minimum=None if best is None else best[1],
        source=source_in_docstring(spectral_shrinkage),
    )


def _matrix(name: str, value: Any) -> Any:
    """`value` as a matrix of floats."""
    matrix = real_array(name, value)
    if np.ndim(matrix) != 2 or 0 in np.shape(matrix):
        raise InvalidValue(
            f"`{name}` has shape {np.shape(matrix)}; pass one matrix, such as [[3.0, 0.0], "
            "[0.0, 2.0]], and use jax.vmap for many."
        )
    return matrix


def _normalized(v: Array) -> Array:
    square = jnp.vdot(v, v, precision="highest")
    return v / jnp.sqrt(jnp.where(square > 0, square, 1))


def _schatten_norm(W, q: int) -> Array:
    """(Σ σᵢ^q)^(1/q) = (trace (WᵀW)^(q/2))^(1/q) for even q, of gradient 0 at W = 0."""
    square = (W**2).sum()
    is_zero = square == 0
    size = jnp.sqrt(jnp.where(is_zero, 1, square))
    matrix = jnp.where(is_zero, 1, W / size)  # whose powers neither overflow nor vanish
    power = jnp.linalg.matrix_power(chain(matrix, matrix.T), q // 2)
    return jnp.where(is_zero, 0, size * jnp.trace(power) ** (1 / q))


def _default_target() -> np.ndarray:
    """A matrix with the singular values 3, 2.8 and 1, and singular vectors that are drawn."""
    draw = np.random.RandomState(0).normal
    (left, _), (right, _) = (np.linalg.qr(draw(size=(3, 3))) for _ in range(2))
    return left @ np.diag([3.0, 2.8, 1.0]) @ right.T


def _least_distance(target: np.ndarray) -> float:
    """The least ½ |W - S|² among matrices W of the spectral norm 1."""
    s = np.linalg.svd(target, compute_uv=False).astype(float)
    excess = np.maximum(s - 1, 0) if s[0] > 1 else 1 - s[0]
    return float(np.sum(excess**2) / 2)


def _minimizer(
    target: np.ndarray, strength: float, smooth: int | None
) -> tuple[np.ndarray, float] | None:
    """The minimizer of ½ |W - S|² + λ |W|_q, with the singular vectors of S, and the minimum.

    None if they are out of reach of double precision.
    """
    u, s, vt = np.linalg.svd(target.astype(float), full_matrices=False)
    if smooth is None:
        threshold = ((np.cumsum(s) - strength) / np.arange(1, len(s) + 1)).max()
        shrunk = np.minimum(s, max(threshold, 0))
    else:
        shrunk = _newton(s, strength, smooth)
    if shrunk is None:
        return None
    minimum = ((shrunk - s) ** 2).sum() / 2 + strength * _norm(shrunk, smooth)
    return u @ np.diag(shrunk) @ vt, float(minimum)


def _newton(s: np.ndarray, strength: float, q: int) -> np.ndarray | None:
    """The minimizer of ½ |x - s|² + λ (Σ xᵢ^q)^(1/q), by a damped Newton's method."""
    if (s ** (q / (q - 1))).sum() ** ((q - 1) / q) <= strength:  # the dual norm of s
        return np.zeros_like(s)

    def f(x):
        return ((x - s) ** 2).sum() / 2 + strength * _norm(x, q)

    x = s
    for _ in range(100):
        n = _norm(x, q)
        slope, bend = (x / n) ** (q - 1), (x / n) ** (q - 2)
        gradient = x - s + strength * slope
        curvature = np.diag(bend) - np.outer(slope, slope)
        step = np.linalg.solve(np.eye(len(s)) + strength * (q - 1) / n * curvature, gradient)
        while f(np.abs(x - step)) > f(x) * (1 + 1e-14):
            step = step / 2
        x = np.abs(x - step)
        if np.abs(step).max() <= 1e-14 * (1 + x.max()):
            return x
    return None


def _most(matrix: Any) -> int | None:
    """The largest q for which (σ₁/|W|)^q, at least n^(-q/2), is a normal number of float32."""
    n = min(np.shape(matrix))
    return None if n == 1 else int(-2 * np.log(np.finfo(np.float32).tiny) / np.log(n))


def _norm(x: np.ndarray, q: int | None) -> float:
    largest = x.max()
    return largest if q is None or largest == 0 else largest * ((x / largest) ** q).sum() ** (1 / q)
