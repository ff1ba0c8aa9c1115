"""NAdam: Adam that looks one step ahead with its momentum, as Nesterov's method does."""

from typing import NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array

from ..checks import Scalar, decay_rate, nonnegative, positive
from .averages import averaging_weight, bias_corrected, safe_divide, safe_sqrt
from .base import AbstractOptimizer, Regularity


class NAdamState(NamedTuple):
    x: Array
    m: Array
    v: Array


class NAdam(AbstractOptimizer[NAdamState]):
    """NAdam is Adam that counts the new gradient once more, as Nesterov's momentum does.

    The map (η = `learning_rate`, β₁ = `b1`, β₂ = `b2`, ε = `eps`, ε₀ = `eps_root`, g = ∇f(xₖ))
    updates the memory first:

        mₖ₊₁ = β₁ mₖ + (1-β₁) g          m̂ = β₁ mₖ₊₁ / (1 - β₁ᵏ⁺²) + (1-β₁) g / (1 - β₁ᵏ⁺¹)
        vₖ₊₁ = β₂ vₖ + (1-β₂) g²         v̂ = vₖ₊₁ / (1 - β₂ᵏ⁺¹)
        xₖ₊₁ = xₖ - η m̂ / (√(v̂ + ε₀) + ε)

    The flow is that of Adam (memory times τ₁ = h/(1-β₁), τ₂ = h/(1-β₂), g = ∇f(x)), from
    m(0) = v(0) = 0:

        τ₁ m′ = g - m                     m̂ = m / (1 - e^(-t/τ₁))
        τ₂ v′ = g² - v                    v̂ = v / (1 - e^(-t/τ₂))
        x′ = -m̂ / (√(v̂ + ε₀) + ε)

    The time step: one step takes the time h = η, and βᵢ = 1 - h/τᵢ. With τ₁, τ₂ held fixed the
    global error is O(h). The look-ahead adds O(h) to each step, and for τ₁ ≫ h it lengthens the
    k-th step by the fraction 1/(k (k+1)), which adds up to one whole step.

    Lyapunov function: that of Adam, f + (τ₁/2) Σ m m̂/(√(v̂ + ε₀) + ε) with the m̂ of the flow,
    which never rises along the flow if τ₁ ≤ 4 τ₂.

    Elsewhere: Dozat's schedule of β₁ is left out, as in optax.

    Arguments:

    - `learning_rate`: η, the time per step; positive.
    - `b1`: β₁ in [0, 1); 0.9 by default.
    - `b2`: β₂ in [0, 1); 0.999 by default.
    - `eps`: ε ≥ 0, in units of the gradient; 1e-8 by default.
    - `eps_root`: ε₀ ≥ 0, in units of the gradient squared; 0 by default.

    >>> NAdam(0.01)
    NAdam(learning_rate=0.01, b1=0.9, b2=0.999, eps=1e-08, eps_root=0)

    Source: T. Dozat, "Incorporating Nesterov momentum into Adam", ICLR workshop (2016);
    `optax.nadam`.
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
    regularity = property(  # the k-th step is longer by 1/(k (k+1)), whatever h is
        lambda self: Regularity(bias_corrected={"m": self.tau1, "v": self.tau2}, initial_layer=True)
    )

    def init(self, x, grad):
        return NAdamState(x, jnp.zeros_like(x), jnp.zeros_like(x))

    def step(self, t, y, grad):
        x, m, v = y
        g = grad(x)
        m = m + self.h * (g - m) / self.tau1
        v = v + self.h * (g**2 - v) / self.tau2
        look_ahead = bias_corrected(m, g, t + 2 * self.h, self.h, self.tau1)
        weight = averaging_weight(t + self.h, self.h, self.tau1)
        m_hat = self.b1 * look_ahead + self.h / self.tau1 * safe_divide(g, weight)
        v_hat = bias_corrected(v, g**2, t + self.h, self.h, self.tau2)
        x = x - self.h * safe_divide(m_hat, safe_sqrt(v_hat + self.eps_root) + self.eps)
        return NAdamState(x, m, v)

    def vector_field(self, t, y, grad):
        x, m, v = y
        g = grad(x)
        dm = (g - m) / self.tau1
        dv = (g**2 - v) / self.tau2
        m_hat = bias_corrected(m, g, t, 0.0, self.tau1)
        v_hat = bias_corrected(v, g**2, t, 0.0, self.tau2)
        dx = -safe_divide(m_hat, safe_sqrt(v_hat + self.eps_root) + self.eps)
        return NAdamState(dx, dm, dv)

    def optax(self):
        return optax.nadam(self.learning_rate, self.b1, self.b2, self.eps, self.eps_root)

    def lyapunov(self, t, y, loss):
        m_hat = bias_corrected(y.m, y.m, t, 0.0, self.tau1)
        v_hat = bias_corrected(y.v, y.v, t, 0.0, self.tau2)
        terms = safe_divide(y.m * m_hat, safe_sqrt(v_hat + self.eps_root) + self.eps)
        return loss(y.x) + self.tau1 / 2 * jnp.sum(terms)
