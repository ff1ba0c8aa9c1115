"""Memory reduction: at fixed decays the memory is a function of the position, and x has a flow."""

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
from ..optimizers.base import Regularity, must_be_optimizer, replace_fields
from ..optimizers.wrappers.base import AbstractDerived, AbstractWrapper
from ..optimizers.wrappers.factor import AbstractFactor
from .expansion import settling_time, small_step
from .slow_manifold import (
    MAX_COUNT,
    away_from_zero,
    initial_layer_shift,
    largest_decay,
    memory_after,
    slow_manifold,
    velocity,
)
from .transformation import LATE_COUNT, Transformation


class Memoryless(AbstractOptimizer):
    """An optimizer whose decays stay fixed while h → 0, so that its memory is a function of x.

    The map is that of the optax twin, with the state s and the learning rate h:

        sₖ₊₁ = Σ(xₖ, sₖ)
        xₖ₊₁ = xₖ + h ξ(xₖ, sₖ)

    The flow is of first order, on the slow manifold s = S₀(x) where S₀ = Σ(x, S₀); it does not
    change the memory fields:

        x′ = ξ(x, S₀(x))

    The time step: one step takes the time h = `learning_rate`, and the global error is O(h). With
    `Modified(Memoryless(...))` it is O(h²), by the first correction of the manifold, S₀ + h S₁,
    where with J = ∂Σ/∂s

        (1 - J) S₁ = -S₀′(x) ξ(x, S₀)

    and by a start that is shifted by what the map does beyond the flow while its memory fills at
    x₀:

        x(0) = x₀ + h Σⱼ (ξ(x₀, sⱼ) - ξ(x₀, S₀(x₀)))

    Until the memory has come within a thousandth of S₀, at the `settling_time` of
    `derivations.expansion`, the error is still O(h); `analysis.order` measures from that time on.

    Where steps are counted, as for Adam's bias corrections, the memory fills at once, but after n
    steps it lags behind by what it has seen so far:

        S₁ₙ = -((1 - J)⁻¹ (1 - Jⁿ) - n Jⁿ) S₀′(x) ξ(x, S₀)

    The modified flow takes it at n = t/h - ½, the middle of a step, so that it is O(h²) from the
    first step on. As n → ∞ this is S₁; for n ≪ 1/(1-β), as in the first hundred steps of Adam with
    β₂ = 0.999, it is much smaller. The formula is exact where J is constant, as for running means.

    No Lyapunov function is known in general.

    Elsewhere: an optimizer that is not `Memoryless` keeps its memory times fixed as h → 0, so that
    its memory stays in the flow.

    Arguments:

    - `optimizer`: an optimizer, or an `Optax` with fixed decays.
    - `like`: a PyTree shaped as the positions, as for `Optax`; by default that of `optimizer`. A
      run shows its start to an optimizer that treats matrices as such.

    **Raises:** `InvalidValue`, which names the leaf, if some memory never forgets.

    >>> from dynopt import Momentum
    >>> Memoryless(Momentum(0.01))
    Memoryless(Momentum(learning_rate=0.01, momentum=0.9))

    Source: N. Kovachki and A. Stuart, "Continuous time analysis of momentum methods", JMLR 22
    (2021), for momentum; M. Cattaneo, J. Klusowski and B. Shigida, "On the implicit bias of Adam",
    ICML (2024).
    """

    optimizer: AbstractOptimizer
    h: Scalar
    transformation: Transformation
    largest_decay: Scalar

    def __init__(self, optimizer: AbstractOptimizer, like: PyTree | None = None):
        must_be_optimizer(optimizer, example="dynopt.Momentum(0.1)")
        if isinstance(optimizer, AbstractWrapper):
            raise InvalidValue(
                f"{optimizer} is a wrapper; wrap the memoryless optimizer instead: "
                f"dynopt.{type(optimizer).__name__}(dynopt.Memoryless(optimizer), ...)."
            )
        if hasattr(optimizer, "optimizer"):
            inner = optimizer.optimizer  # pyright: ignore
            raise InvalidValue(f"{optimizer} is derived already; pass its optimizer {inner}.")
        self.optimizer = optimizer
        self.h = getattr(optimizer, "learning_rate", optimizer.h)
        if like is None and _is_for_trees(optimizer):
            inner = optimizer.transformation  # pyright: ignore
            like = inner.to_tree(jnp.zeros(inner.size))
        twin_of = optimizer
        if _is_derived_from_optax(optimizer):  # its map counts, and not how its flow is derived
            twin_of = replace_fields(optimizer, derivation=None)
        self.transformation = Transformation(FixedDecays(twin_of, self.h), self.h, like=like)
        self.largest_decay = (
            largest_decay(self.transformation, self.h, optimizer.name)
            if is_concrete(optimizer)
            else 0.0
        )

    def for_leaves(self, x0):
        """The optimizer whose twin sees the leaves of `x0`, if it treats them in another way."""
        optimizer = self.optimizer.for_leaves(x0)
        sees_leaves = not optimizer.elementwise or _is_for_trees(optimizer)
        is_vector = jax.tree.structure(x0).num_nodes == 1 and jnp.ndim(x0) == 1
        if self.transformation.unravel is not None or not sees_leaves or is_vector:
            return replace_fields(self, optimizer=optimizer)
        return replace_fields(Memoryless(optimizer, like=x0), h=self.h)

    @property
    def name(self):
        return f"{self.optimizer.name}, memoryless"

    elementwise = property(lambda self: self.optimizer.elementwise)

    @property
    def regularity(self):
        return Regularity(nonsmooth=self.transformation.layout.nonsmooth)

    @property
    def fields(self) -> tuple[str, ...]:
        """The coordinates of phase space, x first."""
        return self.transformation.fields

    def init(self, x, grad):
        return self.transformation.start(self.h, x)

    def init_flow(self, x, grad, order=1):
        y = self.init(x, grad)
        if order == 1:
            return y
        return y._replace(x=x + self.h * initial_layer_shift(self.transformation, y, grad))

    def step(self, t, y, grad):
        return self.transformation.update(self.h, jnp.round(t / self.h).astype(int), y, grad)

    def vector_field(self, t, y, grad):
        def field(g):
            on_manifold = slow_manifold(self.transformation, y, lambda _: g)
            return velocity(self.transformation, on_manifold, lambda _: g)

        # The value at g has the derivatives at a gradient nearby, which exist where g is 0, too.
        g = grad(y.x)
        nearby = field(away_from_zero(g))
        dx = nearby + jax.lax.stop_gradient(field(g) - nearby)
        return jax.tree.map(jnp.zeros_like, y)._replace(x=dx)

    def optax(self):
        return self.transformation.family(self.h)

    def __repr__(self) -> str:
        return f"Memoryless({self.optimizer!r})"


