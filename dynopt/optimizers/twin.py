"""The twin: the same map as a transformation of optax."""

from functools import singledispatch
from typing import Any

from jaxtyping import Array

from .base import AbstractOptimizer


@singledispatch
def optax_parameters(optimizer: AbstractOptimizer, y: Any) -> Array:
    """The parameters that `optimizer.optax()` carries at the point `y`: by default the position.

    An optimizer whose twin carries something else registers a function of its own.
    """
    return y.x
