"""The modified equation: a flow that the map follows with one order more than the original flow."""

import warnings
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp

from ..errors import InvalidValue
from ..optimizers import AbstractOptimizer
from ..optimizers.base import must_be_optimizer
from ..optimizers.wrappers.base import AbstractDerived
from ..optimizers.wrappers.noise import noise_of
from ..optimizers.wrappers.probing import is_affine_in_gradient
from .expansion import accumulated_weight, small_step, taylor
from .memoryless import Memoryless
from .series import modified_field
from .shuffled import is_shuffled_descent, shuffled_field


class Modified(AbstractDerived):
    """An optimizer with its modified equation: the same map, and a flow that depends on h.

    The map is that of `optimizer`, y + h φ₁ + h² φ₂ + h³ φ₃ + ...

    The flow (backward error analysis):

        y′ = f₁ + h f₂                    order=2
        y′ = f₁ + h f₂ + h² f₃            order=3

        f₁ = φ₁
        f₂ = φ₂ - ½ L₁f₁
        f₃ = φ₃ - ½ (L₁f₂ + L₂f₁) - ⅙ L₁L₁f₁

    where L₁ = ∂/∂t + f₁·∇ and L₂ = f₂·∇ are the derivatives along f₁ and f₂; L₁ differentiates in
    time, too, because a map may depend on it. The φ are the Taylor coefficients of
    `optimizer.with_time_step(h).step` in h at h = 0, by nested `jax.jvp`.

    Where memories start at 0 and are divided by their accumulated weight w (Adam), the series of
    x′ would be one in h/t. It is taken instead in the averages ŷ = y/w, with w at the end of the
    step, where it is never 0: this is smooth from the first step on. At t = 0 the averages are
    q - (h/2) q′, the first average q moved back by half a step.

    The time step: that of `optimizer`. The global error is O(h²) or O(h³) where the map is smooth
    and its memory does not start at zero.

    Lyapunov function: that of `optimizer`, which this flow need not lower.

    Noise of the same law everywhere, in an optimizer that is affine in the gradient, has a modified
    stochastic equation with corrected drift and diffusion, of weak order 2. Gradient descent on
    batches without replacement has the modified equation x′ = -∇(f + (h/4) E|∇f_B|²), where B is a
    batch: the mean of its map over the permutations follows this for an epoch up to O(h³).

    For gradient descent f₂ = -½ ∇²f ∇f: the modified flow descends f + (h/4)|∇f|² (implicit
    gradient regularisation).

    Arguments:

    - `optimizer`: any optimizer whose flow does not divide by the time since its start, and whose
      map is the same in every step.
    - `order`: the number of terms, 2 (default) or 3.

    **Raises:** `InvalidValue` for other orders, and for optimizers whose modified equation is not
    known.

    **Warns:** if the map is not smooth, or if its memory starts at zero.

    >>> from dynopt import SGD
    >>> Modified(SGD(0.1))
    Modified(SGD(learning_rate=0.1), order=2)

    Source: E. Hairer, C. Lubich and G. Wanner, "Geometric numerical integration", chapter IX; for
    gradient descent D. Barrett and B. Dherin, "Implicit gradient regularization" (2020).
    """

    optimizer: AbstractOptimizer
    order: int = eqx.field(static=True)

    def __init__(self, optimizer: AbstractOptimizer, order: int = 2):
        must_be_optimizer(optimizer)
        regularity = optimizer.regularity
        if isinstance(optimizer, Modified):
            raise InvalidValue(
                f"{optimizer} is modified already; pass its optimizer {optimizer.optimizer}, with "
                "order=3."
            )
        if regularity.singular_start:
            raise InvalidValue(
                f"the flow of {optimizer} divides by the time since its start, so no series in h "
                "holds there; use its flow as it is, or modify an optimizer without such a start, "
                "such as dynopt.Nesterov(0.01)."
            )
        if regularity.mean_flow:
            raise InvalidValue(
                f"the map of {optimizer} changes from step to step, so no series of one step holds "
                "for all; modify the optimizer that uses the mean in every step, such as "
                "dynopt.WithGradient(dynopt.SGD(0.1), lambda g: g)."
            )
        noise = noise_of(optimizer)
        is_additive = noise is not None and (
            noise.is_constant and noise.is_white and is_affine_in_gradient(optimizer, jnp.zeros(2))
        )
        is_known = order == 2 and (is_additive or is_shuffled_descent(optimizer))
        if noise is not None and not is_known:
            raise InvalidValue(
                f"the modified equation of {optimizer} is known to order 2 for noise with the same "
                "law everywhere, in optimizers that are affine in the gradient, and for SGD on "
                "batches without replacement; modify for example dynopt.Noisy(dynopt.SGD(0.1), "
                "sigma=0.5), with order=2."
            )
        if order not in (2, 3):
            raise InvalidValue(
                f"`order` must be 2 or 3, the orders that are derived, got {order!r}; use 2."
            )
        self.optimizer = optimizer
        self.order = int(order)
        if self.order == 3 and (regularity.bias_corrected or isinstance(optimizer, Memoryless)):
            start = "is" if isinstance(optimizer, Memoryless) else "starts from 0/0, where it is"
            raise InvalidValue(
                f"`order` is 3, but {optimizer} {start} known to order 2 only; use order=2."
            )
        if regularity.nonsmooth:
            warnings.warn(
                f"the map of {optimizer} has corners or branches "
                f"({', '.join(regularity.nonsmooth)}); where a path crosses one, its modified "
                "equation does not hold.",
                stacklevel=2,
            )
        if regularity.order < 1:
            warnings.warn(
                f"{optimizer} has order {regularity.order:g} because its memory starts at zero, "
                "where no series in h converges: its modified flow can be far off; start the "
                "memory from a positive value.",
                stacklevel=2,
            )

    @property
    def name(self):
        return f"{self.optimizer.name}, modified"

    @property
    def regularity(self):
        """That of `optimizer`, with more order unless the optimizer loses order at its start.

        A start that costs the optimizer an error O(h) once costs the modified flow the same.
        """
        regularity = self.optimizer.regularity
        loses_order = regularity.order < 1 or regularity.initial_layer
        return regularity._replace(
            order=regularity.order if loses_order else max(regularity.order, float(self.order)),
            flow_depends_on_h=True,
            flow_error_ulps=10 ** (self.order - 1) * regularity.flow_error_ulps,
        )

    def init_flow(self, x, grad, order=1):
        return self.optimizer.init_flow(x, grad, max(order, self.order))

    def step(self, t, y, grad):
        return self.optimizer.step(t, y, grad)

    def vector_field(self, t, y, grad):
        if is_shuffled_descent(self.optimizer):
            return y._replace(x=shuffled_field(self.optimizer, y.x, grad))
        t = jnp.asarray(t, y.x.dtype)
        f1 = partial(self.optimizer.vector_field, grad=grad)
        phi = self._phi(lambda t, y, h: small_step(self.optimizer, h, t, y, grad))
        field = modified_field(f1, phi, self.h, self.order)
        if not self.regularity.bias_corrected:
            return field(t, y)
        averages = jax.lax.cond(
            t > 0, lambda: self._averages(t, y), lambda: self._first_averages(y, grad)
        )
        phi = self._phi(partial(self._averages_after_step, grad))
        of_averages = modified_field(phi(1), phi, self.h, self.order)
        return field(t, y)._replace(x=of_averages(t + self.h, averages).x)

    def _phi(self, step):
        """The function k ↦ φₖ of a step, which takes t, y and h."""
        return lambda k: lambda t, y: taylor(self.optimizer, lambda h: step(t, y, h), k, t)[-1]

    def _averages_after_step(self, grad, end, averages, h):
        """The averages after a step that ends at the time `end`."""
        weight = accumulated_weight(self.optimizer, end - h, h)
        y = averages._replace(**{name: getattr(averages, name) * w for name, w in weight.items()})
        return self._averages(end, small_step(self.optimizer, h, end - h, y, grad), h)

    def _averages(self, t, y, h=None):
        """The point y, with each bias-corrected memory divided by its accumulated weight."""
        weight = accumulated_weight(self.optimizer, t, self.h if h is None else h)
        return y._replace(**{name: getattr(y, name) / w for name, w in weight.items()})

    def _first_averages(self, y, grad):
        """The averages of the flow at t = 0, chosen so that after one step they are the map's."""
        zeros = {name: jnp.zeros_like(getattr(y, name)) for name in self.regularity.bias_corrected}
        start = jnp.zeros((), y.x.dtype)

        def after_one_step(x):
            first = small_step(self.optimizer, self.h, start, y._replace(x=x, **zeros), grad)
            return self._averages(jnp.asarray(self.h), first)

        velocity = self.optimizer.vector_field(start, y._replace(**zeros), grad).x
        averages, change = jax.jvp(after_one_step, (y.x,), (velocity,))
        return y._replace(
            **{name: getattr(averages, name) - self.h / 2 * getattr(change, name) for name in zeros}
        )

    def optax(self):
        return self.optimizer.optax()

    def lyapunov(self, t, y, loss):
        return self.optimizer.lyapunov(t, y, loss)

    def __repr__(self) -> str:
        return f"Modified({self.optimizer!r}, order={self.order})"
