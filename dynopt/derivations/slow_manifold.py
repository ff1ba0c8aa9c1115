"""The slow manifold of an optax transformation: fast memories as functions of all other variables.

With y = (z, s), where s are the fast memories and z is the position with the slow memories, one
step is s ← Σ(z, s), z ← z + h ζ(z, s); J = ∂Σ/∂s. While z stands still, s goes to S₀(z), the fixed
point of Σ(z, ·). While z moves, s is a mean over the past of the path, and lags behind.

If every memory is fast, z is x alone, and all this is evaluated at h = 0 and after very many steps.
Slow memories have decays that depend on h, and perhaps a bias correction that depends on t = h
`count`; both are then given.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array

from ..checks import Scalar
from ..errors import InvalidValue
from ..optimizers.base import Gradient
from ..optimizers.gradient import BatchGradient, frozen_gradient
from .limit import SHORT_H, bias_corrected_memories, clause, detect_limit, initial_layer
from .transformation import LATE_COUNT, Point, Transformation

MAX_COUNT = 2.0**39  # the largest number of steps whose power of a matrix is computed
NEWTON_STEPS = 3
MAX_LAYER_STEPS = 10**6  # the longest initial layer, until the memory has filled
NUM_FIRST_STEPS = 17
Names = tuple[str, ...]  # of the fast memories


def constant_gradient(g: Array, grad: Gradient) -> BatchGradient:
    """The function x ↦ g, with the loss that `grad` knows, for optimizers that ask for it."""
    return BatchGradient(lambda _: g, loss=getattr(grad, "loss", None))


def velocity(
    transformation: Transformation,
    y: Point,
    grad: Gradient,
    count: Any = LATE_COUNT,
    h: ArrayLike = 0.0,
) -> Point:
    """ζ(z, s): how far one step moves z, per unit of h; at h = 0 by differentiation."""
    if isinstance(h, float) and h == 0:
        zero = jnp.zeros((), y.x.dtype)
        return jax.jvp(lambda h: transformation.update(h, count, y, grad), (zero,), (zero + 1,))[1]
    after = transformation.update(h, count, y, grad)
    return jax.tree.map(lambda a, b: (a - b) / h, after, y)


def with_memories(y: Point, fast: Names, other: Point) -> Point:
    """The point y with the fast memories of `other`."""
    return y._replace(**{name: getattr(other, name) for name in fast})


def slow_manifold(
    transformation: Transformation,
    fast: Names,
    y: Point,
    grad: Gradient,
    h: ArrayLike = 0.0,
    count: ArrayLike = LATE_COUNT,
) -> Point:
    """(z, S₀(z)) with the fixed point S₀ = Σ(z, S₀), by Newton's method from an empty memory.

    One step is exact where Σ is affine in s. Only the last step is differentiated.
    """

    def newton(s, g, h, count):
        grad_at = constant_gradient(g, grad)
        after = transformation.update(h, count, s, grad_at)
        residual = jax.tree.map(jnp.subtract, after, s)
        change = solve_memory(transformation, fast, s, grad_at, residual, h, count)
        return with_memories(s, fast, jax.tree.map(jnp.add, s, change))

    g = grad(y.x)
    empty = with_memories(y, fast, jax.tree.map(jnp.zeros_like, y))
    held = jax.lax.stop_gradient((empty, g, h, count))
    s = jax.lax.fori_loop(0, NEWTON_STEPS, lambda _, s: newton(s, *held[1:]), held[0])
    return newton(with_memories(y, fast, s), g, h, count)


def partly_filled(
    transformation: Transformation,
    fast: Names,
    limit: Point,
    grad: Gradient,
    h: ArrayLike,
    count: ArrayLike,
) -> Point:
    """(z, S₀ + Jⁿ (s - S₀)), with the memory s at the start and n = `count`, a real number.

    `limit` is (z, S₀). Powers are those of the diagonal of J, as for running means.
    """

    def remaining(jacobian, departure):
        decay = jnp.diagonal(jacobian, axis1=-2, axis2=-1)[..., None]
        power = jnp.exp(count * jnp.log(jnp.where(decay > 0, decay, 1)))
        return jnp.where(decay > 0, power, count == 0) * departure

    departure = jax.tree.map(jnp.subtract, transformation.start(h, limit.x), limit)
    jacobians = memory_jacobians(transformation, fast, limit, grad, h, count)
    left = on_memories(jacobians, remaining, departure)
    return with_memories(limit, fast, jax.tree.map(jnp.add, limit, left))


def memory_after(
    transformation: Transformation,
    fast: Names,
    y: Point,
    grad: Gradient,
    count: ArrayLike,
    limit: Point,
    change: Point,
    h: ArrayLike = 0.0,
    late: ArrayLike = LATE_COUNT,
) -> tuple[Point, Point]:
    """(z, s⁰) and (0, s¹): after n = `count` steps on the path z - j h ζ, the memory is s⁰ + h s¹.

    With the memory s at the start, `limit` (z, S₀), `change` c = -S₀′ ζ, and up to O(h²),

        s⁰ = S₀ + Jⁿ (s - S₀)        s¹ = (1 - J)⁻¹ (1 - Jⁿ) c - n Jⁿ c

    if J is constant, as for running means. As n → ∞ this is the slow manifold S₀ + h S₁ of the map,
    (1 - J) S₁ = c, whatever J is. J is taken at the time step `h` and after `late` steps.
    """
    departure = jax.tree.map(jnp.subtract, transformation.start(h, y.x), limit)
    jacobians = memory_jacobians(transformation, fast, limit, grad, h, late)

    def remaining(jacobian, departure):
        return matrix_power(jacobian, count) @ departure

    def lag(jacobian, change):
        power = matrix_power(jacobian, count)
        filled = jnp.linalg.solve(identity_minus(jacobian), identity_minus(power) @ change)
        return filled - count * (power @ change)

    left, nothing = on_memories(jacobians, remaining, departure), jax.tree.map(jnp.zeros_like, y)
    zeroth = with_memories(limit, fast, jax.tree.map(jnp.add, limit, left))
    return zeroth, with_memories(nothing, fast, on_memories(jacobians, lag, change))


def initial_layer_shift(
    transformation: Transformation, fast: Names, y: Point, grad: Gradient
) -> Point:
    """Σⱼ (ζ(z, sⱼ) - ζ(z, S₀)): the extra distance over h that z moves while the memory fills."""
    g = constant_gradient(away_from_zero(grad(y.x)), grad)
    limit = velocity(transformation, slow_manifold(transformation, fast, y, grad), g)

    def is_filling(carry):
        s, previous, _, k = carry
        changed = [
            (jnp.abs(a - b) > 1e-15 * jnp.abs(a)).any()
            for a, b in ((getattr(s, name), getattr(previous, name)) for name in fast)
        ]
        return (k < MAX_LAYER_STEPS) & jnp.stack([*changed, k == 0]).any()

    def fill(carry):
        s, _, shift, k = carry
        extra = jax.tree.map(jnp.subtract, velocity(transformation, s, g, k), limit)
        after = with_memories(y, fast, transformation.update(0.0, k, s, g))
        return after, s, jax.tree.map(jnp.add, shift, extra), k + 1

    nothing = jax.tree.map(jnp.zeros_like, y)
    shift = jax.lax.while_loop(is_filling, fill, (y, y, nothing, 0))[2]
    return with_memories(shift, fast, nothing)


def solve_memory(
    transformation: Transformation,
    fast: Names,
    y: Point,
    grad: Gradient,
    right: Point,
    h: ArrayLike = 0.0,
    count: ArrayLike = LATE_COUNT,
) -> Point:
    """(1 - J)⁻¹ applied to the fast memories of `right`; the other variables stay as they are."""
    return on_memories(
        memory_jacobians(transformation, fast, y, grad, h, count),
        lambda jacobian, column: jnp.linalg.solve(identity_minus(jacobian), column),
        right,
    )


def memory_jacobians(
    transformation: Transformation,
    fast: Names,
    y: Point,
    grad: Gradient,
    h: ArrayLike = 0.0,
    count: ArrayLike = LATE_COUNT,
) -> dict[Names, Array]:
    """J at the point y, a matrix for each place in the fast leaves with these names.

    Memories are elementwise: J couples entries at one place of leaves of one shape, and no others.
    """
    names_by_shape: dict[tuple[int, ...], list[str]] = {}
    for name in fast:
        names_by_shape.setdefault(getattr(y, name).shape, []).append(name)
    jacobians = {}
    for names in map(tuple, names_by_shape.values()):

        def sigma(memories, names=names):
            point = y._replace(**dict(zip(names, memories, strict=True)))
            after = transformation.update(h, count, point, grad)
            return jnp.stack([getattr(after, name) for name in names], -1)

        memories = tuple(getattr(y, name) for name in names)
        units = [
            tuple(jnp.full_like(memory, i == j) for j, memory in enumerate(memories))
            for i in range(len(names))
        ]
        columns = [jax.jvp(sigma, (memories,), (unit,))[1] for unit in units]
        jacobians[names] = jnp.stack(columns, -1)
    return jacobians


def on_memories(
    jacobians: dict[Names, Array], function: Callable[[Array, Array], Array], right: Point
) -> Point:
    """`function(J, s)` of J and the fast memories s of `right`, at each place; z stays as it is."""
    for names, jacobian in jacobians.items():
        column = jnp.stack([getattr(right, name) for name in names], -1)[..., None]
        image = function(jacobian, column)[..., 0]
        right = right._replace(**{name: image[..., i] for i, name in enumerate(names)})
    return right


def identity_minus(matrices: Array) -> Array:
    """1 - A for each matrix A."""
    identity = jnp.eye(matrices.shape[-1], dtype=matrices.dtype)
    return jnp.broadcast_to(identity, matrices.shape) - matrices


def matrix_power(matrices: Array, exponent: ArrayLike) -> Array:
    """Each matrix to a power: a whole number up to `MAX_COUNT`, which may be traced."""

    def one_bit(_, carry):
        power, square, rest = carry
        power = jnp.where(rest % 2 == 1, power @ square, power)
        return power, square @ square, jnp.floor(rest / 2)

    identity = identity_minus(jnp.zeros_like(matrices))
    rest = jnp.asarray(exponent, matrices.dtype)
    return jax.lax.fori_loop(0, 40, one_bit, (identity, matrices, rest))[0]


def away_from_zero(g: Array) -> Array:
    """g, with a tiny number where it is 0: roots of g² have derivatives there, by continuity.

    Its square is so large that the second derivative of its root does not overflow.
    """
    tiny = jnp.finfo(g.dtype).tiny ** 0.3
    return g + jax.lax.stop_gradient(jnp.where(g == 0, tiny, jnp.zeros_like(g)))


def largest_decay(transformation: Transformation, h: Scalar, name: str) -> float:
    """The largest fraction of itself that a memory keeps in one step, at a sample point.

    It is 0 where a bias correction makes the first steps as long as the later ones.

    **Raises:** `InvalidValue` if a memory never forgets or mixes its entries, or if the steps
    depend on their count for ever.
    """
    measured = transformation.evaluate_at_sample(_measure, h)
    for leaf in transformation.layout.memories:
        if not measured.decay[leaf.name] < 1 - 1e-9:
            raise InvalidValue(
                f"the state leaf `{leaf.path}` of {name} never forgets, so x alone has no flow; "
                "use an optimizer whose memories fade, or the optimizer itself, whose flow keeps "
                "them."
            )
    speed = measured.velocity
    if not np.isfinite(speed).all() or not speed.any() or not measured.independent_of_count:
        raise InvalidValue(
            f"the steps of {name} depend on the step count for ever; use constant rates, no "
            "schedule."
        )
    if not measured.bounded:
        raise InvalidValue(
            f"the steps of {name} grow beyond bounds once its memory has filled, where it divides "
            "by almost 0; use a larger `eps` or `eps_root`."
        )
    for leaf in transformation.layout.memories:
        if not measured.residual[leaf.name] < 1e-9:
            raise InvalidValue(
                f"the state leaf `{leaf.path}` of {name} reaches no fixed point while x stands "
                "still, or mixes its entries; use elementwise averages."
            )
    if measured.filled_at_start:
        return 0.0
    return max((float(decay) for decay in measured.decay.values()), default=0.0)


class Measurements(NamedTuple):
    """Numbers of a map at fixed decays.

    - `decay`: for each memory, the largest fraction of an entry that one step keeps.
    - `velocity`: ξ on the slow manifold.
    - `independent_of_count`: whether ξ there is the same at any late step count.
    - `bounded`: whether ξ there is comparable with ξ in the first steps.
    - `residual`: for each memory, the relative error of its fixed point.
    - `filled_at_start`: whether ξ is the same in the first steps, while x stands still.
    """

    decay: dict[str, Any]
    velocity: Any
    independent_of_count: Any
    bounded: Any
    residual: dict[str, Any]
    filled_at_start: Any


def _measure(transformation: Transformation, h: Array, y: Point, grad: Gradient) -> Measurements:
    fast = transformation.fields[1:]
    on_manifold = slow_manifold(transformation, fast, y, grad)
    after = transformation.update(0.0, LATE_COUNT, on_manifold, grad)
    decay = {
        name: jnp.abs(transformation.decay(name, 0.0, LATE_COUNT, y, grad)).max() for name in fast
    }
    slowest = jnp.stack([jnp.zeros(()), *decay.values()]).max()
    # So many steps after the start the memory has filled, and the step count must not matter.
    filled = 2 + 50 * slowest / (1 - slowest)
    late = velocity(transformation, on_manifold, grad).x

    def same_at(count):
        other = velocity(transformation, on_manifold, grad, count).x
        return jnp.allclose(late, other, rtol=1e-9, atol=0)

    def residual(name):
        fixed = getattr(on_manifold, name)
        difference = jnp.abs(getattr(after, name) - fixed)
        return (difference / (jnp.abs(fixed) + 1e-9)).max()

    def first_step(s, k):
        is_late = jnp.allclose(velocity(transformation, s, grad, k).x, late, rtol=1e-6, atol=0)
        return transformation.update(0.0, k, s, grad), is_late

    first = transformation.start(h, y.x)
    first_speed = jnp.abs(velocity(transformation, y, grad, 3).x).max()
    return Measurements(
        decay=decay,
        velocity=late,
        independent_of_count=same_at(filled) & same_at(LATE_COUNT / 3),
        bounded=jnp.abs(late).max() < 1e6 * first_speed,
        residual={name: residual(name) for name in fast},
        filled_at_start=jax.lax.scan(first_step, first, jnp.arange(3))[1].all(),
    )


class Part(NamedTuple):
    """Properties of the reduced map of fast memories beside slow ones.

    - `smooth`: whether it can be differentiated at h = 0.
    - `filled_at_start`: whether the first steps are as the later ones, while z stands still.
    - `bias_corrected`: the slow memories that start at 0 and are divided by their weight.
    - `order`: of the global error against the reduced flow.
    - `largest_decay`: of the fast memories; 0 if they are filled at the start.
    """

    smooth: bool
    filled_at_start: bool
    bias_corrected: Names
    order: float = 1.0
    largest_decay: float = 0.0


def measure_part(transformation: Transformation, h: Scalar, name: str, fast: Names) -> Part:
    """Test at a sample point that these memories, and no others, are fast.

    **Raises:** `InvalidValue` if they are not, if they mix their entries, or if the other variables
    have no flow.
    """
    limit, measured = detect_limit(transformation, h)
    if measured is None:
        raise InvalidValue(limit.obstacle)
    faults = dict(limit.faults)
    forgetting = faults.pop("forgets", ())[::-1]
    remedy = (
        f"use leaves={list(forgetting)}"
        if forgetting
        else "use the optimizer itself, whose flow keeps its memories"
    )
    for leaf in transformation.layout.memories:
        if leaf.name in fast and leaf.name not in forgetting:
            raise InvalidValue(
                f"the state leaf `{leaf.path}` of {name} is no fast memory, as it does not forget "
                f"as much in each step however short the step is; {remedy}."
            )
    for leaf in transformation.layout.memories:
        if leaf.name in forgetting and leaf.name not in fast:
            raise InvalidValue(
                f"the state leaf `{leaf.path}` of {name} forgets as much in each step however "
                "short the step is; name it in `leaves`, too, or make its decay 1 - h/tau."
            )
    if faults:
        causes = [clause(transformation, *fault) for fault in faults.items()]
        raise InvalidValue(
            f"{name} has no flow: {'; '.join(causes)}; use dynopt.iterate, which runs its map all "
            "the same."
        )
    residual, filled = transformation.evaluate_at_sample(_MeasurePart(fast), h)
    for leaf in transformation.layout.memories:
        if leaf.name in fast and not residual[leaf.name] < 1e-9:
            raise InvalidValue(
                f"the state leaf `{leaf.path}` of {name} reaches no fixed point while x stands "
                "still, or mixes its entries; use elementwise averages."
            )
    decays = [abs(float(measured.short_decay[name])) for name in fast]
    return Part(
        smooth=bool(measured.smooth),
        filled_at_start=bool(filled),
        bias_corrected=tuple(
            name for name in bias_corrected_memories(transformation, measured) if name not in fast
        ),
        order=initial_layer(measured)[1],
        largest_decay=0.0 if filled else max(decays),
    )


class _MeasurePart(eqx.Module):
    """The relative error of each fixed point, and whether the first steps are as later ones."""

    fast: Names = eqx.field(static=True)

    def __call__(self, transformation: Transformation, h: Array, y: Point, grad: Gradient):
        short = SHORT_H * h
        on_manifold = slow_manifold(transformation, self.fast, y, grad, short, 1 / SHORT_H)
        after = transformation.update(short, 1 / SHORT_H, on_manifold, grad)

        def residual(name):
            fixed = getattr(on_manifold, name)
            return (jnp.abs(getattr(after, name) - fixed) / (jnp.abs(fixed) + 1e-9)).max()

        def step(y, k):
            after = transformation.update(short, k, y, frozen_gradient(grad, x))
            slow = (name for name in y._fields if name not in self.fast)
            return after, [getattr(after, name) - getattr(y, name) for name in slow]

        x = y.x
        changes = jax.lax.scan(step, transformation.start(short, x), jnp.arange(NUM_FIRST_STEPS))[1]
        is_filled = [
            jnp.abs(change - change[-1:]).max() <= 0.01 * jnp.abs(change).max()
            for change in changes
        ]
        return {name: residual(name) for name in self.fast}, jnp.stack(is_filled).all()
