"""Memory reduction: at fixed decays the memory is a function of the position, and x has a flow."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import PyTree

from ..checks import Scalar, is_concrete
from ..errors import InvalidType, InvalidValue, unknown_name
from ..optimizers import AbstractOptimizer, Leapfrog
from ..optimizers.base import Regularity, must_be_optimizer, replace_fields
from ..optimizers.gradient import BatchGradient
from ..optimizers.wrappers.base import AbstractDerived, AbstractWrapper
from ..optimizers.wrappers.factor import AbstractFactor
from .expansion import settling_time, small_step, taylor
from .extrapolation import extrapolated_taylor, longest_step
from .leaves import is_or_lies_in
from .series import taylor_coefficients
from .slow_manifold import (
    MAX_COUNT,
    Part,
    away_from_zero,
    constant_gradient,
    initial_layer_shift,
    largest_decay,
    measure_part,
    memory_after,
    partly_filled,
    slow_manifold,
    velocity,
    with_memories,
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

    With `leaves`, only the memories that are named are fast and become functions of the other
    variables z, which are x and the slow memories. The family of maps is then that in which the
    named memories keep their decays and the others keep their times τ = h/(1-β):

        sₖ₊₁ = Σ(zₖ, sₖ)                  zₖ₊₁ = zₖ + h ζ(zₖ, sₖ)
        z′ = ζ(z, S₀(z))                  (1 - J) S₁ = -S₀′(z) ζ(z, S₀)

    So Adam with `leaves=["m"]` follows τ₂ v′ = g² - v and x′ = -g/(√(v̂ + ε₀) + ε). The times of
    Adam, AdamW and NAdam are known; an `Optax` says by its family what is fast, as a decay that is
    written as a number is, and what is slow, as 1 - h/τ is. AdaBelief divides by the fast variable
    g - m, so that its flow without m loses this order at the start.

    No Lyapunov function is known in general.

    Elsewhere: an optimizer that is not `Memoryless` keeps its memory times fixed as h → 0, so that
    its memory stays in the flow.

    Arguments:

    - `optimizer`: an optimizer, or an `Optax` with fixed decays.
    - `like`: a PyTree shaped as the positions, as for `Optax`; by default that of `optimizer`. A
      run shows its start to an optimizer that treats matrices as such.

    - `leaves`: the names of the fast memories, as the points of `optimizer.init` have them, such
      as ["m"] for Adam and ["trace"] for an `Optax` with momentum; by default all memories. A
      name stands for all leaves below it: "mu" for `mu_w` and `mu_b`, which an `Optax` has where
      positions are trees.

    **Raises:** `InvalidValue`, which names the leaf, if some memory never forgets, or if `leaves`
    leaves out a fast memory or names a slow one; `UnknownName` if there is no such memory;
    `InvalidType` if `leaves` is no list of names.

    >>> from dynopt import Momentum
    >>> Memoryless(Momentum(0.01))
    Memoryless(Momentum(learning_rate=0.01, momentum=0.9))

    >>> from dynopt import Adam
    >>> Memoryless(Adam(0.01), leaves=["m"])
    Memoryless(Adam(learning_rate=0.01, b1=0.9, b2=0.999, eps=1e-08, eps_root=0), leaves=['m'])

    Source: N. Kovachki and A. Stuart, "Continuous time analysis of momentum methods", JMLR 22
    (2021), for momentum; M. Cattaneo, J. Klusowski and B. Shigida, "On the implicit bias of Adam",
    ICML (2024).
    """

    optimizer: AbstractOptimizer
    h: Scalar
    transformation: Transformation
    largest_decay: Scalar
    leaves: tuple[str, ...] | None = eqx.field(static=True)
    fast: tuple[str, ...] = eqx.field(static=True)
    part: Part | None = eqx.field(static=True)

    def __init__(
        self,
        optimizer: AbstractOptimizer,
        like: PyTree | None = None,
        leaves: Sequence[str] | None = None,
    ):
        must_be_optimizer(optimizer, example="dynopt.Momentum(0.1)")
        if isinstance(optimizer, AbstractWrapper) and not isinstance(optimizer, Leapfrog):
            raise InvalidValue(
                f"{optimizer} is a wrapper; wrap the memoryless optimizer instead: "
                f"dynopt.{type(optimizer).__name__}(dynopt.Memoryless(optimizer), ...)."
            )
        if hasattr(optimizer, "optimizer"):
            inner = optimizer.optimizer  # pyright: ignore
            raise InvalidValue(f"{optimizer} is derived already; pass its optimizer {inner}.")
        if like is None and _is_for_trees(optimizer):
            like = optimizer.transformation.like  # pyright: ignore
        self.optimizer = optimizer
        self.leaves = None if leaves is None else _must_be_names(leaves)
        named = None if self.leaves is None else _named(self.leaves, optimizer, like)
        self.h = optimizer.h if named else getattr(optimizer, "learning_rate", optimizer.h)
        self.transformation = _transformation(optimizer, self.h, named, like)
        self.fast, self.part, self.largest_decay = self.transformation.fields[1:], None, 0.0
        if named is not None:
            self.fast, self.part = _part(optimizer, self.transformation, named)
            self.largest_decay = self.part.largest_decay
        elif is_concrete(optimizer):
            self.largest_decay = largest_decay(self.transformation, self.h, optimizer.name)

    def for_leaves(self, x0):
        """The optimizer whose twin sees the leaves of `x0`, if it treats them in another way."""
        optimizer = self.optimizer.for_leaves(x0)
        sees_leaves = not optimizer.elementwise or _is_for_trees(optimizer)
        is_vector = jax.tree.structure(x0).num_nodes == 1 and jnp.ndim(x0) == 1
        if self.transformation.unravel is not None or not sees_leaves or is_vector:
            return replace_fields(self, optimizer=optimizer)
        return replace_fields(Memoryless(optimizer, x0, self.leaves), h=self.h)

    @property
    def name(self):
        return f"{self.optimizer.name}, memoryless"

    elementwise = property(lambda self: self.optimizer.elementwise)

    @property
    def regularity(self):
        nonsmooth = self.transformation.layout.nonsmooth
        if self.part is None:
            return Regularity(nonsmooth=nonsmooth)
        return Regularity(
            order=self.part.order,
            nonsmooth=nonsmooth,
            bias_corrected=dict.fromkeys(self.part.bias_corrected),
            flow_error_ulps=0.0 if self.part.smooth else 1000.0,
        )

    @property
    def fields(self) -> tuple[str, ...]:
        """The coordinates of phase space, x first."""
        return self.transformation.fields

    def init(self, x, grad):
        return self.transformation.start(self.h, x)

    def init_flow(self, x, grad, order=1):
        y = self.init(x, grad)
        if order == 1 or self.part is not None and self.part.filled_at_start:
            return y
        if self.part is not None and not self.part.smooth:
            raise InvalidValue(
                f"the start of the modified flow of {self!r} is not known, as its fast memories "
                "fill while steps are counted; use its flow as it is, without dynopt.Modified."
            )
        shift = initial_layer_shift(self.transformation, self.fast, y, grad)
        return jax.tree.map(lambda start, shift: start + self.h * shift, y, shift)

    def step(self, t, y, grad):
        return self.transformation.update(self.h, jnp.round(t / self.h).astype(int), y, grad)

    def vector_field(self, t, y, grad):
        t = jnp.asarray(t, y.x.dtype)

        def field(g):
            grad_at = constant_gradient(g, grad)
            if self.part is not None:
                return taylor(self, lambda h: self.step_on_manifold(h, t, y, grad_at), 1, t)[0]
            on_manifold = slow_manifold(self.transformation, self.fast, y, grad_at)
            return velocity(self.transformation, on_manifold, grad_at)

        # The value at g has the derivatives at a gradient nearby, which exist where g is 0, too.
        g = grad(y.x)
        dy = jax.tree.map(
            lambda near, value: near + jax.lax.stop_gradient(value - near),
            field(away_from_zero(g)),
            field(g),
        )
        return with_memories(dy, self.fast, jax.tree.map(jnp.zeros_like, y))

    def step_on_manifold(self, h, t, y, grad):
        """The step of the slow variables with the time step `h`, from the point S₀ of the others.

        A memory that a bias correction fills from the start on has lasted for n = t/h steps only.
        """
        if self.part is None:
            on_manifold = slow_manifold(self.transformation, self.fast, y, grad)
            after = self.transformation.update(h, LATE_COUNT, on_manifold, grad)
            return with_memories(after, self.fast, y)
        has_counter = self.transformation.layout.has_counter
        count = t / h if has_counter else LATE_COUNT
        s = slow_manifold(self.transformation, self.fast, y, grad, h, count)
        if has_counter and self.part.filled_at_start:
            s = partly_filled(self.transformation, self.fast, s, grad, h, count)
        return with_memories(self.transformation.update(h, count, s, grad), self.fast, y)

    def _max_h(self, t):
        first_h = getattr(self.optimizer, "first_h", self.optimizer.h)
        return longest_step(first_h, t, self.transformation.layout.has_counter)

    def optax(self):
        return self.transformation.family(self.h)

    def __repr__(self) -> str:
        leaves = "" if self.leaves is None else f", leaves={list(self.leaves)}"
        return f"Memoryless({self.optimizer!r}{leaves})"


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


