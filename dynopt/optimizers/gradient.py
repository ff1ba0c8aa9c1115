"""The gradient as a page meets it: a function of the position, and of a loss over data also part by part."""

from collections.abc import Callable
from typing import Any

from jax.typing import ArrayLike
from jaxtyping import Array


class Gradient:
    """∇f, called as `grad(x)`; `grad.part(x, i, k)` is the gradient over the i-th of k equal parts of the data.

    `part` is None where the loss is not a mean over data. `additive`: whether the mean of the parts is the whole.
    """

    def __init__(
        self,
        whole: Callable[[Array], Array],
        part: Callable[[Array, ArrayLike, int], Array] | None = None,
        additive: bool = True,
    ):
        self.whole = whole
        self.part = part
        self.additive = additive

    def __call__(self, x: Array) -> Array:
        return self.whole(x)

    def then(self, change: Callable[[Array, Array], Array]) -> "Gradient":
        """Each gradient that is taken, changed, those of parts one by one: g ↦ change(g, x)."""
        part: Any = self.part
        parts = part and (lambda x, i, k: change(part(x, i, k), x))
        return Gradient(lambda x: change(self.whole(x), x), parts, additive=False)
