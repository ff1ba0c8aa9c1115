"""The sharpness: the largest curvature of a loss."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ..problems import Problem
from ..problems.probe import must_be_gradient
from ..problems.problem import must_be_problem
from ..runs.prepare import flatten_loss

MAX_DENSE_DIM = 1000  # up to so many coordinates the whole Hessian is computed
LANCZOS_DIM = 100  # dimension of the Krylov space of Lanczos's method, for more coordinates
ROUND_OFF = 1e3  # a new direction is round-off if it is shorter than so many ulp of the product


def sharpness(problem: Problem, x: Any = None) -> Float[Array, ""]:
    """The largest eigenvalue of the Hessian, λ(x) = max over |u| = 1 of u · ∇²f(x) u.

    An optimizer whose steps are linear in the gradient, such as `SGD` or `Momentum`, is stable at
    rest while the sharpness is below its `critical_curvature`; for RMSprop and Adam that is
    compared with the largest eigenvalue of P⁻¹∇²f. Gradient descent on a network tends to raise the
    sharpness until 2/η, and then keeps it near there. On `problems.tanh_network` this takes less
    than 2000 steps at η = 0.2; at smaller rates it may never happen: at η = 0.02 it has come to
    0.42 of 2/η after 15 000 steps.

    In up to 1000 coordinates the whole Hessian is computed, and the eigenvalue is exact up to
    round-off. In more coordinates it is u · ∇²f u for the best u that Lanczos's method finds with
    100 products with the Hessian: never more than λ, and hardly less where the largest eigenvalue
    is well separated from the others.

    - `x`: the position, by default the start of the problem. Along a run, use
      `jax.vmap(lambda x: sharpness(problem, x))` over its `x`.

    **Raises:** as `Problem.start` does, if `x` is not a position of the problem; `ProblemError` if
    its field is no gradient, as in a game, or JAX differentiates it wrongly.

    >>> from dynopt import problems
    >>> print(f"{sharpness(problems.quadratic(eigenvalues=[1.0, 10.0], rotation=0.3)):.6f}")
    10.000000

    Source: J. Cohen et al., "Gradient descent on neural networks typically occurs at the edge of
    stability" (2021), abstract.
    """
    must_be_problem(problem)
    must_be_gradient(problem, "sharpness")
    return _sharpness(problem.loss, problem.start(x))


@eqx.filter_jit
def _sharpness(loss: Callable, start: PyTree) -> Array:
    x, _, grad = flatten_loss(loss, start)
    return largest_curvature(grad, x)


def largest_curvature(grad: Callable, x: Array, absolute: bool = False) -> Array:
    """The largest eigenvalue of the Hessian at the vector `x`; if `absolute`, the largest |λ|.

    - `grad`: the gradient of the loss as a function of one vector.
    """
    dtype = jnp.promote_types(x.dtype, "float32")
    if x.size <= MAX_DENSE_DIM:
        eigenvalues = jnp.linalg.eigvalsh(jax.jacfwd(grad)(x).astype(dtype))
        largest = jnp.abs(eigenvalues).max() if absolute else eigenvalues[-1]
        return largest.astype(x.dtype)

    def product(u):
        return jax.jvp(grad, (x,), (u.astype(x.dtype),))[1].astype(u.dtype)

    u = jax.lax.stop_gradient(_lanczos(product, x.size, dtype, absolute))
    curvature = u @ product(u)
    return (jnp.abs(curvature) if absolute else curvature).astype(x.dtype)


def _lanczos(product: Callable[[Array], Array], dim: int, dtype: Any, absolute: bool) -> Array:
    """The u of length 1 with the largest u · H u, or |u · H u|, in the Krylov space of H.

    The space is spanned by a fixed random vector and its products with H.
    """

    def extend(k, carry):
        basis, products = carry
        image = product(basis[k])
        new = image - (basis @ image) @ basis
        is_new = jnp.linalg.norm(new) > ROUND_OFF * jnp.finfo(dtype).eps * jnp.linalg.norm(image)
        for _ in range(2):  # two rounds make it orthogonal to the last digit
            new = jnp.where(is_new, new / jnp.linalg.norm(new), 0)
            new = new - (basis @ new) @ basis
        new = jnp.where(is_new, new / jnp.linalg.norm(new), 0)
        return basis.at[k + 1].set(new), products.at[k].set(image)

    first = jax.random.normal(jax.random.key(0), (dim,), dtype)
    basis = jnp.zeros((LANCZOS_DIM + 1, dim), dtype).at[0].set(first / jnp.linalg.norm(first))
    products = jnp.zeros((LANCZOS_DIM, dim), dtype)
    basis, products = jax.lax.fori_loop(0, LANCZOS_DIM, extend, (basis, products))
    basis = basis[:-1]
    projected = basis @ products.T
    # rows of the basis that stayed empty get an eigenvalue below all others, and are never chosen
    is_empty = ~basis.any(1)
    below_all = -1 - jnp.abs(projected).sum()
    projected = projected + jnp.diag(jnp.where(is_empty, below_all, 0))
    eigenvalues, vectors = jnp.linalg.eigh((projected + projected.T) / 2)
    largest, smallest = LANCZOS_DIM - 1, is_empty.sum()
    is_smallest = absolute & (jnp.abs(eigenvalues[smallest]) > jnp.abs(eigenvalues[largest]))
    u = vectors[:, jnp.where(is_smallest, smallest, largest)] @ basis
    return u / jnp.linalg.norm(u)
