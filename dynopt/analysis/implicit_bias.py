"""Implicit bias: what an optimizer minimizes in addition to the loss."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PyTree

from ..derivations import Memoryless, Modified
from ..optimizers import AbstractOptimizer
from ..optimizers.base import must_be_optimizer
from ..problems import Problem
from ..problems.problem import must_be_problem
from ..runs.prepare import fit_to_start, flatten_loss

# Gauss-Legendre quadrature with 40 nodes on [0, 1]
NODES, WEIGHTS = (
    (a + b) / 2 for a, b in zip(np.polynomial.legendre.leggauss(40), (1, 0), strict=True)
)


class ImplicitBias(eqx.Module):
    """The first correction to a flow x′ = -φ(∇f), split as correction = gradient + remainder.

    - `correction`: h f₂, of the shape of a position.
    - `norm`: K(∇f), the convex function of the gradient with ∇K = φ.
    - `strength`: κ, in the unit of time.
    - `scalar`: κ K(∇f(x)), what the optimizer minimizes in addition to f; if it is negative, what
      the optimizer maximizes.
    - `gradient`: -κ P ∇ₓK(∇f(x)), the descent of `scalar`, scaled by P = φ(g)/g as the descent of f
      is.
    - `remainder`: the part of the correction that no multiple of K explains.
    - `optimizer`, `problem`: the optimizer and the problem that were analyzed.
    """

    correction: PyTree[Array]
    norm: Array
    strength: Array
    scalar: Array
    gradient: PyTree[Array]
    remainder: PyTree[Array]
    optimizer: AbstractOptimizer
    problem: Problem

    def __repr__(self) -> str:
        product = f"{float(self.strength):.4g} × {float(self.norm):.4g}"
        return f"ImplicitBias({product}, {self.optimizer} on {self.problem.name})"


def implicit_bias(optimizer: AbstractOptimizer, problem: Problem, x: Any = None) -> ImplicitBias:
    """Split the first correction to a flow into the gradient of a scalar and a remainder.

    This is done at one position. Where the flow is x′ = -φ(g) with g = ∇f(x), a time step h adds
    h f₂ to it (`Modified`). φ is the gradient of a convex function K: |g|²/2 for gradient descent,
    and Σ|g| up to ε for Adam with fixed decay rates. κ is chosen by least squares in

        h f₂ = -κ P ∇ₓK(∇f(x)) + remainder,        P = φ(g)/g, coordinate by coordinate,

    so that the optimizer minimizes f + κ K(∇f). In two cases the remainder is 0, and this sum is

        gradient descent                f + (h/4) |g|²
        heavy ball, μ fixed             f + (h/4) (1+μ)/(1-μ)² |g|²

    The second is (1+μ)/(1-μ) times that of gradient descent with the same speed h/(1-μ). For Adam
    and ε → 0,

        κ = (h/2) ((1+β₁)/(1-β₁) - (1+β₂)/(1-β₂)),

    which is negative for the usual decay rates: Adam maximizes the 1-norm of the gradient. Where
    one coordinate of g is exactly 0 and ε stands outside the root, the root has no derivative, and
    the result is NaN.

    - `optimizer`: an optimizer with a memory is made `Memoryless` first; h is then its learning
      rate.
    - `x`: the position, by default the start of the problem.

    **Raises:** `InvalidValue` if `x` does not fit the problem, or if a memory never forgets.

    >>> from dynopt import SGD, Problem
    >>> bowl = Problem(lambda x: (x**2).sum() / 2, [2.0], name="bowl")
    >>> print(f"{implicit_bias(SGD(0.1), bowl).scalar:.3f}")  # (0.1/4) 2²
    0.100

    Source: D. Barrett and B. Dherin, "Implicit gradient regularization", ICLR (2021); A. Ghosh,
    H. Lyu, X. Zhang and R. Wang, "Implicit regularization in heavy-ball momentum accelerated
    stochastic gradient descent", ICLR (2023); M. Cattaneo, J. Klusowski and B. Shigida, "On the
    implicit bias of Adam", ICML (2024).
    """
    must_be_optimizer(optimizer)
    must_be_problem(problem)
    if isinstance(optimizer, Modified):
        optimizer = optimizer.optimizer
    start = problem.start(x)
    flat, unravel = ravel_pytree(start)
    y = jax.eval_shape(lambda x: optimizer.init(x, lambda x: x), flat)
    if len(y) > 1 and not isinstance(optimizer, Memoryless):
        optimizer = Memoryless(optimizer)
    modified = Modified(fit_to_start(optimizer, start, flat.dtype))
    parts = _split(modified, problem.loss, start)
    return ImplicitBias(
        **{name: unravel(part) if part.ndim else part for name, part in parts.items()},
        optimizer=optimizer,
        problem=problem,
    )


@eqx.filter_jit
def _split(modified: Modified, loss: Callable, start: PyTree) -> dict[str, Array]:
    x, _, grad = flatten_loss(loss, start)
    optimizer, g = modified.optimizer, grad(x)
    y = modified.init(x, grad)

    def velocity(grad):
        return optimizer.vector_field(0.0, y, grad).x

    def phi(g):
        return velocity(jnp.zeros_like) - velocity(lambda _: g)

    phi_g = phi(g)
    _, slope_at_zero = jax.jvp(phi, (jnp.zeros_like(g),), (jnp.ones_like(g),))
    scale = jnp.where(g == 0, slope_at_zero, phi_g / jnp.where(g == 0, 1, g))  # P
    integrand = jax.vmap(lambda s: jnp.vdot(phi(s * g), g))(jnp.asarray(NODES, x.dtype))
    norm = jnp.vdot(jnp.asarray(WEIGHTS, x.dtype), integrand)
    _, norm_gradient = jax.jvp(grad, (x,), (phi_g,))  # ∇ₓK(∇f) = ∇²f φ
    correction = modified.vector_field(0.0, y, grad).x - velocity(grad)
    size = jnp.vdot(norm_gradient, scale * norm_gradient)
    strength = -jnp.vdot(norm_gradient, correction) / jnp.where(size == 0, 1, size)
    gradient = -strength * scale * norm_gradient
    return {
        "correction": correction,
        "norm": norm,
        "strength": strength,
        "scalar": strength * norm,
        "gradient": gradient,
        "remainder": correction - gradient,
    }
