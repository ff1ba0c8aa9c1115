"""Memory reduction: at fixed decays an optimizer's memory is a function of its position, and a flow of x remains."""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import PyTree

from ..checks import Scalar, is_concrete
from ..errors import InvalidValue
from ..optimizers import AbstractOptimizer
from ..optimizers.base import Regularity, must_be_optimizer
from ..optimizers.wrappers.base import AbstractWrapper
from .expansion import settling_time, small_step
from .slow_manifold import LONG_AGO, forgetting, gain_of_layer, lag, settled, velocity
from .transformation import Transformation


class Memoryless(AbstractOptimizer):
    """An optimizer whose decays stay as they are while its learning rate shrinks: its memory becomes a function of x.

    The map is that of the optax twin, with state s and the learning rate h:

        sₖ₊₁ = Σ(xₖ, sₖ)
        xₖ₊₁ = xₖ + h ξ(xₖ, sₖ)

    The flow, of first order, on the slow manifold s = S₀(x), where S₀ = Σ(x, S₀); it leaves the memories alone:

        x′ = ξ(x, S₀(x))

    The clock: one step takes the time h = `learning_rate`, and the gap closes like h. With `Modified(Memoryless(...))`
    it closes like h², by the first correction of the manifold, S₀ + h S₁ (J = ∂Σ/∂s),

        (1 - J) S₁ = -S₀′(x) ξ(x, S₀)

    and by a start that is shifted by what the map does beyond the flow while its memory fills at x₀. (Until it has
    filled but for a thousandth, at the time `settling`, the gap is O(h) all the same, and `analysis.order` waits.)

        x(0) = x₀ + h Σⱼ (ξ(x₀, sⱼ) - ξ(x₀, S₀(x₀)))

    Lyapunov: none is known in general.

    Elsewhere: a page by itself keeps its memory times as they are, and its memory stays in the flow.

    - `optimizer`: a page, or an `Optax` with fixed decays. - `like`: as for `Optax`, by default that of `optimizer`.

    **Raises:** `InvalidValue`, naming the leaf, if some memory never forgets.

    >>> from dynopt import Momentum
    >>> Memoryless(Momentum(0.01))
    Memoryless(Momentum(learning_rate=0.01, momentum=0.9))

    Source: N. Kovachki and A. Stuart, "Continuous time analysis of momentum methods", JMLR 22 (2021), for momentum;
    M. Cattaneo, J. Klusowski and B. Shigida, "On the implicit bias of Adam", ICML (2024).
    """

    optimizer: AbstractOptimizer
    h: Scalar
    transformation: Transformation
    kept: Scalar

    def __init__(self, optimizer: AbstractOptimizer, like: PyTree | None = None):
        must_be_optimizer(optimizer, example="dynopt.Momentum(0.1)")
        if isinstance(optimizer, AbstractWrapper):
            raise InvalidValue(
                f"{optimizer} is a page around a page; put it around the memoryless one: "
                f"dynopt.{type(optimizer).__name__}(dynopt.Memoryless(page), ...)."
            )
        if hasattr(optimizer, "optimizer"):
            inner = optimizer.optimizer  # pyright: ignore
            raise InvalidValue(f"{optimizer} is derived already; pass its page {inner}.")
        self.optimizer = optimizer
        self.h = getattr(optimizer, "learning_rate", optimizer.h)
        inside = getattr(optimizer, "transformation", None)
        if like is None and inside is not None and inside.unravel is not None:
            like = inside.tree(jnp.zeros(inside.size))
        self.transformation = Transformation(FixedDecays(optimizer, self.h), self.h, like=like)
        self.kept = (
            forgetting(self.transformation, self.h, optimizer.name) if is_concrete(optimizer) else 0.0
        )

    name = property(lambda self: f"{self.optimizer.name}, memoryless")
    fields = property(
        lambda self: self.transformation.fields, doc="The coordinates of phase space, x first."
    )
    regularity = property(lambda self: Regularity(nonsmooth=self.transformation.reading.kinks))

    def init(self, x, grad):
        return self.transformation.start(self.h, x)

    def init_flow(self, x, grad, order=1):
        y = self.init(x, grad)
        return (
            y
            if order == 1
            else y._replace(x=x + self.h * gain_of_layer(self.transformation, y, grad))
        )

    def step(self, t, y, grad):
        return self.transformation.update(self.h, jnp.round(t / self.h).astype(int), y, grad)

    def vector_field(self, t, y, grad):
        velocity_ = velocity(self.transformation, settled(self.transformation, y, grad), grad)
        return jax.tree.map(jnp.zeros_like, y)._replace(x=velocity_)

    def optax(self):
        return self.transformation.family(self.h)

    def __repr__(self) -> str:
        return f"Memoryless({self.optimizer!r})"


@settling_time.register
def _(optimizer: Memoryless):
    return optimizer.h * math.log(1e-3) / math.log(optimizer.kept) if optimizer.kept > 0 else 0.0


@small_step.register
def _(optimizer: Memoryless, h, t, y, grad):
    """The map on the manifold, whose memory is right to order h."""
    flat, behind = lag(optimizer.transformation, y, grad)
    on_manifold = jax.tree.map(lambda s, s1: s + h * s1, flat, behind)
    return y._replace(x=optimizer.transformation.update(h, LONG_AGO, on_manifold, grad).x)


class FixedDecays(eqx.Module):
    """The family of an optimizer's optax twins that differ in their learning rate only."""

    optimizer: AbstractOptimizer
    learning_rate: Scalar

    name = property(lambda self: self.optimizer.name)

    def __call__(self, h: Any) -> optax.GradientTransformation:
        return optax.chain(self.optimizer.optax(), optax.scale(h / self.learning_rate))
