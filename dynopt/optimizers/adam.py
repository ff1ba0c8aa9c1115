"""Adam: a running mean of the gradient, divided by the root of a running mean of its square."""

from typing import NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array

from ..checks import Scalar, decay_rate, nonnegative, positive
from .averages import bias_corrected, safe_divide, safe_sqrt
from .base import AbstractOptimizer, Regularity


class AdamState(NamedTuple):
    x: Array
    m: Array
    v: Array


class Adam(AbstractOptimizer[AdamState]):
    """Adam is momentum with steps of about η in each coordinate.

    The map (η = `learning_rate`, β₁ = `b1`, β₂ = `b2`, ε = `eps`, ε₀ = `eps_root`, g = ∇f(xₖ))
    updates the memory first; m̂ and v̂ are the running means corrected for their start from 0:

        mₖ₊₁ = β₁ mₖ + (1-β₁) g          m̂ = mₖ₊₁ / (1 - β₁ᵏ⁺¹)
        vₖ₊₁ = β₂ vₖ + (1-β₂) g²         v̂ = vₖ₊₁ / (1 - β₂ᵏ⁺¹)
        xₖ₊₁ = xₖ - η m̂ / (√(v̂ + ε₀) + ε)

    The flow (memory times τ₁ = h/(1-β₁), τ₂ = h/(1-β₂), g = ∇f(x)), from m(0) = v(0) = 0:

        τ₁ m′ = g - m                     m̂ = m / (1 - e^(-t/τ₁))
        τ₂ v′ = g² - v                    v̂ = v / (1 - e^(-t/τ₂))
        x′ = -m̂ / (√(v̂ + ε₀) + ε)

    At t = 0 both quotients are 0/0. Their limits are m̂ = g and v̂ = g², so the flow starts with
    x′ = -g/(√(g² + ε₀) + ε).

    The time step: one step takes the time h = η, and βᵢ = 1 - h/τᵢ. With τ₁, τ₂ held fixed the
    global error is O(h), in spite of the singular start. With β₁, β₂ held fixed instead, the memory
    vanishes in the limit, and x′ = -g/(√(g² + ε₀) + ε) is all that remains.

    Lyapunov function: f + (τ₁/2) Σ m m̂/(√(v̂ + ε₀) + ε), which never rises along the flow if
    τ₁ ≤ 4 τ₂; f alone may rise. In each coordinate it changes at the rate

        -(m m̂/D) (1 + τ₁/2 (w₁′/w₁ + D′/D)),    D = √(v̂ + ε₀) + ε,    w₁ = 1 - e^(-t/τ₁),

    where D′/D is at least -1/(2 τ₂ (1 - e^(-t/τ₂))), since τ₂ (1 - e^(-t/τ₂)) v̂′ = g² - v̂ ≥ -v̂.
    With s = t/τ₁ and r = τ₁/τ₂, the bracket is at least 1 + 1/(2(eˢ - 1)) - (r/4)/(1 - e^(-rs)).
    The last term rises in r; at r = 4 this is 1/(2(eˢ - 1)) - 1/(e⁴ˢ - 1) > 0. The condition is
    sharp: where ε = ε₀ = 0 and g stays 0 for long, the bracket tends to 1 - r/4.

    Elsewhere: ε stands outside the root, as in optax and PyTorch; RMSprop has it inside. ε₀ stands
    inside, as in optax; PyTorch has none. Derivatives through the map of optax are NaN where a
    gradient is 0, unless ε₀ > 0; here the derivative of √v̂ at v̂ = 0 counts as 0. With ε = ε₀ = 0,
    the quotient 0/0 counts as 0.

    Arguments:

    - `learning_rate`: η, the time per step; positive.
    - `b1`: β₁ in [0, 1); 0.9 by default.
    - `b2`: β₂ in [0, 1); 0.999 by default.
    - `eps`: ε ≥ 0, in units of the gradient; 1e-8 by default.
    - `eps_root`: ε₀ ≥ 0, in units of the gradient squared; 0 by default.

    >>> Adam(0.01)
    Adam(learning_rate=0.01, b1=0.9, b2=0.999, eps=1e-08, eps_root=0)

    Source: D. P. Kingma and J. Ba, "Adam: a method for stochastic optimization" (2014), Algorithm
    1; `optax.adam`.
    """

    h: Scalar
    tau1: Scalar
    tau2: Scalar
    eps: Scalar
    eps_root: Scalar

    def __init__(self, learning_rate, b1=0.9, b2=0.999, eps=1e-8, eps_root=0.0):
        self.h = positive("learning_rate", learning_rate)
        self.tau1 = self.h / (1 - decay_rate("b1", b1))
        self.tau2 = self.h / (1 - decay_rate("b2", b2))
        self.eps = nonnegative("eps", eps)
        self.eps_root = nonnegative("eps_root", eps_root)

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
        x = x - self.h * safe_divide(m_hat, safe_sqrt(v_hat + self.eps_root) + self.eps)
        return AdamState(x, m, v)

    def vector_field(self, t, y, grad):
        x, m, v = y
        g = grad(x)
        dm = (g - m) / self.tau1
        dv = (g**2 - v) / self.tau2
        m_hat = bias_corrected(m, g, t, 0.0, self.tau1)
        v_hat = bias_corrected(v, g**2, t, 0.0, self.tau2)
        dx = -safe_divide(m_hat, safe_sqrt(v_hat + self.eps_root) + self.eps)
        return AdamState(dx, dm, dv)

    def optax(self):
        return optax.adam(self.learning_rate, self.b1, self.b2, self.eps, self.eps_root)

    def lyapunov(self, t, y, loss):
        m_hat = bias_corrected(y.m, y.m, t, 0.0, self.tau1)
        v_hat = bias_corrected(y.v, y.v, t, 0.0, self.tau2)
        terms = safe_divide(y.m * m_hat, safe_sqrt(v_hat + self.eps_root) + self.eps)
        return loss(y.x) + self.tau1 / 2 * jnp.sum(terms)
