"""The stationary law: the mean and the covariance that a noisy map and its flow approach."""

import equinox as eqx
import jax
import numpy as np

from ..optimizers import AbstractOptimizer
from ..problems import Problem
from .affine_law import AbstractLaw, TwoMoments, affine_laws


class Stationary(eqx.Module):
    """The mean and the covariance of the stationary law of a noisy optimizer on a problem.

    - `map`: the `TwoMoments` of the map, all NaN where there is no stationary law.
    - `flow`: those of its stochastic flow; None if the optimizer has no flow.
    - `modified`: those of the modified stochastic flow; None if no modified equation is known.
    - `dim`: the number of coordinates of the position, which are the first ones.
    - `optimizer`, `problem`: what they belong to.
    """

    map: TwoMoments
    flow: TwoMoments | None
    modified: TwoMoments | None
    dim: int
    optimizer: AbstractOptimizer
    problem: Problem

    def __repr__(self) -> str:
        laws = {"map": self.map, "flow": self.flow, "modified flow": self.modified}
        variances = ", ".join(
            f"{self._total_variance(law)} of the {name}" for name, law in laws.items() if law
        )
        what = f"{self.optimizer!r} on {self.problem.name}"
        return f"Stationary(of {what}, E|x - E x|²: {variances})"

    def _total_variance(self, law: TwoMoments) -> str:
        total = np.trace(law.cov[: self.dim, : self.dim])
        return "none" if np.isnan(total) else f"{total:.6g}"


def stationary(optimizer: AbstractOptimizer, problem: Problem) -> Stationary:
    """The mean and the covariance of the stationary law of map, flow and modified flow.

    For noise with the same law everywhere the covariance Σ solves a Lyapunov equation,

        Σ = M Σ Mᵀ + N Nᵀ              of the map yₖ₊₁ = M yₖ + m + N ξₖ
        A Σ + Σ Aᵀ + B Bᵀ = 0          of the flow dy = (A y + a) dt + B dW

    and for noise that depends on the position, as that of a `Minibatch`, the second moments solve
    the linear equation of `moments` with its further terms. A stationary law of the map exists if
    the spectral radius of M is below 1, and one of the flow if all eigenvalues of A have negative
    real parts; with noise that depends on the position, the second moments must contract, too.
    Where there is none, as on a loss that is flat in one direction, all numbers are NaN.

    The optimizers and the problems are those of `moments`; everything is computed in float64.

    - `optimizer`: an optimizer with noise; its key is not used.

    **Raises:** as `moments` does.

    >>> from dynopt import SGD, Noisy, Problem
    >>> bowl = Problem(lambda x: (x**2).sum() / 2, [1.0], name="bowl")
    >>> law = stationary(Noisy(SGD(0.1), sigma=1.0), bowl)
    >>> print(f"{law.map.cov[0, 0]:.9f}, {0.1 / 1.9:.9f}")  # η/(2 - η)
    0.052631579, 0.052631579
    >>> bool(np.isnan(stationary(Noisy(SGD(2.0), sigma=1.0), bowl).map.cov))
    True

    Source: K. Liu, L. Ziyin and M. Ueda, "Noise and fluctuation of finite learning rate stochastic
    gradient descent" (2021).
    """
    laws = affine_laws("stationary", optimizer, problem, None)
    dim = sum(np.size(leaf) for leaf in jax.tree.leaves(problem.start()))
    return Stationary(*(law and _limit(law) for law in laws), dim, optimizer, problem)  # pyright: ignore


def _limit(law: AbstractLaw) -> TwoMoments:
    dim = len(law.start) - 1
    nothing = np.full(dim, np.nan), np.full((dim, dim), np.nan)
    return TwoMoments(*(law.limit() or nothing))
