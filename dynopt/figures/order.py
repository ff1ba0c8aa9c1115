"""The order of convergence: the largest global error against the time step h."""

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from ..analysis import Order
from .drawing import legends, runs
from .drawing.axes import finite_values, log_limits, set_log_ticks
from .drawing.captions import problem_name
from .drawing.picture import Panel, Picture, draw_picture, write_notice
from .drawing.results import result_list
from .drawing.style import Look, background
from .drawing.triangle import draw_triangle
from .drawing.words import (
    capitalize,
    format_number,
    join_words,
    literal,
    power_of_h,
    setting,
)

HEADROOM = 1e3  # times the largest error of a fit: so much is shown of errors that are left out


def draw(
    results: Order | list[Order], *, ax: Axes | None = None, style: str = "notebook"
) -> Picture | Axes:
    """The largest global error against h, both logarithmic, with the line whose slope is the order.

    Solid marks belong to the fit, hollow ones do not. The triangles have the slopes that the
    optimizers declare. Dotted lines are the round-off that the map accumulates.

    - `results`: one or several results of `analysis.order` on one problem.
    - `ax`: axes to draw in, instead of a new `Picture`.
    - `style`: "notebook", "paper" or "slides".

    **Raises:** `InvalidValue` if the results are of several problems.
    """
    results = result_list(results, Order, "analysis.order")
    return draw_picture(paint, describe, results, ax, style)


def describe(results: Order | list[Order]) -> str:
    """The picture in one sentence with its numbers."""
    orders = result_list(results, Order, "analysis.order")
    return (
        f"The picture shows the largest global error on {problem_name(orders[0])} against the time "
        f"step h, with the slopes of the logarithms: {slopes(orders)}."
    )


def slopes(orders: list[Order]) -> str:
    """The measured and the expected slope of each optimizer."""
    return "; ".join(
        f"{_slope(order, name)} (expected {format_number(order.expected)})"
        for order, _, name, _ in runs.entries(orders)
    )


def paint(ax: Axes, orders: list[Order]) -> Panel:
    """Draw into `ax`; return title, legend entries and caption."""
    entries, floor = runs.entries(orders), _floor(orders)
    if _set_axes(ax, orders):
        for order, look, _, key in entries:
            _draw_order(ax, order, look, key)
        for expected in sorted({order.expected for order in orders}, reverse=True):
            draw_triangle(ax, [o for o in orders if o.expected == expected], orders)
    else:
        write_notice(ax, "no global error above 0 to draw")
    ax.set_xlabel("time step  h")
    ax.set_ylabel("largest error  |x_map − x_flow|")
    named = [entry._replace(name=_slope(entry.result, entry.name)) for entry in entries]
    visible = bool(floor > ax.get_ylim()[0])
    below = f"The round-off is at most {format_number(floor, 2)}, below the frame."
    return Panel(
        title=title(orders),
        handles=runs.legend_handles(named),
        keys=[*_keys(orders), *[legends.dotted_key("round-off")] * visible],
        caption=[*_caption(orders), *[below] * bool(floor > 0 and not visible)],
    )


def _set_axes(ax: Axes, orders: list[Order]) -> bool:
    """Limits around the errors, down to the round-off if that is near; False without errors."""
    ax.set_xscale("log", nonpositive="mask")
    ax.set_yscale("log", nonpositive="mask")
    fitted = finite_values([o.error[_window(o)] for o in orders])
    most = HEADROOM * fitted.max() if fitted.size else np.inf
    errors = [o.error[o.error <= most] for o in orders]
    horizontal, vertical = log_limits([o.h for o in orders], margin=0.05), log_limits(errors)
    bottom, top = vertical or (0.1, 10.0)
    floors = finite_values([o.floor for o in orders])
    near = floors[floors > bottom / 1e3]
    ax.set_xlim(*(horizontal or (0.01, 1.0)))
    ax.set_ylim(min([bottom, *near / 2]) / 1.6, top)
    set_log_ticks(ax.xaxis)
    set_log_ticks(ax.yaxis)
    return bool(horizontal and vertical)


def _window(order: Order) -> slice:
    """The points of the fit."""
    return slice(0) if order.window is None else slice(order.window[0], order.window[1] + 1)


