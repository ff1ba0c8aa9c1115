"""Lion: step by the sign of a mean of the gradient that leans towards the newest, and decay."""

from typing import NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array

from ..checks import Scalar, concrete_value, decay_rate, nonnegative, positive
from . import signs
from .base import AbstractOptimizer, Regularity, safe_divide


class LionState(NamedTuple):
    x: Array
    m: Array


class Lion(AbstractOptimizer[LionState]):
    """Lion steps by η in every coordinate, against the sign of its memory mixed with the gradient.

    The map (η = `learning_rate`, β₁ = `b1`, β₂ = `b2`, λ = `weight_decay`, g = ∇f(xₖ)), the position first:

        xₖ₊₁ = xₖ - η (sign(β₁ mₖ + (1-β₁) g) + λ xₖ)
        mₖ₊₁ = β₂ mₖ + (1-β₂) g

    The flow (memory time τ = h/(1-β₂), g = ∇f(x)), from m(0) = 0:

        x′ ∈ -Sign(β₁ m + (1-β₁) g) - λ x          {-1} for negative, {1} for positive, [-1, 1] for 0
        τ m′ = g - m
    The right side jumps: a differential inclusion. Where g in the mixture turns the path back at once, it slides along
    the jump, so the solver is given tanh(·/10⁻⁴) for Sign. `smoothing` = s > 0 puts tanh(·/s) into map and flow.
    The clock: one step takes the time h = η, and β₂ = 1 - h/τ. With τ and the mixture held fixed the gap closes like h.
    Energy: f + K*(λx)/λ + τ β₁/(1 + (1-β₁)τλ) (K*(λx) + K(m) + λ<m, x>), which never rises along the flow, with K(m) =
    Σ |m|, or Σ s log cosh(m/s), and its conjugate K*: Lion minimises f + K*(λx)/λ, the loss inside the box |x| ≤ 1/λ.
    Elsewhere: m is an average of gradients, as in optax; L. Chen et al. carry its negative.
    - `learning_rate`: η, time per step. - `b1`, `b2`: in [0, 1). - `weight_decay`, `smoothing`: λ, s ≥ 0.
    >>> Lion(0.01)
    Lion(learning_rate=0.01, b1=0.9, b2=0.99, weight_decay=0.001, smoothing=0)

    Source: X. Chen et al., "Symbolic discovery of optimization algorithms" (2023); for the energy, L. Chen, B. Liu, K.
    Liang and Q. Liu, "Lion secretly solves constrained optimization: as Lyapunov predicts" (2023); `optax.lion`.
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
        x = x - self.h * (
            signs.sign(self.b1 * m + (1 - self.b1) * g, self.smoothing) + self.weight_decay * x
        )
        m = m + self.h * (g - m) / self.tau
        return LionState(x, m)

    def vector_field(self, t, y, grad):
        x, m = y
        g = grad(x)
        dx = (
            -signs.sign(self.b1 * m + (1 - self.b1) * g, jnp.maximum(self.smoothing, 1e-4))
            - self.weight_decay * x
        )
        dm = (g - m) / self.tau
        return LionState(dx, dm)

    def optax(self):
        smooth = {
            "mode": "smooth",
            "smooth_beta": 1 / jnp.maximum(self.smoothing, 1e-30),
        }  # also where it is traced
        sign = optax.scale_by_lion(
            self.b1, self.b2, **({} if concrete_value(self.smoothing) == 0 else smooth)
        )
        return optax.chain(sign, optax.add_decayed_weights(self.weight_decay), optax.scale(-self.h))

    def lyapunov(self, t, y, loss):
        u = self.weight_decay * y.x
        K, conjugate = (
            signs.smoothed_norm(y.m, self.smoothing),
            signs.conjugate_norm(u, self.smoothing),
        )
        share = self.tau * self.b1 / (1 + (1 - self.b1) * self.tau * self.weight_decay)
        box = safe_divide(conjugate, jnp.full_like(u, self.weight_decay))
        return loss(y.x) + jnp.sum(box + share * (conjugate + K + y.m * u))
