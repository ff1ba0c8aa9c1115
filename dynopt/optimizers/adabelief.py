"""AdaBelief: divide by how far the gradient is from what was expected, not by how large it is."""

from typing import NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array

from ..checks import Scalar, decay_rate, nonnegative, positive
from .base import AbstractOptimizer, Regularity, bias_corrected, safe_divide


class AdaBeliefState(NamedTuple):
    x: Array
    m: Array
    v: Array


class AdaBelief(AbstractOptimizer[AdaBeliefState]):
    """AdaBelief is Adam that divides by the root of the gradient's deviation from its own running mean.

    The map (η = `learning_rate`, β₁ = `b1`, β₂ = `b2`, ε = `eps`, ε₀ = `eps_root`, g = ∇f(xₖ)), memory first:

        mₖ₊₁ = β₁ mₖ + (1-β₁) g                       m̂ = mₖ₊₁ / (1 - β₁ᵏ⁺¹)
        vₖ₊₁ = β₂ vₖ + (1-β₂) (g - mₖ₊₁)² + ε₀        v̂ = vₖ₊₁ / (1 - β₂ᵏ⁺¹)
        xₖ₊₁ = xₖ - η m̂ / (√v̂ + ε)

    The flow (memory times τ₁ = h/(1-β₁), τ₂ = h/(1-β₂), floor e = ε₀/(1-β₂), g = ∇f(x)), from m(0) = v(0) = 0:

        τ₁ m′ = g - m                                 m̂ = m / (1 - e^(-t/τ₁))
        τ₂ v′ = (g - m)² + e - v                      v̂ = v / (1 - e^(-t/τ₂))
        x′ = -m̂ / (√v̂ + ε)
    At t = 0 both quotients are 0/0, with the limits m̂ = g and v̂ = g² + e.
    The clock: one step takes the time h = η, and βᵢ = 1 - h/τᵢ. ε₀ is added in every step, so that it adds up to the
    floor e; with τ₁, τ₂ and e held fixed the gap closes like h.
    Energy: none is known. Where gradients are constant v fades to e, and steps grow to η |g|/(√e + ε): with the
    defaults, 3·10⁶ η |g|.
    Elsewhere: v̂ is Adam's, with g - m for g.
    - `learning_rate`: η, time per step. - `b1`, `b2`: β₁, β₂ in [0, 1). - `eps`, `eps_root`: ε, ε₀ ≥ 0.
    >>> AdaBelief(0.01)
    AdaBelief(learning_rate=0.01, b1=0.9, b2=0.999, eps=1e-16, eps_root=1e-16)

    Source: J. Zhuang et al., "AdaBelief optimizer: adapting stepsizes by the belief in observed gradients" (2020),
    algorithm 2; `optax.adabelief`.
    """

    h: Scalar
    tau1: Scalar
    tau2: Scalar
    eps: Scalar
    floor: Scalar

    def __init__(self, learning_rate, b1=0.9, b2=0.999, eps=1e-16, eps_root=1e-16):
        self.h = positive("learning_rate", learning_rate)
        self.tau1 = self.h / (1 - decay_rate("b1", b1))
        self.tau2 = self.h / (1 - decay_rate("b2", b2))
        self.eps = nonnegative("eps", eps)
        self.floor = nonnegative("eps_root", eps_root) * self.tau2 / self.h

    learning_rate = property(lambda self: self.h)
    b1 = property(lambda self: 1 - self.h / self.tau1)
    b2 = property(lambda self: 1 - self.h / self.tau2)
    eps_root = property(lambda self: self.floor * self.h / self.tau2)
    regularity = property(lambda self: Regularity(bias_corrected={"m": self.tau1, "v": self.tau2}))

    def init(self, x, grad):
        return AdaBeliefState(x, jnp.zeros_like(x), jnp.zeros_like(x))

    def step(self, t, y, grad):
        x, m, v = y
        g = grad(x)
        m = m + self.h * (g - m) / self.tau1
        v = v + self.h * ((g - m) ** 2 + self.floor - v) / self.tau2
        m_hat = bias_corrected(m, g, t + self.h, self.h, self.tau1)
        v_hat = bias_corrected(v, g**2 + self.floor, t + self.h, self.h, self.tau2)
        x = x - self.h * safe_divide(m_hat, jnp.sqrt(v_hat) + self.eps)
        return AdaBeliefState(x, m, v)

    def vector_field(self, t, y, grad):
        x, m, v = y
        g = grad(x)
        dm = (g - m) / self.tau1
        dv = ((g - m) ** 2 + self.floor - v) / self.tau2
        m_hat = bias_corrected(m, g, t, 0.0, self.tau1)
        v_hat = bias_corrected(v, g**2 + self.floor, t, 0.0, self.tau2)
        dx = -safe_divide(m_hat, jnp.sqrt(v_hat) + self.eps)
        return AdaBeliefState(dx, dm, dv)

    def optax(self):
        return optax.adabelief(self.learning_rate, self.b1, self.b2, self.eps, self.eps_root)