@taylor.register
def _(optimizer: Memoryless, curve, terms, t):
    if optimizer.part is None or optimizer.part.smooth:
        return taylor_coefficients(curve, terms, t.dtype)
    return extrapolated_taylor(curve, terms, optimizer._max_h(t))


@small_step.register
def _(optimizer: Memoryless, h, t, y, grad):
    """The map on the manifold, where the memory lags behind the slow variables.

    Where steps are counted, as for a bias correction, the lag of step n stands at the middle of the
    step, t = (n + ½) h, and is linear in between. Elsewhere it is that of n → ∞.
    """
    transformation, fast = optimizer.transformation, optimizer.fast
    has_counter, has_slow = transformation.layout.has_counter, optimizer.part is not None
    nonzero_gradient = BatchGradient(
        lambda x: away_from_zero(grad(x)), loss=getattr(grad, "loss", None)
    )
    # Where J, S₀ and the velocities are taken: the lag needs no more than their limits.
    at_h = optimizer.h if has_slow else 0.0
    late = t / optimizer.h if has_slow and has_counter else LATE_COUNT

    def manifold(z, steps):
        return slow_manifold(transformation, fast, z, nonzero_gradient, at_h, late + steps)

    zero = jnp.zeros((), y.x.dtype)
    if has_slow:
        short = jnp.minimum(optimizer._max_h(t), optimizer.h)
        after = optimizer.step_on_manifold(short, t, y, nonzero_gradient)
        speed = jax.tree.map(lambda a, b: (a - b) / short, after, y)
        rate = 1 / (zero + optimizer.h)
    else:
        speed, rate = velocity(transformation, manifold(y, zero), nonzero_gradient), zero
    backwards = jax.tree.map(jnp.negative, (speed, rate))
    limit, change = jax.jvp(manifold, (y, zero), backwards)

    def lag(count):
        """By how much the lag of the memory changes ζ, per unit of h."""
        zeroth, first = memory_after(
            transformation, fast, y, nonzero_gradient, count, limit, change, at_h, late
        )
        return jax.jvp(
            lambda s: velocity(transformation, s, nonzero_gradient, count, at_h),
            (zeroth,),
            (first,),
        )[1]

    if has_counter:
        # The averages of a modified flow are taken at the end of a step.
        middle = 3 / 2 if optimizer.regularity.bias_corrected else 1 / 2
        steps = jnp.minimum(t / optimizer.h - middle, MAX_COUNT)
        count = jnp.maximum(jnp.floor(steps), 0)
        both = jax.vmap(lag)(jnp.stack([count, count + 1]))
        change = jax.tree.map(lambda c: c[0] + (steps - count) * (c[1] - c[0]), both)
    else:
        change = lag(MAX_COUNT)
    mapped = optimizer.step_on_manifold(h, t, y, grad)
    return with_memories(jax.tree.map(lambda z, c: z + h**2 * c, mapped, change), fast, y)


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


