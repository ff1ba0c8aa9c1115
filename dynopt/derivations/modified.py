"""The modified equation: the flow that a map follows one order better than the flow it was made from."""

import equinox as eqx
import jax
import jax.numpy as jnp

from ..checks import whole
from ..errors import InvalidType, InvalidValue
from ..optimizers import AbstractOptimizer


class Modified(AbstractOptimizer):
    """An optimizer beside its modified equation: the same map, and a flow that knows the size of the step.

    The map is that of `optimizer`, y + h φ₁ + h² φ₂ + h³ φ₃ + ...  The flow (backward error analysis):

        y′ = f₁ + h f₂                    order=2
        y′ = f₁ + h f₂ + h² f₃            order=3

        f₁ = φ₁
        f₂ = φ₂ - ½ L₁f₁
        f₃ = φ₃ - ½ (L₁f₂ + L₂f₁) - ⅙ L₁L₁f₁

    where L₁ = ∂/∂t + f₁·∇ and L₂ = f₂·∇ differentiate along f₁ and f₂, in time too, because a map may depend on it.
    The φ are nested `jax.jvp` of `optimizer.at(h).step` in h, at h = 0. Where a page starts from 0/0 (Adam), the series
    is one in h/t: there f₂ fades in with the weight 1 - e^(-(t/h)²), and order 3 is refused.

    The clock: that of `optimizer`; the gap closes like h² or h³ where the map is smooth, like h² up to a logarithm
    where its start is 0/0.

    Energy: that of `optimizer`, which this flow need not lower.

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
        if not isinstance(optimizer, AbstractOptimizer):
            raise InvalidType(f"`optimizer` must be a page such as dynopt.SGD(0.1), got {optimizer!r}.")
        self.optimizer = optimizer
        self.terms = whole("order", order, least=2)
        if self.terms > 3:
            raise InvalidValue(f"`order` is {order}, but modified equations are derived to order 2 or 3; use 3.")
        if self.terms == 3 and optimizer.singular_start:
            raise InvalidValue(
                f"`order` is 3, but {optimizer} starts from 0/0, where its series ends at 2; use order=2."
            )

    @property
    def h(self):
        return self.optimizer.h

    order = property(lambda self: float(self.terms) if self.optimizer.order == 1 else self.optimizer.order)

    def at(self, h):
        return Modified(self.optimizer.at(h), self.terms)

    def init(self, x, grad):
        return self.optimizer.init(x, grad)

    def step(self, t, y, grad):
        return self.optimizer.step(t, y, grad)

    def flow(self, t, y, grad):
        t = jnp.asarray(t, y.x.dtype)
        f1, f2, f3 = self._fields(grad)
        weight = -jnp.expm1(-((t / self.h) ** 2)) if self.optimizer.singular_start else 1.0
        terms = [(weight * self.h, f2), (self.h**2, f3)][: self.terms - 1]
        return _add(f1(t, y), *((size, field(t, y)) for size, field in terms))

    def _fields(self, grad):
        def phi(k, t, y):
            return _taylor(lambda h: self.optimizer.at(h).step(t, y, grad), k, t.dtype)

        def f1(t, y):
            return self.optimizer.flow(t, y, grad)

        def f2(t, y):
            return _add(phi(2, t, y), (-1 / 2, _along(f1, f1, 1)(t, y)))

        def f3(t, y):
            mixed = _add(_along(f2, f1, 1)(t, y), (1, _along(f1, f2, 0)(t, y)))
            return _add(phi(3, t, y), (-1 / 2, mixed), (-1 / 6, _along(_along(f1, f1, 1), f1, 1)(t, y)))

        return f1, f2, f3

    def optax(self):
        return self.optimizer.optax()

    def energy(self, t, y, loss):
        return self.optimizer.energy(t, y, loss)

    def __repr__(self) -> str:
        return f"Modified({self.optimizer!r}, order={self.terms})"


def _taylor(curve, k, dtype):
    """The coefficient of h^k in a curve of h, at h = 0."""
    for i in range(1, k + 1):
        curve = _slope(curve, i, dtype)
    return curve(jnp.zeros((), dtype))


def _slope(curve, i, dtype):
    return lambda h: jax.tree.map(lambda d: d / i, jax.jvp(curve, (h,), (jnp.ones((), dtype),))[1])


def _along(field, direction, pace):
    """The derivative of a field along another one, while time runs at the given pace."""
    return lambda t, y: jax.jvp(field, (t, y), (jnp.full_like(t, pace), direction(t, y)))[1]


def _add(first, *weighted):
    for weight, other in weighted:
        first = jax.tree.map(lambda a, b, weight=weight: a + weight * b, first, other)
    return first
