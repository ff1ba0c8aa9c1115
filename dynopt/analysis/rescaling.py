"""Rescaling: the same page in other units of the position, and the learning rate that makes up for them."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ..checks import Scalar, is_concrete, positive
from ..derivations import Modified
from ..errors import InvalidValue
from ..optimizers import AbstractOptimizer
from ..optimizers.wrappers.base import AbstractWrapper
from ..problems import Problem
from ..runs.iterate import iterate
from ..runs.prepare import flatten_loss, prepare_run
from ..runs.trajectory import Trajectory
from .compare import distance


class Rescaling(eqx.Module):
    """A run in x, two in z with x = λz, and how far these are from it after each step.

    - `map`: the page on f(x). - `same_rate`: the same page on f(λz). - `corrected`: that with its rate divided by
      `factor`. Of the last two the positions are given in x; memories, slopes and times are those of z.
    - `distance`: |λzₖ - xₖ| of the corrected run, shape `(n+1,)`; NaN where a run has failed. - `same_rate_distance`:
      the same of the run at the same rate.
    - `power`: p, if the first step grows like |g|^p. - `factor`: λ^(1+p). - `scale`: λ.
    - `optimizer`, `corrected_optimizer`, `problem`: who ran, and where.
    """

    map: Trajectory
    same_rate: Trajectory
    corrected: Trajectory
    distance: Float[Array, " n"]
    same_rate_distance: Float[Array, " n"]
    power: Scalar
    factor: Scalar
    scale: Scalar
    optimizer: AbstractOptimizer
    corrected_optimizer: AbstractOptimizer
    problem: Problem

    def __repr__(self) -> str:
        found = (
            f"{float(jnp.nanmax(self.distance)):.3g} apart with the rate / {float(self.factor):.4g}"
        )
        same = f"{float(jnp.nanmax(self.same_rate_distance)):.3g} with the same"
        return f"Rescaling({self.optimizer} on {self.problem.name} with x = {float(self.scale):g} z, {found}, {same})"


def rescaling(
    optimizer: AbstractOptimizer,
    problem: Problem,
    steps: int,
    scale,
    *,
    x0: Any = None,
    throw: bool = True,
) -> Rescaling:
    """Run the map in x, and in z on f(λz), at the same learning rate and at the one that makes up for the scale λ.

    By the chain rule the gradient in z is λ∇f, and a step Δz moves x = λz by λ Δz. So if steps grow like |g|^p,

        x_{k+1} = xₖ - η λ^(1+p) (the step under ∇f),

    and the rate η in z acts as the rate λ^(1+p) η in x: λ² η for gradient descent, the heavy ball and whatever is
    linear in its gradients (p = 1); λ η for Adam and RMSprop with ε = 0 and for the sign methods (p = 0). Divided by
    that factor, the rate gives the same path, up to round-off. How the step grows is asked of the page itself: its
    first step is taken under ∇f and under 2∇f, and p read off to one decimal. Where a floor such as ε is in between, or
    weights decay, no rate gives the same path; `distance` says how far the one that was found leads.

    The other hyperparameters are those of the constructor: decays stay, and memory times go with the clock.

    - `scale`: λ > 0. - `steps`, `x0`, `throw`: as for `iterate`, with `x0` in x. One compilation serves every λ.

    **Raises:** `InvalidValue` if the page is not made from a learning rate, or its first step does not move; and as
    `iterate` does, of each of the three runs.

    >>> from dynopt import SGD
    >>> bowl = Problem(lambda x: (x**2).sum() / 2, [1.0], name="bowl")
    >>> seen = rescaling(SGD(0.5), bowl, 3, 0.5)
    >>> seen.factor, seen.corrected_optimizer
    (0.25, SGD(learning_rate=2))
    >>> [run.x[:, 0].tolist() for run in (seen.map, seen.corrected, seen.same_rate)]
    [[1.0, 0.5, 0.25, 0.125], [1.0, 0.5, 0.25, 0.125], [1.0, 0.875, 0.765625, 0.669921875]]

    Source: the chain rule; D. P. Kingma and J. Ba, "Adam: a method for stochastic optimization" (2014), section 2.1,
    for steps that do not grow with the gradient.
    """
    scale = positive("scale", scale)
    if isinstance(optimizer, Modified):
        optimizer = optimizer.optimizer
    page, start, _, _ = prepare_run(optimizer, problem, x0)
    rate = rate_of(optimizer)

    def run(page: AbstractOptimizer, scale: Scalar) -> Trajectory:
        unit = jnp.asarray(scale, jnp.result_type(*jax.tree.leaves(start)))
        z0 = jax.tree.map(lambda leaf: leaf / unit, start)
        ran = iterate(
            page, Problem(Scaled(problem.loss, unit), z0, name=problem.name), steps, throw=throw
        )
        return eqx.tree_at(lambda ran: ran.y, ran, ran.y._replace(x=unit * ran.y.x))

    map = run(optimizer, 1.0)
    growth = power(page, problem.loss, start)
    growth = float(growth) + 0.0 if is_concrete(growth) else growth  # -0.0 is 0
    if isinstance(growth, float) and not abs(growth) < 10:
        raise InvalidValue(
            f"the first step of {optimizer!r} on {problem.name} does not move, so it does not say how the rate should "
            "change; start where the gradient is not 0, or pass a page that moves at once."
        )
    factor = scale ** (1 + growth)
    other = _with_rate(optimizer, rate / factor)
    same_rate, corrected = run(optimizer, scale), run(other, scale)
    apart = distance(map, corrected), distance(map, same_rate)
    return Rescaling(
        map, same_rate, corrected, *apart, growth, factor, scale, optimizer, other, problem
    )


class Scaled(eqx.Module):
    """f(λz), as a function of z; over data also part by part."""

    loss: Callable
    scale: Array

    def __call__(self, z):
        return self.loss(self._x(z))

    @property
    def part(self):
        part = getattr(self.loss, "part", None)
        return part and (lambda z, i, k: part(self._x(z), i, k))

    def _x(self, z: PyTree) -> PyTree:
        return jax.tree.map(lambda leaf: self.scale * leaf, z)


@eqx.filter_jit
def power(optimizer: AbstractOptimizer, loss: Callable, start: PyTree) -> Array:
    """p, if the first step from the start is proportional to |g|^p, to one decimal; NaN or infinity if it is none."""
    x, _, grad = flatten_loss(loss, start)
    g = grad(x)

    def length(scale):
        def pull(x):
            return scale * g

        return jnp.linalg.norm(
            optimizer.step(jnp.zeros((), x.dtype), optimizer.init(x, pull), pull).x - x
        )

    return jnp.round(jnp.log2(length(2.0) / length(1.0)), 1)


def rate_of(optimizer: AbstractOptimizer) -> Scalar:
    """The learning rate that the page, or the page inside it, was made from."""
    own = optimizer.hyperparameters()
    if isinstance(own.get("optimizer"), AbstractOptimizer):
        return rate_of(own["optimizer"])
    if "learning_rate" not in own:
        raise InvalidValue(
            f"{optimizer!r} is not made from a `learning_rate`; pass a page such as dynopt.SGD(0.1)."
        )
    return own["learning_rate"]


def _with_rate(optimizer: AbstractOptimizer, rate: Scalar) -> AbstractOptimizer:
    """The page made anew, with another learning rate and the other arguments of its constructor as they were."""
    if isinstance(optimizer, AbstractWrapper):
        return optimizer.rewrap(_with_rate(optimizer.optimizer, rate))
    return type(optimizer)(**(optimizer.hyperparameters() | {"learning_rate": rate}))
