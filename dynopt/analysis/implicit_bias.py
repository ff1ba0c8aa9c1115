"""Implicit bias: what an optimizer minimizes in addition to the loss."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PyTree

from ..checks import is_concrete, whole_number
from ..derivations import Memoryless, Modified
from ..derivations.transformation import LATE_COUNT
from ..errors import InvalidValue
from ..optimizers import AbstractOptimizer
from ..optimizers.base import must_be_optimizer
from ..optimizers.wrappers.base import AbstractWrapper
from ..optimizers.wrappers.noise import must_have_no_noise
from ..problems import Problem
from ..problems.problem import must_be_problem
from ..runs.prepare import MAX_STEPS, fit_to_start, flatten_loss

# Gauss-Legendre quadrature with 40 nodes on [0, 1]
NODES, WEIGHTS = (
    (a + b) / 2 for a, b in zip(np.polynomial.legendre.leggauss(40), (1, 0), strict=True)
)


class ImplicitBias(eqx.Module):
    """The first correction to a flow x′ = -φ(∇f), split as correction = gradient + remainder.

    - `correction`: h f₂, of the shape of a position.
    - `norm`: K(∇f), the convex function of the gradient with ∇K = φ.
    - `strength`: κ, in the unit of time; NaN where P ∇ₓK = 0, as any κ would do there.
    - `scalar`: κ K(∇f(x)), what the optimizer minimizes in addition to f; if it is negative, what
      the optimizer maximizes. It is NaN where κ is.
    - `gradient`: -κ P ∇ₓK(∇f(x)), the descent of `scalar`, scaled by P = φ(g)/g as the descent of f
      is; 0 where κ is NaN.
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


def implicit_bias(
    optimizer: AbstractOptimizer, problem: Problem, x: Any = None, step: int | None = None
) -> ImplicitBias:
    """Split the first correction to a flow into the gradient of a scalar and a remainder.

    This is done at one position. Where the flow is x′ = -φ(g) with g = ∇f(x), a time step h adds
    h f₂ to it (`Modified`). φ is the gradient of a convex function K: |g|²/2 for gradient descent,
    Σ|g| up to ε for Adam with fixed decay rates, the sum of the singular values for Muon if
    `exact`. κ is chosen by least squares in

        h f₂ = -κ P ∇ₓK(∇f(x)) + remainder

    where P is φ(g)/g, coordinate by coordinate, or the Jacobian φ′(g) where φ mixes coordinates, as
    that of Muon does. So the optimizer minimizes f + κ K(∇f). In two cases the remainder is 0, and
    this sum is

        gradient descent                f + (h/4) |g|²
        heavy ball, μ fixed             f + (h/4) (1+μ)/(1-μ)² |g|²

    The second is (1+μ)/(1-μ) times that of gradient descent with the same speed h/(1-μ). For Adam
    and ε → 0,

        κ = (h/2) ((1+β₁)/(1-β₁) - (1+β₂)/(1-β₂)),

    which is negative for the usual decay rates: Adam maximizes the 1-norm of the gradient. This is
    so after many steps, n ≫ 1/(1-β) for both β. At step n, counted from 0, the memory has lasted
    for n steps only, and

        κₙ = h (kₙ(β₁) - kₙ(β₂)),      kₙ(β) = β/(1-β) - (n+1) βⁿ⁺¹/(1-βⁿ⁺¹),

    which is 0 at first, since kₙ = n/2 as long as n ≪ 1/(1-β). Without a bias correction the steps
    themselves change until the memory has filled, and κ is that of n → ∞ at every step.

    Where the field g is no gradient, as in a game, ∇ₓK(g) is the transposed Jacobian of g times φ.
    So simultaneous gradient descent on f = x₀x₁ against x₁ maximizes (h/4)|g|².

    Where ∇ₓK is 0, as on a linear loss and at a minimizer, no κ is better than another: `strength`
    and `scalar` are NaN, and the remainder is all of the correction.

    - `optimizer`: an optimizer with a memory is made `Memoryless` first; h is then its learning
      rate.
    - `x`: the position, by default the start of the problem.
    - `step`: the number n of steps that were made before this one; by default n → ∞ for a memory
      that fades, and 0 for an optimizer without memory.

    **Raises:** `InvalidValue` if `x` or `step` does not fit, if a memory never forgets, or if the
    step of the optimizer jumps where a coordinate of g is 0, as it is at this `x`.

    >>> from dynopt import SGD, Problem
    >>> bowl = Problem(lambda x: (x**2).sum() / 2, [2.0], name="bowl")
    >>> print(f"{implicit_bias(SGD(0.1), bowl).scalar:.3f}")  # (0.1/4) 2²
    0.100

    Source: D. Barrett and B. Dherin, "Implicit gradient regularization", ICLR (2021); A. Ghosh,
    H. Lyu, X. Zhang and R. Wang, "Implicit regularization in heavy-ball momentum accelerated
    stochastic gradient descent", ICLR (2023); M. Cattaneo, J. Klusowski and B. Shigida, "On the
    implicit bias of Adam", ICML (2024).
    """
    must_have_no_noise("implicit_bias", optimizer)
    must_be_optimizer(optimizer)
    must_be_problem(problem)
    if isinstance(optimizer, Modified):
        optimizer = optimizer.optimizer
    start = problem.start(x)
    flat, unravel = ravel_pytree(start)
    y = jax.eval_shape(lambda x: optimizer.init(x, lambda x: x), flat)
    if len(y) > 1 and not _is_memoryless(optimizer):
        optimizer = Memoryless(optimizer)
    if optimizer.positions != ("x",):
        raise InvalidValue(
            f"the memory of {optimizer!r} holds a position, so x alone has no flow; pass its inner "
            "optimizer."
        )
    if getattr(optimizer, "part", None) is not None:
        raise InvalidValue(
            f"{optimizer!r} keeps a memory beside x, so x alone has no flow; use dynopt.Memoryless "
            "without `leaves`."
        )
    if step is not None:
        step = whole_number("step", step, least=0, most=MAX_STEPS, like=100)
    modified = Modified(fit_to_start(optimizer, start, flat.dtype))
    parts = _split(modified, problem.loss, start, _time(optimizer, step))
    jumps = parts.pop("jumps")
    if is_concrete(jumps) and jumps:
        raise InvalidValue(
            f"the step of {optimizer!r} jumps where a coordinate of the gradient is 0, as it is at "
            "this `x`; pass another `x`, or a positive `eps` or `smoothing`."
        )
    return ImplicitBias(
        **{name: unravel(part) if part.ndim else part for name, part in parts.items()},
        optimizer=optimizer,
        problem=problem,
    )


