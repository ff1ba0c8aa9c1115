"""Lion: step by the sign of a mean that weights the newest gradient more, and decay."""

from typing import NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array

from ..checks import Scalar, concrete_value, decay_rate, nonnegative, positive
from . import signs
from .averages import safe_divide
from .base import AbstractOptimizer, Regularity


class LionState(NamedTuple):
    x: Array
    m: Array


class Lion(AbstractOptimizer[LionState]):
    """Lion moves by η in every coordinate, against the sign of its memory mixed with the gradient.

    The map (η = `learning_rate`, β₁ = `b1`, β₂ = `b2`, λ = `weight_decay`, g = ∇f(xₖ)) updates the
    position first:

        xₖ₊₁ = xₖ - η (sign(β₁ mₖ + (1-β₁) g) + λ xₖ)
        mₖ₊₁ = β₂ mₖ + (1-β₂) g

    The flow (memory time τ = h/(1-β₂), g = ∇f(x)), from m(0) = 0:

        x′ ∈ -Sign(β₁ m + (1-β₁) g) - λ x         {-1} for negative, {1} for positive, [-1, 1] for 0
        τ m′ = g - m

    The right-hand side jumps, so this is a differential inclusion. Where it points towards the jump
    from both sides, which the g in the mixture can cause, the solution slides along the jump.
    Therefore `vector_field` has tanh(·/w) for Sign in each coordinate, where the width
    w = 10⁻⁴ (β₁ |m| + (1-β₁) |g|) shrinks with the gradient: it moves a solution that slides by
    about 10⁻⁴ of its distance to the minimizer, at every scale of the loss. As w goes to 0, solvers
    need ever shorter steps, and `integrate` then fails and says that the solution slides.
    `smoothing` = s > 0 puts tanh(·/s) into map and flow instead, and such a flow can be solved.

    The time step: one step takes the time h = η, and β₂ = 1 - h/τ. With τ and the mixture held
    fixed the global error is O(h).

    Lyapunov function: f + K*(λx)/λ + τ β₁/(1 + (1-β₁)τλ) (K*(λx) + K(m) + λ<m, x>), which never
    rises along the flow. Here K(m) = Σ |m|, or Σ s log cosh(m/s) if smoothed, and K* is its convex
    conjugate. The equilibria are the stationary points of f + K*(λx)/λ, which is the loss inside
    the box |x| ≤ 1/λ if not smoothed; for convex f, they are its minimizers.

    Elsewhere: m is a running mean of gradients, as in optax; L. Chen et al. store its negative.

    Arguments:

    - `learning_rate`: η, the time per step; positive.
    - `b1`: β₁ in [0, 1), the weight of the memory in the mixture; 0.9 by default.
    - `b2`: β₂ in [0, 1); 0.99 by default.
    - `weight_decay`: λ ≥ 0, one over time; 1e-3 by default.
    - `smoothing`: s ≥ 0, in units of the gradient; 0 by default.

    >>> Lion(0.01)
    Lion(learning_rate=0.01, b1=0.9, b2=0.99, weight_decay=0.001, smoothing=0)

    Source: X. Chen et al., "Symbolic discovery of optimization algorithms" (2023); for the Lyapunov
    function, L. Chen, B. Liu, K. Liang and Q. Liu, "Lion secretly solves constrained optimization:
    as Lyapunov predicts" (2023); `optax.lion`.
    """

    h: Scalar
    tau: Scalar
    b1: Scalar
    weight_decay: Scalar
    smoothing: Scalar

    def __init__(self, learning_rate, b1=0.9, b2=0.99, weight_decay=1e-3, smoothing=0.0):
        self.h = positive("learning_rate", learning_rate)
        self.tau = self.h / (1 - decay_rate("b2", b2))
        self.b1 = decay_rate("b1", b1)
        self.weight_decay = nonnegative("weight_decay", weight_decay)
        self.smoothing = nonnegative("smoothing", smoothing)

    learning_rate = property(lambda self: self.h)
    b2 = property(lambda self: 1 - self.h / self.tau)
    regularity = property(lambda self: Regularity(nonsmooth=signs.nonsmooth(self.smoothing)))

    def init(self, x, grad):
        return LionState(x, jnp.zeros_like(x))

    def step(self, t, y, grad):
        x, m = y
        g = grad(x)
        sign = signs.sign(self.b1 * m + (1 - self.b1) * g, self.smoothing)
        x = x - self.h * (sign + self.weight_decay * x)
        m = m + self.h * (g - m) / self.tau
        return LionState(x, m)

    def vector_field(self, t, y, grad):
        x, m = y
        g = grad(x)
        old, new = self.b1 * m, (1 - self.b1) * g
        width = jnp.where(self.smoothing > 0, self.smoothing, 1e-4 * (jnp.abs(old) + jnp.abs(new)))
        dx = -signs.sign(old + new, width) - self.weight_decay * x
        dm = (g - m) / self.tau
        return LionState(dx, dm)

    def optax(self):
        options = {}
        if concrete_value(self.smoothing) != 0:
            s = jnp.maximum(self.smoothing, 1e-30)  # a traced smoothing may be 0
            options = {"mode": "smooth", "smooth_beta": 1 / s}
        sign = optax.scale_by_lion(self.b1, self.b2, **options)
        return optax.chain(sign, optax.add_decayed_weights(self.weight_decay), optax.scale(-self.h))

    def lyapunov(self, t, y, loss):
        u = self.weight_decay * y.x
        norm = signs.smoothed_norm(y.m, self.smoothing)
        conjugate = signs.conjugate_norm(u, self.smoothing)
        factor = self.tau * self.b1 / (1 + (1 - self.b1) * self.tau * self.weight_decay)
        box = safe_divide(conjugate, jnp.full_like(u, self.weight_decay))
        return loss(y.x) + jnp.sum(box + factor * (conjugate + norm + y.m * u))
