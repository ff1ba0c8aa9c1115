"""The twin of an optimizer: the same map as a transformation of optax."""

from functools import singledispatch
from typing import Any

from jaxtyping import Array

from .base import AbstractOptimizer


@singledispatch
def optax_parameters(optimizer: AbstractOptimizer, y: Any) -> Array:
    """The parameters that `optimizer.optax()` updates, at the point `y` of phase space.

    By default they are the position. An optimizer whose twin updates something else registers a
    function of its own here.
    """
    return y.x
