"""Backward error analysis: the modified vector field from the Taylor series of a map in h."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

VectorField = Callable[[Any, Any], Any]  # a function of the time and of the point of phase space


def modified_field(
    f1: VectorField, phi: Callable[[int], VectorField], h: Any, order: int
) -> VectorField:
    """The modified vector field f₁ + h f₂ + h² f₃, up to `order` terms, of y + h φ₁ + h² φ₂ + ...

    With f₁ = φ₁, φₖ = `phi(k)`, L₁ = ∂/∂t + f₁·∇ and L₂ = f₂·∇,

        f₂ = φ₂ - ½ L₁f₁
        f₃ = φ₃ - ½ (L₁f₂ + L₂f₁) - ⅙ L₁L₁f₁
    """

    def f2(t, y):
        return add_scaled(phi(2)(t, y), (-1 / 2, derivative_along(f1, f1, 1)(t, y)))

    def f3(t, y):
        mixed = add_scaled(
            derivative_along(f2, f1, 1)(t, y), (1, derivative_along(f1, f2, 0)(t, y))
        )
        twice = derivative_along(derivative_along(f1, f1, 1), f1, 1)(t, y)
        return add_scaled(phi(3)(t, y), (-1 / 2, mixed), (-1 / 6, twice))

    corrections = [(h, f2), (h**2, f3)][: order - 1]
    return lambda t, y: add_scaled(f1(t, y), *((factor, f(t, y)) for factor, f in corrections))


def derivative_along(field: VectorField, direction: VectorField, dt: int) -> VectorField:
    """The derivative of `field` along `direction`, while the time changes at the rate `dt`."""
    return lambda t, y: jax.jvp(field, (t, y), (jnp.full_like(t, dt), direction(t, y)))[1]


def add_scaled(first: Any, *scaled: tuple[Any, Any]) -> Any:
    """The sum of a tree and of other trees, each multiplied by its factor."""
    for factor, other in scaled:
        first = jax.tree.map(lambda a, b, factor=factor: a + factor * b, first, other)
    return first


def taylor_coefficients(curve: Callable[[Array], Any], terms: int, dtype) -> list[Any]:
    """The coefficients of h, h², ... in a curve that is smooth at h = 0, by nested `jax.jvp`."""

    def slope(curve, k):
        return lambda h: jax.tree.map(lambda d: d / k, jax.jvp(curve, (h,), (jnp.ones_like(h),))[1])

    coefficients = []
    for k in range(1, terms + 1):
        curve = slope(curve, k)
        coefficients.append(curve(jnp.zeros((), dtype)))
    return coefficients
