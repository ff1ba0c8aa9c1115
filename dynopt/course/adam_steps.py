"""What the exercises of notebook 08 measure: steps of Adam beside those of optax, and beside signs.

>>> from dynopt import Adam
>>> print(f"{disagreement(Adam(1.0)):.2f} {disagreement(Adam(1.0, b1=0.0)):.3f}")
0.79 0.008
"""

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import optax

from ..errors import InvalidType
from ..optimizers import Adam
from ..problems import booth
from ..runs import iterate

RATE = 0.02


def difference(step: Any) -> Any:
    """The largest difference between a hundred of your steps and those of `optax.adam(0.02)`.

    Both start at the usual start of `dynopt.problems.booth()` with running means of 0.

    - `step`: a function of k = 1, 2, ..., the position x, the running means m and v, and the
      gradient g at x; it returns the next x, m and v. If it returns `...`, so does this function.

    **Raises:** `InvalidType` if `step` is no function, or returns anything else.
    """
    if not callable(step):
        raise InvalidType(
            f"`step` must be a function, got {step!r}; pass your step, without parentheses."
        )
    grad, path = jax.grad(booth().loss), _optax_path()
    y = path[0], jnp.zeros(2), jnp.zeros(2)
    largest = 0.0
    for k, x in enumerate(path[1:], start=1):
        y = step(k, *y, grad(y[0]))
        if y is ...:
            return y
        if not (isinstance(y, tuple | list) and [jnp.shape(part) for part in y] == [(2,)] * 3):
            raise InvalidType(
                f"a step must return the next x, m and v, each of two numbers, got {y!r}; end it "
                "by return x, m, v."
            )
        largest = max(largest, float(jnp.abs(y[0] - x).max()))
    return largest


def disagreement(optimizer: Any) -> float:
    """1 minus the mean cosine of the angle between a step and -sign(g).

    The mean is taken over 200 steps from the usual start of `dynopt.problems.booth()`.

    - `optimizer`: a `dynopt.Adam`.

    **Raises:** `InvalidType` for anything else; `SolverFailure` if the run diverges.
    """
    if not isinstance(optimizer, Adam):
        raise InvalidType(
            f"`optimizer` must be an Adam, got {optimizer!r}; pass Adam(0.02, b1=0.9, b2=0.999), "
            "for example."
        )
    problem = booth()
    x = iterate(optimizer, problem, 200).x
    steps, signs = jnp.diff(x, axis=0), -jnp.sign(jax.vmap(jax.grad(problem.loss))(x[:-1]))
    lengths = jnp.linalg.norm(steps, axis=1) * jnp.linalg.norm(signs, axis=1)
    return float(1 - ((steps * signs).sum(1) / lengths).mean())


@cache
def _optax_path() -> list[jax.Array]:
    """The positions of a hundred steps of optax, and the start before them."""
    transformation, grad = optax.adam(RATE), jax.grad(booth().loss)
    path = [jnp.array(booth().x0)]
    state = transformation.init(path[0])
    for _ in range(100):
        update, state = transformation.update(grad(path[-1]), state)
        path.append(jnp.asarray(optax.apply_updates(path[-1], update)))
    return path
