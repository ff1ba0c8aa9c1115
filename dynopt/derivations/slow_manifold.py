"""The slow manifold of an optax transformation: the memory as a function of the position.

With y = (x, s), one step is s ← Σ(x, s), x ← x + h ξ(x, s); J = ∂Σ/∂s. While x stands still, the
memory s goes to S₀(x), the fixed point of Σ(x, ·). While x moves, the memory is a mean over the
past of the path, and lags behind.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array

from ..checks import Scalar
from ..errors import InvalidValue
from ..optimizers.base import Gradient
from .transformation import LATE_COUNT, Point, Transformation

MAX_COUNT = 2.0**39  # the largest number of steps whose power of a matrix is computed
NEWTON_STEPS = 3
MAX_LAYER_STEPS = 10**6  # the longest initial layer, until the memory has filled


def velocity(
    transformation: Transformation, y: Point, grad: Gradient, count: Any = LATE_COUNT
) -> Array:
    """ξ(x, s): how far one step moves x, per unit of h."""
    zero = jnp.zeros((), y.x.dtype)
    return jax.jvp(lambda h: transformation.update(h, count, y, grad).x, (zero,), (zero + 1,))[1]


def slow_manifold(transformation: Transformation, y: Point, grad: Gradient) -> Point:
    """(x, S₀(x)) with the fixed point S₀ = Σ(x, S₀), by Newton's method from an empty memory.

    One step is exact where Σ is affine in s. Only the last step is differentiated.
    """

    def newton(s, g):
        after = transformation.update(0.0, LATE_COUNT, s, lambda _: g)._replace(x=s.x)
        residual = jax.tree.map(jnp.subtract, after, s)
        return jax.tree.map(jnp.add, s, solve_memory(transformation, s, lambda _: g, residual))

    g = grad(y.x)
    empty, fixed = jax.lax.stop_gradient((jax.tree.map(jnp.zeros_like, y)._replace(x=y.x), g))
    s = jax.lax.fori_loop(0, NEWTON_STEPS, lambda _, s: newton(s, fixed), empty)
    return newton(s._replace(x=y.x), g)


def memory_after(
    transformation: Transformation, y: Point, grad: Gradient, count: ArrayLike
) -> tuple[Point, Point]:
    """(x, s⁰) and (0, s¹): after n = `count` steps on the path x - j h ξ, the memory is s⁰ + h s¹.

    With the memory s at the start, with c = -S₀′ ξ, and up to O(h²),

        s⁰ = S₀ + Jⁿ (s - S₀)        s¹ = (1 - J)⁻¹ (1 - Jⁿ) c - n Jⁿ c

    if J is constant, as for running means. As n → ∞ this is the slow manifold S₀ + h S₁ of the map,
    (1 - J) S₁ = c, whatever J is.
    """
    limit = slow_manifold(transformation, y, grad)
    speed = velocity(transformation, limit, grad)
    _, change = jax.jvp(
        lambda x: slow_manifold(transformation, y._replace(x=x), grad), (y.x,), (-speed,)
    )
    departure = jax.tree.map(jnp.subtract, transformation.start(0.0, y.x), limit)
    jacobians = memory_jacobians(transformation, limit, grad)

    def remaining(jacobian, departure):
        return matrix_power(jacobian, count) @ departure

    def lag(jacobian, change):
        power = matrix_power(jacobian, count)
        filled = jnp.linalg.solve(identity_minus(jacobian), identity_minus(power) @ change)
        return filled - count * (power @ change)

    zeroth = jax.tree.map(jnp.add, limit, on_memories(jacobians, remaining, departure))
    return zeroth, on_memories(jacobians, lag, change)._replace(x=jnp.zeros_like(y.x))


def initial_layer_shift(transformation: Transformation, y: Point, grad: Gradient) -> Array:
    """Σⱼ (ξ(x, sⱼ) - ξ(x, S₀)): the extra distance over h that x moves while the memory fills."""
    g = away_from_zero(grad(y.x))
    limit = velocity(transformation, slow_manifold(transformation, y, grad), lambda _: g)

    def is_filling(carry):
        s, previous, _, k = carry
        changed = [
            (jnp.abs(a - b) > 1e-15 * jnp.abs(a)).any()
            for a, b in zip(s[1:], previous[1:], strict=True)
        ]
        return (k < MAX_LAYER_STEPS) & jnp.stack([*changed, k == 0]).any()

    def fill(carry):
        s, _, shift, k = carry
        shift = shift + velocity(transformation, s, lambda _: g, k) - limit
        return transformation.update(0.0, k, s, lambda _: g), s, shift, k + 1

    return jax.lax.while_loop(is_filling, fill, (y, y, jnp.zeros_like(y.x), 0))[2]


def solve_memory(transformation: Transformation, y: Point, grad: Gradient, right: Point) -> Point:
    """(1 - J)⁻¹ applied to the memories of `right`; the x of `right` stays as it is."""
    return on_memories(
        memory_jacobians(transformation, y, grad),
        lambda jacobian, column: jnp.linalg.solve(identity_minus(jacobian), column),
        right,
    )


def memory_jacobians(
    transformation: Transformation, y: Point, grad: Gradient
) -> dict[tuple[str, ...], Array]:
    """J at the point y, a matrix for each place in the leaves with these names.

    Memories are elementwise: J couples entries at one place of leaves of one shape, and no others.
    """
    names_by_shape: dict[tuple[int, ...], list[str]] = {}
    for name in transformation.fields[1:]:
        names_by_shape.setdefault(getattr(y, name).shape, []).append(name)
    jacobians = {}
    for names in map(tuple, names_by_shape.values()):

        def sigma(memories, names=names):
            point = y._replace(**dict(zip(names, memories, strict=True)))
            after = transformation.update(0.0, LATE_COUNT, point, grad)
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
    jacobians: dict[tuple[str, ...], Array], function: Callable[[Array, Array], Array], right: Point
) -> Point:
    """`function(J, s)` of J and the memories s of `right`, at each place; x stays as it is."""
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
    on_manifold = slow_manifold(transformation, y, grad)
    after = transformation.update(0.0, LATE_COUNT, on_manifold, grad)
    decay = {
        name: jnp.abs(transformation.decay(name, 0.0, LATE_COUNT, y, grad)).max()
        for name in transformation.fields[1:]
    }
    slowest = jnp.stack([jnp.zeros(()), *decay.values()]).max()
    # So many steps after the start the memory has filled, and the step count must not matter.
    filled = 2 + 50 * slowest / (1 - slowest)
    late = velocity(transformation, on_manifold, grad)

    def same_at(count):
        other = velocity(transformation, on_manifold, grad, count)
        return jnp.allclose(late, other, rtol=1e-9, atol=0)

    def residual(name):
        fixed = getattr(on_manifold, name)
        difference = jnp.abs(getattr(after, name) - fixed)
        return (difference / (jnp.abs(fixed) + 1e-9)).max()

    def first_step(s, k):
        is_late = jnp.allclose(velocity(transformation, s, grad, k), late, rtol=1e-6, atol=0)
        return transformation.update(0.0, k, s, grad), is_late

    first = transformation.start(h, y.x)
    first_speed = jnp.abs(velocity(transformation, y, grad, 3)).max()
    return Measurements(
        decay=decay,
        velocity=late,
        independent_of_count=same_at(filled) & same_at(LATE_COUNT / 3),
        bounded=jnp.abs(late).max() < 1e6 * first_speed,
        residual={name: residual(name) for name in transformation.fields[1:]},
        filled_at_start=jax.lax.scan(first_step, first, jnp.arange(3))[1].all(),
    )
