"""The picture of notebook 01: Euler's polygon, and the flows that start at its corners.

>>> from dynopt import SGD, Problem
>>> bowl = Problem(lambda x: (x**2).sum() / 2, [1.0], name="bowl", minimum=0.0)
>>> print(f"{measure(SGD(0.5), bowl, 3).error[-1]:.3f}")  # e^(-1.5) - 0.5^3
0.098
"""

from typing import Any

import equinox as eqx
import numpy as np
from matplotlib.axes import Axes

from ..checks import whole_number
from ..errors import InvalidType, InvalidValue
from ..figures.drawing import legends
from ..figures.drawing.axes import linear_limits, set_linear_ticks
from ..figures.drawing.captions import problem_name
from ..figures.drawing.notes import write_halo
from ..figures.drawing.picture import Panel, Picture, draw_picture
from ..figures.drawing.results import one_result
from ..figures.drawing.style import background, colors_of, in_style, ink, mix_colors
from ..figures.drawing.words import format_number, literal
from ..optimizers import SGD
from ..problems import Problem
from ..runs import integrate, iterate

PER_STEP = 32  # points of each flow in the time of one step


class Polygon(eqx.Module):
    """Gradient descent in one coordinate, and the gradient flow from each of its points.

    - `x`: the positions of the map, shape `(n+1,)`, at the times `t`, of the same shape.
    - `flows`: `flows[k]` is the gradient flow that starts at `x[k]`, at the times
      `k h, k h + h/32, ...`, as long as the run.
    - `error`: the global error at each time; `local_error`: the distance of each point of the map
      from the flow that started at the point before, shape `(n,)`.
    """

    t: np.ndarray
    x: np.ndarray
    flows: list[np.ndarray]
    optimizer: SGD
    problem: Problem

    @property
    def error(self) -> np.ndarray:
        return np.abs(self.x - self.flows[0][::PER_STEP])

    @property
    def local_error(self) -> np.ndarray:
        after_one_step = np.array([flow[PER_STEP] for flow in self.flows[:-1]])
        return np.abs(self.x[1:] - after_one_step)


def measure(optimizer: SGD, problem: Problem, steps: int) -> Polygon:
    """Run gradient descent, and solve the gradient flow from each point of the run.

    **Raises:** `InvalidType` for another optimizer, whose flow has a memory that a new start would
    not know; `InvalidValue` if the problem has more than one coordinate; and as `iterate` and
    `integrate` do.
    """
    if not isinstance(optimizer, SGD):
        raise InvalidType(
            f"a polygon is drawn of gradient descent, got {optimizer!r}; pass dynopt.SGD(0.5), say."
        )
    if problem.dim != 1:
        raise InvalidValue(
            f"a polygon is drawn over time, in one coordinate, but {problem.name} has "
            f"{problem.dim}; pass for example dynopt.problems.quadratic([1.0])."
        )
    steps = whole_number("steps", steps, least=1, like=4)
    run = iterate(optimizer, problem, steps)
    x = np.asarray(run.y.x, float)[:, 0]
    flows = [
        np.asarray(
            integrate(optimizer, problem, steps - k, x0=[x[k]], save_every=1 / PER_STEP).y.x
        )[:, 0]
        for k in range(steps + 1)
    ]
    return Polygon(np.asarray(run.t, float), x, flows, optimizer, problem)


@in_style
def draw(
    results: Polygon | list[Polygon], *, ax: Axes | None = None, style: str = "notebook"
) -> Picture | Axes:
    """Position over time: the map follows the tangent of a flow for one step, then of the next.

    Dots joined by straight lines are the map, Euler's polygon. The line in ink is the flow from the
    start, and thin lines are the flows through the other dots. Short bold strokes are local errors,
    each from the flow through the dot before; the long one is the global error at the end.

    - `results`: one result of `measure`.
    - `ax`: axes to draw in, instead of a new `Picture`.
    - `style`: "notebook", "paper" or "slides".
    """
    return draw_picture(paint, describe, [_one(results)], ax, style)


def describe(results: Polygon | list[Polygon]) -> str:
    """The picture in one sentence with its numbers."""
    result = _one(results)
    local, steps = format_number(result.local_error.max()), len(result.local_error)
    return (
        f"The picture shows position over time on {problem_name(result)}: the polygon of {steps} "
        "steps of gradient descent, the gradient flow from its start and from each of its corners; "
        f"the largest local error is {local}, the global error at the end is "
        f"{format_number(result.error[-1])}."
    )


def paint(ax: Axes, results: list[Polygon]) -> Panel:
    """Draw into `ax`; return title, legend entries and caption."""
    (result,) = results
    (color,) = colors_of([result.optimizer])
    pale = {"color": mix_colors(ink(), background(), 0.62), "linewidth": 0.8, "zorder": 2}
    ax.set_xlim(linear_limits([result.t]))
    ax.set_ylim(linear_limits([result.x, *result.flows]))
    for k, flow in reversed(list(enumerate(result.flows))):
        times = result.t[k] + (result.t[1] - result.t[0]) * np.arange(len(flow)) / PER_STEP
        style: dict[str, Any] = pale if k else {"color": ink(), "zorder": 3}
        ax.plot(times, flow, **style, gid=f"flow {k}")
    after_one_step = [flow[PER_STEP] for flow in result.flows[:-1]]
    for k, ends in enumerate(zip(after_one_step, result.x[1:], strict=True), start=1):
        bold = {"color": color, "linewidth": 2.6, "zorder": 3.5, "solid_capstyle": "butt"}
        ax.plot([result.t[k]] * 2, ends, **bold, gid=f"local error {k}")
    end = result.flows[0][-1], result.x[-1]
    beside = result.t[-1] + 0.02 * (result.t[-1] - result.t[0])
    ax.plot([beside] * 2, end, color=ink(), linewidth=2.6, zorder=3.5, gid="global error")
    dots = {"marker": "o", "markeredgecolor": background(), "markeredgewidth": 0.7, "zorder": 4}
    ax.plot(result.t, result.x, color=color, linewidth=0.9, **dots, gid="map")
    number, local = (format_number(float(v), 2) for v in (result.error[-1], result.local_error[0]))
    write_halo(
        ax, number, (beside, sum(end) / 2), ink(), xytext=(5, 0), textcoords="offset points",
        va="center", gid="number",
    )  # fmt: skip
    write_halo(
        ax, local, (result.t[1], (after_one_step[0] + result.x[1]) / 2), color,
        xytext=(6, -9), textcoords="offset points", va="center", gid="local number",
    )  # fmt: skip
    set_linear_ticks(ax.xaxis)
    set_linear_ticks(ax.yaxis)
    ax.set(xlabel="time  t = k h", ylabel="position x")
    rate = format_number(float(result.optimizer.learning_rate))
    return Panel(
        title=literal(
            f"Each step leaves its flow by at most {format_number(result.local_error.max(), 2)}; "
            f"together they are {number} off at the end"
        ),
        keys=[
            legends.key("map, along a tangent", marker="o", linewidth=0.9, color=color),
            legends.key("flow from the start", color=ink()),
            legends.key("flows through the dots", **pale),
            legends.key("local error", linewidth=2.6, color=color),
            legends.key("global error", linewidth=2.6, color=ink()),
        ],
        caption=[
            f"On {literal(problem_name(result))} from x\xa0=\xa0{format_number(result.x[0])}, "
            f"η\xa0=\xa0{rate}."
        ],
    )


def _one(results: Polygon | list[Polygon]) -> Polygon:
    return one_result(results, Polygon, "course.polygon.measure")
