"""A page made from any optax transformation: its map is the library's own update, its flow is derived from it."""

from collections import namedtuple
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.core import Tracer
from jax.flatten_util import ravel_pytree
from jaxtyping import PyTree

from ..checks import Scalar, positive
from ..errors import InvalidType, InvalidValue
from ..optimizers import AbstractOptimizer
from . import limits
from .leaves import Reading, read


SHORT = 32  # times shorter than the step, and than the time since the start, are the clocks that a limit is read from


class Optax(AbstractOptimizer):
    """Any optax transformation beside the differential equation that it follows as its step shrinks.

    The map, for the transformation `family(h)`:

        xₖ₊₁, sₖ₊₁ = family(h).update(∇f(xₖ), sₖ, xₖ)

    The flow, with counts of steps read as t/h:

        y′ = lim (step - id)/h   as h → 0

    y is x and those leaves of the state that x depends on, as fields under their own names (`mu`, `nu`, `trace`, ...).
    Injected hyperparameters belong to the clock, counters to the time. The limit is `jax.jvp` in h at h = 0, or, where
    the map cannot be computed there (counts, scaled leaves), a polynomial through derivatives at eight small positive
    clocks: `limit` says which, `limit_error` how well. Constants of `family` decide which limit: a decay must move with
    h, as 1 - h/tau, to leave its memory in the flow. For fixed decays, wrap the page in `Memoryless`.

    The clock: h, as `family` uses it. The gap closes like h where the map is smooth; `kinks` names what is not. A start
    whose first few steps differ from the rest however short they are (`layer`: RMSprop from v = 0) has an `order` of
    its own, measured at a very short clock.

    Energy: none is known. Elsewhere: `optax.adadelta()` and others without a learning rate have no such limit.

    - `family`: h ↦ `optax.GradientTransformation`. - `h`: time per step. - `scale`: {leaf: power}, for leaves that grow
      like h^power, such as {"trace": -1}. - `like`: the PyTree of positions, for masks and matrices; a vector otherwise.

    **Raises:** `InvalidValue`, naming the leaf, when the flow is asked for but the map of some leaf does not come to
    rest as h → 0.

    >>> page = Optax(lambda h: optax.adabelief(h, b1=1 - h / 0.1, b2=1 - h / 10), 0.01)
    >>> page.fields
    ('x', 'mu', 'nu')

    Source: the limit is that of any consistent one-step method, E. Hairer, C. Lubich and G. Wanner, "Geometric numerical
    integration", chapter IX.
    """

    family: Callable[[Any], Any]
    h: Scalar
    reach: Scalar
    scale: tuple[tuple[str, float], ...] = eqx.field(static=True)
    unravel: Callable[[Any], PyTree] | None = eqx.field(static=True)
    size: int = eqx.field(static=True)
    reading: Reading = eqx.field(static=True)
    smooth_at_zero: bool = eqx.field(static=True)
    fault: str = eqx.field(static=True)
    averaged: tuple[str, ...] = eqx.field(static=True)
    start_order: float | None = eqx.field(static=True)

    def __init__(self, family, h, scale: Mapping[str, float] | None = None, like: PyTree = None):
        if not callable(family):
            raise InvalidType(f"`family` must be a function of h, got {family!r}; write lambda h: optax.sgd(h).")
        self.family = family
        self.h = positive("h", h)
        self.reach = self.h / SHORT
        self.scale = tuple(sorted((scale or {}).items()))
        self.unravel = None if like is None else _unraveling(like)
        self.size = 3 if like is None else sum(np.size(leaf) for leaf in jax.tree.leaves(like))
        self.reading = read(family(self.h), self._tree(jnp.asarray(self._sample())), dict(self.scale))
        self.smooth_at_zero, self.fault = not self.reading.counts and not self.scale, ""
        self.averaged, self.start_order = (), None
        if not any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((self.family, self.h))):
            verdict = limits.judge(self, self._sample())
            self.smooth_at_zero, self.fault, self.averaged, self.start_order = verdict

    name = property(lambda self: getattr(self.family, "__name__", type(self.family).__name__).strip("<>") or "optax")
    fields = property(
        lambda self: ("x", *(leaf.name for leaf in self.reading.memories)), doc="Of a point of phase space."
    )
    kinks = property(lambda self: self.reading.kinks, doc="What in the map is not smooth, such as `sign` or `max`.")

    @property
    def limit(self) -> str:
        """How the flow is found."""
        return "differentiated at h = 0" if self.smooth_at_zero else "extrapolated from small clocks to h = 0"

    def limit_error(self, t, y, grad) -> Any:
        """An estimate of the error of the flow at a point of phase space: what two clocks fewer would change in it."""
        if self.smooth_at_zero:
            return jax.tree.map(jnp.zeros_like, y)
        t = jnp.asarray(t, y.x.dtype)
        eight, six = (limits.extrapolated(self._curve(t, y, grad), 1, self._span(t), n)[0] for n in (8, 6))
        return jax.tree.map(lambda a, b: jnp.abs(a - b), eight, six)

    order = property(lambda self: 1.0 if self.start_order is None else min(1.0, self.start_order))
    layer = property(
        lambda self: self.start_order is not None,
        doc="Whether the first few steps differ from those that follow, however short they are.",
    )

    def init(self, x, grad):
        return self._start(self.h, x)

    def _start(self, h, x):
        return self._point(x, jax.tree.leaves(self.family(h).init(self._tree(x))), h)

    def step(self, t, y, grad):
        return self._update(self.h, jnp.round(t / self.h).astype(int), y, grad)

    def flow(self, t, y, grad):
        if self.fault:
            raise InvalidValue(self.fault)
        t = jnp.asarray(t, y.x.dtype)
        return self.taylor(self._curve(t, y, grad), 1, t)[0]

    def germ(self, h, t, y, grad):
        if self.fault:
            raise InvalidValue(self.fault)
        return self._update(h, t / h if self.reading.counts else 0, y, grad)

    def taylor(self, curve, terms, t):
        if self.smooth_at_zero:
            return super().taylor(curve, terms, t)
        return limits.extrapolated(curve, terms, self._span(t))

    def weights(self, t, h):
        return {name: 1 - self._kept(name, h) ** (t / h) for name in self.averaged}

    averages = property(lambda self: dict.fromkeys(self.averaged))

    def optax(self):
        return self.family(self.h)

    def _curve(self, t, y, grad):
        return lambda h: self.germ(h, t, y, grad)

    def _span(self, t):
        """The clocks to look at: where steps are counted, much shorter than the time since the first."""
        counted = self.reading.counts & (t > 0)
        return jax.lax.stop_gradient(jnp.where(counted, jnp.minimum(self.reach, t / SHORT), self.reach))

    def _sample(self) -> np.ndarray:
        """Where a family is looked at once, when it is made a page: a position without symmetries."""
        return np.cos(np.arange(self.size) + 0.4) + 0.1

    def _tree(self, x):
        return x if self.unravel is None else self.unravel(x)

    def _point(self, x, state, h):
        memories = [
            value / h**leaf.power if leaf.power else value
            for leaf, value in zip(self.reading.leaves, state, strict=True)
            if leaf.role == "memory"
        ]
        return _point_type(self.fields)(x, *memories)

    def _update(self, h, count, y, grad):
        transform, x = self.family(h), self._tree(y.x)
        state, structure = jax.tree.flatten(transform.init(x))
        for i, leaf in enumerate(self.reading.leaves):
            if leaf.role == "memory":
                value = getattr(y, leaf.name)
                state[i] = value * h**leaf.power if leaf.power else value
            elif leaf.role == "count":
                whole = jnp.issubdtype(jnp.result_type(count), jnp.integer)
                state[i] = state[i] + jnp.asarray(count, state[i].dtype if whole else None)
        updates, after = transform.update(self._tree(grad(y.x)), jax.tree.unflatten(structure, state), x)
        moved = optax.apply_updates(x, updates)
        return self._point(moved if self.unravel is None else ravel_pytree(moved)[0], jax.tree.leaves(after), h)

    def _counted(self, x, grad):
        """Whether each integer leaf rises by one in every step, wherever it starts."""
        transform, tree = self.family(self.h), self._tree(x)
        state, structure = jax.tree.flatten(transform.init(tree))
        counted = {}
        for i, leaf in enumerate(self.reading.leaves):
            if leaf.role == "count":

                def after(n, i=i):
                    before = jax.tree.unflatten(structure, [n if j == i else v for j, v in enumerate(state)])
                    return jax.tree.leaves(transform.update(self._tree(grad(x)), before, tree)[1])[i]

                steps = jnp.arange(1000, dtype=state[i].dtype)
                counted[leaf.path] = state[i].ndim == 0 and (jax.vmap(after)(steps) == steps + 1).all()
        return counted

    def _kept(self, name, h):
        """The share of a memory that one step keeps."""
        x = jnp.asarray(self._sample(), jnp.result_type(h))
        y = self._start(h, x)

        def after(value):
            return getattr(self._update(h, 1, y._replace(**{name: value}), lambda x: x), name)

        value = getattr(y, name)
        return jax.jvp(after, (value,), (jnp.ones_like(value),))[1].ravel()[0]

    def __repr__(self) -> str:
        extra = f", scale={dict(self.scale)}" if self.scale else ""
        return f"Optax({self.name}, h={float(self.h):.12g}{extra})"


@lru_cache
def _point_type(fields: tuple[str, ...]):
    return namedtuple("OptaxState", fields)


@lru_cache
def _unravel_as(structure, shapes):
    ends = np.cumsum([np.prod(shape, dtype=int) for shape in shapes])[:-1]
    return lambda x: jax.tree.unflatten(
        structure, [part.reshape(shape) for part, shape in zip(jnp.split(x, ends), shapes, strict=True)]
    )


def _unraveling(like: PyTree) -> Callable[[Any], PyTree]:
    """One function per structure, so that pages of the same kind share their compiled code."""
    leaves, structure = jax.tree.flatten(like)
    return _unravel_as(structure, tuple(np.shape(leaf) for leaf in leaves))
