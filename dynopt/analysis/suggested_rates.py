"""Suggested learning rates: for each optimizer one at which its run on a problem can be watched."""

from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from ..checks import must_be_concrete, whole_number
from ..errors import InvalidType, ProblemError
from ..optimizers import AbstractOptimizer
from ..optimizers.base import hyperparameter_defaults
from ..problems import Problem
from ..problems.probe import must_be_gradient
from ..problems.problem import must_be_problem
from ..runs.prepare import flatten_loss
from .sharpness import largest_curvature


def suggested_rates(
    problem: Problem, optimizers: Mapping[str, type[AbstractOptimizer]], steps: int, x0: Any = None
) -> dict[str, float]:
    """A learning rate η for each optimizer, in two digits, at which its run shows what it does.

    The rule asks each optimizer for the length of its first step under a gradient g and under 2g,
    and for the length of its last step.

    - Where the first step is twice as long under 2g (gradient descent, heavy ball), η has the unit
      of 1/curvature. The rule is η = 1/(2λ), with λ the largest |curvature| at the start or at a
      known minimizer. Gradient descent becomes unstable at 2/λ; a quarter of that is safe, and
      large enough for map and flow to differ visibly.
    - Where both first steps are equally long (RMSprop, Adam), each step is about c η in every
      coordinate, with c = 1 unless the steps shrink (AdaGrad) or grow (AdaBelief). The rule is
      η = 2d/(c steps), with d the longest side of the way to the nearest minimizer, so that the
      path can arrive after half of the steps, or take a bend. Where no minimizer is known,
      d = 1 + the largest |coordinate| of the start.

    For an optimizer between the two, the rule is the weighted geometric mean. Where the curvature
    is 0, 2d/(steps |g|) takes the place of 1/(2λ).

    - `optimizers`: classes such as `dynopt.Adam`, by name; each is made as `kind(learning_rate)`.
    - `steps`: the number of steps of the run.
    - `x0`: the start, by default that of the problem.

    Returns a dict with the names of `optimizers`.

    **Raises:** `InvalidType` if `optimizers` holds anything but such classes; `InvalidValue` if
    `steps` is below 1, and inside a JAX transformation, because rates are rounded; `ProblemError`
    if the loss or its gradient is not finite at the start, or if the field of the problem is no
    gradient, as in a game.

    >>> from dynopt import SGD, Adam, problems
    >>> suggested_rates(problems.quadratic([2.0, 50.0]), {"sgd": SGD, "adam": Adam}, steps=80)
    {'sgd': 0.01, 'adam': 0.05}
    """
    must_be_concrete("suggested_rates", problem, x0)
    must_be_problem(problem)
    must_be_gradient(problem, "suggested_rates")
    steps = whole_number("steps", steps, least=1, like=100)
    if not isinstance(optimizers, Mapping):
        raise InvalidType(
            f"`optimizers` must be a dict of classes by their names, got {optimizers!r}; pass for "
            "example {'sgd': dynopt.SGD}."
        )
    for name, kind in optimizers.items():
        is_kind = isinstance(kind, type) and issubclass(kind, AbstractOptimizer)
        if not (is_kind and "learning_rate" in hyperparameter_defaults(kind)):
            raise InvalidType(
                "`optimizers` must map names to classes that are made from a `learning_rate`, got "
                f"{name!r}: {kind!r}; pass for example {{'sgd': dynopt.SGD}}."
            )
    start = problem.start(x0)
    x = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(start)])
    minimizers = np.zeros((0, x.size)) if problem.minimizers is None else problem.minimizers
    loss, slope, curvature, step_lengths = jax.device_get(
        _measurements(
            problem.loss, start, np.asarray(minimizers), tuple(optimizers.values()), steps
        )
    )
    if not np.isfinite(loss) or not np.isfinite(slope):
        raise ProblemError(
            f"{problem.name} starts where its loss is {loss:.3g} and the norm of its gradient "
            f"{slope:.3g}; start where both are finite."
        )
    distances = np.abs(minimizers - x).max(-1)
    distance = min(distances[distances > 0], default=1 + np.abs(x).max())
    stride = 2 * distance / steps
    scale = 1 / (2 * curvature) if curvature > 0 else stride / slope if slope > 0 else stride
    rates = ((stride / last) ** (1 - power) * scale**power for power, last in step_lengths)
    return {name: float(f"{rate:.2g}") for name, rate in zip(optimizers, rates, strict=True)}


@eqx.filter_jit
def _measurements(
    loss: Callable,
    start: PyTree,
    minimizers: Array | np.ndarray,
    optimizers: tuple[type[AbstractOptimizer], ...],
    steps: int,
):
    """f and |∇f| at the start, the largest |curvature|, and the step lengths of each optimizer."""
    x, flat_loss, grad = flatten_loss(loss, start)
    points = jnp.concatenate([x[None], jnp.asarray(minimizers, x.dtype)])
    curvatures = jax.vmap(lambda x: largest_curvature(grad, x, absolute=True))(points)
    return (
        flat_loss(x),
        jnp.linalg.norm(grad(x)),
        jnp.nan_to_num(curvatures, nan=0, posinf=0).max(),
        [_step_lengths(optimizer, x.dtype, steps) for optimizer in optimizers],
    )


def _step_lengths(kind: type[AbstractOptimizer], dtype: Any, steps: int) -> tuple[Array, Array]:
    """The p for which the first step is proportional to |g|^p, and the length of the last step.

    The last step is that of a run of `steps` steps with the learning rate 1 under the gradient 1.
    """
    optimizer = kind(1.0)
    x0 = jnp.zeros((1,) if optimizer.elementwise else (1, 1), dtype)

    def last_step(g, steps):
        def one_step(k, carry):
            y, _ = carry
            t = jnp.asarray(k * optimizer.h, dtype)
            after = optimizer.step(t, y, lambda x: jnp.full_like(x, g))
            return after, jnp.abs(after.x - y.x).ravel()[0]

        start = optimizer.init(x0, lambda x: x), jnp.zeros((), dtype)
        return jax.lax.fori_loop(0, steps, one_step, start)[1]

    power = jnp.round(jnp.log2(last_step(2.0, 1) / last_step(1.0, 1)), 1)
    return power, last_step(1.0, steps)
