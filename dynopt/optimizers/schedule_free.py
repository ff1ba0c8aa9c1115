"""Schedule-free descent: the position is the mean of a path whose gradients are taken near it."""

from typing import NamedTuple

import jax.numpy as jnp
import optax.contrib
from jaxtyping import Array

from ..checks import Scalar, fraction, positive
from .averages import safe_divide
from .base import AbstractOptimizer, Regularity
from .twin import optax_parameters


class ScheduleFreeState(NamedTuple):
    x: Array
    z: Array


class ScheduleFree(AbstractOptimizer[ScheduleFreeState]):
    """Schedule-free descent averages its own path while it runs, instead of decaying its rate.

    The map (η = `learning_rate`, β = `b1`) updates the fast point z first, then its running mean x:

        zₖ₊₁ = zₖ - η ∇f(β xₖ + (1-β) zₖ)
        xₖ₊₁ = xₖ + (zₖ₊₁ - xₖ) / (k+1)

    The flow, from x(0) = z(0):

        z′ = -∇f(β x + (1-β) z)
        x′ = (z - x) / t

    At t = 0 the quotient is 0/0. Its limit makes x start with half the velocity of z.

    The time step: one step takes the time h = η, and the global error is O(h); x is the mean of z
    over all time so far. On f = λx²/2 with β = 1 the flow is x = x₀ J₁(2√(λt))/√(λt), with the
    Bessel function J₁. With β = 0, z is gradient descent and x its Polyak-Ruppert average. After
    many steps x hardly moves, so that z makes steps of (1-β)η∇f; on a quadratic the map is then
    stable for curvatures up to 2/((1-β)η), which for β = 0.9 is ten times that of gradient descent.

    No Lyapunov function is known.

    Elsewhere: optax and PyTorch store the point β x + (1-β) z, where the gradient is taken, as
    their parameters; `optax.contrib.schedule_free_eval_params` gives x.

    Arguments:

    - `learning_rate`: η, the time per step; positive.
    - `b1`: β in [0, 1] (in optax, β > 0); 0.9 by default.

    >>> ScheduleFree(0.1)
    ScheduleFree(learning_rate=0.1, b1=0.9)

    Source: A. Defazio et al., "The road less scheduled" (2024); `optax.contrib.schedule_free_sgd`.
    """

    h: Scalar
    b1: Scalar

    def __init__(self, learning_rate, b1=0.9):
        self.h = positive("learning_rate", learning_rate)
        self.b1 = fraction("b1", b1)

    learning_rate = property(lambda self: self.h)
    regularity = property(  # the k-th step has a relative error of O(1/k), whatever h is
        lambda self: Regularity(initial_layer=True, singular_start=True)
    )
    positions = property(lambda self: ("x", "z"))

    def init(self, x, grad):
        return ScheduleFreeState(x, x)

    def step(self, t, y, grad):
        x, z = y
        z = z - self.h * grad(self.b1 * x + (1 - self.b1) * z)
        x = x + self.h * safe_divide(z - x, jnp.asarray(t + self.h, x.dtype))
        return ScheduleFreeState(x, z)

    def vector_field(self, t, y, grad):
        x, z = y
        dz = -grad(self.b1 * x + (1 - self.b1) * z)
        dx = jnp.where(jnp.asarray(t) > 0, safe_divide(z - x, jnp.asarray(t, x.dtype)), dz / 2)
        return ScheduleFreeState(dx, dz)

    def optax(self):
        descent = optax.sgd(self.learning_rate)
        return optax.contrib.schedule_free(descent, self.learning_rate, self.b1)


@optax_parameters.register
def _(optimizer: ScheduleFree, y):
    return optimizer.b1 * y.x + (1 - optimizer.b1) * y.z