def _draw_order(ax: Axes, order: Order, look: Look, key: str) -> None:
    """All errors hollow, those of the fit solid, the fitted line, and the round-off."""
    marks: dict[str, Any] = {
        "marker": look.marker,
        "color": look.color,
        "linestyle": "none",
        "markeredgecolor": look.color,
    }
    h, error, hollow = order.h, order.error, background()
    ax.plot(h, error, markerfacecolor=hollow, zorder=4, gid=f"errors {key}", **marks)
    thin = {"linestyle": legends.DOTTED, "linewidth": 0.65 * mpl.rcParams["lines.linewidth"]}
    ax.plot(h, order.floor, **thin, color=look.color, gid=f"floor {key}")
    if order.window is not None:
        h, error = h[_window(order)], error[_window(order)]
        fit = np.exp(np.log(error).mean() + order.slope * (np.log(h) - np.log(h).mean()))
        ax.plot(h, error, zorder=5, gid=f"window {key}", **marks)
        ax.plot(h, fit, linestyle=look.line, color=look.color, zorder=3, gid=f"fit {key}")


def _slope(order: Order, name: str) -> str:
    """The name with slope ± standard error, in as many digits as the error allows."""
    if order.window is None:
        return f"{name}: no slope"
    digits = int(np.clip(np.ceil(-np.log10(max(order.stderr, 1e-9))), 2, 4))
    least = 10**-digits
    small = order.stderr < 0.5 * least
    spread = f"<{least:.{digits}f}" if small else f"{order.stderr:.{digits}f}"
    return f"{name} {order.slope:.{digits}f} ± {spread}"


def _keys(orders: list[Order]) -> list[Line2D]:
    keys = [legends.key("in the fit", marker="o", linestyle="-")]
    if any(order.window != (0, len(order.h) - 1) for order in orders):
        style = {"marker": "o", "markerfacecolor": background(), "linestyle": "none"}
        keys.append(legends.key("left out", **style))
    return keys


def _floor(orders: list[Order]) -> float:
    """The largest round-off."""
    return float(finite_values([order.floor for order in orders]).max(initial=0))


def _caption(orders: list[Order]) -> list[str]:
    settings = "; ".join(setting(order.optimizer) for order in orders)
    dtypes = join_words(sorted({order.dtype for order in orders}))
    name = literal(problem_name(orders[0]))
    reasons = [
        f"No order is fitted for {who}: {order.reason}."
        for order, _, who, _ in runs.entries(orders)
        if order.reason
    ]
    return [f"The runs are on {name}, in {dtypes}: {settings}.", *refinements(orders), *reasons]


def refinements(orders: list[Order]) -> list[str]:
    """How far each time step was refined, how the flow was solved, and what was held fixed."""
    ranges = [
        f"h\xa0≥\xa0{format_number(float(np.min(order.h)))} over t\xa0≤\xa0"
        f"{format_number(order.time)} ({name})"
        for order, _, name, _ in runs.entries(orders)
    ]
    solvers = join_words(sorted({order.solver for order in orders}))
    error = format_number(max(order.solver_error for order in orders))
    return [
        f"The time step is refined to {join_words(ranges)}, while the flow stays the same; it is "
        f"solved by {solvers} and has an error of at most {error}."
    ]


def title(orders: list[Order]) -> str:
    """The power of h that each error follows, as measured, and what the optimizers declare."""
    groups: dict[str, dict[str, Order]] = {}
    for order, _, name, _ in runs.entries(orders):
        fitted = order.window is not None and np.isfinite(order.slope)
        groups.setdefault(power_of_h(order.slope) if fitted else "", {})[name] = order
    unfitted, parts = list(groups.pop("", {})), []
    for power, members in sorted(groups.items(), key=lambda item: -len(item[1])):
        some = len(members) < len(orders) or len(orders) == 1
        names = f" for {join_words(list(members))}" * some
        subject = "" if parts else "the global error is "
        parts.append(f"{subject}O({power}){names}{_comment(power, list(members.values()))}")
    if unfitted:
        parts.append(f"no order is fitted for {join_words(unfitted)}")
    return literal(capitalize("; ".join(parts)))


def _comment(power: str, members: list[Order]) -> str:
    """The declared order where it differs, what the fit says about it, and a memory from 0."""
    declared = sorted({power_of_h(order.expected) for order in members} - {power})
    verdicts = {order.verdict for order in members}
    orders = " and ".join(f"O({other})" for other in declared)
    if "differs" in verdicts:
        comment = f"declared {orders}"
    elif "still changes" in verdicts:
        comment = f"declared {orders}, but the slopes still change"
    else:
        comment = f"in agreement with the declared {orders}"
    from_zero = all(
        order.expected == 0.5
        and getattr(order.optimizer, "initial_scale", None) == 0
        and order.slope < 0.75
        for order in members
    )
    return f" ({comment})" * bool(declared) + ", where the memory starts at 0" * from_zero
