"""Round-off: the error of the map in two number formats as the time step is refined.

In float32 the error falls with the time step only until round-off takes over.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from ..analysis.order import MAX_REFINEMENTS, flows_differ
from ..checks import Scalar, positive, whole_number
from ..errors import EnvironmentProblem, InvalidValue
from ..figures.drawing import legends, runs
from ..figures.drawing.axes import log_limits, set_log_ticks
from ..figures.drawing.captions import problem_name
from ..figures.drawing.picture import Panel, Picture, draw_picture
from ..figures.drawing.results import one_result
from ..figures.drawing.style import background, in_style, ink, mix_colors
from ..figures.drawing.words import capitalize, format_number, literal, setting
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


@in_style
def draw(
    results: Precision | list[Precision], *, ax: Axes | None = None, style: str = "notebook"
) -> Picture | Axes:
    """The error at the end against h, both logarithmic: marks are solid for float64, else hollow.

    - `results`: one result of `measure`.
    - `ax`: axes to draw in, instead of a new `Picture`.
    - `style`: "notebook", "paper" or "slides".

    **Raises:** `InvalidValue` for several results, or for a run at rest, which has no error.
    """
    return draw_picture(paint, describe, [_moving(results)], ax, style)


def describe(results: Precision | list[Precision]) -> str:
    """The picture in one sentence with its numbers."""
    result = _moving(results)
    return (
        f"The picture shows the global error of {result.optimizer.name} at t = "
        f"{format_number(result.time)} on {problem_name(result)} against the time step h: "
        f"{_claim(result)}; in float64 it falls to "
        f"{format_number(float(np.nanmin(result.double)))}."
    )


def paint(ax: Axes, results: list[Precision]) -> Panel:
    """Draw into `ax`; return title, legend entries and caption."""
    (entry,) = runs.entries(results)
    result, color, _, key = entry
    errors = log_limits([result.single, result.double])
    horizontal = log_limits([result.h], margin=0.05) or (0.1, 1.0)
    ax.set(xscale="log", yscale="log", xlim=horizontal, ylim=errors or (0.1, 1.0))
    thin: dict[str, Any] = {"color": mix_colors(ink(), background(), 0.6), "linewidth": 0.8}
    ax.axvline(result.turn, zorder=1, gid="turn", **thin)
    marks: dict[str, Any] = {
        "marker": "o",
        "color": color,
        "markeredgecolor": color,
    }
    hollow: dict[str, Any] = {"linestyle": legends.DOTTED, "markerfacecolor": background()}
    ax.plot(result.h, result.double, zorder=3, gid=f"double {key}", **marks)
    ax.plot(result.h, result.single, zorder=4, gid=f"single {key}", **marks | hollow)
    set_log_ticks(ax.xaxis)
    set_log_ticks(ax.yaxis)
    ax.set_xlabel("time step  h")
    ax.set_ylabel("global error at the end  |x_map − x_flow|")
    time, finest = format_number(result.time), format_number(float(result.h[-1]))
    keys = [
        legends.key("float64", marker="o"),
        legends.key("float32", marker="o", **hollow),
        legends.key("where float32 is best", **thin),
    ]
    caption = [
        f"The map runs on {literal(problem_name(result))} up to t\xa0=\xa0{time}, in float32 and "
        f"in float64: {setting(result.optimizer)}, refined to h\xa0=\xa0{finest}.",
        f"The flow is solved in float64 by {result.solver} (rtol {format_number(result.rtol)}) and "
        f"has an error of at most {format_number(result.solver_error)}.",
    ]
    return Panel(literal(capitalize(_claim(result))), keys=keys, caption=caption)


def _moving(results: Precision | list[Precision]) -> Precision:
    result = one_result(results, Precision, "course.precision.measure")
    if not result.double.any():
        raise InvalidValue(
            f"{result.optimizer!r} is at rest on {problem_name(result)}, so there is no error; "
            "pass another `x0`."
        )
    return result


def _claim(result: Precision) -> str:
    """The smallest error in float32, and the error at the finest time step."""
    smallest, last = float(np.nanmin(result.single)), float(result.single[-1])
    if result.turn == result.h[-1]:
        return (
            f"in float32 the global error falls to {format_number(smallest)} and does not rise "
            "again yet"
        )
    return (
        f"in float32 the global error falls to {format_number(smallest, 2)} at h\xa0=\xa0"
        f"{format_number(result.turn)} and rises again, to {format_number(last, 2)}"
    )
