"""The spectral radius: what one step of the linearised map makes, at most, of a perturbation of rest."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from ..checks import Scalar, is_concrete
from ..errors import InvalidType, InvalidValue
from ..optimizers import AbstractOptimizer
from ..optimizers.base import must_be_optimizer
from ..runs.prepare import with_dtype

FAR = 1e9  # steps after which every cold start is forgotten
PULLS = (1.0, -0.7, 0.4)  # gradients, none like another, by whose signs memories are told apart
BATCH = 1024  # linearised maps per compiled call, so that one compilation serves any number of them


def spectral_radius(optimizer: AbstractOptimizer, curvature) -> np.ndarray | float:
    """The largest |eigenvalue| of the map's Jacobian at rest, on the quadratic f(x) = λ x²/2 with curvature λ.

    Near the fixed point x = 0 a perturbation goes on as δₖ₊₁ = J(λ) δₖ: it dies out like radiusᵏ if the radius is
    below 1, and grows if it is above. J is `jax.jacfwd` of the optimizer's own `step`, long after any cold start, in
    the position and in those memories that change sign with the gradient, such as p, m or a trace. Memories that do
    not, such as means and sums of g², are a preconditioner P: they are frozen, each with the new value 1. Where P = √v,
    as for RMSprop and Adam, λ is therefore relative to P, an eigenvalue of P⁻¹∇²f; with ε, P = 1 + ε or √(1 + ε).
    Everything is computed in float64, whatever JAX is set to.

    - `curvature`: λ, one number or an array, in the unit of 1/learning_rate. Returns a float, or an array of that
      shape; NaN where the map has no derivative at rest.

    **Raises:** `InvalidType` or `InvalidValue` for wrong input, also inside `jit` or `vmap`: eigenvalues need numbers.

    >>> from dynopt import SGD
    >>> spectral_radius(SGD(0.1), [5.0, 10.0, 20.0, 30.0]).round(6).tolist()  # |1 - η λ|
    [0.5, 0.0, 1.0, 2.0]

    Source: B. T. Polyak, "Some methods of speeding up the convergence of iteration methods" (1964), for the heavy ball;
    J. Cohen et al., "Adaptive gradient methods at the edge of stability" (2022), for the frozen preconditioner.
    """
    must_be_optimizer(optimizer)
    if not is_concrete((optimizer, curvature)):
        raise InvalidValue(
            "eigenvalues need numbers, got values inside a jax transformation; call this outside of it."
        )
    if getattr(getattr(optimizer, "transformation", None), "unravel", None) is not None:
        raise InvalidValue(
            f"a mode is one number, but {optimizer!r} is made for PyTrees; make it without `like`."
        )
    try:
        values = np.asarray(curvature, float)
    except (TypeError, ValueError):
        raise InvalidType(
            f"`curvature` must be numbers, got {curvature!r}; pass for example 10.0."
        ) from None
    if not np.isfinite(values).all():
        raise InvalidValue(
            "`curvature` must be finite, got NaN or infinity; pass for example 10.0."
        )
    with jax.enable_x64(True):
        page = with_dtype(optimizer, jnp.float64)
        found = in_batches(lambda part: _jacobians(page, part), values.ravel()).reshape(
            values.shape
        )
    return found if found.ndim else float(found)


def in_batches(jacobians, *columns: np.ndarray) -> np.ndarray:
    """The spectral radius of each of `jacobians(*columns)`, `BATCH` at a time, the last batch filled up."""
    count = len(columns[0])
    filled = [
        np.resize(column, -(-count // BATCH) * BATCH).reshape(-1, BATCH) for column in columns
    ]
    found = [np.asarray(jacobians(*part)) for part in zip(*filled, strict=True)]
    matrices = np.concatenate([*found, np.empty((0, 1, 1))] if not found else found)[:count]
    seen = np.isfinite(matrices).all((-2, -1))
    radii = np.full(count, np.nan)
    radii[seen] = np.abs(np.linalg.eigvals(matrices[seen])).max(-1)
    return radii


@eqx.filter_jit
def _jacobians(optimizer: AbstractOptimizer, curvatures: Array) -> Array:
    return jax.vmap(lambda curvature: jacobian(optimizer, curvature))(curvatures)


def jacobian(optimizer: AbstractOptimizer, curvature: Scalar) -> Float[Array, "n n"]:
    """J over all coordinates of phase space; rows and columns of frozen ones are 0, which changes no radius."""
    start, unravel = ravel_pytree(optimizer.init(jnp.zeros(1), jnp.zeros_like))

    def step(z, grad, k=0):
        return ravel_pytree(optimizer.step((FAR + k) * optimizer.h, unravel(z), grad))[0]

    def pulled(scale):
        def one(z, pull):
            k, g = pull
            return step(z, lambda x: jnp.full_like(x, scale * g), k), None

        return jax.lax.scan(one, start, (jnp.arange(len(PULLS)), jnp.asarray(PULLS)))[0]

    one, minus_one, two, minus_two = jax.vmap(pulled)(jnp.array([1.0, -1.0, 2.0, -2.0]))
    sign, size = jnp.abs(one - minus_one), jnp.abs(two + minus_two - one - minus_one)
    swings = (sign > size).at[0].set(True)  # the position, whatever it does
    weighs = ~swings & (size > 0)

    def after(z):
        """At rest, the next point; and how much each coordinate keeps of itself."""
        return step(z, jnp.zeros_like), jnp.diagonal(jax.jacfwd(step)(z, jnp.zeros_like))

    def settle(_, z):
        """Newton's method, each coordinate by itself: exact for a mean, a sum or a maximum, and for such of such."""
        new, kept = after(z)
        return jnp.where(weighs, z + (1 - new) / jnp.where(kept > 1e-6, kept, jnp.nan), z)

    new, kept = after(
        start
    )  # what neither swings nor weighs is a clock, such as a sum of learning rates
    late = start + (new - start) * jnp.where(kept == 1, FAR, (1 - kept**FAR) / (1 - kept))
    rest = jax.lax.fori_loop(0, 4, settle, jnp.where(swings, 0.0, jnp.where(weighs, 1.0, late)))
    whole = jax.jacfwd(step)(rest, lambda x: curvature * x)
    return jnp.where(swings[:, None] & swings[None], whole, 0.0)