def _is_memoryless(optimizer: AbstractOptimizer) -> bool:
    while isinstance(optimizer, AbstractWrapper):
        optimizer = optimizer.optimizer
    return isinstance(optimizer, Memoryless)


def _time(optimizer: AbstractOptimizer, step: int | None) -> Array:
    """When `step` is made; a memory has the lag of a step in the middle of it."""
    if _is_memoryless(optimizer):
        steps = LATE_COUNT if step is None else step + 1 / 2
    else:
        steps = step or 0
    return jnp.asarray(optimizer.h * steps)


@eqx.filter_jit
def _split(modified: Modified, loss: Callable, start: PyTree, time: Array) -> dict[str, Array]:
    x, _, grad = flatten_loss(loss, start)
    optimizer, g = modified.optimizer, grad(x)
    y, time = modified.init(x, grad), time.astype(x.dtype)

    def velocity(g):
        return optimizer.vector_field(time, y, lambda _: g).x

    nearby = jnp.where(g == 0, 1e-20 * jnp.abs(g).max(), g)
    nodes = jnp.asarray(NODES, x.dtype)[:, None] * g[None]
    points = jnp.concatenate([jnp.stack([jnp.zeros_like(g), g, -g, nearby]), nodes])
    velocities = jax.vmap(velocity)(points)
    at_zero, at_g, at_minus_g, at_nearby = velocities[:4]
    at_zero = jnp.where(jnp.isnan(at_zero), (at_g + at_minus_g) / 2, at_zero)  # 0/0 if ε is 0
    phi = at_zero - at_g
    norm = jnp.asarray(WEIGHTS, x.dtype) @ ((at_zero[None] - velocities[4:]) @ g)

    (norm_gradient,) = jax.vjp(grad, x)[1](phi)  # ∇ₓK(g), by the transposed Jacobian of the field
    points = jnp.stack([jnp.zeros_like(g), g, g])
    directions = jnp.stack([jnp.ones_like(g), jnp.ones_like(g), norm_gradient])
    slope_at_zero, diagonal, image = jax.vmap(
        lambda g, direction: -jax.jvp(velocity, (g,), (direction,))[1]
    )(points, directions)
    scale = jnp.where(g == 0, slope_at_zero, phi / jnp.where(g == 0, 1, g))
    direction = scale * norm_gradient  # P ∇ₓK(g)
    round_off = 1e3 * jnp.finfo(x.dtype).eps * jnp.abs(direction)
    difference = jnp.abs(diagonal * norm_gradient - image) - round_off
    mixes = difference.max() > 1e-6 * jnp.abs(image).max()
    direction = jnp.where(mixes, image, direction)

    correction = modified.vector_field(time, y, grad).x - optimizer.vector_field(time, y, grad).x
    size = jnp.vdot(norm_gradient, direction)
    strength = -jnp.vdot(norm_gradient, correction) / jnp.where(size == 0, jnp.nan, size)
    gradient = jnp.where(size == 0, 0, -strength * direction)
    jump = jnp.abs(at_nearby - at_g).max()  # where g has a 0
    return {
        "correction": correction,
        "norm": norm,
        "strength": strength,
        "scalar": strength * norm,
        "gradient": gradient,
        "remainder": correction - gradient,
        "jumps": ~(jump <= 1e-3 * jnp.abs(phi).max()),
    }
