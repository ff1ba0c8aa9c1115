"""The modified flow compared with the flow: how much nearer it is to the map."""

from typing import Any

import equinox as eqx
from jaxtyping import Array

from ..derivations import Modified
from ..optimizers import AbstractOptimizer
from ..optimizers.wrappers.noise import must_have_no_noise
from ..problems import Problem
from ..runs.iterate import iterate
from ..runs.trajectory import Trajectory
from .compare import Comparison, compare_with_map


class ModifiedComparison(eqx.Module):
    """A map compared with its flow and with its modified flow.

    - `comparison`: the map and the flow of the optimizer.
    - `modified`: the same map and the flow of `Modified(optimizer, order)`.
    - `t`, `error`, `modified_error`: the times and the two global errors, shape `(n+1,)`.
    - `map`, `flow`, `modified_flow`: the three trajectories.
    - `optimizer`, `problem`: the optimizer and the problem that were run.
    """

    comparison: Comparison
    modified: Comparison

    @property
    def t(self) -> Array:
        return self.comparison.t

    @property
    def error(self) -> Array:
        return self.comparison.error

    @property
    def modified_error(self) -> Array:
        return self.modified.error

    @property
    def map(self) -> Trajectory:
        return self.comparison.map

    @property
    def flow(self) -> Trajectory:
        return self.comparison.flow

    @property
    def modified_flow(self) -> Trajectory:
        return self.modified.flow

    @property
    def optimizer(self) -> AbstractOptimizer:
        return self.comparison.optimizer

    @property
    def problem(self) -> Problem:
        return self.comparison.problem

    def __repr__(self) -> str:
        errors = (
            f"largest error {float(self.comparison.largest):.3g}, "
            f"of the modified flow {float(self.modified.largest):.3g}"
        )
        return f"ModifiedComparison({self.optimizer} on {self.problem.name}, {errors})"


def modified(
    optimizer: AbstractOptimizer,
    problem: Problem,
    steps: int,
    *,
    order: int = 2,
    x0: Any = None,
    throw: bool = True,
) -> ModifiedComparison:
    """Compare one run of the map with its flow and with the flow of `Modified(optimizer, order)`.

    Both errors are those of `compare`. Where the map is smooth, the error of the flow is O(h) and
    that of the modified flow O(h^order).

    - `order`: 2 or 3, as for `Modified`.
    - `steps`, `x0`, `throw`: as for `iterate`.

    **Warns:** as `compare` and `Modified` do.

    **Raises:** as `compare` and `Modified` do.

    >>> from dynopt import SGD, problems
    >>> result = modified(SGD(0.03), problems.quadratic(), 50)
    >>> print(f"{result.error.max():.3f} {result.modified_error.max():.3f}")
    0.095 0.018
    """
    must_have_no_noise("modified", optimizer)
    other = Modified(optimizer, order)
    map_run = iterate(optimizer, problem, steps, x0=x0, throw=throw)
    return ModifiedComparison(
        compare_with_map(map_run, optimizer, problem, steps, x0, throw),
        compare_with_map(map_run, other, problem, steps, x0, throw),
    )
