"""AdamW: Adam with a decay of the position that no gradient rescales."""

from typing import NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array

from ..checks import Scalar, decay_rate, nonnegative, positive
from .averages import bias_corrected, safe_divide, safe_sqrt
from .base import AbstractOptimizer, Regularity


class AdamWState(NamedTuple):
    x: Array
    m: Array
    v: Array


class AdamW(AbstractOptimizer[AdamWState]):
    """AdamW is Adam whose position also decays towards zero, at the same rate in every coordinate.

    The map (η = `learning_rate`, β₁ = `b1`, β₂ = `b2`, ε = `eps`, ε₀ = `eps_root`,
    λ = `weight_decay`, g = ∇f(xₖ)) updates the memory first:

        mₖ₊₁ = β₁ mₖ + (1-β₁) g          m̂ = mₖ₊₁ / (1 - β₁ᵏ⁺¹)
        vₖ₊₁ = β₂ vₖ + (1-β₂) g²         v̂ = vₖ₊₁ / (1 - β₂ᵏ⁺¹)
        xₖ₊₁ = xₖ - η (m̂ / (√(v̂ + ε₀) + ε) + λ xₖ)

    The flow (memory times τ₁ = h/(1-β₁), τ₂ = h/(1-β₂), g = ∇f(x)), from m(0) = v(0) = 0 as in
    `Adam`:

        τ₁ m′ = g - m                     m̂ = m / (1 - e^(-t/τ₁))
        τ₂ v′ = g² - v                    v̂ = v / (1 - e^(-t/τ₂))
        x′ = -m̂ / (√(v̂ + ε₀) + ε) - λ x

    The time step: one step takes the time h = η, and βᵢ = 1 - h/τᵢ; λ is a rate, one over time.
    With τ₁, τ₂ and λ held fixed the global error is O(h). With a constant gradient of sign s, and
    ε = ε₀ = 0, the flow is x = x₀ e^(-λt) - (s/λ)(1 - e^(-λt)), and the map is the same with
    (1-ηλ)ᵏ for e^(-λt): |x| tends to 1/λ.

    No Lyapunov function is known. The loss f is not what is minimised: the equilibria of AdamW are
    the points with m̂/(√(v̂ + ε₀) + ε) = -λ x, not those with ∇f = 0.

    Elsewhere: λ is multiplied by η, as in optax and PyTorch. An L² penalty inside f is another
    method, because its gradient is divided by √v̂.

    Arguments:

    - `learning_rate`: η, the time per step; positive.
    - `b1`: β₁ in [0, 1); 0.9 by default.
    - `b2`: β₂ in [0, 1); 0.999 by default.
    - `eps`: ε ≥ 0, in units of the gradient; 1e-8 by default.
    - `eps_root`: ε₀ ≥ 0, in units of the gradient squared; 0 by default.
    - `weight_decay`: λ ≥ 0, one over time; 1e-4 by default.

    >>> AdamW(0.01)
    AdamW(learning_rate=0.01, b1=0.9, b2=0.999, eps=1e-08, eps_root=0, weight_decay=0.0001)

    Source: I. Loshchilov and F. Hutter, "Decoupled weight decay regularization", ICLR (2019);
    `optax.adamw`.
    """

    h: Scalar
    tau1: Scalar
    tau2: Scalar
    eps: Scalar
    eps_root: Scalar
    weight_decay: Scalar

    def __init__(self, learning_rate, b1=0.9, b2=0.999, eps=1e-8, eps_root=0.0, weight_decay=1e-4):
        self.h = positive("learning_rate", learning_rate)
        self.tau1 = self.h / (1 - decay_rate("b1", b1))
        self.tau2 = self.h / (1 - decay_rate("b2", b2))
        self.eps = nonnegative("eps", eps)
        self.eps_root = nonnegative("eps_root", eps_root)
        self.weight_decay = nonnegative("weight_decay", weight_decay)

    learning_rate = property(lambda self: self.h)
    b1 = property(lambda self: 1 - self.h / self.tau1)
    b2 = property(lambda self: 1 - self.h / self.tau2)
    regularity = property(lambda self: Regularity(bias_corrected={"m": self.tau1, "v": self.tau2}))

    def init(self, x, grad):
        return AdamWState(x, jnp.zeros_like(x), jnp.zeros_like(x))

    def step(self, t, y, grad):
        x, m, v = y
        g = grad(x)
        m = m + self.h * (g - m) / self.tau1
        v = v + self.h * (g**2 - v) / self.tau2
        m_hat = bias_corrected(m, g, t + self.h, self.h, self.tau1)
        v_hat = bias_corrected(v, g**2, t + self.h, self.h, self.tau2)
        update = safe_divide(m_hat, safe_sqrt(v_hat + self.eps_root) + self.eps)
        x = x - self.h * (update + self.weight_decay * x)
        return AdamWState(x, m, v)

    def vector_field(self, t, y, grad):
        x, m, v = y
        g = grad(x)
        dm = (g - m) / self.tau1
        dv = (g**2 - v) / self.tau2
        m_hat = bias_corrected(m, g, t, 0.0, self.tau1)
        v_hat = bias_corrected(v, g**2, t, 0.0, self.tau2)
        update = safe_divide(m_hat, safe_sqrt(v_hat + self.eps_root) + self.eps)
        dx = -update - self.weight_decay * x
        return AdamWState(dx, dm, dv)

    def optax(self):
        return optax.adamw(
            self.h, self.b1, self.b2, self.eps, self.eps_root, weight_decay=self.weight_decay
        )
