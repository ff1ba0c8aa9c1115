"""The sharpness: how curved a loss is along its most curved direction."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.experimental.sparse.linalg import lobpcg_standard
from jaxtyping import Array, Float, PyTree

from ..problems import Problem
from ..problems.problem import must_be_problem
from ..trajectories import as_vector

WHOLE = 1000  # coordinates up to which the Hessian is made
BLOCK = 4  # directions at a time beyond


def sharpness(problem: Problem, x: Any = None) -> Float[Array, ""]:
    """The largest eigenvalue of the Hessian, λ(x) = max over |u| = 1 of u · ∇²f(x) u.

    `critical_curvature` is how much of it an optimizer bears at rest; gradient descent on a network brings it up to
    2/η and keeps it there. In up to 1000 coordinates the Hessian is made whole, and the eigenvalue is exact to
    round-off; in more, LOBPCG finds it from products ∇²f u alone, to about 1e-6 of itself.

    - `x`: the position, by default the problem's own start. Along a run: `jax.vmap(lambda x: sharpness(problem, x))`
      over its `x`.

    **Raises:** as `Problem.start` does, if `x` is not a position of the problem.

    >>> from dynopt import problems
    >>> print(f"{sharpness(problems.quadratic(eigenvalues=[1.0, 10.0], rotation=0.3)):.6f}")
    10.000000

    Source: J. Cohen et al., "Gradient descent on neural networks typically occurs at the edge of stability" (2021),
    Section 1; A. Knyazev, "Toward the optimal preconditioned eigensolver" (2001), for LOBPCG.
    """
    must_be_problem(problem)
    return _largest(problem.loss, problem.start(x))


@eqx.filter_jit
def _largest(loss: Callable, start: PyTree) -> Array:
    x, _, grad = as_vector(loss, start)
    if x.size <= WHOLE:
        return jnp.linalg.eigvalsh(jax.jacfwd(grad)(x))[-1]

    def product(directions):
        return jax.vmap(lambda u: jax.jvp(grad, (x,), (u,))[1], 1, 1)(directions)

    found, *_ = lobpcg_standard(product, jax.random.normal(jax.random.key(0), (x.size, BLOCK), x.dtype), 200)
    return found[0]