class FixedTimes(eqx.Module):
    """The family of an optimizer's optax twins whose decays are fixed at some memory times.

    - `times`: the fields of the optimizer with these times, which become proportional to h.
    """

    optimizer: AbstractOptimizer
    times: tuple[str, ...] = eqx.field(static=True)

    @property
    def name(self) -> str:
        return self.optimizer.name

    def __call__(self, h: Any) -> optax.GradientTransformation:
        shorter = {
            name: getattr(self.optimizer, name) * (h / self.optimizer.h) for name in self.times
        }
        return replace_fields(self.optimizer.with_time_step(h), **shorter).optax()


def _must_be_names(leaves: Any) -> tuple[str, ...]:
    is_list = isinstance(leaves, Sequence) and not isinstance(leaves, str)
    if not is_list or not leaves or not all(isinstance(name, str) for name in leaves):
        raise InvalidType(
            f"`leaves` must be a list of at least one name of a memory, got {leaves!r}; write for "
            "example leaves=['m']."
        )
    return tuple(leaves)


def _memories(optimizer: Any, like: PyTree | None) -> tuple[str, ...]:
    """The names of the memories, as the points of `optimizer.init` have them."""
    if _is_derived_from_optax(optimizer):
        return _transformation(optimizer, optimizer.h, (), like).fields[1:]
    x = jax.ShapeDtypeStruct((2,), jnp.result_type(float))
    return jax.eval_shape(lambda x: optimizer.init(x, lambda x: x), x)._fields[1:]


