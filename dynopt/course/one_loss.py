"""What an exercise of notebook 15 measures: one loss for two players, beside a loss for each.

>>> from jax.nn import log_sigmoid
>>> uncut = difference(lambda x, held: -log_sigmoid(-x[0] * x[1]) - log_sigmoid(x[0] * x[1]))
>>> print(f"{uncut:.2f}")
1.11
"""

from typing import Any

import jax
import jax.numpy as jnp

from ..errors import InvalidType
from ..problems import Held, dirac_gan

POSITIONS = jnp.array([[1.0, 0.5], [-0.7, 1.5], [2.0, -1.0], [0.0, 0.0]])


def difference(loss: Any) -> Any:
    """The largest difference between `Held(loss)` and two separate losses, in g and its Jacobian.

    The two losses are those of `dynopt.problems.dirac_gan("nsgan")`, at four positions.

    - `loss`: a function of the position x = (θ, ψ) and of the same position, held; it returns one
      number. If it returns `...`, so does this function.

    **Raises:** `InvalidType` if `loss` is no such function.
    """
    if not callable(loss):
        raise InvalidType(
            f"`loss` must be a function, got {loss!r}; pass your loss, without parentheses."
        )
    value = loss(POSITIONS[0], POSITIONS[0])
    if value is ...:
        return value
    if not isinstance(value, float | jax.Array) or jnp.shape(value) != ():
        raise InvalidType(
            f"a loss must return one number, got {value!r}; add the losses of the two players."
        )
    both = [_with_jacobian(field) for field in (Held(loss).field, _of_two_losses)]
    return max(float(jnp.abs(ours - theirs).max()) for ours, theirs in zip(*both, strict=True))


def _of_two_losses(x: jax.Array) -> jax.Array:
    """g(x) of the players θ and ψ, in this order."""
    field = dirac_gan("nsgan").field({"theta": x[0], "psi": x[1]})
    return jnp.stack([field["theta"], field["psi"]])


def _with_jacobian(field: Any) -> tuple[jax.Array, jax.Array]:
    return jax.vmap(field)(POSITIONS), jax.vmap(jax.jacfwd(field))(POSITIONS)
