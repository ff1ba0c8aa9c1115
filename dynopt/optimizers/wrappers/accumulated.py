"""Gradient accumulation: the gradients of k parts of the data, added up one after another, make one step."""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from ...checks import whole_number
from ..base import AbstractOptimizer, must_be_optimizer
from ..gradient import BatchGradient
from .base import AbstractWrapper


class Accumulated(AbstractWrapper):
    """Accumulation takes the step of a large batch with the memory of a small one.

    The map, for the step Φ of the page inside and losses fᵢ over the i-th of K equal parts of the data:

        xₖ₊₁ = Φ(xₖ) with the gradient (∇f₁ + ... + ∇f_K)/K, summed in this order

    The flow is that of the page, with ∇f, since the mean of the parts is the whole; but where `WithGradient` around it
    changes every part, with the mean of the changed,

        x′ = F(x)

    The clock: that of the page, a step of h; it costs K evaluations of a K-th of the data. The sum is kept in the dtype
    of x, one gradient more in memory, and the activations of one part at a time.

    Energy: that of the page.

    Elsewhere: `optax.MultiSteps` keeps its mean in float32 unless told otherwise.

    - `optimizer`: any page. - `k`: K, how many parts, a divisor of the number of examples. Where the loss is no mean
      over data, all parts are the whole, and it is evaluated once.

    >>> from dynopt import SGD
    >>> Accumulated(SGD(0.1), 4)
    Accumulated(SGD(learning_rate=0.1), k=4)

    Source: `optax.MultiSteps`.
    """

    optimizer: AbstractOptimizer
    k: int = eqx.field(static=True)

    def __init__(self, optimizer, k):
        must_be_optimizer(optimizer)
        self.optimizer, self.k = optimizer, whole_number("k", k, least=1, like=4)

    evaluations = property(lambda self: self.k)

    def wrap_step(self, step, t, y, grad):
        return step(t, y, self.mean(grad))

    def mean(self, grad):
        """The gradient, as the mean of those over k parts."""
        part = getattr(grad, "part", None)
        if part is None:
            return grad

        def mean(x):
            def add(total, i):
                return total + part(x, i, self.k), None

            return jax.lax.scan(add, jnp.zeros_like(x), jnp.arange(self.k))[0] / self.k

        return BatchGradient(mean)

    def vector_field(self, t, y, grad):
        return self.optimizer.vector_field(
            t, y, grad if getattr(grad, "additive", True) else self.mean(grad)
        )

    def optax(self):
        many = optax.MultiSteps(
            self.optimizer.optax(), self.k, accumulator_dtype=jnp.result_type(float)
        )
        return many.gradient_transformation()

    def lyapunov(self, t, y, loss):
        return self.optimizer.lyapunov(t, y, loss)
