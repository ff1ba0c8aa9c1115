"""How a vector field depends on noise in the gradient, found by evaluating it a few times."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array

from ..base import AbstractOptimizer
from ..gradient import BatchGradient

SIZES = (1e-3, 1.0, 1e3)  # of the gradients, so that clipping is seen on both sides


def is_affine_in_gradient(optimizer: AbstractOptimizer, x: Array) -> bool:
    """Whether the vector field with the gradient ∇f + e is A e + b(y), with a constant matrix A.

    Noise e in the gradient is then additive noise in the flow. It is tested at two points y and a
    few vectors e, to half the digits of their dtype.

    - `x`: a position, of which the shape and the dtype matter.
    """
    tolerance = float(jnp.finfo(x.dtype).eps) ** 0.5

    def is_affine(field: Callable, points: list[Any], draw: Callable) -> bool:
        for size in SIZES:
            a, b = size * draw(), size * draw()
            slopes = []
            for y in points:
                of_none, of_a, of_b, of_both = (field(y, g) for g in (0 * a, a, b, a + b))
                for none, one, other, both in zip(of_none, of_a, of_b, of_both, strict=True):
                    scale = np.abs(both).max() + np.abs(one).max() + np.abs(other).max()
                    if np.abs(both - one - other + none).max() > tolerance * scale:
                        return False
                slopes.append([one - none for none, one in zip(of_none, of_a, strict=True)])
            for one, other in zip(*slopes, strict=True):
                scale = np.abs(one).max() + np.abs(other).max()
                if np.abs(one - other).max() > tolerance * max(scale, size):
                    return False
        return True

    return _probe(optimizer, x, is_affine)


def acts_on_each_coordinate(optimizer: AbstractOptimizer, x: Array) -> bool:
    """Whether noise in one coordinate of the gradient acts on the same coordinate alone.

    The noise is changed in half of the coordinates, and then in the other half.

    - `x`: a position, of which the shape and the dtype matter.
    """
    in_left = np.arange(x.size).reshape(x.shape) < x.size / 2

    def is_separable(field: Callable, points: list[Any], draw: Callable) -> bool:
        first, other = draw(), draw()
        changed = (first, np.where(in_left, first, other), np.where(in_left, other, first))
        return all(
            before.shape == x.shape
            and np.array_equal(before[in_left], left[in_left])
            and np.array_equal(before[~in_left], right[~in_left])
            for y in points
            for before, left, right in zip(*(field(y, g) for g in changed), strict=True)
        )

    return _probe(optimizer, x, is_separable)


def _probe(optimizer: AbstractOptimizer, x: Array, test: Callable[..., bool]) -> bool:
    """The result of a test of (y, e) ↦ F(y, ∇f + e), two points y and a source of vectors e.

    It is False for an optimizer that needs more than a gradient. Traced
    hyperparameters are replaced by a number, as they do not decide how F depends on e.
    """
    draw = np.random.default_rng(0).normal

    def known(leaf):
        is_traced = isinstance(leaf, Tracer) and eqx.is_inexact_array(leaf)
        return np.full(leaf.shape, 0.37, leaf.dtype) if is_traced else leaf

    def vector():
        return draw(size=x.shape).astype(x.dtype)

    def plus(e):
        """A gradient with a Hessian matrix that is not diagonal, plus the vector e."""

        def grad(x):
            return (jnp.asarray(e).ravel() + coupling @ jnp.tanh(x.ravel())).reshape(x.shape)

        return BatchGradient(grad, lambda x, i, k: grad(x))

    def moved(leaf):
        if not eqx.is_inexact_array(leaf):
            return leaf
        return leaf + jnp.asarray(0.1 + abs(draw(size=leaf.shape)), leaf.dtype)

    optimizer, t = jax.tree.map(known, optimizer), jnp.ones((), x.dtype)
    coupling = draw(size=(x.size, x.size)).astype(x.dtype)

    def field(y, e):
        return [np.asarray(leaf) for leaf in jax.tree.leaves(optimizer.vector_field(t, y, plus(e)))]

    try:
        with jax.ensure_compile_time_eval():
            start = optimizer.init(jnp.asarray(vector()), plus(vector()))
            points = [jax.tree.map(moved, start) for _ in range(2)]
            return test(field, points, vector)
    except Exception:
        return False
