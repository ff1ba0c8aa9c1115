"""The sharpness: how curved a loss is along its most curved direction."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ..problems import Problem
from ..problems.problem import must_be_problem
from ..runs.prepare import flatten_loss

WHOLE = 1000  # coordinates up to which the Hessian is made
DIRECTIONS = 100  # of Lanczos's method beyond
ROUND_OFF = 1e3  # ulp of a product: what is left of it leads nowhere new if it is shorter


def sharpness(problem: Problem, x: Any = None) -> Float[Array, ""]:
    """The largest eigenvalue of the Hessian, λ(x) = max over |u| = 1 of u · ∇²f(x) u.

    `critical_curvature` is how much of it an optimizer bears at rest; gradient descent on a network brings it up to
    2/η and keeps it there. In up to 1000 coordinates the Hessian is made whole, and the eigenvalue is exact to
    round-off. In more, it is u · ∇²f u for the best u that 100 products with the Hessian lead to, by Lanczos's method:
    never more than λ, and hardly less where the largest eigenvalue stands apart from the others.

    - `x`: the position, by default the problem's own start. Along a run: `jax.vmap(lambda x: sharpness(problem, x))`
      over its `x`.

    **Raises:** as `Problem.start` does, if `x` is not a position of the problem.

    >>> from dynopt import problems
    >>> print(f"{sharpness(problems.quadratic(eigenvalues=[1.0, 10.0], rotation=0.3)):.6f}")
    10.000000

    Source: J. Cohen et al., "Gradient descent on neural networks typically occurs at the edge of stability" (2021),
    abstract.
    """
    must_be_problem(problem)
    return _largest(problem.loss, problem.start(x))


@eqx.filter_jit
def _largest(loss: Callable, start: PyTree) -> Array:
    x, _, grad = flatten_loss(loss, start)
    if x.size <= WHOLE:
        hessian = jax.jacfwd(grad)(x)
        return jnp.linalg.eigvalsh(hessian.astype(jnp.promote_types(x.dtype, "float32")))[
            -1
        ].astype(x.dtype)

    def product(u):
        return jax.jvp(grad, (x,), (u.astype(x.dtype),))[1].astype(u.dtype)

    u = jax.lax.stop_gradient(_best(product, x.size, jnp.promote_types(x.dtype, "float32")))
    return (u @ product(u)).astype(x.dtype)


def _best(product: Callable[[Array], Array], dim: int, dtype: Any) -> Array:
    """The u of length 1 with the largest u · H u among all that products with H lead to, from a fixed beginning."""

    def lead(k, found):
        basis, images = found
        image = product(basis[k])
        new = image - (basis @ image) @ basis
        leads = jnp.linalg.norm(new) > ROUND_OFF * jnp.finfo(dtype).eps * jnp.linalg.norm(image)
        for _ in range(2):  # twice is enough to be orthogonal to the last digit
            new = jnp.where(leads, new / jnp.linalg.norm(new), 0)
            new = new - (basis @ new) @ basis
        return basis.at[k + 1].set(jnp.where(leads, new / jnp.linalg.norm(new), 0)), images.at[
            k
        ].set(image)

    first = jax.random.normal(jax.random.key(0), (dim,), dtype)
    basis = jnp.zeros((DIRECTIONS + 1, dim), dtype).at[0].set(first / jnp.linalg.norm(first))
    basis, images = jax.lax.fori_loop(
        0, DIRECTIONS, lead, (basis, jnp.zeros((DIRECTIONS, dim), dtype))
    )
    basis = basis[:-1]
    projected = basis @ images.T
    least = (
        -1 - jnp.abs(projected).sum()
    )  # below all eigenvalues: where there is no direction is not the best
    projected = projected + jnp.diag(jnp.where(basis.any(1), 0, least))
    u = jnp.linalg.eigh((projected + projected.T) / 2)[1][:, -1] @ basis
    return u / jnp.linalg.norm(u)
