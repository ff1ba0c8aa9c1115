"""Layer-wise learning rates: each part of the position moves with a learning rate of its own."""

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array

from ...checks import Scalar, concrete_value, number, positive
from ...errors import InvalidType, InvalidValue
from ..base import AbstractOptimizer, replace_fields
from .factor import AbstractFactor, must_move_x_alone
from .labels import by_label


class Layerwise(AbstractFactor):
    """Layer-wise rates multiply the learning rate by a factor for each part of the position.

    The map, for the step Φ of the inner optimizer and factors c, one for each coordinate; the
    memory moves as it does without them:

        xₖ₊₁ = xₖ + c (Φ(xₖ) - xₖ)

    The flow, for the vector field F of the inner optimizer, is preconditioned by the block-diagonal
    matrix C = diag(c):

        x′ = C F(x)

    The time step: it is that of the inner optimizer, and the global error has the same order.
    Equilibria stay where they are, unless a factor is 0, but the paths change. If the steps are
    linear in the gradient, as for `SGD` and `Momentum`, so do the stable learning rates: they now
    depend on the largest eigenvalue of C^½ ∇²f C^½, and a factor c acts as the change of units
    x = √c z does. With `Adam` it acts as x = c z, if ε = ε₀ = 0, and with `AdamW` as no change of
    units, because c multiplies the decay, too. See `analysis.rescaling`.

    Lyapunov function: the loss, if the inner optimizer is `SGD`. For an optimizer with a memory
    none is known.

    Elsewhere: in optax `optax.multi_transform`, with an optimizer for each label, such as
    `optax.set_to_zero()` for a part that is frozen.

    Arguments:

    - `optimizer`: the inner optimizer, whose memory must hold no positions.
    - `factors`: {label: factor ≥ 0}. A label is a key of the position, such as "layer1", or a path
      of keys, such as "layer1.w", which takes precedence over "layer1". All other parts have the
      factor 1. The factor 0 freezes a part.

    **Raises:** `UnknownName` if the optimizer is run at a position that has no such part;
    `InvalidValue` if the memory of `optimizer` holds a position, or a factor is negative;
    `InvalidType` if `factors` is no such dict.

    >>> from dynopt import Problem, SGD, iterate
    >>> def slope(x):
    ...     return x["a"].sum() + x["b"].sum()
    >>> problem = Problem(slope, {"a": jnp.zeros(2), "b": jnp.zeros(1)}, name="slope")
    >>> x = iterate(Layerwise(SGD(0.5), {"b": 4.0}), problem, 1).x
    >>> x["a"][-1].tolist(), x["b"][-1].tolist()
    ([-0.5, -0.5], [-2.0])

    Source: `optax.multi_transform`.
    """

    optimizer: AbstractOptimizer
    factors: dict[str, Scalar]
    factor_of_coordinate: Array | None

    def __init__(self, optimizer, factors):
        must_move_x_alone(optimizer, "a layer-wise rate")
        if not isinstance(factors, dict) or not all(isinstance(label, str) for label in factors):
            raise InvalidType(
                f"`factors` must be a dict of labels, got {factors!r}; pass for example "
                "{'layer1': 2.0}."
            )
        self.optimizer = optimizer
        self.factors = {
            label: _factor(f"factors[{label!r}]", factor) for label, factor in factors.items()
        }
        self.factor_of_coordinate = None  # `for_leaves` sets it

    def for_leaves(self, x0):
        factors = jax.tree.map(
            lambda leaf, c: jnp.full(jnp.size(leaf), c, jnp.result_type(leaf)),
            x0,
            self._factor_of_leaf(x0),
        )
        return replace_fields(super().for_leaves(x0), factor_of_coordinate=ravel_pytree(factors)[0])

    def _factor_of_leaf(self, x0):
        return by_label(self.factors, x0, 1.0)

    def factor(self, t):
        if self.factor_of_coordinate is None:
            raise InvalidValue(
                f"{self!r} does not know its position yet; run it, or call .for_leaves(x0) first."
            )
        return self.factor_of_coordinate

    def optax(self):
        def scale(updates, params):
            return jax.tree.map(lambda u, c: c * u, updates, self._factor_of_leaf(updates))

        return optax.chain(self.optimizer.optax(), optax.stateless(scale))


def _factor(name, value) -> Scalar:
    value = number(name, value)
    return value if concrete_value(value) == 0 else positive(name, value)
