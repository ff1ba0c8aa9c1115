"""Signum: step by the sign of a running mean of the gradient."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from ..checks import Scalar, decay_rate, nonnegative, positive
from . import signs
from .base import AbstractOptimizer, Regularity


class SignumState(NamedTuple):
    x: Array
    m: Array


class Signum(AbstractOptimizer[SignumState]):
    """Signum steps by exactly η in every coordinate, against the sign of the mean gradient.

    The map (η = `learning_rate`, β = `beta`, g = ∇f(xₖ)), memory first, then the position:

        mₖ₊₁ = β mₖ + (1-β) g
        xₖ₊₁ = xₖ - η sign(mₖ₊₁)

    The flow (memory time τ = h/(1-β), g = ∇f(x)), from m(0) = 0:

        τ m′ = g - m
        x′ ∈ -Sign(m)            {-1} for m > 0, {1} for m < 0, all of [-1, 1] for m = 0

    At the start, where m = 0, the sign of g steers: m takes it at once. The right side jumps, so this is a differential
    inclusion. Its paths cross m = 0 and do not stay there, since m′ = g/τ on it; the solver steps through, shortening
    its steps at each crossing until the jump fits its tolerance. With `smoothing` = s > 0 both map and flow have
    tanh(m/s) for the sign, which is smooth and tends to it as s → 0.

    The clock: one step takes the time h = η, and β = 1 - h/τ. With τ held fixed the gap closes like h where the sign is
    smooth; where it is not, the gap is 0 until the first crossing, and from then on of the size of h.

    Energy: f + τ K(m), K(m) = Σ |m|, or Σ s log cosh(m/s); it falls at the rate Σ m sign(m), the smoothed sign if so.

    Elsewhere: optax and the paper agree; with β = 0 it is sign descent. The mean needs no correction: a sign has no
    scale (nor then a smoothed sign, whose start is slower).

    - `learning_rate`: η, time per step. - `beta`: β in [0, 1). - `smoothing`: s ≥ 0, a gradient.

    >>> Signum(0.01)
    Signum(learning_rate=0.01, beta=0.9, smoothing=0)

    Source: J. Bernstein et al., "signSGD: compressed optimisation for non-convex problems" (2018), algorithm 2;
    `optax.signum`.
    """

    h: Scalar
    tau: Scalar
    smoothing: Scalar

    def __init__(self, learning_rate, beta=0.9, smoothing=0.0):
        self.h = positive("learning_rate", learning_rate)
        self.tau = self.h / (1 - decay_rate("beta", beta))
        self.smoothing = nonnegative("smoothing", smoothing)

    learning_rate = property(lambda self: self.h)
    beta = property(lambda self: 1 - self.h / self.tau)
    regularity = property(lambda self: Regularity(nonsmooth=signs.nonsmooth(self.smoothing)))

    def init(self, x, grad):
        return SignumState(x, jnp.zeros_like(x))

    def step(self, t, y, grad):
        x, m = y
        m = m + self.h * (grad(x) - m) / self.tau
        x = x - self.h * signs.sign(m, self.smoothing)
        return SignumState(x, m)

    def vector_field(self, t, y, grad):
        x, m = y
        dm = (grad(x) - m) / self.tau
        dx = -signs.sign(m, self.smoothing)
        return SignumState(dx, dm)

    def optax(self):
        sign = optax.stateless(
            lambda m, _: jax.tree.map(lambda m: signs.sign(m, self.smoothing), m)
        )
        return optax.chain(optax.ema(self.beta, debias=False), sign, optax.scale(-self.h))

    def lyapunov(self, t, y, loss):
        return loss(y.x) + self.tau * jnp.sum(signs.smoothed_norm(y.m, self.smoothing))
