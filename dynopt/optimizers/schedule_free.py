"""Schedule-free gradient descent: the position is the mean of a path that takes its gradients near that mean."""

from typing import NamedTuple

import jax.numpy as jnp
import optax.contrib
from jaxtyping import Array

from ..checks import Scalar, fraction, positive
from .base import AbstractOptimizer, Regularity, safe_divide
from .twin import optax_parameters


class ScheduleFreeState(NamedTuple):
    x: Array
    z: Array


class ScheduleFree(AbstractOptimizer[ScheduleFreeState]):
    """Schedule-free descent averages its own path while it runs, in place of a learning rate that decays.

    The map (η = `learning_rate`, β = `b1`), the fast point z first, then its running mean x:

        zₖ₊₁ = zₖ - η ∇f(β xₖ + (1-β) zₖ)
        xₖ₊₁ = xₖ + (zₖ₊₁ - xₖ) / (k+1)

    The flow, from x(0) = z(0):

        z′ = -∇f(β x + (1-β) z)
        x′ = (z - x) / t

    At t = 0 the quotient is 0/0; its limit makes x start with half the speed of z.
    The clock: one step takes the time h = η, and the gap closes like h: x is the mean of z over all time so far. On
    f = λx²/2 with β = 1 the flow is x = x₀ J₁(2√(λt))/√(λt), with J₁ of Bessel. With β = 0, z is gradient descent and x
    its Polyak-Ruppert average.

    Energy: none is known.

    Elsewhere: optax and PyTorch carry the point β x + (1-β) z, where the gradient is taken, as their parameters;
    `optax.contrib.schedule_free_eval_params` gives x.

    - `learning_rate`: η, time per step. - `b1`: β in [0, 1] (in optax, > 0), default 0.9.

    >>> ScheduleFree(0.1)
    ScheduleFree(learning_rate=0.1, b1=0.9)

    Source: A. Defazio et al., "The road less scheduled" (2024);
    `optax.contrib.schedule_free_sgd`.
    """

    h: Scalar
    b1: Scalar

    def __init__(self, learning_rate, b1=0.9):
        self.h = positive("learning_rate", learning_rate)
        self.b1 = fraction("b1", b1)

    learning_rate = property(lambda self: self.h)
    regularity = property(  # the k-th step is O(1/k) off at every clock
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
