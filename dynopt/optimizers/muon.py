"""Muon: step by the orthogonal part of the mean gradient of each matrix."""

from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import optax.contrib
from jaxtyping import Array

from ..checks import Scalar, boolean, decay_rate, positive
from ..errors import InvalidValue
from .averages import averaging_weight, bias_corrected, safe_divide
from .base import AbstractOptimizer, Regularity, replace_fields
from .matrices import CONVERGENT, QUINTIC, matrix_shapes, newton_schulz, polar_factor, scaled_msign


class MuonState(NamedTuple):
    x: Array
    m: Array


class Muon(AbstractOptimizer[MuonState]):
    """Muon moves by about η along every singular direction, as sign descent does per coordinate.

    The map (η = `learning_rate`, β = `beta`, G = ∇f(Xₖ), r = √max(1, columns/rows)) updates the
    memory first:

        mₖ₊₁ = β mₖ + (1-β) G            m̂ = β mₖ₊₁ / (1 - βᵏ⁺²) + (1-β) G / (1 - βᵏ⁺¹)
        Xₖ₊₁ = Xₖ - η r msign(m̂)

    The flow (memory time τ = h/(1-β), G = ∇f(X)), from m(0) = 0, where m̂ has the limit G:

        τ m′ = G - m                     m̂ = m / (1 - e^(-t/τ))
        X′ = -r msign(m̂)

    msign(U Σ Vᵀ) = U Vᵀ is the polar factor, if `exact`. Otherwise it is, as in optax, the result
    of five steps of Newton and Schulz's iteration, which keep U and V but map σ/|m̂| from [0.01, 1]
    into [0.68, 1.14] only. They divide by |m̂| + 10⁻⁸, so gradients must be far above 10⁻⁸; with
    `exact` the scale of the loss does not matter.

    The time step: one step takes the time h = η, and β = 1 - h/τ. With τ held fixed the global
    error is O(h) as long as no singular value of m̂ passes through 0. If `exact` and τ → 0, on
    |X - A|²/2 the singular values of X - A shrink as max(σ - r t, 0).

    Lyapunov function: if `exact`, f + τ Σ r |m|*, where |.|* is the sum of the singular values and
    Σ runs over the matrices. It falls at the rate Σ r |m|*.

    Elsewhere: optax hands every leaf that is no matrix to AdamW without a warning; here such a leaf
    is refused.

    Arguments:

    - `learning_rate`: η, the time per step; positive.
    - `beta`: β in [0, 1); 0.95 by default.
    - `exact`: whether msign is the polar factor itself; False by default.

    **Raises:** `InvalidValue` if a run meets a position with a leaf that is no matrix.

    >>> Muon(0.01)
    Muon(learning_rate=0.01, beta=0.95, exact=False)

    Source: K. Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024);
    `optax.contrib.muon`.
    """

    h: Scalar
    tau: Scalar
    exact: bool = eqx.field(static=True)
    shapes: Any = eqx.field(static=True, default=None)  # of the matrices in one vector

    def __init__(self, learning_rate, beta=0.95, exact=False):
        self.h = positive("learning_rate", learning_rate)
        self.tau = self.h / (1 - decay_rate("beta", beta))
        self.exact = boolean("exact", exact)

    learning_rate = property(lambda self: self.h)
    beta = property(lambda self: 1 - self.h / self.tau)
    elementwise = property(lambda self: False)
    regularity = property(lambda self: Regularity(bias_corrected={"m": self.tau}))

    def for_leaves(self, x0):
        return replace_fields(self, shapes=matrix_shapes(x0))

    def init(self, x, grad):
        return MuonState(x, jnp.zeros_like(x))

    def step(self, t, y, grad):
        x, m = y
        g = grad(x)
        m = m + self.h * (g - m) / self.tau
        look_ahead = bias_corrected(m, g, t + 2 * self.h, self.h, self.tau)
        weight = averaging_weight(t + self.h, self.h, self.tau)
        m_hat = self.beta * look_ahead + self.h / self.tau * safe_divide(g, weight)
        x = x - self.h * self.scaled_msign(m_hat)
        return MuonState(x, m)

    def vector_field(self, t, y, grad):
        x, m = y
        g = grad(x)
        dm = (g - m) / self.tau
        dx = -self.scaled_msign(bias_corrected(m, g, t, 0.0, self.tau))
        return MuonState(dx, dm)

    def scaled_msign(self, m):
        """r msign(m) of each matrix."""
        return scaled_msign(m, self.shapes, polar_factor if self.exact else newton_schulz)

    def optax(self):
        coefficients, steps = CONVERGENT if self.exact else QUINTIC
        return optax.contrib.muon(self.learning_rate, coefficients, steps, self.beta)

    def lyapunov(self, t, y, loss):
        if not self.exact:
            raise InvalidValue(
                f"no Lyapunov function is known for {self!r} unless msign is the polar factor; "
                "pass exact=True."
            )
        return loss(y.x) + self.tau * jnp.sum(y.m * self.scaled_msign(y.m))
