"""Layer-wise learning rates: each part of the position moves at a rate of its own."""

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array

from ...checks import Scalar, positive
from ...errors import InvalidType, InvalidValue
from ..base import AbstractOptimizer, replace_fields
from .factor import AbstractFactor, must_move_x_alone
from .labels import by_label


class Layerwise(AbstractFactor):
    """Layer-wise rates multiply the learning rate by a factor for each labelled part of the position.

    The map, for the step Φ of the page inside and the factors c, one per coordinate, its memory as ever:

        xₖ₊₁ = xₖ + c (Φ(xₖ) - xₖ)

    The flow, for the velocity F of the page inside, is preconditioned by the block-diagonal matrix C = diag(c):

        x′ = C F(x)

    The clock: that of the page, and the gap closes as its own does. Equilibria stay where they were, but paths bend and
    stable rates change: of C^½ ∇²f C^½ the largest curvature now counts. Units do the same: see `analysis.rescaling`.

    Energy: none is known but for `SGD`, of which it is the loss.

    Elsewhere: in optax `optax.multi_transform`, with an optimizer for each label.

    - `optimizer`: a page whose memory holds no positions. - `factors`: {label: factor > 0}. A label is a key of the
      position, such as "layer1", or a path of keys, "layer1.w", which wins over "layer1"; other parts have factor 1.

    **Raises:** `UnknownName`, when the page meets a position without such a part.

    >>> from dynopt import Problem, SGD, iterate
    >>> flat = Problem(lambda x: x["a"].sum() + x["b"].sum(), {"a": jnp.zeros(2), "b": jnp.zeros(1)}, name="slope")
    >>> x = iterate(Layerwise(SGD(0.5), {"b": 4.0}), flat, 1).x
    >>> x["a"][-1].tolist(), x["b"][-1].tolist()
    ([-0.5, -0.5], [-2.0])

    Source: `optax.multi_transform`.
    """

    optimizer: AbstractOptimizer
    factors: dict[str, Scalar]
    spread: Array | None

    def __init__(self, optimizer, factors):
        must_move_x_alone(optimizer, "a layer-wise rate")
        if not isinstance(factors, dict) or not all(isinstance(label, str) for label in factors):
            raise InvalidType(
                f"`factors` must be a dict of labels, got {factors!r}; pass for example {{'layer1': 2.0}}."
            )
        self.optimizer = optimizer
        self.factors = {
            label: positive(f"factors[{label!r}]", factor) for label, factor in factors.items()
        }
        self.spread = None  # the factors of all coordinates in one vector

    def for_leaves(self, x0):
        factors = jax.tree.map(
            lambda leaf, c: jnp.full(jnp.size(leaf), c, jnp.result_type(leaf)), x0, self._tree(x0)
        )
        return replace_fields(super().for_leaves(x0), spread=ravel_pytree(factors)[0])

    def _tree(self, x0):
        return by_label(self.factors, x0, 1.0)

    def factor(self, t):
        if self.spread is None:
            raise InvalidValue(
                f"{self!r} has not met its position yet; run it, or call .for_leaves(x0) first."
            )
        return self.spread

    def optax(self):
        def scale(updates, x):
            return jax.tree.map(lambda u, c: c * u, updates, self._tree(updates))

        return optax.chain(self.optimizer.optax(), optax.stateless(scale))
