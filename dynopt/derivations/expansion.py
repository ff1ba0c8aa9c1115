"""A map as a power series in h, y + h φ₁ + h² φ₂ + ..., and the numbers that such a series needs.

These are functions of an optimizer and not its methods: an optimizer defines its map and its flow,
and this package expands them. An optimizer that must be expanded in another way registers its own
function, as `Optax` and `Memoryless` do; wrappers are registered here.
"""

from collections.abc import Callable
from functools import singledispatch
from typing import Any

from jax.typing import ArrayLike
from jaxtyping import Array

from ..optimizers import AbstractOptimizer, WithGradient
from ..optimizers.averages import averaging_weight
from ..optimizers.base import Gradient
from ..optimizers.wrappers.base import AbstractDerived, AbstractWrapper
from ..optimizers.wrappers.noise import AbstractNoise
from .series import taylor_coefficients


@singledispatch
def small_step(
    optimizer: AbstractOptimizer, h: ArrayLike, t: ArrayLike, y: Any, grad: Gradient
) -> Any:
    """One step of the map with the time step `h`, as a smooth function of `h` and `t`."""
    return optimizer.with_time_step(h).step(t, y, grad)


@small_step.register
def _(optimizer: AbstractWrapper, h, t, y, grad):
    return optimizer.with_time_step(h).wrap_step(
        lambda t, y, grad: small_step(optimizer.optimizer, h, t, y, grad), t, y, grad
    )


@small_step.register
def _(optimizer: WithGradient, h, t, y, grad):
    return small_step(optimizer.optimizer, h, t, y, optimizer.mean_gradient(grad))


@small_step.register
def _(optimizer: AbstractNoise, h, t, y, grad):
    return small_step(optimizer.optimizer, h, t, y, grad)


@singledispatch
def taylor(
    optimizer: AbstractOptimizer, curve: Callable[[Array], Any], terms: int, t: Array
) -> list[Any]:
    """The coefficients of h, h², ... in a curve, such as h ↦ small_step(optimizer, h, t, y, g)."""
    return taylor_coefficients(curve, terms, t.dtype)


@taylor.register
def _(optimizer: AbstractWrapper, curve, terms, t):
    return taylor(optimizer.optimizer, curve, terms, t)


@singledispatch
def accumulated_weight(
    optimizer: AbstractOptimizer, t: ArrayLike, h: ArrayLike
) -> dict[str, Array]:
    """The weight that each bias-corrected average has accumulated by the time `t`, by its field."""
    return {
        name: averaging_weight(t, h, tau)
        for name, tau in optimizer.regularity.bias_corrected.items()
    }


@accumulated_weight.register
def _(optimizer: AbstractWrapper, t, h):
    return accumulated_weight(optimizer.optimizer, t, h)


@singledispatch
def settling_time(optimizer: AbstractOptimizer) -> Any:
    """The time until the map follows its flow, after an initial layer; 0 if there is no layer."""
    return 0.0


@settling_time.register
def _(optimizer: AbstractDerived):
    return settling_time(optimizer.optimizer)
