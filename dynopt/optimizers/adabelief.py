"""AdaBelief: divide by how far the gradient is from its running mean, not by its size."""

from typing import NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array

from ..checks import Scalar, decay_rate, nonnegative, positive
from .averages import bias_corrected, safe_divide, safe_sqrt
from .base import AbstractOptimizer, Regularity


class AdaBeliefState(NamedTuple):
    x: Array
    m: Array
    v: Array


class AdaBelief(AbstractOptimizer[AdaBeliefState]):
    """AdaBelief is Adam that divides by the root of the gradient's deviation from its running mean.

    The map (η = `learning_rate`, β₁ = `b1`, β₂ = `b2`, ε = `eps`, ε₀ = `eps_root`, g = ∇f(xₖ))
    updates the memory first:

        mₖ₊₁ = β₁ mₖ + (1-β₁) g                       m̂ = mₖ₊₁ / (1 - β₁ᵏ⁺¹)
        vₖ₊₁ = β₂ vₖ + (1-β₂) (g - mₖ₊₁)² + ε₀        v̂ = vₖ₊₁ / (1 - β₂ᵏ⁺¹)
        xₖ₊₁ = xₖ - η m̂ / (√v̂ + ε)

    The flow (memory times τ₁ = h/(1-β₁), τ₂ = h/(1-β₂), floor e = ε₀/(1-β₂), g = ∇f(x)), from
    m(0) = v(0) = 0:

        τ₁ m′ = g - m                                 m̂ = m / (1 - e^(-t/τ₁))
        τ₂ v′ = (g - m)² + e - v                      v̂ = v / (1 - e^(-t/τ₂))
        x′ = -m̂ / (√v̂ + ε)

    At t = 0 both quotients are 0/0. Their limits are m̂ = g and v̂ = g² + e.

    The time step: one step takes the time h = η, and βᵢ = 1 - h/τᵢ. ε₀ is added in every step, so
    that it accumulates to the floor e. With τ₁, τ₂ and e held fixed the global error is O(h). Where
    gradients are constant, v decays to e, and the steps grow to η |g|/(√e + ε): with the defaults,
    to 3·10⁶ η |g|.

    No Lyapunov function is known.

    Elsewhere: v̂ is that of Adam, with g - m for g; but ε₀ is added to v in every step, where Adam
    adds it once inside the root.

    Arguments:

    - `learning_rate`: η, the time per step; positive.
    - `b1`: β₁ in [0, 1); 0.9 by default.
    - `b2`: β₂ in [0, 1); 0.999 by default.
    - `eps`: ε ≥ 0, in units of the gradient; 1e-16 by default.
    - `eps_root`: ε₀ ≥ 0, in units of the gradient squared; 1e-16 by default.

    >>> AdaBelief(0.01)
    AdaBelief(learning_rate=0.01, b1=0.9, b2=0.999, eps=1e-16, eps_root=1e-16)

    Source: J. Zhuang et al., "AdaBelief optimizer: adapting stepsizes by the belief in observed
    gradients" (2020), algorithm 2; `optax.adabelief`.
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
        x = x - self.h * safe_divide(m_hat, safe_sqrt(v_hat) + self.eps)
        return AdaBeliefState(x, m, v)

    def vector_field(self, t, y, grad):
        x, m, v = y
        g = grad(x)
        dm = (g - m) / self.tau1
        dv = ((g - m) ** 2 + self.floor - v) / self.tau2
        m_hat = bias_corrected(m, g, t, 0.0, self.tau1)
        v_hat = bias_corrected(v, g**2 + self.floor, t, 0.0, self.tau2)
        dx = -safe_divide(m_hat, safe_sqrt(v_hat) + self.eps)
        return AdaBeliefState(dx, dm, dv)

    def optax(self):
        return optax.adabelief(self.learning_rate, self.b1, self.b2, self.eps, self.eps_root)
