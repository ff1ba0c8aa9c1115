"""Adam: a running mean of the gradient over the root of a running mean of its square, both freed of a cold start."""

from typing import NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array

from ..checks import Scalar, decay_rate, nonnegative, positive
from .base import AbstractOptimizer, Regularity, bias_corrected, safe_divide


class AdamState(NamedTuple):
    x: Array
    m: Array
    v: Array


class Adam(AbstractOptimizer[AdamState]):
    """Adam is momentum that steps by about η per coordinate.

    The map (η = `learning_rate`, β₁ = `b1`, β₂ = `b2`, ε = `eps`, g = ∇f(xₖ)), memory first, then the position:

        mₖ₊₁ = β₁ mₖ + (1-β₁) g          m̂ = mₖ₊₁ / (1 - β₁ᵏ⁺¹)
        vₖ₊₁ = β₂ vₖ + (1-β₂) g²         v̂ = vₖ₊₁ / (1 - β₂ᵏ⁺¹)
        xₖ₊₁ = xₖ - η m̂ / (√v̂ + ε)

    The flow (memory times τ₁ = h/(1-β₁), τ₂ = h/(1-β₂), g = ∇f(x)), from m(0) = v(0) = 0:

        τ₁ m′ = g - m                     m̂ = m / (1 - e^(-t/τ₁))
        τ₂ v′ = g² - v                    v̂ = v / (1 - e^(-t/τ₂))
        x′ = -m̂ / (√v̂ + ε)

    At t = 0 both quotients are 0/0; their limits m̂ = g, v̂ = g² make the flow start as -g/(|g| + ε).
    The clock: one step takes the time h = η, and βᵢ = 1 - h/τᵢ. With τ₁, τ₂ held fixed the gap closes like h, singular
    start included. (With β₁, β₂ held fixed the memory vanishes and the limit is x′ = -g/(|g| + ε).)
    Energy: f + (τ₁/2) Σ m m̂/(√v̂ + ε), which never rises along the flow if τ₁ ≤ 4 τ₂; f alone may.
    Elsewhere: ε stands outside the root, as in optax and PyTorch; RMSprop has it inside. With ε = 0, 0/0 counts as 0.
    - `learning_rate`: η, time per step. - `b1`, `b2`: β₁, β₂ in [0, 1). - `eps`: ε ≥ 0, a gradient.
    >>> Adam(0.01)
    Adam(learning_rate=0.01, b1=0.9, b2=0.999, eps=1e-08)

    Source: D. P. Kingma and J. Ba, "Adam: a method for stochastic optimization" (2014), Algorithm 1; `optax.adam`.
    """

    h: Scalar
    tau1: Scalar
    tau2: Scalar
    eps: Scalar

    def __init__(self, learning_rate, b1=0.9, b2=0.999, eps=1e-8):
        self.h = positive("learning_rate", learning_rate)
        self.tau1 = self.h / (1 - decay_rate("b1", b1))
        self.tau2 = self.h / (1 - decay_rate("b2", b2))
        self.eps = nonnegative("eps", eps)

    learning_rate = property(lambda self: self.h)
    b1 = property(lambda self: 1 - self.h / self.tau1)
    b2 = property(lambda self: 1 - self.h / self.tau2)
    regularity = property(lambda self: Regularity(bias_corrected={"m": self.tau1, "v": self.tau2}))

    def init(self, x, grad):
        return AdamState(x, jnp.zeros_like(x), jnp.zeros_like(x))

    def step(self, t, y, grad):
        x, m, v = y
        g = grad(x)
        m = m + self.h * (g - m) / self.tau1
        v = v + self.h * (g**2 - v) / self.tau2
        m_hat = bias_corrected(m, g, t + self.h, self.h, self.tau1)
        v_hat = bias_corrected(v, g**2, t + self.h, self.h, self.tau2)
        x = x - self.h * safe_divide(m_hat, jnp.sqrt(v_hat) + self.eps)
        return AdamState(x, m, v)

    def vector_field(self, t, y, grad):
        x, m, v = y
        g = grad(x)
        dm = (g - m) / self.tau1
        dv = (g**2 - v) / self.tau2
        m_hat = bias_corrected(m, g, t, 0.0, self.tau1)
        v_hat = bias_corrected(v, g**2, t, 0.0, self.tau2)
        dx = -safe_divide(m_hat, jnp.sqrt(v_hat) + self.eps)
        return AdamState(dx, dm, dv)

    def optax(self):
        return optax.adam(self.learning_rate, self.b1, self.b2, self.eps)

    def lyapunov(self, t, y, loss):
        m_hat, v_hat = (
            bias_corrected(y.m, y.m, t, 0.0, self.tau1),
            bias_corrected(y.v, y.v, t, 0.0, self.tau2),
        )
        return loss(y.x) + self.tau1 / 2 * jnp.sum(
            safe_divide(y.m * m_hat, jnp.sqrt(v_hat) + self.eps)
        )
