"""Gradient accumulation: one step with the sum of the gradients over k parts of the data."""

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

    The map, for the step Φ of the inner optimizer and losses fᵢ over the i-th of K equal parts of
    the data:

        xₖ₊₁ = Φ(xₖ) with the gradient (∇f₁ + ... + ∇f_K)/K, summed in this order

    The flow is that of the inner optimizer with ∇f, because the mean over the parts is the gradient
    over all data. If a `WithGradient` around this wrapper changes the gradient over every part, the
    flow has the mean of the changed gradients:

        x′ = F(x)

    The time step: it is that of the inner optimizer. Each gradient costs K evaluations, each over a
    K-th of the data. The sum is kept in the dtype of x; the memory needed is one more gradient, and
    the activations of one part at a time.

    Lyapunov function: it is that of the inner optimizer.

    Elsewhere: `optax.MultiSteps` keeps its mean in float32 unless told otherwise. In Keras a
    schedule counts small batches, so that it advances by K in each step; here a `Schedule` counts
    steps.

    Arguments:

    - `optimizer`: the inner optimizer.
    - `k`: K, the number of parts, a divisor of the number of examples. If the loss is no mean over
      data, every part is the whole loss, and it is evaluated once.

    **Raises:** `InvalidValue` if K is less than 1, or does not divide the number of examples;
    `InvalidType` if K is no whole number.

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

    evaluations = property(lambda self: self.k * self.optimizer.evaluations)

    def init(self, x, grad):
        return self.optimizer.init(x, self.mean(grad))

    def wrap_step(self, step, t, y, grad):
        return step(t, y, self.mean(grad))

    def mean(self, grad):
        """The gradient as the mean of the gradients over k parts."""
        part = getattr(grad, "part", None)
        if part is None:
            return grad

        def mean(x):
            def add(total, i):
                return total + part(x, i, self.k), None

            total, _ = jax.lax.scan(add, jnp.zeros_like(x), jnp.arange(self.k))
            return total / self.k

        return BatchGradient(mean, loss=grad.loss)

    def vector_field(self, t, y, grad):
        is_additive = getattr(grad, "additive", True)
        return self.optimizer.vector_field(t, y, grad if is_additive else self.mean(grad))

    def optax(self):
        dtype = jnp.result_type(float)
        multi_steps = optax.MultiSteps(self.optimizer.optax(), self.k, accumulator_dtype=dtype)
        return multi_steps.gradient_transformation()

    def lyapunov(self, t, y, loss):
        return self.optimizer.lyapunov(t, y, loss)
