"""What an exercise of notebook 17 measures: how much later rare entities are learned.

>>> import jax
>>> import jax.numpy as jnp
>>> from dynopt import SGD, WithGradient
>>> signs = WithGradient(SGD(0.01), lambda g: jax.tree.map(jnp.sign, g))
>>> print(f"{steepness(signs):.2f}")
0.13
"""

from typing import Any

from ..analysis import half_times
from ..errors import InvalidType
from ..optimizers import SGD, WithGradient
from ..problems import entity_linking
from ..runs import iterate

MENTIONS, STEPS = 1024, 400


def steepness(optimizer: Any) -> float:
    """|slope| of log(half-time) over log(count) on a small problem of entity linking, in 400 steps.

    It is infinite if the loss of some entity is not halved by then.

    - `optimizer`: gradient descent with another gradient, `WithGradient(SGD(...), T)`.

    **Raises:** `InvalidType` for anything else; and as `iterate` does.
    """
    if not isinstance(optimizer, WithGradient) or not isinstance(optimizer.optimizer, SGD):
        raise InvalidType(
            f"`optimizer` must be gradient descent with another gradient, got {optimizer!r}; pass "
            "WithGradient(SGD(0.05), T)."
        )
    problem = entity_linking(mentions=MENTIONS)
    result = half_times(iterate(optimizer, problem, STEPS, throw=False))
    return float("inf") if result.unreached else abs(result.slope)
