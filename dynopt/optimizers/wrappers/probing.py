"""How a vector field depends on noise in the gradient, found by evaluating it a few times."""

from collections.abc import Callable
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array

from ..base import AbstractOptimizer
from ..gradient import BatchGradient

SIZES = (1e-3, 1.0, 1e3, 1e6)  # of the gradients, so that clipping is seen on both sides
TRIALS = 16  # numbers of each size, or two vectors if these hold more


def can_be_probed(optimizer: AbstractOptimizer, x: Array) -> bool:
    """Whether the vector field can be evaluated at positions like `x`, with a gradient alone."""
    return all(_probe(optimizer, x, lambda field, points, draw: bool(field(points[0], draw()))))


def is_affine_in_gradient(optimizer: AbstractOptimizer, x: Array) -> bool:
    """Whether the vector field with the gradient ∇f + e is A e + b(y), with a constant matrix A.

    Noise e in the gradient is then additive noise in the flow. It is tested at two points y, two
    times and some vectors e of sizes up to 10⁶, to half the digits of their dtype.

    - `x`: a position, of which the shape and the dtype matter.
    """
    tolerance = float(jnp.finfo(x.dtype).eps) ** 0.5

    def is_affine(field: Callable, points: list[Any], draw: Callable) -> bool:
        pairs = [(size * draw(), size * draw()) for size in SIZES]
        vectors = [e for a, b in pairs for e in (0 * a, a, b, a + b)]
        fields = [field(y, *vectors) for y in points]
        for i, size in enumerate(SIZES):
            slopes = []
            for values in fields:
                of_none, of_a, of_b, of_both = values[4 * i : 4 * i + 4]
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

    return all(_probe(optimizer, x, is_affine))


def is_quadratic_in_gradient(optimizer: AbstractOptimizer, x: Array) -> bool:
    """Whether the vector field with ∇f + e is a polynomial in e, of the second degree at most.

    Its third differences along lines are then 0, to half the digits of the dtype.

    - `x`: a position, of which the shape and the dtype matter.
    """
    tolerance = float(jnp.finfo(x.dtype).eps) ** 0.5

    def is_quadratic(field: Callable, points: list[Any], draw: Callable) -> bool:
        for y in points:
            vectors = [size * draw() for size in SIZES]
            fields = field(y, *(i * e for e in vectors for i in (-1, 0, 1, 2)))
            for i in range(len(SIZES)):
                for values in zip(*fields[4 * i : 4 * i + 4], strict=True):
                    difference = values[3] - 3 * values[2] + 3 * values[1] - values[0]
                    scale = sum(np.abs(value).max() for value in values)
                    if np.abs(difference).max() > tolerance * scale:
                        return False
        return True

    return all(_probe(optimizer, x, is_quadratic))


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
            before.shape[1:] == x.shape
            and np.array_equal(before[:, in_left], left[:, in_left])
            and np.array_equal(before[:, ~in_left], right[:, ~in_left])
            for y in points
            for before, left, right in zip(*field(y, *changed), strict=True)
        )

    return all(_probe(optimizer, x, is_separable))


def positive_memories(optimizer: AbstractOptimizer, x: Array) -> dict[int, float]:
    """The leaves of a point y that are memories that no gradient makes negative, by their numbers.

    The vector field of such a leaf does not point downwards where it is 0. So it is for a second
    moment, with v' = g²/τ at v = 0. The values are the rates 1/τ at which the memories forget. The
    result is empty for an optimizer that cannot be tested.

    - `x`: a position, of which the shape and the dtype matter.
    """

    def rates(field: Callable, points: list[Any], draw: Callable) -> dict[int, float]:
        leaves, structure = jax.tree.flatten(points[0])

        def at(i, value):
            leaf = jnp.full_like(leaves[i], value)
            return structure.unflatten([*leaves[:i], leaf, *leaves[i + 1 :]])

        found = {}
        for i in range(1, len(leaves)):  # x is the first
            if all((field(at(i, 0), size * draw())[0][i] >= 0).all() for size in SIZES):
                one = draw()
                found[i] = float((field(at(i, 0), one)[0][i] - field(at(i, 1), one)[0][i]).max())
        return found

    first, second = (found or {} for found in _probe(optimizer, x, rates))
    return {i: max(first[i], second[i]) for i in first if i in second}


def _probe(optimizer: AbstractOptimizer, x: Array, test: Callable[..., Any]) -> tuple[Any, Any]:
    """The results of a test of (y, e) ↦ F(y, ∇f + e), two points y and a source of vectors e.

    It is done at the times h and 1, as a schedule may be 0 at one of them. Several vectors come at
    a time, along a first axis. The results are False for an optimizer that needs more than a
    gradient. Traced hyperparameters are replaced by a number, as they do not decide how F depends
    on e.
    """
    draw = np.random.default_rng(0).normal

    def known(leaf):
        is_traced = isinstance(leaf, Tracer) and eqx.is_inexact_array(leaf)
        return jnp.full(leaf.shape, 0.37, leaf.dtype) if is_traced else leaf

    def vectors():
        return draw(size=(max(2, TRIALS // x.size), *x.shape)).astype(x.dtype)

    def plus(e):
        """A gradient with a Hessian matrix that is not diagonal, plus the vector e."""

        def grad(x):
            coupled = left * (right @ jnp.tanh(x.ravel())) / x.size**0.5
            return (jnp.asarray(e).ravel() + coupled).reshape(x.shape)

        return BatchGradient(grad, lambda x, i, k: grad(x))

    def moved(leaf):
        if not eqx.is_inexact_array(leaf):
            return leaf
        return leaf + jnp.asarray(0.1 + abs(draw(size=leaf.shape)), leaf.dtype)

    left, right = draw(size=(2, x.size)).astype(x.dtype)

    def field(optimizer, t, y, *vectors):
        """The leaves of the vector field for each of some arrays of vectors, in one call."""
        fields = jax.vmap(lambda e: optimizer.vector_field(t, y, plus(e)))(jnp.concatenate(vectors))
        leaves = [np.split(leaf, len(vectors)) for leaf in map(np.asarray, jax.tree.leaves(fields))]
        return list(zip(*leaves, strict=True))

    try:
        with jax.ensure_compile_time_eval():
            optimizer = jax.tree.map(known, optimizer)
            start = optimizer.init(jnp.asarray(vectors()[0]), plus(vectors()[0]))
            points = [jax.tree.map(moved, start) for _ in range(2)]
            first, second = (
                test(partial(field, optimizer, jnp.asarray(t, x.dtype)), points, vectors)
                for t in (jnp.ravel(optimizer.h)[0], 1)
            )
            return first, second
    except Exception:
        return False, False
