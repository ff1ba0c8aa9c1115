"""An optax transformation as a map on named coordinates of phase space."""

import inspect
from collections import namedtuple
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike
from jaxtyping import Array, PyTree

from ..checks import Scalar
from ..errors import InvalidType, InvalidValue
from ..optimizers.base import Gradient
from .leaves import StateLayout, state_layout

Point = Any  # of phase space: a namedtuple of x and the memories


class Transformation(eqx.Module):
    """A family h ↦ `optax.GradientTransformation`, with what each leaf of its state is for.

    - `family`: the function of h.
    - `unravel`: from vectors to PyTrees shaped as the positions; None if positions are vectors.
    - `size`: the length of those vectors.
    - `layout`: the leaves of the state. A leaf of power p is h^p times its coordinate.
    """

    family: Callable[[Any], Any]
    unravel: Callable[[Array], PyTree] | None = eqx.field(static=True)
    size: int = eqx.field(static=True)
    layout: StateLayout = eqx.field(static=True)

    def __init__(
        self,
        family: Callable,
        h: ArrayLike,
        scale: Mapping[str, float | int] | None = None,
        like: PyTree = None,
    ):
        if not callable(family):
            raise InvalidType(
                f"`family` must be a function of h, got {family!r}; write lambda h: optax.sgd(h)."
            )
        try:
            inspect.signature(family).bind(h)
        except TypeError as error:
            raise InvalidType(
                "`family` must take one number, h, but it takes other arguments; write "
                "lambda h: optax.sgd(h)."
            ) from error
        except ValueError:  # a function without a signature
            pass
        if scale is not None and not isinstance(scale, Mapping):
            raise InvalidType(
                f"`scale` must map leaves to powers of h, got {scale!r}; write for example "
                "{'trace': -1}."
            )
        self.family = family
        self.unravel = None if like is None else _unravel_like(like)
        self.size = 3 if like is None else sum(np.size(leaf) for leaf in jax.tree.leaves(like))
        sample = self.to_tree(jnp.asarray(self.sample_position))
        self.layout = state_layout(family(h), sample, scale or {})

    @property
    def name(self) -> str:
        name = getattr(self.family, "name", None) or getattr(
            self.family, "__name__", type(self.family).__name__
        )
        return str(name).strip("<>")

    @property
    def name_in_sentence(self) -> str:
        return "this family" if self.name == "lambda" else self.name

    @property
    def fields(self) -> tuple[str, ...]:
        return ("x", *(leaf.name for leaf in self.layout.memories))

    @property
    def sample_position(self) -> np.ndarray:
        """A position without symmetries, at which a family is evaluated when it is made."""
        return np.cos(np.arange(self.size) + 0.4) + 0.1

    def evaluate_at_sample(self, measure: Callable[..., PyTree], h: Scalar) -> PyTree:
        """`measure(transformation, h, y, grad)` in float64, three steps of `h` after the start."""
        with jax.enable_x64(True):
            transformation = jax.tree.map(
                lambda value: jnp.asarray(value) if isinstance(value, float) else value, self
            )
            h, x = jnp.asarray(float(h)), jnp.asarray(self.sample_position)
            result = _measure_after_three_steps(measure, transformation, h, x)
            return jax.tree.map(np.asarray, result)

    def to_tree(self, x: Array) -> PyTree:
        if self.unravel is None:
            return x
        if x.size != self.size:
            raise InvalidValue(
                f"{self.name_in_sentence} was made for positions of {self.size} numbers, got "
                f"{x.size}; pass the problem's own start as `like`."
            )
        return self.unravel(x)

    def start(self, h: ArrayLike, x: Array) -> Point:
        return self._point(h, x, jax.tree.leaves(self.family(h).init(self.to_tree(x))))

    def update(self, h: ArrayLike, count: ArrayLike, y: Point, grad: Gradient) -> Point:
        """The library's own update after `count` steps, a whole number or a number between two."""
        transform, x = self.family(h), self.to_tree(y.x)
        state, structure = jax.tree.flatten(transform.init(x))
        for i, leaf in enumerate(self.layout.leaves):
            if leaf.role == "memory":
                value = getattr(y, leaf.name)
                state[i] = value * h**leaf.power if leaf.power else value
            elif leaf.role == "counter":
                is_whole = jnp.issubdtype(jnp.result_type(count), jnp.integer)
                state[i] = state[i] + jnp.asarray(count, state[i].dtype if is_whole else None)
        updates, new_state = transform.update(
            self.to_tree(grad(y.x)), jax.tree.unflatten(structure, state), x
        )
        new_x = ravel_pytree(optax.apply_updates(x, updates))[0].reshape(y.x.shape)
        return self._point(h, new_x, jax.tree.leaves(new_state))

    def _point(self, h: ArrayLike, x: Array, state: list[Array]) -> Point:
        pairs = zip(self.layout.leaves, state, strict=True)
        memories = [
            value / h**leaf.power if leaf.power else value
            for leaf, value in pairs
            if leaf.role == "memory"
        ]
        return _point_type(self.fields)(x, *memories)

    def decay(self, name: str, h: ArrayLike, count: ArrayLike, y: Point, grad: Gradient) -> Array:
        """The decay rate of a memory: the fraction of each entry that one step keeps."""

        def updated(value):
            return getattr(self.update(h, count, y._replace(**{name: value}), grad), name)

        value = getattr(y, name)
        return jax.jvp(updated, (value,), (jnp.ones_like(value),))[1]

    def counts_steps(self, h: ArrayLike, x: Array, grad: Gradient) -> dict[str, Array]:
        """For each integer leaf, by its path, whether every step raises it by one."""
        transform, tree = self.family(h), self.to_tree(x)
        state, structure = jax.tree.flatten(transform.init(tree))

        def next_value(i, n):
            leaves = [n if j == i else value for j, value in enumerate(state)]
            state_n = jax.tree.unflatten(structure, leaves)
            return jax.tree.leaves(transform.update(self.to_tree(grad(x)), state_n, tree)[1])[i]

        steps = jnp.arange(1000)
        counts = {
            leaf.path: jnp.array(False) for leaf in self.layout.leaves if leaf.role == "counter"
        }
        for i, leaf in enumerate(self.layout.leaves):
            if leaf.role == "counter" and state[i].ndim == 0:
                n = jax.vmap(lambda n, i=i: next_value(i, n))(steps.astype(state[i].dtype))
                counts[leaf.path] = (n == steps + 1).all()
        return counts


