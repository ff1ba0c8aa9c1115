"""The gap: how far the map has moved from the flow, at every time of a run."""

import warnings
from typing import Any

import diffrax
import equinox as eqx
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float

from ..checks import Scalar, positive
from ..errors import SolverFailure
from ..optimizers import AbstractOptimizer
from ..problems import Problem
from ..runs.integrate import finest_rtol, integrate
from ..runs.iterate import iterate
from ..runs.trajectory import GAVE_UP, Trajectory

SHARE = 1e-3  # of the gap: the most that the solver's own error may be
USE_DOUBLE = "use float64 (jax.config.update('jax_enable_x64', True))"


class Comparison(eqx.Module):
    """|x_map(tₖ) - x_flow(tₖ)| along a run, and the two runs.

    - `t`, `error`: times and gaps, shape `(n+1,)`; NaN where a run has failed.
    - `solver_error`: an estimate of the flow's own error at the same times.
    - `map`, `flow`: the two trajectories. - `optimizer`, `problem`: what was compared.
    """

    t: Array
    error: Float[Array, " n"]
    solver_error: Float[Array, " n"]
    map: Trajectory
    flow: Trajectory
    optimizer: AbstractOptimizer
    problem: Problem

    @property
    def largest(self) -> Array:
        return jnp.nanmax(self.error)

    @property
    def resolved(self) -> Array:
        """Whether the solver's own error is below a thousandth of the largest gap."""
        return jnp.nanmax(self.solver_error) <= SHARE * self.largest

    def __repr__(self) -> str:
        return f"Gap({self.optimizer} on {self.problem.name}, largest {float(self.largest):.3g})"


def compare(
    optimizer: AbstractOptimizer,
    problem: Problem,
    steps: int,
    *,
    x0: Any = None,
    solver: diffrax.AbstractSolver | None = None,
    rtol: Scalar | None = None,
    max_steps: int = 2**16,
    throw: bool = True,
) -> Comparison:
    """Measure |x_map(t) - x_flow(t)| at t = 0, h, 2h, ..., in the Euclidean norm over all coordinates.

    The flow is solved at two tolerances, 100 apart; their difference is the solver's own error, and the finer solution
    the flow. Both are tightened until that error is below a thousandth of the largest gap, or the dtype ends.

    - `steps`, `x0`, `throw`: as for `iterate`. - `solver`, `rtol`, `max_steps`: as for `integrate`.

    **Warns:** if the dtype ends before the solver's error is small enough, or the flow is too stiff for that; in
    float32 only if it is more than a tenth of the gap. **Raises:** as `iterate` and `integrate` do.

    >>> from dynopt import SGD, Problem
    >>> bowl = Problem(lambda x: (x**2).sum() / 2, [1.0], name="bowl")
    >>> print(f"{gap(SGD(0.1), bowl, 10).error[-1]:.5f}")  # e^(-1) - 0.9^10
    0.01920
    """
    map = iterate(optimizer, problem, steps, x0=x0, throw=throw)
    floor = finest_rtol(map.t.dtype, optimizer)
    rtol = 1e4 * floor if rtol is None else positive("rtol", rtol)

    def solved(rtol):
        return integrate(
            optimizer,
            problem,
            steps,
            x0=x0,
            solver=solver,
            rtol=rtol,
            max_steps=max_steps,
            throw=throw,
        )

    def solved_in_part(rtol):
        try:
            return solved(rtol)
        except SolverFailure as failure:
            if failure.status not in GAVE_UP:
                raise
            return failure.partial

    def measured(flow, other):
        return Comparison(
            map.t, distance(map, flow), distance(other, flow), map, flow, optimizer, problem
        )

    run, loose = None, solved(rtol)
    while True:
        rtol = max(rtol / 100, floor)
        flow = solved_in_part(rtol)
        spent = (
            not isinstance(flow.result, Tracer) and flow.result.ndim == 0 and flow.status in GAVE_UP
        )
        if run is None:  # a flow that is too stiff for more is compared with a looser solution
            too_stiff = spent and loose.status not in GAVE_UP
            run = (
                measured(loose, solved_in_part(1e3 * rtol)) if too_stiff else measured(flow, loose)
            )
        elif not spent:
            run = measured(flow, loose)
        if (
            isinstance(run.error, Tracer)
            or run.error.ndim > 1
            or run.resolved
            or jnp.isnan(run.largest)
        ):
            return run
        if rtol <= floor or spent:
            _warn(run)
            return run
        loose = flow


def _warn(run: Comparison) -> None:
    own, double = (
        float(jnp.nan_to_num(jnp.nanmax(run.solver_error), nan=jnp.inf)),
        run.t.dtype == jnp.float64,
    )
    if run.largest > 0 and (double or own > run.largest / 10):  # float32 is held to a tenth
        share, remedy = (
            ("thousandth", "trust the gap where `solver_error` is small")
            if double
            else ("tenth", USE_DOUBLE)
        )
        warnings.warn(
            f"the solver's own error, {own:.1g}, is more than a {share} of the gap of {run.optimizer} on "
            f"{run.problem.name}; {remedy}.",
            stacklevel=3,
        )


def distance(a: Trajectory, b: Trajectory) -> Array:
    """The Euclidean distance of two runs at each time, NaN where either is not finite."""
    apart = jnp.linalg.norm(a.y.x - b.y.x, axis=-1)
    return jnp.where(jnp.isfinite(apart), apart, jnp.nan)
