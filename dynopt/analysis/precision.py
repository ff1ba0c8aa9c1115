"""Precision: the gap at the end in two number formats, as the clock is refined; one of them turns back."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..checks import Scalar, positive, whole_number
from ..errors import EnvironmentProblem
from ..optimizers import AbstractOptimizer
from ..optimizers.base import must_be_optimizer
from ..problems import Problem
from ..problems.problem import must_be_problem
from ..runs.integrate import finest_rtol, integrate
from ..runs.iterate import iterate
from .order import MOST, flows_differ

Points = np.ndarray


class Precision(eqx.Module):
    """|x_map(T) - x_flow(T)| at h, h/2, h/4, ..., with the map in float32 and in float64 beside one flow in float64.

    - `h`, `single`, `double`: steps, and the two errors, shape `(refinements,)`.
    - `solver_error`: the flow's own. - `solver`, `rtol`: what solved it, and how finely. - `time`: T. - `optimizer`,
      `problem`: whose it is.
    """

    h: Points
    single: Points
    double: Points
    solver_error: float
    solver: str = eqx.field(static=True)
    rtol: float
    time: float
    optimizer: AbstractOptimizer
    problem: Problem

    @property
    def turn(self) -> float:
        """The step h at which the error in float32 is least."""
        return float(self.h[np.nanargmin(self.single)])

    def __repr__(self) -> str:
        least = f"float32 at best {np.nanmin(self.single):.2g}, at h = {self.turn:.3g}"
        return f"Precision({self.optimizer} on {self.problem.name}, {least})"


def precision(
    optimizer: AbstractOptimizer,
    problem: Problem,
    time: Scalar,
    refinements: int = 8,
    *,
    x0: Any = None,
) -> Precision:
    """Refine the page, h → h/2 → h/4 → ..., in both formats.

    Truncation falls like h; round-off gathers over T/h steps and rises. In float32 the two meet where one can see it.

    - `time`: T, rounded to whole steps of the page as it is, at least one. - `refinements`: how many clocks, from 3 to
      20. - `x0`: as for `iterate`.

    **Raises:** `EnvironmentProblem` if jax has no float64; and as `iterate` and `integrate` do.

    >>> from dynopt import SGD, Problem
    >>> bowl = Problem(lambda x: (x**2).sum() / 2, [1.0], name="bowl")
    >>> seen = precision(SGD(0.1), bowl, 1.0, 3)
    >>> print(*(f"{error:.5f}" for error in seen.double))
    0.01920 0.00939 0.00465
    """
    if not jax.config.read("jax_enable_x64"):
        raise EnvironmentProblem(
            "float64 is off; call jax.config.update('jax_enable_x64', True) before anything else."
        )
    must_be_optimizer(optimizer)
    must_be_problem(problem)
    refinements = whole_number("refinements", refinements, least=3, most=MOST, like=8)
    steps = max(1, round(float(positive("time", time)) / float(optimizer.h)))
    starts = [
        jax.tree.map(lambda v, kind=kind: jnp.asarray(v, kind), problem.start(x0))
        for kind in ("f4", "f8")
    ]
    optimizers, rtol = (
        [optimizer.refine(2**i) for i in range(refinements)],
        finest_rtol(jnp.float64, optimizer),
    )
    flows = []
    for i, page in enumerate(
        optimizers if flows_differ(optimizers, problem, starts[1]) else optimizers[:1]
    ):
        k = steps * 2**i
        flows.append(
            [
                integrate(page, problem, k, x0=starts[1], save_every=k, rtol=r)
                for r in (rtol, 10 * rtol)
            ]
        )
    flows *= refinements // len(flows)
    rows = []
    for i, (page, (flow, looser)) in enumerate(zip(optimizers, flows, strict=True)):
        maps = [
            iterate(page, problem, steps * 2**i, x0=start, save_every=steps * 2**i)
            for start in starts
        ]
        rows.append(
            (
                float(page.h),
                *(float(np.linalg.norm(_end(run) - _end(flow))) for run in (*maps, looser)),
            )
        )
    h, single, double, own = np.array(rows).T
    solver = flows[0][0].stats["solver"]
    return Precision(
        h,
        single,
        double,
        float(own.max()),
        solver,
        rtol,
        float(steps * optimizer.h),
        optimizer,
        problem,
    )


def _end(run: Any) -> np.ndarray:
    return np.asarray(run.y.x[-1], float)