def _named(
    leaves: tuple[str, ...], optimizer: AbstractOptimizer, like: PyTree | None
) -> tuple[str, ...] | None:
    """The memories that are, or lie in, these leaves; None if they are all that there are.

    **Raises:** `UnknownName` if there is no such leaf; `InvalidValue` if there is no memory.
    """
    memories, chosen = _memories(optimizer, like), set()
    for leaf in leaves:
        below = [name for name in memories if is_or_lies_in(name, leaf)]
        if not memories:
            raise InvalidValue(f"{optimizer!r} has no memory to name; leave `leaves` out.")
        if not below:
            raise unknown_name("memory", leaf, memories)
        chosen |= {leaf} if leaf in below else set(below)
    named = tuple(name for name in memories if name in chosen)
    return None if named == memories else named


def _transformation(
    optimizer: Any, h: Scalar, named: tuple[str, ...] | None, like: PyTree | None
) -> Transformation:
    """The family in which all memories, or those that are named, have fixed decays."""
    if named is not None and _is_derived_from_optax(optimizer):
        made = optimizer.transformation
        is_made = like is None or made.unravel is not None
        return made if is_made else Transformation(made.family, h, dict(made.scale), like)
    if named is not None:
        return Transformation(FixedTimes(optimizer, _times(optimizer, named)), h, like=like)
    if _is_derived_from_optax(optimizer):  # its map counts, and not how its flow is derived
        optimizer = replace_fields(optimizer, derivation=None)
    return Transformation(FixedDecays(optimizer, h), h, like=like)


def _times(optimizer: AbstractOptimizer, named: tuple[str, ...]) -> tuple[str, ...]:
    """The fields that hold the times of these memories.

    **Raises:** `InvalidValue` if the optimizer does not declare them.
    """
    declared = optimizer.regularity.bias_corrected
    for name in named:
        if name not in declared:
            raise InvalidValue(
                f"{optimizer!r} does not declare the time of its memory `{name}`; pass a "
                "dynopt.Optax whose family writes the decay of this memory without h."
            )
    return tuple(
        field.name
        for field in dataclasses.fields(optimizer)
        if any(getattr(optimizer, field.name) is declared[name] for name in named)
    )


def _part(
    optimizer: AbstractOptimizer, transformation: Transformation, named: tuple[str, ...]
) -> tuple[tuple[str, ...], Part]:
    """The fast memories by their names in the transformation, and what is known of them."""
    corrected: tuple[str, ...] = ()
    fast, layout = named, transformation.layout
    if not _is_derived_from_optax(optimizer):
        memories = _memories(optimizer, None)
        twins = dict(zip(memories, transformation.fields[1:], strict=True))
        fast = tuple(twins[name] for name in named)
        declared = optimizer.regularity.bias_corrected
        corrected = tuple(twins[name] for name in declared if name not in named)
    if is_concrete((optimizer, transformation)):
        return fast, measure_part(transformation, optimizer.h, optimizer.name, fast)
    is_smooth = not layout.has_counter and not layout.has_powers
    return fast, Part(is_smooth, layout.has_counter, corrected)
