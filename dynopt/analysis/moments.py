"""Exact moments: the mean and the covariance of a noisy map and of its stochastic flow."""

from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Float

from ..checks import whole_number
from ..optimizers import AbstractOptimizer
from ..problems import Problem
from ..runs.prepare import MAX_STEPS
from .affine_law import TwoMoments, affine_laws


class Moments(eqx.Module):
    """The exact moments of a noisy optimizer on a problem, at the times t = 0, h, 2h, ...

    - `t`: the times, of shape `(n+1,)`.
    - `map`: the `TwoMoments` of the map, with the axis of the times in front.
    - `flow`: those of its stochastic flow; None if the optimizer has no flow.
    - `modified`: those of the modified stochastic flow; None if no modified equation is known.
    - `optimizer`, `problem`: what they belong to.
    """

    t: Float[np.ndarray, " n"]
    map: TwoMoments
    flow: TwoMoments | None
    modified: TwoMoments | None
    optimizer: AbstractOptimizer
    problem: Problem

    def __repr__(self) -> str:
        dim = self.map.mean.shape[-1]
        what = f"{self.optimizer!r} on {self.problem.name}"
        return f"Moments(of {what}, {len(self.t)} times, {dim} coordinates of phase space)"


def moments(
    optimizer: AbstractOptimizer, problem: Problem, steps: int, *, x0: Any = None
) -> Moments:
    """The mean and the covariance of map, flow and modified flow, without any random number.

    They are exact where a step is affine in the point y and in the noise ξ, which has the mean 0
    and the covariance 1,

        yₖ₊₁ = M yₖ + m + Σⱼ ξⱼ Nⱼ(yₖ)    with affine Nⱼ.

    With z = (y, 1) the second moments Q = E z zᵀ then obey a recursion, and those of the flow,
    whose drift is A z and whose columns are Bⱼ z, a linear differential equation,

        Qₖ₊₁ = M Qₖ Mᵀ + Σⱼ Nⱼ Qₖ Nⱼᵀ,    dQ/dt = A Q + Q Aᵀ + Σⱼ Bⱼ Q Bⱼᵀ,

    which is solved by a matrix exponential. So it is for quadratic losses and optimizers that are
    affine in the gradient, such as `SGD`, `Momentum`, `Nesterov`, averages of them, and chains of
    optax of this kind, with `Noisy`, `Langevin` or `Minibatch` anywhere inside. Whether it is so is
    tested by evaluation. Everything is computed in float64, whatever JAX is set to.

    - `optimizer`: an optimizer with noise; its key is not used.
    - `steps`: the number of steps of the map, 0 or more.
    - `x0`: the start, by default that of the problem.

    **Raises:** `InvalidValue` for an optimizer without noise or with batches drawn without
    replacement, where step or flow are not affine or depend on the time, inside a JAX
    transformation, and in phase spaces of more than 300 coordinates, or of more than 40 if the law
    of the noise depends on the position; `InvalidType` for wrong types.

    >>> from dynopt import SGD, Noisy, Problem
    >>> bowl = Problem(lambda x: (x**2).sum() / 2, [1.0], name="bowl")
    >>> result = moments(Noisy(SGD(0.1), sigma=1.0), bowl, 200)
    >>> print(f"{result.map.cov[-1, 0, 0]:.6f}")  # η/(2 - η)
    0.052632
    >>> print(f"{result.flow.cov[-1, 0, 0]:.6f}, {result.modified.cov[-1, 0, 0]:.6f}")  # η/2
    0.050000, 0.052500

    Source: Q. Li, C. Tai and W. E, "Stochastic modified equations and dynamics of stochastic
    gradient algorithms I" (2019); for the matrix exponential C. Van Loan, "Computing integrals
    involving the matrix exponential" (1978).
    """
    steps = whole_number("steps", steps, least=0, most=MAX_STEPS, like=100)
    laws = affine_laws("moments", optimizer, problem, x0)
    moments_of = [law and TwoMoments(*law.run(steps)) for law in laws]
    t = np.arange(steps + 1) * float(optimizer.h)
    return Moments(t, *moments_of, optimizer, problem)  # pyright: ignore
