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
from .leaves import Reading, read

Point = Any  # a namedtuple: x, then the memories


class Transformation(eqx.Module):
    """A family h ↦ `optax.GradientTransformation`, and what the leaves of its state are for.

    - `family`: the family. - `unravel`: from vectors to the PyTrees it is meant for, if any; `size`: of the vectors.
    - `reading`: the leaves. A leaf of power p is h^p times its coordinate.
    """

    family: Callable[[Any], Any]
    unravel: Callable[[Array], PyTree] | None = eqx.field(static=True)
    size: int = eqx.field(static=True)
    reading: Reading = eqx.field(static=True)

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
                "`family` must take one number, h, but takes others; write lambda h: optax.sgd(h)."
            ) from error
        except ValueError:  # it does not say what it takes
            pass
        if scale is not None and not isinstance(scale, Mapping):
            raise InvalidType(
                f"`scale` must map leaves to powers of h, got {scale!r}; write for example {{'trace': -1}}."
            )
        self.family = family
        self.unravel = None if like is None else _unraveling(like)
        self.size = 3 if like is None else sum(np.size(leaf) for leaf in jax.tree.leaves(like))
        self.reading = read(family(h), self.tree(jnp.asarray(self.sample)), scale or {})

    @property
    def name(self) -> str:
        name = getattr(self.family, "name", None) or getattr(
            self.family, "__name__", type(self.family).__name__
        )
        return str(name).strip("<>")

    @property
    def said(self) -> str:
        """The name as it stands in a sentence."""
        return "this family" if self.name == "lambda" else self.name

    @property
    def fields(self) -> tuple[str, ...]:
        return ("x", *(leaf.name for leaf in self.reading.memories))

    @property
    def sample(self) -> np.ndarray:
        """Where a family is looked at once, when it is made a page: a position without symmetries."""
        return np.cos(np.arange(self.size) + 0.4) + 0.1

    def looked_at(self, look: Callable[..., PyTree], h: Scalar) -> PyTree:
        """What `look(map, h, y, grad)` finds, in float64, at a point that three steps of `h` have led to."""

        with jax.enable_x64(True):
            map = jax.tree.map(lambda v: jnp.asarray(v) if isinstance(v, float) else v, self)
            found = _after_three_steps(look, map, jnp.asarray(float(h)), jnp.asarray(self.sample))
            return jax.tree.map(np.asarray, found)

    def tree(self, x: Array) -> PyTree:
        if self.unravel is None:
            return x
        if x.size != self.size:
            raise InvalidValue(
                f"{self.said} was made for positions like one of {self.size} numbers, got {x.size}; pass the problem's "
                "own start as `like`."
            )
        return self.unravel(x)

    def start(self, h: ArrayLike, x: Array) -> Point:
        return self._point(h, x, jax.tree.leaves(self.family(h).init(self.tree(x))))

    def update(self, h: ArrayLike, count: ArrayLike, y: Point, grad: Gradient) -> Point:
        """The library's own update, after `count` steps: whole, or a number between."""
        transform, x = self.family(h), self.tree(y.x)
        state, structure = jax.tree.flatten(transform.init(x))
        for i, leaf in enumerate(self.reading.leaves):
            if leaf.role == "memory":
                value = getattr(y, leaf.name)
                state[i] = value * h**leaf.power if leaf.power else value
            elif leaf.role == "count":
                whole = jnp.issubdtype(jnp.result_type(count), jnp.integer)
                state[i] = state[i] + jnp.asarray(count, state[i].dtype if whole else None)
        updates, after = transform.update(
            self.tree(grad(y.x)), jax.tree.unflatten(structure, state), x
        )
        moved = ravel_pytree(optax.apply_updates(x, updates))[0].reshape(y.x.shape)
        return self._point(h, moved, jax.tree.leaves(after))

    def _point(self, h: ArrayLike, x: Array, state: list[Array]) -> Point:
        pairs = zip(self.reading.leaves, state, strict=True)
        memories = [
            v / h**leaf.power if leaf.power else v for leaf, v in pairs if leaf.role == "memory"
        ]
        return _point_type(self.fields)(x, *memories)

    def kept(self, name: str, h: ArrayLike, count: ArrayLike, y: Point, grad: Gradient) -> Array:
        """The share of a memory that one step keeps, coordinate by coordinate."""

        def after(value):
            return getattr(self.update(h, count, y._replace(**{name: value}), grad), name)

        value = getattr(y, name)
        return jax.jvp(after, (value,), (jnp.ones_like(value),))[1]

    def counted(self, h: ArrayLike, x: Array, grad: Gradient) -> dict[str, Array]:
        """Of each integer leaf, whether it rises by one in every step."""
        transform, tree = self.family(h), self.tree(x)
        state, structure = jax.tree.flatten(transform.init(tree))

        def after(i, n):
            before = jax.tree.unflatten(
                structure, [n if j == i else value for j, value in enumerate(state)]
            )
            return jax.tree.leaves(transform.update(self.tree(grad(x)), before, tree)[1])[i]

        steps = jnp.arange(1000)
        counted = {
            leaf.path: jnp.array(False) for leaf in self.reading.leaves if leaf.role == "count"
        }
        for i, leaf in enumerate(self.reading.leaves):
            if leaf.role == "count" and state[i].ndim == 0:
                n = jax.vmap(lambda n, i=i: after(i, n))(steps.astype(state[i].dtype))
                counted[leaf.path] = (n == steps + 1).all()
        return counted


@eqx.filter_jit
def _after_three_steps(
    look: Callable[..., PyTree], map: Transformation, h: Array, x: Array
) -> PyTree:
    """Compiled once for all values of what the family holds, as long as they are fields of it."""
    y = map.start(h, x)
    for k in range(3):
        y = map.update(h, k, y, _pull)
    return look(map, h, y, _pull)


def _pull(x: Array) -> Array:
    """A gradient without symmetries, whose curvature changes from place to place."""
    return x + jnp.sin(2 * x) / 3


@lru_cache
def _point_type(fields: tuple[str, ...]) -> Callable[..., Point]:
    return namedtuple("OptaxState", fields)


@lru_cache
def _unravel_as(structure, shapes):
    ends = np.cumsum([np.prod(shape, dtype=int) for shape in shapes])[:-1]
    return lambda x: jax.tree.unflatten(
        structure,
        [part.reshape(shape) for part, shape in zip(jnp.split(x, ends), shapes, strict=True)],
    )


def _unraveling(like: PyTree) -> Callable[[Any], PyTree]:
    """One function per structure, so that pages of the same kind share their compiled code."""
    leaves, structure = jax.tree.flatten(like)
    return _unravel_as(structure, tuple(np.shape(leaf) for leaf in leaves))
