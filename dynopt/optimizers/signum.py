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
    """Signum moves by exactly η in every coordinate, against the sign of the mean gradient.

    The map (η = `learning_rate`, β = `beta`, g = ∇f(xₖ)) updates the memory first:

        mₖ₊₁ = β mₖ + (1-β) g
        xₖ₊₁ = xₖ - η sign(mₖ₊₁)

    The flow (memory time τ = h/(1-β), g = ∇f(x)), from m(0) = 0:

        τ m′ = g - m
        x′ ∈ -Sign(m)            {-1} for m > 0, {1} for m < 0, all of [-1, 1] for m = 0

    At the start, where m = 0, x moves against the sign of g, because m takes that sign at once. The
    right-hand side jumps, so this is a differential inclusion. Its solutions cross m = 0 and do not
    stay there, since m′ = g/τ on it; the solver steps across, and shortens its steps at each
    crossing until the jump fits its tolerance. Near a minimizer the crossings follow each other
    ever faster; `integrate` then fails and says that the solution slides. With `smoothing` = s > 0
    both map and flow have tanh(m/s) for the sign, which is smooth and tends to it as s → 0.

    The time step: one step takes the time h = η, and β = 1 - h/τ. With τ held fixed the global
    error is O(h) where the sign is smoothed. Where it is not, the error is 0 until the first
    crossing, and of the size of h from then on.

    Lyapunov function: f + τ K(m) with K(m) = Σ |m|, or Σ s log cosh(m/s) if smoothed. It falls at
    the rate Σ m sign(m), or Σ m tanh(m/s) if smoothed.

    Elsewhere: optax and the paper agree; with β = 0 this is sign descent. The mean needs no bias
    correction, because a sign has no scale. A smoothed sign has one, and its start is slower.

    Arguments:

    - `learning_rate`: η, the time per step; positive.
    - `beta`: β in [0, 1); 0.9 by default.
    - `smoothing`: s ≥ 0, in units of the gradient; 0 by default.

    >>> Signum(0.01)
    Signum(learning_rate=0.01, beta=0.9, smoothing=0)

    Source: J. Bernstein et al., "signSGD: compressed optimisation for non-convex problems" (2018),
    algorithm 2; `optax.signum`.
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
        def sign(updates, params):
            return jax.tree.map(lambda m: signs.sign(m, self.smoothing), updates)

        mean = optax.ema(self.beta, debias=False)
        return optax.chain(mean, optax.stateless(sign), optax.scale(-self.h))

    def lyapunov(self, t, y, loss):
        return loss(y.x) + self.tau * jnp.sum(signs.smoothed_norm(y.m, self.smoothing))