@settling_time.register
def _(optimizer: Memoryless):
    """The time until the slowest memory has come within a thousandth of its fixed point.

    It is one step if every memory is replaced in each step, and 0 if there is no memory.
    """
    if optimizer.fields == ("x",):
        return 0.0
    decay = optimizer.largest_decay
    steps = math.log(1e-3) / math.log(decay) if decay > 0 else 0.0
    return optimizer.h * max(1.0, steps)


@small_step.register
def _(optimizer: Memoryless, h, t, y, grad):
    """The map on the manifold, where the memory lags behind x.

    Where steps are counted, as for a bias correction, the lag of step n stands at the middle of the
    step, t = (n + ½) h, and is linear in between. Elsewhere it is that of n → ∞.
    """
    transformation = optimizer.transformation

    def nonzero_gradient(x):
        return away_from_zero(grad(x))

    def lag(count):
        """By how much the lag of the memory changes ξ, per unit of h."""
        zeroth, first = memory_after(transformation, y, nonzero_gradient, count)
        return jax.jvp(
            lambda s: velocity(transformation, s, nonzero_gradient, count), (zeroth,), (first,)
        )[1]

    if transformation.layout.has_counter:
        steps = jnp.minimum(t / optimizer.h - 1 / 2, MAX_COUNT)
        count = jnp.maximum(jnp.floor(steps), 0)
        before, after = jax.vmap(lag)(jnp.stack([count, count + 1]))
        change = before + (steps - count) * (after - before)
    else:
        change = lag(MAX_COUNT)
    limit = slow_manifold(transformation, y, grad)
    x = transformation.update(h, LATE_COUNT, limit, grad).x
    return y._replace(x=x + h**2 * change)


@small_step.register
def _(optimizer: AbstractFactor, h, t, y, grad):
    innermost = optimizer.optimizer
    while isinstance(innermost, AbstractDerived):
        innermost = innermost.optimizer
    if isinstance(innermost, Memoryless):
        raise InvalidValue(
            f"{optimizer!r} scales the steps of a memoryless optimizer, but the lag of its memory "
            "belongs to the steps as they were; use it without dynopt.Modified."
        )
    return small_step.dispatch(AbstractWrapper)(optimizer, h, t, y, grad)


def _is_derived_from_optax(optimizer: Any) -> bool:
    return hasattr(optimizer, "derivation")


def _is_for_trees(optimizer: Any) -> bool:
    """Whether an optimizer is derived from an optax transformation of trees, and not of vectors."""
    return _is_derived_from_optax(optimizer) and optimizer.transformation.unravel is not None


class FixedDecays(eqx.Module):
    """The family of an optimizer's optax twins that differ in their learning rate only."""

    optimizer: AbstractOptimizer
    learning_rate: Scalar

    @property
    def name(self) -> str:
        return self.optimizer.name

    def __call__(self, h: Any) -> optax.GradientTransformation:
        return optax.chain(self.optimizer.optax(), optax.scale(h / self.learning_rate))
