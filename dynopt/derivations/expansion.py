"""A map as a power series in the step, y + h φ₁ + h² φ₂ + ..., and what is known of its start.

These are functions of a page, not methods: a page says what its map and its flow are; how they are expanded is the
business of this package. A page that must be expanded in its own way registers it, as `Optax` and `Memoryless` do.
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
from .series import taylor_coefficient


@singledispatch
def small_step(
    optimizer: AbstractOptimizer, h: ArrayLike, t: ArrayLike, y: Any, grad: Gradient
) -> Any:
    """One step of the map with step size `h`, smooth in `h` and in `t`."""
    return optimizer.with_time_step(h).step(t, y, grad)


@small_step.register
def _(optimizer: AbstractWrapper, h, t, y, grad):
    return optimizer.with_time_step(h).wrap_step(
        lambda t, y, grad: small_step(optimizer.optimizer, h, t, y, grad), t, y, grad
    )


@small_step.register
def _(optimizer: WithGradient, h, t, y, grad):
    return small_step(optimizer.optimizer, h, t, y, optimizer.mean_gradient(grad))


@singledispatch
def taylor(
    optimizer: AbstractOptimizer, curve: Callable[[Array], Any], terms: int, t: Array
) -> list[Any]:
    """The Taylor coefficients of h, h², ... in a curve such as h ↦ small_step(page, h, t, y, grad)."""
    return [taylor_coefficient(curve, k, t.dtype) for k in range(1, terms + 1)]


@taylor.register
def _(optimizer: AbstractWrapper, curve, terms, t):
    return taylor(optimizer.optimizer, curve, terms, t)


@singledispatch
def weights(optimizer: AbstractOptimizer, t: ArrayLike, h: ArrayLike) -> dict[str, Array]:
    """The total weight that each bias-corrected average has accumulated by time `t`, for step size `h`."""
    return {
        name: averaging_weight(t, h, tau)
        for name, tau in optimizer.regularity.bias_corrected.items()
    }


@weights.register
def _(optimizer: AbstractWrapper, t, h):
    return weights(optimizer.optimizer, t, h)


@singledispatch
def settling_time(optimizer: AbstractOptimizer) -> Any:
    """The time after which the map is on the flow, if it starts beside it."""
    return 0.0


@settling_time.register(AbstractDerived)
def _(optimizer):
    return settling_time(optimizer.optimizer)
