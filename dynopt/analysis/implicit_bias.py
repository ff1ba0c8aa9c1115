"""Implicit bias: what an optimizer descends beside the loss, because its steps are not infinitely short."""

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

NODES, WEIGHTS = (
    (a + b) / 2 for a, b in zip(np.polynomial.legendre.leggauss(40), (1, 0), strict=True)
)


class ImplicitBias(eqx.Module):
    """The first correction to a flow x′ = -φ(∇f), in two parts: correction = gradient + rest.

    - `correction`: h f₂, shaped as positions are. - `norm`: K(∇f), the convex function of the gradient with ∇K = φ.
    - `strength`: κ, time. - `scalar`: κ K(∇f(x)), what is descended beside f; negative, what is climbed.
    - `gradient`: -κ P ∇ₓK(∇f(x)), the descent of `scalar`, scaled as that of f is by P = φ(g)/g.
    - `rest`: what no multiple of K explains. - `optimizer`, `problem`: whose it is.
    """

    correction: PyTree[Array]
    norm: Array
    strength: Array
    scalar: Array
    gradient: PyTree[Array]
    rest: PyTree[Array]
    optimizer: AbstractOptimizer
    problem: Problem

    def __repr__(self) -> str:
        said = f"{float(self.strength):.4g} × {float(self.norm):.4g}"
        return f"ImplicitBias({said}, {self.optimizer} on {self.problem.name})"


def implicit_bias(optimizer: AbstractOptimizer, problem: Problem, x: Any = None) -> ImplicitBias:
    """Split the first correction to an optimizer's flow, at one position, into the gradient of a scalar and a rest.

    Where the flow is x′ = -φ(g), g = ∇f(x), a step of length h adds h f₂ to it (`Modified`). φ is the gradient of a
    convex K: |g|²/2 for gradient descent, Σ|g| for Adam with fixed decays up to ε. κ is chosen by least squares,

        h f₂ = -κ P ∇ₓK(∇f(x)) + rest,        P = φ(g)/g, coordinate by coordinate,

    so that the optimizer descends f + κ K(∇f). Exactly, with no rest:

        gradient descent                f + (h/4) |g|²
        heavy ball, μ fixed             f + (h/4) (1+μ)/(1-μ)² |g|²

    which is (1+μ)/(1-μ) times what gradient descent of the same speed h/(1-μ) has. For Adam and ε → 0,

        κ = (h/2) ((1+β₁)/(1-β₁) - (1+β₂)/(1-β₂)),

    negative for the usual decays: Adam climbs the 1-norm of the gradient. Where one coordinate of g is exactly 0 and ε
    stands outside the root, the root has no derivative, and the result is NaN.

    - `optimizer`: a page; one with a memory is made `Memoryless` first, h being its learning rate. - `x`: the position,
      by default the problem's start.

    **Raises:** `InvalidValue` if `x` does not fit, or a memory never forgets.

    >>> from dynopt import SGD, Problem
    >>> bowl = Problem(lambda x: (x**2).sum() / 2, [2.0], name="bowl")
    >>> print(f"{implicit_bias(SGD(0.1), bowl).scalar:.3f}")  # (0.1/4) 2²
    0.100

    Source: D. Barrett and B. Dherin, "Implicit gradient regularization", ICLR (2021); A. Ghosh, H. Lyu, X. Zhang and
    R. Wang, "Implicit regularization in heavy-ball momentum accelerated stochastic gradient descent", ICLR (2023); M.
    Cattaneo, J. Klusowski and B. Shigida, "On the implicit bias of Adam", ICML (2024).
    """
    must_be_optimizer(optimizer)
    must_be_problem(problem)
    if isinstance(optimizer, Modified):
        optimizer = optimizer.optimizer
    start = problem.start(x)
    flat, unravel = ravel_pytree(start)
    point = jax.eval_shape(lambda x: optimizer.init(x, lambda x: x), flat)
    page = (
        optimizer if len(point) == 1 or isinstance(optimizer, Memoryless) else Memoryless(optimizer)
    )
    parts = _split(Modified(fit_to_start(page, start, flat.dtype)), problem.loss, start)
    return ImplicitBias(
        **{name: unravel(part) if part.ndim else part for name, part in parts.items()},
        optimizer=page,
        problem=problem,
    )


@eqx.filter_jit
def _split(optimizer: Modified, loss: Callable, start: PyTree) -> dict[str, Array]:
    x, flat_loss, grad = flatten_loss(loss, start)
    y, g = optimizer.init(x, grad), grad(x)
    f1, both = (
        optimizer.optimizer.vector_field(0.0, y, grad).x,
        optimizer.vector_field(0.0, y, grad).x,
    )

    def phi(g):
        """What a gradient adds to the flow, against its direction."""
        return (
            optimizer.optimizer.vector_field(0.0, y, jnp.zeros_like).x
            - optimizer.optimizer.vector_field(0.0, y, lambda _: g).x
        )

    pull = phi(g)
    _, stiffness = jax.jvp(phi, (jnp.zeros_like(g),), (jnp.ones_like(g),))
    metric = jnp.where(g == 0, stiffness, pull / jnp.where(g == 0, 1, g))
    along_g = jax.vmap(lambda s: jnp.vdot(phi(s * g), g))(jnp.asarray(NODES, x.dtype))
    norm = jnp.vdot(jnp.asarray(WEIGHTS, x.dtype), along_g)
    _, steepest = jax.jvp(grad, (x,), (pull,))  # ∇ₓ K(∇f) = ∇²f φ
    correction = both - f1
    size = jnp.vdot(steepest, metric * steepest)
    strength = -jnp.vdot(steepest, correction) / jnp.where(size == 0, 1, size)
    gradient = -strength * metric * steepest
    return {
        "correction": correction,
        "norm": norm,
        "strength": strength,
        "scalar": strength * norm,
        "gradient": gradient,
        "rest": correction - gradient,
    }
