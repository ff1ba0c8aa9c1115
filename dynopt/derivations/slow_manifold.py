"""The slow manifold of an optax transformation: what its memory becomes, as a function of x, when x stands still.

With y = (x, s), one step is s ← Σ(x, s), x ← x + h ξ(x, s); J = ∂Σ/∂s.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..checks import Scalar
from ..errors import InvalidValue
from ..optimizers.base import Gradient
from .transformation import Point, Transformation

LONG_AGO = 1e30  # steps taken: what corrects for a cold start has gone
ROUNDS = 3  # of Newton's method
LAYER = 10**6  # steps at most until the memory has filled


def velocity(map: Transformation, y: Point, grad: Gradient, count: Any = LONG_AGO) -> Array:
    """ξ, the motion of x in one step for each unit of h."""
    zero = jnp.zeros((), y.x.dtype)
    return jax.jvp(lambda h: map.update(h, count, y, grad).x, (zero,), (zero + 1,))[1]


def settled(map: Transformation, y: Point, grad: Gradient) -> Point:
    """(x, S₀(x)), the fixed point S₀ = Σ(x, S₀), by Newton's method from an empty memory.

    It is exact in one round where Σ is affine in s. Only the last round is differentiated.
    """

    def newton(s, g):
        after = map.update(0.0, LONG_AGO, s, lambda _: g)
        return jax.tree.map(
            jnp.add, s, solve(map, s, lambda _: g, jax.tree.map(jnp.subtract, after, s))
        )

    g = grad(y.x)
    empty, fixed = jax.lax.stop_gradient((jax.tree.map(jnp.zeros_like, y)._replace(x=y.x), g))
    s = jax.lax.fori_loop(0, ROUNDS, lambda _, s: newton(s, fixed), empty)
    return newton(s._replace(x=y.x), g)


def lag(map: Transformation, y: Point, grad: Gradient) -> tuple[Point, Point]:
    """(x, S₀) and (0, S₁): the manifold is S₀ + h S₁ + O(h²), with (1 - J) S₁ = -S₀′ ξ."""
    flat = settled(map, y, grad)
    speed = velocity(map, flat, grad)
    _, turn = jax.jvp(lambda x: settled(map, y._replace(x=x), grad), (y.x,), (speed,))
    behind = jax.tree.map(jnp.negative, turn)._replace(x=jnp.zeros_like(y.x))
    return flat, solve(map, flat, grad, behind)


def gain_of_layer(map: Transformation, y: Point, grad: Gradient) -> Array:
    """Σⱼ ξ(x, sⱼ) - ξ(x, S₀): how much further x has come, over h, once the memory has filled."""
    g = grad(y.x)
    final = velocity(map, settled(map, y, grad), lambda _: g)

    def filling(carry):
        s, before, _, k = carry
        moved = [
            (jnp.abs(a - b) > 1e-15 * jnp.abs(a)).any()
            for a, b in zip(s[1:], before[1:], strict=True)
        ]
        return (k < LAYER) & jnp.stack([*moved, k == 0]).any()

    def one(carry):
        s, _, gain, k = carry
        gain = gain + velocity(map, s, lambda _: g, k) - final
        return map.update(0.0, k, s, lambda _: g), s, gain, k + 1

    return jax.lax.while_loop(filling, one, (y, y, jnp.zeros_like(y.x), 0))[2]


def solve(map: Transformation, y: Point, grad: Gradient, right: Point) -> Point:
    """(1 - J)⁻¹ applied to the memories of `right`, whose x is passed on.

    A memory is elementwise: J couples the entries at one place of the leaves of one shape, and no others.
    """
    shapes: dict[tuple[int, ...], list[str]] = {}
    for name in map.fields[1:]:
        shapes.setdefault(getattr(y, name).shape, []).append(name)
    for names in shapes.values():

        def sigma(memories, names=names):
            after = map.update(
                0.0, LONG_AGO, y._replace(**dict(zip(names, memories, strict=True))), grad
            )
            return jnp.stack([getattr(after, name) for name in names], -1)

        memories = tuple(getattr(y, name) for name in names)
        units = [
            tuple(jnp.full_like(m, i == j) for j, m in enumerate(memories))
            for i in range(len(names))
        ]
        jacobian = jnp.stack([jax.jvp(sigma, (memories,), (unit,))[1] for unit in units], -1)
        forgets = (
            jnp.broadcast_to(jnp.eye(len(names), dtype=jacobian.dtype), jacobian.shape) - jacobian
        )
        vector = jnp.stack([getattr(right, name) for name in names], -1)
        found = jnp.linalg.solve(forgets, vector[..., None])[..., 0]
        right = right._replace(**{name: found[..., i] for i, name in enumerate(names)})
    return right


def forgetting(map: Transformation, h: Scalar, name: str) -> float:
    """The largest share of itself that a memory keeps in one step, from a look at a few numbers of a map.

    **Raises:** `InvalidValue` if a memory never forgets or mixes its entries, or steps depend on the count for ever.
    """
    seen = map.looked_at(_look, h)
    for leaf in map.reading.memories:
        if not seen["kept"][leaf.name] < 1 - 1e-9:
            raise InvalidValue(
                f"the state leaf `{leaf.path}` of {name} never forgets, so x alone has no flow; use a page whose "
                "memories fade, or the page itself, whose flow keeps them."
            )
    if not np.isfinite(seen["velocity"]).all() or not seen["velocity"].any() or not seen["steady"]:
        raise InvalidValue(
            f"the steps of {name} depend on the step count for ever; use constant rates, no schedule."
        )
    if not seen["tame"]:
        raise InvalidValue(
            f"the steps of {name} grow beyond bounds once its memory has settled, where it divides by almost 0; use a "
            "larger `eps` or `eps_root`."
        )
    for leaf in map.reading.memories:
        if not seen["unsettled"][leaf.name] < 1e-9:
            raise InvalidValue(
                f"the state leaf `{leaf.path}` of {name} does not settle where x stands still, or mixes its entries; "
                "use elementwise averages."
            )
    return max((float(share) for share in seen["kept"].values()), default=0.0)


def _look(map: Transformation, h: Array, y: Point, grad: Gradient) -> dict[str, Any]:
    rest = settled(map, y, grad)
    again = map.update(0.0, LONG_AGO, rest, grad)
    kept = {name: jnp.abs(map.kept(name, 0.0, LONG_AGO, y, grad)).max() for name in map.fields[1:]}
    slowest = jnp.stack([jnp.zeros(()), *kept.values()]).max()
    filled = 2 + 50 * slowest / (
        1 - slowest
    )  # steps, after which a cold start is forgotten and nothing should count
    final = velocity(map, rest, grad)
    return {
        "kept": kept,
        "velocity": final,
        "steady": jnp.allclose(final, velocity(map, rest, grad, filled), rtol=1e-9, atol=0)
        & jnp.allclose(final, velocity(map, rest, grad, LONG_AGO / 3), rtol=1e-9, atol=0),
        "tame": jnp.abs(final).max() < 1e6 * jnp.abs(velocity(map, y, grad, 3)).max(),
        "unsettled": {
            name: (
                jnp.abs(getattr(again, name) - getattr(rest, name))
                / (jnp.abs(getattr(rest, name)) + 1e-9)
            ).max()
            for name in map.fields[1:]
        },
    }