@eqx.filter_jit
def _measure_after_three_steps(
    measure: Callable[..., PyTree], transformation: Transformation, h: Array, x: Array
) -> PyTree:
    """Compiled once for all values in a family, as long as they are fields of it."""
    y = transformation.start(h, x)
    for k in range(3):
        y = transformation.update(h, k, y, _sample_gradient)
    return measure(transformation, h, y, _sample_gradient)


def _sample_gradient(x: Array) -> Array:
    """A gradient without symmetries, whose curvature depends on the position."""
    return x + jnp.sin(2 * x) / 3


@lru_cache
def _point_type(fields: tuple[str, ...]) -> Callable[..., Point]:
    return namedtuple("OptaxState", fields)


@lru_cache
def _unravel(structure, shapes):
    """One function per structure, so that optimizers of one kind share their compiled code."""
    ends = np.cumsum([np.prod(shape, dtype=int) for shape in shapes])[:-1]
    return lambda x: jax.tree.unflatten(
        structure,
        [part.reshape(shape) for part, shape in zip(jnp.split(x, ends), shapes, strict=True)],
    )


def _unravel_like(like: PyTree) -> Callable[[Any], PyTree]:
    leaves, structure = jax.tree.flatten(like)
    return _unravel(structure, tuple(np.shape(leaf) for leaf in leaves))
