"""The modified equation: the flow that a map follows one order better than the flow it was made from."""

import warnings
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp

from ..errors import InvalidValue
from ..optimizers import AbstractOptimizer
from ..optimizers.base import must_be_optimizer
from ..optimizers.wrappers.base import AbstractDerived
from . import series
from .expansion import small_step, taylor, weights
from .memoryless import Memoryless


class Modified(AbstractDerived):
    """An optimizer beside its modified equation: the same map, and a flow that knows the size of the step.

    The map is that of `optimizer`, y + h φ₁ + h² φ₂ + h³ φ₃ + ...  The flow (backward error analysis):

        y′ = f₁ + h f₂                    order=2
        y′ = f₁ + h f₂ + h² f₃            order=3

        f₁ = φ₁
        f₂ = φ₂ - ½ L₁f₁
        f₃ = φ₃ - ½ (L₁f₂ + L₂f₁) - ⅙ L₁L₁f₁

    where L₁ = ∂/∂t + f₁·∇ and L₂ = f₂·∇ differentiate along f₁ and f₂, in time too, because a map may depend on it.
    The φ are the Taylor coefficients of `optimizer.at(h).step` in h at h = 0, by nested `jax.jvp`.

    Where memories start at 0 and are divided by their gathered weight w (Adam), the series of x′ is one in h/t. It is
    taken instead in the averages ŷ = y/w, with w read at the end of the step, where it is never 0: this is smooth from
    the first step on. At t = 0 the averages are q - (h/2) q′, the first average q led back by half a step.

    The clock: that of `optimizer`; the gap closes like h² or h³ where the map is smooth and its start is not cold.

    Lyapunov: that of `optimizer`, which this flow need not lower.

    For gradient descent f₂ = -½ ∇²f ∇f: the modified flow descends f + (h/4)|∇f|² (implicit gradient regularisation).

    - `optimizer`: the page. - `order`: 2 or 3.

    >>> from dynopt import SGD
    >>> Modified(SGD(0.1))
    Modified(SGD(learning_rate=0.1), order=2)

    Source: E. Hairer, C. Lubich and G. Wanner, "Geometric numerical integration", chapter IX; for gradient
    descent D. Barrett and B. Dherin, "Implicit gradient regularization" (2020).
    """

    optimizer: AbstractOptimizer
    terms: int = eqx.field(static=True)

    def __init__(self, optimizer: AbstractOptimizer, order: int = 2):
        must_be_optimizer(optimizer)
        if isinstance(optimizer, Modified):
            raise InvalidValue(
                f"{optimizer} is modified already; pass its page {optimizer.optimizer}, with order=3."
            )
        if optimizer.regularity.singular_start:
            raise InvalidValue(
                f"the flow of {optimizer} divides by the time since its start, so that no series in h serves there; "
                "take it as it is, or modify a page without, such as dynopt.Nesterov(0.01)."
            )
        if order not in (2, 3):
            raise InvalidValue(
                f"`order` must be 2 or 3, the orders that are derived, got {order!r}; use 2."
            )
        self.optimizer = optimizer
        self.terms = int(order)
        if self.terms == 3 and (
            optimizer.regularity.bias_corrected or isinstance(optimizer, Memoryless)
        ):
            start = "is" if isinstance(optimizer, Memoryless) else "starts from 0/0, where it is"
            raise InvalidValue(
                f"`order` is 3, but {optimizer} {start} known to order 2 only; use order=2."
            )
        if optimizer.regularity.nonsmooth:
            warnings.warn(
                f"the map of {optimizer} has corners or branches ({', '.join(optimizer.regularity.nonsmooth)}); where a path crosses "
                "one, its modified equation does not hold.",
                stacklevel=2,
            )
        if optimizer.regularity.order < 1:
            warnings.warn(
                f"{optimizer} has order {optimizer.regularity.order:g} for its cold start, where no series in h converges: its "
                "modified flow can be far off; start the memory warm.",
                stacklevel=2,
            )

    @property
    def regularity(self):
        """A start that costs the page its order, or costs it O(h) once, costs this too."""
        own = self.optimizer.regularity
        spoilt = own.order != 1 or own.initial_layer
        return own._replace(
            order=own.order if spoilt else float(self.terms),
            flow_depends_on_h=True,
            flow_error_ulps=10 ** (self.terms - 1) * own.flow_error_ulps,
        )

    name = property(lambda self: f"{self.optimizer.name}, modified")

    def init_flow(self, x, grad, order=1):
        return self.optimizer.init_flow(x, grad, max(order, self.terms))

    def step(self, t, y, grad):
        return self.optimizer.step(t, y, grad)

    def vector_field(self, t, y, grad):
        t = jnp.asarray(t, y.x.dtype)
        f1 = partial(self.optimizer.vector_field, grad=grad)
        speed = series.modified(
            f1,
            self._phi(lambda t, y, h: small_step(self.optimizer, h, t, y, grad)),
            self.h,
            self.terms,
        )
        if not self.regularity.bias_corrected:
            return speed(t, y)
        averages = jax.lax.cond(
            t > 0, lambda: self._averages(t, y), lambda: self._first_averages(y, grad)
        )
        phi = self._phi(partial(self._step_that_ends, grad))
        return speed(t, y)._replace(
            x=series.modified(phi(1), phi, self.h, self.terms)(t + self.h, averages).x
        )

    def _phi(self, step):
        """φₖ of a step, which takes t, y and h."""
        return lambda k: lambda t, y: taylor(self.optimizer, lambda h: step(t, y, h), k, t)[-1]

    def _step_that_ends(self, grad, end, averages, h):
        """The averages after a step that ends at time `end`."""
        total = weights(self.optimizer, end - h, h)
        y = averages._replace(**{name: getattr(averages, name) * w for name, w in total.items()})
        return self._averages(end, small_step(self.optimizer, h, end - h, y, grad), h)

    def _averages(self, t, y, h=None):
        total = weights(self.optimizer, t, self.h if h is None else h)
        return y._replace(**{name: getattr(y, name) / w for name, w in total.items()})

    def _first_averages(self, y, grad):
        """What the averages of the flow are at t = 0, so that after one step they are those of the map."""
        zeros = {name: jnp.zeros_like(getattr(y, name)) for name in self.regularity.bias_corrected}
        start = jnp.zeros((), y.x.dtype)

        def after_one_step(x):
            y_one = small_step(self.optimizer, self.h, start, y._replace(x=x, **zeros), grad)
            return self._averages(jnp.asarray(self.h), y_one)

        velocity = self.optimizer.vector_field(start, y._replace(**zeros), grad).x
        first, turn = jax.jvp(after_one_step, (y.x,), (velocity,))
        return y._replace(
            **{name: getattr(first, name) - self.h / 2 * getattr(turn, name) for name in zeros}
        )

    def optax(self):
        return self.optimizer.optax()

    def lyapunov(self, t, y, loss):
        return self.optimizer.lyapunov(t, y, loss)

    def __repr__(self) -> str:
        return f"Modified({self.optimizer!r}, order={self.terms})"
