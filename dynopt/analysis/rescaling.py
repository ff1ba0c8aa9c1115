"""Rescaling: an optimizer in other units of the position, and the corrected learning rate."""

import math
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
from ..optimizers.base import hyperparameter_defaults
from ..optimizers.wrappers.base import AbstractDerived, AbstractWrapper
from ..optimizers.wrappers.noise import must_have_no_noise
from ..problems import Problem
from ..problems.probe import must_be_gradient
from ..problems.problem import must_be_problem
from ..runs.iterate import iterate
from ..runs.prepare import flatten_loss, prepare_run
from ..runs.trajectory import Trajectory
from .compare import distance


class Rescaling(eqx.Module):
    """A run in x, two runs in z with x = λz, and their distance from it after each step.

    - `map`: the run of the optimizer on f(x).
    - `same_rate`: the run of the same optimizer on f(λz).
    - `corrected`: the run on f(λz) with the learning rate divided by `factor`. Positions of the
      last two runs are given in x; their memories, gradients and times are those of z.
    - `distance`: |λzₖ - xₖ| of the corrected run, shape `(n+1,)`; NaN where a run has failed.
    - `same_rate_distance`: the same of the run at the same rate.
    - `power`: the p for which the first step is proportional to |g|^p.
    - `factor`: λ^(1+p).
    - `scale`: λ.
    - `optimizer`, `corrected_optimizer`, `problem`: what was run.
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
        same, corrected = (
            f"{float(jnp.nanmax(d)):.3g}" for d in (self.same_rate_distance, self.distance)
        )
        return (
            f"Rescaling({self.optimizer} on {self.problem.name} with x = {float(self.scale):g} z, "
            f"distance {corrected} with the learning rate / {float(self.factor):.4g}, {same} with "
            "the same)"
        )


def rescaling(
    optimizer: AbstractOptimizer,
    problem: Problem,
    steps: int,
    scale,
    *,
    x0: Any = None,
    throw: bool = True,
) -> Rescaling:
    """Run the map on f(x), and on f(λz) with x = λz at two learning rates.

    The two rates are the same one, and the one that makes up for the scale λ. By the chain rule
    the gradient in z is λ∇f, and a step Δz moves x = λz by λ Δz. If steps are proportional to
    |g|^p, then

        x_{k+1} = xₖ - η λ^(1+p) (the step under ∇f),

    so the learning rate η in z acts like the learning rate λ^(1+p) η in x. This is λ² η for
    gradient descent, the heavy ball and whatever is linear in its gradients (p = 1), and λ η for
    Adam and RMSprop with ε = 0 and for the sign methods (p = 0). The rate divided by this factor
    gives the same path, up to round-off.

    The power p is measured: the optimizer takes its first step under ∇f and under 2∇f, and p is
    rounded to one decimal. Where a constant such as ε is in between, or weights decay, no learning
    rate gives the same path; `distance` says how far the corrected run deviates.

    The other hyperparameters are those of the constructor: decay rates stay, and memory times
    scale with the time step. One compilation serves every λ.

    - `scale`: λ > 0.
    - `steps`, `x0`, `throw`: as for `iterate`, with `x0` in x.

    **Raises:** `InvalidValue` if the optimizer is not made from a learning rate, if its first step
    does not move, or if the dtype of the start has no number for λ^(1+p) or for the corrected rate;
    `ProblemError` if the field of the problem is no gradient, as in a game; and as `iterate` does,
    for each of the three runs.

    >>> from dynopt import SGD
    >>> bowl = Problem(lambda x: (x**2).sum() / 2, [1.0], name="bowl")
    >>> result = rescaling(SGD(0.5), bowl, 3, 0.5)
    >>> result.factor, result.corrected_optimizer
    (0.25, SGD(learning_rate=2))
    >>> for run in (result.map, result.corrected, result.same_rate):
    ...     print(run.x[:, 0].tolist())
    [1.0, 0.5, 0.25, 0.125]
    [1.0, 0.5, 0.25, 0.125]
    [1.0, 0.875, 0.765625, 0.669921875]

    Source: the chain rule; D. P. Kingma and J. Ba, "Adam: a method for stochastic optimization"
    (2014), section 2.1, for steps that do not grow with the gradient.
    """
    must_have_no_noise("rescaling", optimizer)
    scale = positive("scale", scale)
    if isinstance(optimizer, Modified):
        optimizer = optimizer.optimizer
    must_be_problem(problem)
    if not problem.conservative:
        must_be_gradient(problem, "rescaling")
    fitted, start, _, _ = prepare_run(optimizer, problem, x0)
    rate = learning_rate_of(optimizer)

    def run(optimizer: AbstractOptimizer, scale: Scalar) -> Trajectory:
        """A run on f(scale z), with its positions given in x."""
        unit = jnp.asarray(scale, jnp.result_type(*jax.tree.leaves(start)))
        z0 = jax.tree.map(lambda leaf: leaf / unit, start)
        scaled = Problem(ScaledLoss(problem.loss, unit), z0, name=problem.name)
        trajectory = iterate(optimizer, scaled, steps, throw=throw)
        y = trajectory.y
        return eqx.tree_at(lambda run: run.y, trajectory, y._replace(x=unit * y.x))

    map_run = run(optimizer, 1.0)
    power = gradient_power(fitted, problem.loss, start)
    power = float(power) + 0.0 if is_concrete(power) else power  # -0.0 becomes 0.0
    if isinstance(power, float) and not abs(power) < 10:
        raise InvalidValue(
            f"the first step of {optimizer!r} on {problem.name} does not move, so it does not tell "
            "how the learning rate should change; start where the gradient is not 0, or pass an "
            "optimizer that moves at once."
        )
    _must_be_representable(scale, power, rate, jnp.result_type(*jax.tree.leaves(start)))
    factor = scale ** (1 + power)
    corrected_optimizer = with_learning_rate(optimizer, rate / factor)
    same_rate, corrected = run(optimizer, scale), run(corrected_optimizer, scale)
    return Rescaling(
        map=map_run,
        same_rate=same_rate,
        corrected=corrected,
        distance=distance(map_run, corrected),
        same_rate_distance=distance(map_run, same_rate),
        power=power,
        factor=factor,
        scale=scale,
        optimizer=optimizer,
        corrected_optimizer=corrected_optimizer,
        problem=problem,
    )


class ScaledLoss(eqx.Module):
    """f(λz) as a function of z; a loss over data keeps its parts."""

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
def gradient_power(optimizer: AbstractOptimizer, loss: Callable, start: PyTree) -> Array:
    """The p for which the first step from the start is proportional to |g|^p, to one decimal.

    It is NaN or infinite if the first step does not move.
    """
    x, _, grad = flatten_loss(loss, start)
    g = grad(x)

    def step_length(factor):
        def scaled_grad(x):
            return factor * g

        y = optimizer.init(x, scaled_grad)
        return jnp.linalg.norm(optimizer.step(jnp.zeros((), x.dtype), y, scaled_grad).x - x)

    return jnp.round(jnp.log2(step_length(2.0) / step_length(1.0)), 1)


def _must_be_representable(scale: Scalar, power: Scalar, rate: Scalar, dtype: Any) -> None:
    """**Raises:** `InvalidValue` if `dtype` has no number for λ, λ^(1+p) or the new rate."""
    if not is_concrete((scale, power, rate)):
        return
    scale, power, rate = float(scale), float(power), float(rate)
    log_factor = (1 + power) * math.log(scale)
    exponents = math.log(scale), log_factor, math.log(rate) - log_factor
    if max(map(abs, exponents)) > -math.log(float(jnp.finfo(dtype).tiny)):
        raise InvalidValue(
            f"`scale` is {scale:g}, so the corrected learning rate {rate:g}/{scale:g}^{1 + power:g}"
            f" cannot be computed in {dtype}; use a `scale` nearer to 1."
        )


def learning_rate_of(optimizer: AbstractOptimizer) -> Scalar:
    """The learning rate from which the optimizer, or the one inside a wrapper, was made.

    **Raises:** `InvalidValue` if there is none.
    """
    if isinstance(optimizer, AbstractWrapper):
        return learning_rate_of(optimizer.optimizer)
    hyperparameters = optimizer.hyperparameters()
    if "learning_rate" not in hyperparameters:
        raise InvalidValue(
            f"{optimizer!r} is not made from a `learning_rate`; pass an optimizer such as "
            "dynopt.SGD(0.1)."
        )
    return hyperparameters["learning_rate"]


def with_learning_rate(optimizer: AbstractOptimizer, rate: Any) -> AbstractOptimizer:
    """The optimizer made anew with another learning rate, inside of all that is made from it.

    Its other hyperparameters stay. One that is not made from a learning rate gets another time
    step.

    **Raises:** `InvalidValue` if it does not keep the arguments of its constructor.
    """
    if isinstance(optimizer, AbstractDerived):
        return optimizer.rewrap(with_learning_rate(optimizer.optimizer, rate))
    names, values = hyperparameter_defaults(type(optimizer)), optimizer.hyperparameters()
    if "learning_rate" not in names:
        return optimizer.with_time_step(rate)
    if names.keys() != values.keys():
        raise InvalidValue(f"{optimizer!r} does not keep the arguments of its constructor.")
    return type(optimizer)(**values | {"learning_rate": rate})
