"""Backward error analysis: from the Taylor series of a map in h to the series of the field that it follows."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

Field = Callable[[Any, Any], Any]  # of time and point


def modified(f1: Field, phi: Callable[[int], Field], h: Any, terms: int) -> Field:
    """f₁ + h f₂ + h² f₃, up to `terms`, of the map y + h φ₁ + h² φ₂ + ..., where f₁ = φ₁, `phi(k)` is φₖ, and

        f₂ = φ₂ - ½ L₁f₁
        f₃ = φ₃ - ½ (L₁f₂ + L₂f₁) - ⅙ L₁L₁f₁

    with L₁ = ∂/∂t + f₁·∇ and L₂ = f₂·∇.
    """

    def f2(t, y):
        return added(phi(2)(t, y), (-1 / 2, along(f1, f1, 1)(t, y)))

    def f3(t, y):
        mixed = added(along(f2, f1, 1)(t, y), (1, along(f1, f2, 0)(t, y)))
        return added(phi(3)(t, y), (-1 / 2, mixed), (-1 / 6, along(along(f1, f1, 1), f1, 1)(t, y)))

    corrections = [(h, f2), (h**2, f3)][: terms - 1]
    return lambda t, y: added(f1(t, y), *((size, field(t, y)) for size, field in corrections))


def along(field: Field, direction: Field, pace: int) -> Field:
    """The derivative of a field along another one, while time runs at the given pace."""
    return lambda t, y: jax.jvp(field, (t, y), (jnp.full_like(t, pace), direction(t, y)))[1]


def added(first: Any, *weighted: tuple[Any, Any]) -> Any:
    for factor, other in weighted:
        first = jax.tree.map(lambda a, b, factor=factor: a + factor * b, first, other)
    return first


def taylor_coefficient(curve: Callable[[Array], Any], k: int, dtype) -> Any:
    """The coefficient of h^k in a curve of h that is smooth at 0, by `k` nested `jax.jvp`."""

    def slope(curve, i):
        return lambda h: jax.tree.map(lambda d: d / i, jax.jvp(curve, (h,), (jnp.ones_like(h),))[1])

    for i in range(1, k + 1):
        curve = slope(curve, i)
    return curve(jnp.zeros((), dtype))
