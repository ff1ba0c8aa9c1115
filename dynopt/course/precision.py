"""Round-off: the error of the map in two number formats as the time step is refined.

In float32 the error falls with the time step only until round-off takes over.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ..analysis.order import MAX_REFINEMENTS, flows_differ
from ..checks import Scalar, positive, whole_number
from ..errors import EnvironmentProblem
from ..optimizers import AbstractOptimizer
from ..optimizers.base import must_be_optimizer
from ..problems import Problem
from ..problems.problem import must_be_problem
from ..runs.integrate import finest_rtol, integrate
from ..runs.iterate import iterate
from ..runs.trajectory import Trajectory


class Precision(eqx.Module):
    """The error |x_map(T) - x_flow(T)| at the time steps h, h/2, h/4, ..., in two number formats.

    - `h`: the time steps, shape `(refinements,)`.
    - `single`, `double`: the errors of the map in float32 and in float64, both against one flow in
      float64, shape `(refinements,)`.
    - `solver_error`: an estimate of the error of the flow itself.
    - `solver`, `rtol`: the solver of the flow and its relative tolerance.
    - `time`: the time T at which the errors are measured.
    - `optimizer`, `problem`: the optimizer and the problem that were run.
    """

    h: Float[np.ndarray, " n"]
    single: Float[np.ndarray, " n"]
    double: Float[np.ndarray, " n"]
    solver_error: float
    solver: str = eqx.field(static=True)
    rtol: float
    time: float
    optimizer: AbstractOptimizer
    problem: Problem

    @property
    def turn(self) -> float:
        """The time step h at which the error in float32 is smallest."""
        return float(self.h[np.nanargmin(self.single)])

    def __repr__(self) -> str:
        smallest = f"float32 at best {np.nanmin(self.single):.2g}, at h = {self.turn:.3g}"
        return f"Precision({self.optimizer} on {self.problem.name}, {smallest})"


def measure(
    optimizer: AbstractOptimizer,
    problem: Problem,
    time: Scalar,
    refinements: int = 8,
    *,
    x0: Any = None,
) -> Precision:
    """Measure the error at the time T while the time step is refined, h -> h/2 -> h/4 -> ...

    The truncation error is O(h). Round-off accumulates over the T/h steps and grows as h shrinks.
    In float32 the two meet where one can see it.

    - `time`: T, rounded to whole steps of the optimizer as it is, at least one.
    - `refinements`: the number of time steps, from 3 to 20.
    - `x0`: the start, as for `iterate`.

    **Raises:** `EnvironmentProblem` if float64 is turned off in JAX; and as `iterate` and
    `integrate` do.

    >>> from dynopt import SGD, Problem
    >>> bowl = Problem(lambda x: (x**2).sum() / 2, [1.0], name="bowl")
    >>> print(*(f"{error:.5f}" for error in measure(SGD(0.1), bowl, 1.0, 3).double))
    0.01920 0.00939 0.00465
    """
    if not jax.config.read("jax_enable_x64"):
        raise EnvironmentProblem(
            "float64 is off; call jax.config.update('jax_enable_x64', True) before anything else."
        )
    must_be_optimizer(optimizer)
    must_be_problem(problem)
    refinements = whole_number("refinements", refinements, least=3, most=MAX_REFINEMENTS, like=8)
    steps = max(1, round(float(positive("time", time)) / float(optimizer.h)))
    single_start, double_start = (
        jax.tree.map(lambda leaf, dtype=dtype: jnp.asarray(leaf, dtype), problem.start(x0))
        for dtype in ("float32", "float64")
    )
    optimizers = [optimizer.refine(2**i) for i in range(refinements)]
    counts = [steps * 2**i for i in range(refinements)]
    rtol = finest_rtol(jnp.float64, optimizer)

    def solve(i: int) -> list[Trajectory]:
        """The flow of one time step, and a second solution at a tolerance 10 times as large."""
        start, n = double_start, counts[i]
        return [
            integrate(optimizers[i], problem, n, x0=start, save_every=n, rtol=tolerance)
            for tolerance in (rtol, 10 * rtol)
        ]

    if flows_differ(optimizers, problem, double_start):
        flows = [solve(i) for i in range(refinements)]
    else:
        flows = [solve(0)] * refinements
    rows = []
    for refined, n, (flow, coarse) in zip(optimizers, counts, flows, strict=True):
        maps = [
            iterate(refined, problem, n, x0=start, save_every=n)
            for start in (single_start, double_start)
        ]
        errors = [float(np.linalg.norm(_end(run) - _end(flow))) for run in (*maps, coarse)]
        rows.append((float(refined.h), *errors))
    h, single, double, solver_errors = np.array(rows).T
    return Precision(
        h=h,
        single=single,
        double=double,
        solver_error=float(solver_errors.max()),
        solver=flows[0][0].stats["solver"],
        rtol=rtol,
        time=float(steps * optimizer.h),
        optimizer=optimizer,
        problem=problem,
    )


def _end(run: Trajectory) -> np.ndarray:
    return np.asarray(run.y.x[-1], float)
