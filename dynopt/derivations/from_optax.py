"""A page made from an optax transformation: its map is the library's own update, its flow is derived from it."""

from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from ..checks import Scalar, is_concrete, positive
from ..errors import InvalidValue
from ..optimizers import AbstractOptimizer
from ..optimizers.base import Regularity, format_hyperparameter
from .expansion import small_step, taylor, weights
from .limits import CLOCKS, SPAN, SPAN_COUNTED, SPAN_SINCE, extrapolated
from .transformation import Transformation
from .verdict import Verdict, judge, unseen


class Optax(AbstractOptimizer):
    """An optax transformation beside the differential equation that it follows as its step shrinks.

    The map, for the transformation `family(h)`:

        xₖ₊₁, sₖ₊₁ = family(h).update(∇f(xₖ), sₖ, xₖ)

    The flow, with counts of steps read as t/h:

        y′ = lim (step - id)/h   as h → 0

    y is x and those leaves of the state that x depends on, as fields under their own names (`mu`, `nu`, `trace`, ...).
    Hyperparameters that optax injects into the state are functions of h and no coordinates. The limit is `jax.jvp` in h
    at h = 0, or, where the map cannot be computed there (counts, scaled leaves), a polynomial through derivatives at
    eight small positive clocks: `limit` says which, `limit_error` how well. What `family` holds fixed decides which
    limit: a decay must move with h, as 1 - h/tau, to leave its memory in the flow. For fixed decays, wrap the page in
    `Memoryless`.

    The clock: h, as `family` uses it. The gap closes like h where the map is smooth; `kinks` names what is not. A start
    whose first few steps differ from the rest however short they are (`layer`: RMSprop from v = 0) has an `order` of
    its own, measured at a very short clock.

    Where h is hidden, inside `jit` and `vmap`, nothing can be looked at: make the page outside, and use `at(h)` inside.

    Lyapunov: none is known.

    Elsewhere: `optax.adadelta()` and others without a learning rate have no such limit.

    - `family`: h ↦ `optax.GradientTransformation`. - `h`: time per step. - `scale`: {leaf: power}, for leaves that grow
      like h^power, such as {"trace": -1}. - `like`: a PyTree shaped as the positions, for masks and matrices.

    **Raises:** `InvalidType` or `InvalidValue` for what is no such family; `InvalidValue`, naming the leaf, when the
    flow is asked for but the map of some leaf does not come to rest as h → 0.

    >>> import optax
    >>> page = Optax(lambda h: optax.adabelief(h, b1=1 - h / 0.1, b2=1 - h / 10), 0.01)
    >>> page.fields
    ('x', 'mu', 'nu')

    Source: the limit is that of a consistent one-step method, E. Hairer, C. Lubich and G. Wanner, "Geometric
    numerical integration", chapter IX; the updates are those of `optax`.
    """

    transformation: Transformation
    h: Scalar
    made_at: Scalar
    verdict: Verdict = eqx.field(static=True)

    def __init__(
        self,
        family: Callable[[Any], Any],
        h,
        scale: Mapping[str, float | int] | None = None,
        like: PyTree | None = None,
    ):
        self.h = positive("h", h)
        self.made_at = self.h  # by which the flow measures its clocks, so that it never reads h
        self.transformation = Transformation(family, self.h, scale, like)
        seen = is_concrete((family, self.h))
        self.verdict = judge(self.transformation, self.h) if seen else unseen(self.transformation)

    name = property(
        lambda self: "Optax" if self.transformation.name == "lambda" else self.transformation.name
    )
    fields = property(
        lambda self: self.transformation.fields, doc="The coordinates of phase space, x first."
    )
    regularity = property(
        lambda self: Regularity(
            order=self.verdict.order,
            nonsmooth=self.transformation.reading.kinks,
            bias_corrected=dict.fromkeys(self.verdict.averages),
            initial_layer=self.verdict.layer,
            flow_error_ulps=0.0 if self.verdict.smooth else 1000.0,
        )
    )
    fault = property(
        lambda self: self.verdict.fault, doc="Why there is no flow; nothing if there is one."
    )
    limit = property(
        lambda self: (
            "differentiated at h = 0"
            if self.verdict.smooth
            else "extrapolated from small clocks to h = 0"
        ),
        doc="How the flow is found.",
    )

    def limit_error(self, t, y, grad) -> Any:
        """An estimate of the flow's error at a point of phase space: what two clocks fewer would change in it."""
        if self.verdict.smooth:
            return jax.tree.map(jnp.zeros_like, y)
        t = jnp.asarray(t, y.x.dtype)
        more, fewer = (
            extrapolated(lambda h: small_step(self, h, t, y, grad), 1, self._span(t), n)[0]
            for n in (CLOCKS, CLOCKS - 2)
        )
        return jax.tree.map(lambda a, b: jnp.abs(a - b), more, fewer)

    def init(self, x, grad):
        return self.transformation.start(self.h, x)

    def step(self, t, y, grad):
        return self.transformation.update(
            self.h, jnp.round(jnp.asarray(t) / self.h).astype(int), y, grad
        )

    def vector_field(self, t, y, grad):
        t = jnp.asarray(t, y.x.dtype)
        return taylor(self, lambda h: small_step(self, h, t, y, grad), 1, t)[0]

    def _span(self, t):
        """The clocks to look at: where steps are counted, much shorter than the time since the first."""
        if not self.transformation.reading.counts:
            return SPAN * self.made_at
        longest = SPAN_COUNTED * self.made_at
        return jax.lax.stop_gradient(
            jnp.where(t > 0, jnp.minimum(longest, SPAN_SINCE * t), longest)
        )

    def optax(self):
        return self.transformation.family(self.h)

    def __repr__(self) -> str:
        powers = [
            f"{leaf.name!r}: {leaf.power:g}"
            for leaf in self.transformation.reading.memories
            if leaf.power
        ]
        scale = f", scale={{{', '.join(powers)}}}" if powers else ""
        return f"Optax({self.transformation.name}, h={format_hyperparameter(self.h)}{scale})"


@small_step.register
def _(optimizer: Optax, h, t, y, grad):
    if optimizer.verdict.fault:
        raise InvalidValue(optimizer.verdict.fault)
    return optimizer.transformation.update(
        h, t / h if optimizer.transformation.reading.counts else 0, y, grad
    )


@taylor.register
def _(optimizer: Optax, curve, terms, t):
    smooth = taylor.dispatch(AbstractOptimizer)
    return (
        smooth(optimizer, curve, terms, t)
        if optimizer.verdict.smooth
        else extrapolated(curve, terms, optimizer._span(t))
    )


@weights.register
def _(optimizer: Optax, t, h):
    x = jnp.asarray(optimizer.transformation.sample, jnp.result_type(h))
    y = optimizer.transformation.start(h, x)
    averages = optimizer.regularity.bias_corrected
    kept = {
        name: optimizer.transformation.kept(name, h, 1, y, lambda x: x).ravel()[0]
        for name in averages
    }
    return {name: 1 - share ** (t / h) for name, share in kept.items()}
