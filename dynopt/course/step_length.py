"""The picture of notebook 08: how long the steps of an optimizer are under a constant gradient.

>>> from dynopt import Adam, SGD
>>> print(measure(Adam(0.02), 3).length.round(6), measure(SGD(0.02), 3).length.round(6))
[1. 1. 1.] [1. 1. 1.]
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes

from ..checks import whole_number
from ..errors import InvalidType
from ..figures.drawing import runs
from ..figures.drawing.axes import log_limits, set_log_ticks
from ..figures.drawing.notes import write_halo
from ..figures.drawing.picture import Panel, Picture, draw_picture
from ..figures.drawing.results import result_list
from ..figures.drawing.style import background, in_style, ink, mix_colors
from ..figures.drawing.words import format_number, literal
from ..optimizers import AbstractOptimizer
from ..problems import Problem
from ..runs import iterate


def _slope(x):
    return jnp.sum(x)


class StepLength(eqx.Module):
    """The lengths of the first steps of an optimizer on f(x) = x, whose gradient is 1 everywhere.

    - `k`: 1, 2, ..., n; `length`: the length of step k, divided by the learning rate, `(n,)`.
    """

    k: np.ndarray
    length: np.ndarray
    optimizer: AbstractOptimizer
    problem: Problem


def measure(optimizer: AbstractOptimizer, steps: int) -> StepLength:
    """Run the optimizer on f(x) = x and measure its steps in units of its learning rate.

    **Raises:** `InvalidType` for an optimizer without a learning rate; and as `iterate` does.
    """
    learning_rate = _learning_rate(optimizer)
    steps = whole_number("steps", steps, least=1, like=2000)
    problem = Problem(_slope, [0.0], name="f(x) = x")
    x = np.asarray(iterate(optimizer, problem, steps).y.x, float)[:, 0]
    length = np.abs(np.diff(x)) / learning_rate
    return StepLength(np.arange(1, steps + 1), length, optimizer, problem)


def _learning_rate(optimizer: Any) -> float:
    """The learning rate of an optimizer, or of the one that a wrapper has inside."""
    inner = optimizer
    while isinstance(inner, AbstractOptimizer):
        if hasattr(inner, "learning_rate"):
            return float(inner.learning_rate)  # pyright: ignore[reportAttributeAccessIssue]
        inner = getattr(inner, "optimizer", None)
    raise InvalidType(
        f"steps are measured in learning rates, got {optimizer!r}, which has none; pass an "
        "optimizer of dynopt such as dynopt.Adam(0.02)."
    )


@in_style
def draw(
    results: StepLength | list[StepLength], *, ax: Axes | None = None, style: str = "notebook"
) -> Picture | Axes:
    """The length of each step over k, both logarithmic; a dot marks the longest step of each.

    - `results`: one or several results of `measure`.
    - `ax`: axes to draw in, instead of a new `Picture`.
    - `style`: "notebook", "paper" or "slides".
    """
    return draw_picture(paint, describe, _result_list(results), ax, style)


def describe(results: StepLength | list[StepLength]) -> str:
    """The picture in one sentence with its numbers."""
    parts = []
    for result, _, name, _ in runs.entries(_result_list(results)):
        first, most = result.length[0], result.length.max()
        parts.append(
            f"{name} begins with {format_number(first)} and is longest with {format_number(most)} "
            f"at k = {_longest(result)}"
        )
    return (
        "The picture shows the length of each step over the learning rate, where the gradient is "
        f"1 everywhere: {'; '.join(parts)}."
    )


def paint(ax: Axes, results: list[StepLength]) -> Panel:
    """Draw into `ax`; return title, legend entries and caption."""
    ax.set(xscale="log", yscale="log")
    ax.set_xlim(0.85, 1.02 * max(result.k[-1] for result in results))
    ax.set_ylim(log_limits([result.length for result in results], margin=0.12) or (0.1, 10.0))
    axis = {"color": mix_colors(ink(), background(), 0.4), "linewidth": 0.8, "zorder": 1}
    ax.axhline(1.0, **axis, gid="learning rate")
    size = mpl.rcParams["lines.markersize"]
    for result, color, name, key in runs.entries(results):
        ax.plot(result.k, result.length, color=color, zorder=3, gid=f"length {key}")
        longest, rises = _longest(result), result.length[-1] > 1.001 * result.length[0]
        marks = [1, longest] if longest > 1 and result.length.max() > 1.01 else [1]
        dots = {"marker": "o", "markersize": size, "markeredgecolor": background(), "zorder": 4}
        lengths = result.length[np.array(marks) - 1]
        ax.plot(marks, lengths, color=color, linestyle="none", **dots, gid=f"dots {key}")
        for k, length in zip(marks, lengths, strict=True):
            number, is_start = format_number(float(length)), k == 1
            text = f"{name}: {number}" if is_start else f"{number} at k\xa0=\xa0{k}"
            below = is_start and (rises or longest > 1)
            write_halo(
                ax, literal(text), (k, length), color, xytext=(6, -14 if below else 5),
                textcoords="offset points", gid=f"number {k} {key}",
            )  # fmt: skip
    set_log_ticks(ax.xaxis)
    set_log_ticks(ax.yaxis)
    ax.set(xlabel="step k", ylabel="length of the step / η")
    return Panel(_title(results), caption=["The gradient is 1 everywhere, on f(x)\xa0=\xa0x."])


def _longest(result: StepLength) -> int:
    """The step k that is longest; the first of several that are equal up to round-off."""
    return int(result.k[result.length >= result.length.max() * (1 - 1e-9)][0])


def _title(results: list[StepLength]) -> str:
    """Which steps are longest, in units of the learning rate."""
    longest = {name: result.length.max() for result, _, name, _ in runs.entries(results)}
    name = max(longest, key=lambda name: longest[name])
    times = format_number(longest[name], 3)
    return literal(f"The longest step is {times} times as long as η ({name})")


def _result_list(results: StepLength | list[StepLength]) -> list[StepLength]:
    return result_list(results, StepLength, "course.step_length.measure", "length")
