"""The gradient of a loss over data, which can be taken over all data or over one part of them."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array


class BatchGradient:
    """∇f, called as `grad(x)`, and the gradients over parts of the data as `grad.part(x, i, k)`.

    - `full`: x ↦ ∇f(x), over all data.
    - `part`: (x, i, k) ↦ the gradient over the i-th of k equal parts of the data; None if the
      loss is no mean over data.
    - `additive`: whether the mean of the gradients over the parts is the gradient over all data.
    - `loss`: x ↦ f(x), of which it is the gradient; None if that is not known.
    - `examples`: the number of examples in the data; None if that is not known.
    """

    def __init__(
        self,
        full: Callable[[Array], Array],
        part: Callable[[Array, ArrayLike, int], Array] | None = None,
        additive: bool = True,
        loss: Callable[[Array], Array] | None = None,
        examples: int | None = None,
    ):
        self.full = full
        self.part = part
        self.additive = additive
        self.loss = loss
        self.examples = examples

    def __call__(self, x: Array) -> Array:
        return self.full(x)

    def transformed(self, transform: Callable[[Array, Array], Array]) -> "BatchGradient":
        """Every gradient g at x becomes transform(g, x), those over parts one by one."""
        part: Any = self.part
        transformed_part = part and (lambda x, i, k: transform(part(x, i, k), x))
        return BatchGradient(lambda x: transform(self.full(x), x), transformed_part, additive=False)

    def taken_at(self, move: Callable[[Array], Array]) -> "BatchGradient":
        """Every gradient, and the loss, at move(x) in place of x."""
        part: Any = self.part
        moved_part = part and (lambda x, i, k: part(move(x), i, k))
        loss = self.loss and (lambda x: self.loss(move(x)))  # pyright: ignore
        return BatchGradient(lambda x: self.full(move(x)), moved_part, self.additive, loss)


def frozen_gradient(grad: Callable[[Array], Array], x: Array) -> BatchGradient:
    """The gradient that is everywhere the one at x, which is that of a linear loss."""
    g, loss, part = grad(x), getattr(grad, "loss", None), getattr(grad, "part", None)
    linear_loss = loss and (lambda z: loss(x) + jnp.vdot(g, z - x))
    frozen_part = part and (lambda _, i, k: part(x, i, k))
    return BatchGradient(
        lambda _: g, frozen_part, getattr(grad, "additive", True), loss=linear_loss
    )
