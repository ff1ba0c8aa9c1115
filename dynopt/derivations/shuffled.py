"""The modified equation of gradient descent on batches that are drawn without replacement."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..optimizers import SGD, Minibatch


def is_shuffled_descent(optimizer: Any) -> bool:
    """Whether it is gradient descent on batches of a permutation of the examples."""
    is_shuffled = type(optimizer) is Minibatch and not optimizer.replace
    return is_shuffled and type(optimizer.optimizer) is SGD


def shuffled_field(optimizer: Any, x: Array, grad: Any) -> Array:
    """-∇(f + (h/4) E|∇f_B|²), where B is a batch of b of the n examples.

    The mean of the map over all permutations follows it for an epoch, up to O(h³). For random
    batches E|∇f_B|² = |∇f|² + c/n Σᵢ |∇fᵢ - ∇f|² with c = (n - b)/(b (n - 1)).

    Source: S. Smith, B. Dherin, D. Barrett and S. De, "On the origin of implicit regularization in
    stochastic gradient descent" (2021): the mean iterate follows a loss that penalises the norms of
    the gradients of batches.
    """
    n, b = grad.examples, optimizer.size
    g = grad(x)

    def of_example(i):
        def gradient(x):
            return grad.part(x, i, n)

        value = gradient(x)
        return jax.jvp(gradient, (x,), (value - g,))[1]

    spread = jax.lax.map(of_example, jnp.arange(n)).mean(0)
    c = (n - b) / (b * max(n - 1, 1))
    return -g - optimizer.h / 2 * (jax.jvp(grad, (x,), (g,))[1] + c * spread)
