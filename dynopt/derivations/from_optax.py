"""An optimizer made from an optax transformation: the map is optax's update, the flow its limit."""

from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from ..checks import Scalar, is_concrete, positive
from ..errors import InvalidValue
from ..optimizers import AbstractOptimizer
from ..optimizers.base import Regularity, format_hyperparameter, replace_fields
from .derivation import Derivation
from .expansion import accumulated_weight, small_step, taylor
from .extrapolation import NODES, extrapolated_taylor, longest_step
from .limit import Limit, limit_under_tracing
from .memoryless import Memoryless
from .series import taylor_coefficients
from .transformation import SAMPLE_GRADIENT, Transformation


class Optax(AbstractOptimizer):
    """An optax transformation, with the differential equation that it follows as its step shrinks.

    The map, for the transformation `family(h)`:

        xₖ₊₁, sₖ₊₁ = family(h).update(∇f(xₖ), sₖ, xₖ)

    The flow, where the number of steps is read as t/h:

        y′ = lim (step - identity)/h   as h → 0

    Here y is x and those leaves of the state on which x depends, as fields under their own names
    (`mu`, `nu`, `trace`, ...). Hyperparameters that optax injects into the state are functions of
    h and no coordinates. A position is the PyTree of the start of a run, so that masks, labels and
    matrices are seen. An update that asks for `value`, `grad` or `value_fn` gets the loss and its
    gradient at xₖ. The limit is computed by `jax.jvp` in h at h = 0, or, where the map cannot
    be computed there (step counters, leaves with a power of h), by a polynomial through the
    derivatives at eight small positive time steps: `limit.method` says which of them was used, and
    `limit_error` estimates its error. What `family` holds fixed decides which limit is taken: a
    decay must depend on h, as 1 - h/tau, to leave its memory in the flow. For fixed decays, wrap
    the optimizer in `Memoryless`. Where there is no limit, `fault` says why. It names a change of
    the family only if the changed family was made and has a limit.

    The time step: one step takes the time h, as `family` uses it. The global error is O(h) where
    the map is smooth; `regularity.nonsmooth` names the operations that are not. If the first steps
    differ from the others however short they are (an initial layer: RMSprop from v = 0), then
    `regularity.order` is measured at a very short time step.

    No Lyapunov function is known.

    Elsewhere: random updates, `optax.lookahead`, and counters of anything but steps
    (`optax.apply_every`, `optax.apply_if_finite`) are refused; `optax.MultiSteps` is `Accumulated`.
    Transformations that read their count as an index, such as `optax.lbfgs`, have a map and no
    flow.

    Arguments:

    - `family`: a function h ↦ `optax.GradientTransformation`.
    - `h`: the time step, positive.
    - `scale`: {leaf: power} for leaves that grow like h^power, such as {"trace": -1}.
    - `like`: a PyTree shaped as the positions, for families that exist at such positions alone, as
      masks do, and for vectors that are read as matrices; by default that of the start of a run.

    Inside `jit` and `vmap`, where h has no value, the limit cannot be tested: make the optimizer
    outside and use `with_time_step(h)` inside.

    **Raises:** `InvalidType` or `InvalidValue` if `family` is no such function; `InvalidValue`,
    which names the leaf, when the flow is asked for but the map of some leaf has no limit as
    h → 0.

    >>> import optax
    >>> optimizer = Optax(lambda h: optax.adabelief(h, b1=1 - h / 0.1, b2=1 - h / 10), 0.01)
    >>> optimizer.fields
    ('x', 'mu', 'nu')

    Source: the limit is that of a consistent one-step method, E. Hairer, C. Lubich and G. Wanner,
    "Geometric numerical integration", chapter IX; the updates are those of `optax`.
    """

    transformation: Transformation
    h: Scalar
    first_h: Scalar
    derivation: Derivation | None = eqx.field(static=True)

    def __init__(
        self,
        family: Callable[[Any], Any],
        h,
        scale: Mapping[str, float | int] | None = None,
        like: PyTree | None = None,
    ):
        self.h = positive("h", h)
        self.first_h = self.h  # the unit of the small time steps, so that the flow never reads h
        self.transformation = Transformation(family, self.h, scale, like)
        self.derivation = None
        if is_concrete((family, self.h)):
            self.transformation.must_be_a_map(self.h)
            self.derivation = Derivation(self.transformation, self.h)

    def for_leaves(self, x0):
        """The optimizer for positions with the leaves of `x0`, unless it was made `like` others."""
        is_vector = jax.tree.structure(x0) == jax.tree.structure(0) and jnp.ndim(x0) == 1
        if is_vector or self.transformation.unravel is not None:
            return self
        if self.derivation is None:
            transformation = self.transformation
            scale = dict(transformation.scale)
            return Optax(transformation.family, self.h, scale, like=x0)
        derivation = self.derivation.of_leaves(x0)
        transformation = eqx.tree_at(
            lambda t: t.family, derivation.transformation, self.transformation.family
        )
        return replace_fields(self, transformation=transformation, derivation=derivation)

    @property
    def name(self):
        name = self.transformation.name
        return "Optax" if name == "lambda" else name

    @property
    def regularity(self):
        return Regularity(
            order=self.limit.order,
            nonsmooth=self.transformation.layout.nonsmooth,
            bias_corrected=dict.fromkeys(self.limit.bias_corrected),
            initial_layer=self.limit.initial_layer,
            flow_error_ulps=0.0 if self.limit.smooth else 1000.0,
        )

    @property
    def fields(self) -> tuple[str, ...]:
        """The coordinates of phase space, x first."""
        return self.transformation.fields

    @property
    def fault(self) -> str:
        """Why there is no flow and what was seen to help; "" if there is one."""
        return self.derivation.fault(_memoryless) if self.derivation else ""

    @property
    def limit(self) -> Limit:
        """The limit of the map, measured when it is first asked for."""
        if self.derivation is None:
            return limit_under_tracing(self.transformation)
        return self.derivation.limit

    def limit_error(self, t, y, grad) -> Any:
        """The estimated error of the vector field: its change if two time steps are left out."""
        if self.limit.smooth:
            return jax.tree.map(jnp.zeros_like, y)
        t = jnp.asarray(t, y.x.dtype)

        def curve(h):
            return small_step(self, h, t, y, grad)

        field, coarser = (
            extrapolated_taylor(curve, 1, self._max_h(t), nodes)[0] for nodes in (NODES, NODES - 2)
        )
        return jax.tree.map(lambda a, b: jnp.abs(a - b), field, coarser)

    def init(self, x, grad):
        return self.transformation.start(self.h, x)

    def step(self, t, y, grad):
        count = jnp.round(jnp.asarray(t) / self.h).astype(int)
        return self.transformation.update(self.h, count, y, grad)

    def vector_field(self, t, y, grad):
        t = jnp.asarray(t, y.x.dtype)
        return taylor(self, lambda h: small_step(self, h, t, y, grad), 1, t)[0]

    def _max_h(self, t):
        return longest_step(self.first_h, t, self.transformation.layout.has_counter)

    def optax(self):
        return self.transformation.family(self.h)

    def __repr__(self) -> str:
        powers = [
            f"{leaf.name!r}: {leaf.power:g}"
            for leaf in self.transformation.layout.memories
            if leaf.power
        ]
        scale = f", scale={{{', '.join(powers)}}}" if powers else ""
        return f"Optax({self.transformation.name}, h={format_hyperparameter(self.h)}{scale})"


def _memoryless(transformation: Transformation, h: float) -> Memoryless:
    family, scale = transformation.family, dict(transformation.scale)
    return Memoryless(Optax(family, h, scale, transformation.like))


@small_step.register
def _(optimizer: Optax, h, t, y, grad):
    if optimizer.fault:
        raise InvalidValue(optimizer.fault)
    return optimizer.transformation.update_at_time(h, t, y, grad)


@taylor.register
def _(optimizer: Optax, curve, terms, t):
    if optimizer.limit.smooth:
        return taylor_coefficients(curve, terms, t.dtype)
    return extrapolated_taylor(curve, terms, optimizer._max_h(t))


@accumulated_weight.register(Memoryless)
@accumulated_weight.register(Optax)
def _(optimizer, t, h):
    transformation = optimizer.transformation
    x = jnp.asarray(transformation.sample_position, jnp.result_type(h))
    y = transformation.start(h, x)
    decays = {
        name: transformation.decay(name, h, 1, y, SAMPLE_GRADIENT).ravel()[0]
        for name in optimizer.regularity.bias_corrected
    }
    return {name: 1 - decay ** (t / h) for name, decay in decays.items()}
