"""Muon: step by the scaled_msign part of the mean gradient of each matrix."""

from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import optax.contrib
from jaxtyping import Array

from ..checks import Scalar, boolean, decay_rate, positive
from ..errors import InvalidValue
from .base import (
    AbstractOptimizer,
    Regularity,
    averaging_weight,
    bias_corrected,
    replace_fields,
    safe_divide,
)
from .matrices import CONVERGENT, QUINTIC, matrix_shapes, newton_schulz, scaled_msign, polar_factor


class MuonState(NamedTuple):
    x: Array
    m: Array


class Muon(AbstractOptimizer[MuonState]):
    """Muon steps by about η in every singular direction of a matrix, as sign descent does in every coordinate.

    The map (η = `learning_rate`, β = `beta`, G = ∇f(Xₖ), r = √max(1, columns/rows)), memory first:

        mₖ₊₁ = β mₖ + (1-β) G            m̂ = β mₖ₊₁ / (1 - βᵏ⁺²) + (1-β) G / (1 - βᵏ⁺¹)
        Xₖ₊₁ = Xₖ - η r msign(m̂)
    The flow (memory time τ = h/(1-β), G = ∇f(X)), from m(0) = 0, where its limit m̂ = G steers:

        τ m′ = G - m                     m̂ = m / (1 - e^(-t/τ))
        X′ = -r msign(m̂)
    msign(U Σ Vᵀ) = U Vᵀ, the polar factor, if `exact`; else, as in optax, five steps of Newton and Schulz, which keep U
    and V but send σ/|m̂| from [0.01, 1] into [0.68, 1.14] only.
    The clock: one step takes the time h = η, and β = 1 - h/τ. With τ held fixed the gap closes like h while no singular
    value of m̂ passes 0. If `exact` and τ → 0, on |X - A|²/2 singular values of X - A shrink as max(σ - r t, 0).
    Energy: if `exact`, f + τ Σ r |m|*, |.|* the sum of the singular values; it falls at the rate Σ r |m|*.
    Elsewhere: optax hands every leaf that is no matrix to AdamW without a word; here it is refused.
    - `learning_rate`: η, time per step. - `beta`: β in [0, 1). - `exact`: U Vᵀ itself.
    >>> Muon(0.01)
    Muon(learning_rate=0.01, beta=0.95, exact=False)

    Source: K. Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024); `optax.contrib.muon`.
    """

    h: Scalar
    tau: Scalar
    exact: bool = eqx.field(static=True)
    shapes: Any = eqx.field(static=True, default=None)  # of the matrices that lie in one vector

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
        ahead, now = (
            bias_corrected(m, g, t + 2 * self.h, self.h, self.tau),
            averaging_weight(t + self.h, self.h, self.tau),
        )
        x = x - self.h * self.msign(self.beta * ahead + self.h / self.tau * safe_divide(g, now))
        return MuonState(x, m)

    def vector_field(self, t, y, grad):
        x, m = y
        g = grad(x)
        dm = (g - m) / self.tau
        dx = -self.msign(bias_corrected(m, g, t, 0.0, self.tau))
        return MuonState(dx, dm)

    def msign(self, m):
        return scaled_msign(m, self.shapes, polar_factor if self.exact else newton_schulz)

    def optax(self):
        return optax.contrib.muon(
            self.learning_rate, *(CONVERGENT if self.exact else QUINTIC), self.beta
        )

    def lyapunov(self, t, y, loss):
        if not self.exact:
            raise InvalidValue(
                f"an energy is known of the polar factor only, not of {self!r}; pass exact=True."
            )
        return loss(y.x) + self.tau * jnp.sum(y.m * self.msign(y.m))
