"""RMSprop: divide the gradient by the root of a running mean of its square."""

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import optax
from jaxtyping import Array

from ..checks import Scalar, boolean, concrete_value, decay_rate, nonnegative, positive
from ..errors import InvalidValue
from .averages import bias_corrected, safe_divide, safe_sqrt
from .base import AbstractOptimizer, Regularity


class RMSpropState(NamedTuple):
    x: Array
    v: Array


class RMSprop(AbstractOptimizer[RMSpropState]):
    """RMSprop takes steps of about η in each coordinate, whatever the size of the gradient.

    The map (η = `learning_rate`, ρ = `decay`, ε = `eps`, g = ∇f(xₖ)) updates the memory first; v̂
    is v itself, or v corrected for its start from 0 with `bias_correction`:

        vₖ₊₁ = ρ vₖ + (1-ρ) g²
        xₖ₊₁ = xₖ - η g / √(v̂ₖ₊₁ + ε)       v̂ = v; if corrected (`bias_correction`), v / (1 - ρᵏ⁺¹)

    The flow (memory time τ = h/(1-ρ), g = ∇f(x)):

        τ v′ = g² - v
        x′ = -g / √(v̂ + ε)                  v̂ = v; if corrected, v / (1 - e^(-t/τ)), and g² at t = 0

    The time step: one step takes the time h = η, and ρ = 1 - h/τ. With τ held fixed the global
    error is O(h) if v starts near g² (`initial_scale`) or is corrected. From v(0) = 0, which is the
    default, |x′| starts as √(τ/t), and the first step has the length η/√(1-ρ) = √(τ h), whatever
    the gradient is. Over the usual range of h the global error is then only O(√h) (order ½); it is
    O(h) once h ≪ ε τ/g².

    Lyapunov function: f + 2τ Σ √(v + ε), which falls at the rate Σ v/√(v + ε). If v is corrected,
    it is f alone, which falls at the rate Σ g²/√(v̂ + ε).

    Elsewhere: ε stands inside the root, as in optax; PyTorch puts it outside. With ε = 0, the
    quotient 0/0 counts as 0.

    Arguments:

    - `learning_rate`: η, the time per step; positive.
    - `decay`: ρ in [0, 1); 0.9 by default.
    - `eps`: ε ≥ 0, in units of the gradient squared; 1e-8 by default.
    - `initial_scale`: v(0) ≥ 0, in units of the gradient squared; 0 by default.
    - `bias_correction`: whether v is corrected for its start from 0; False by default.

    **Raises:** `InvalidValue` if both `initial_scale` and `bias_correction` are given.

    >>> RMSprop(0.01, initial_scale=1.0)
    RMSprop(learning_rate=0.01, decay=0.9, eps=1e-08, initial_scale=1, bias_correction=False)

    Source: G. Hinton, "Neural networks for machine learning", Coursera (2012), lecture 6;
    `optax.rmsprop`.
    """

    h: Scalar
    tau: Scalar
    eps: Scalar
    initial_scale: Scalar
    bias_correction: bool = eqx.field(static=True)

    def __init__(
        self, learning_rate, decay=0.9, eps=1e-8, initial_scale=0.0, bias_correction=False
    ):
        self.h = positive("learning_rate", learning_rate)
        self.tau = self.h / (1 - decay_rate("decay", decay))
        self.eps = nonnegative("eps", eps)
        self.initial_scale = nonnegative("initial_scale", initial_scale)
        self.bias_correction = boolean("bias_correction", bias_correction)
        if self.bias_correction and self.initial_scale != 0.0:
            scale = f"`initial_scale` = {initial_scale}"
            raise InvalidValue(f"`bias_correction` corrects a start from 0, got {scale}; use one.")

    learning_rate = property(lambda self: self.h)
    decay = property(lambda self: 1 - self.h / self.tau)

    @property
    def regularity(self):
        if self.bias_correction:
            return Regularity(bias_corrected={"v": self.tau})
        starts_at_zero = concrete_value(self.initial_scale) == 0
        return Regularity(order=0.5, initial_layer=True) if starts_at_zero else Regularity()

    def init(self, x, grad):
        return RMSpropState(x, jnp.full_like(x, self.initial_scale))

    def step(self, t, y, grad):
        x, v = y
        g = grad(x)
        v = v + self.h * (g**2 - v) / self.tau
        v_hat = bias_corrected(v, g**2, t + self.h, self.h, self.tau) if self.bias_correction else v
        x = x - self.h * safe_divide(g, safe_sqrt(v_hat + self.eps))
        return RMSpropState(x, v)

    def vector_field(self, t, y, grad):
        x, v = y
        g = grad(x)
        dv = (g**2 - v) / self.tau
        v_hat = bias_corrected(v, g**2, t, 0.0, self.tau) if self.bias_correction else v
        dx = -safe_divide(g, safe_sqrt(v_hat + self.eps))
        return RMSpropState(dx, dv)

    def optax(self):
        arguments = self.h, self.decay, self.eps, self.initial_scale
        return optax.rmsprop(*arguments, bias_correction=self.bias_correction)

    def lyapunov(self, t, y, loss):
        weight = 0 if self.bias_correction else 2 * self.tau
        return loss(y.x) + weight * jnp.sum(safe_sqrt(y.v + self.eps))
