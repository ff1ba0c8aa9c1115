"""The order: how fast the gap closes as the clock is refined."""

from typing import Any

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from ..analysis import Order
from .drawing import legends, runs
from .drawing.axes import finite, log_view, mark_decades
from .drawing.captions import called
from .drawing.labels import Name
from .drawing.picture import Panel, Picture, drawn, say, several
from .drawing.style import Look, ground
from .drawing.triangle import draw as draw_triangle
from .drawing.words import listed, number, plain, power, setting

FAR = 1e3  # times the largest gap of a fit: so much is shown of gaps that are left out


def draw(
    results: Order | list[Order], *, ax: Axes | None = None, style: str = "notebook"
) -> Picture | Axes:
    """Largest gap against h, both logarithmic, with the straight line whose slope is the order.

    Solid marks belong to the fit, hollow ones do not; the triangles have the slopes that the pages declare; dotted
    lines are the round-off that the map gathers.

    - `results`: one or several `analysis.order` of one problem. - `ax`: axes to draw in, instead of a new `Picture`.
    - `style`: "notebook", "paper" or "slides".

    **Raises:** `InvalidValue` if the results are of several problems.
    """
    return drawn(paint, describe, several(results, Order, "analysis.order"), ax, style)


def describe(results: Order | list[Order]) -> str:
    """The picture in one sentence with its numbers."""
    orders = several(results, Order, "analysis.order")
    said = measured_slopes(orders)
    return f"Largest gap between map and flow on {called(orders[0])} against the step h, slopes of the logarithms: {said}."


def measured_slopes(orders: list[Order]) -> str:
    return "; ".join(
        f"{_measured(o, name)} (expected {number(o.expected)})"
        for o, _, name, _ in runs.entries(orders)
    )


def paint(ax: Axes, orders: list[Order], brief: bool = False) -> Panel:
    """Draw in the axes, and say what stands around them; with `brief` the slopes stand without names."""
    entries = runs.entries(orders)
    anything = _set_axes(ax, orders)
    for order, look, _, key in entries:
        _points(ax, order, look, key)
    if anything:
        for expected in sorted({o.expected for o in orders}, reverse=True):
            draw_triangle(ax, [o for o in orders if o.expected == expected], orders)
    else:
        say(ax, "no gap above 0 to draw")
    ax.set_xlabel("time per step  h")
    ax.set_ylabel("largest gap  |x_map − x_flow|")
    named = [each._replace(name=_measured(each.result, each.name)) for each in entries]
    said = [_measured(order, "" if brief else name).strip(": ") for order, _, name, _ in entries]
    beside = [
        Name(plain(text), each.look.color, _spots(each.result))
        for text, each in zip(said, entries, strict=True)
    ]
    return Panel(
        title=title(orders),
        names=runs.handles(named),
        keys=_keys(ax, orders),
        below=_below(ax, orders),
        ends=beside if all(name.points for name in beside) else [],
        caption=_caption(orders),
    )


def _set_axes(ax: Axes, orders: list[Order]) -> bool:
    """Limits around the gaps, with room for a name to the right, and down to the round-off if that is near."""
    ax.set_xscale("log", nonpositive="mask")
    ax.set_yscale("log", nonpositive="mask")
    fitted = finite(
        [o.error[o.window[0] : o.window[1] + 1] for o in orders if o.window is not None]
    )
    shown = [
        o.error[o.error <= FAR * fitted.max(initial=0)] if fitted.size else o.error for o in orders
    ]
    across, up = log_view([o.h for o in orders], margin=0.05), log_view(shown)
    left, right = across or (0.01, 1.0)
    bottom, top = up or (0.1, 10.0)
    floors = finite([o.floor for o in orders])
    near = floors[floors > bottom / 1e3]
    ax.set_xlim(left, right * (right / left) ** 0.18)
    ax.set_ylim(min([bottom, *near / 2]) / 1.6, top)
    mark_decades(ax.xaxis)
    mark_decades(ax.yaxis)
    return bool(across and up)


def _points(ax: Axes, order: Order, look: Look, key: str) -> None:
    """All gaps hollow, those of the fit solid, the fitted line, and the floor."""
    marks: dict[str, Any] = {
        "marker": look.marker,
        "color": look.color,
        "linestyle": "none",
        "markeredgecolor": look.color,
    }
    thin = 0.65 * mpl.rcParams["lines.linewidth"]
    ax.plot(order.h, order.error, markerfacecolor=ground(), zorder=4, gid=f"gaps {key}", **marks)
    ax.plot(
        order.h,
        order.floor,
        linestyle=legends.DOTTED,
        linewidth=thin,
        color=look.color,
        gid=f"floor {key}",
    )
    if order.window is not None:
        inside = slice(order.window[0], order.window[1] + 1)
        h, error = order.h[inside], order.error[inside]
        fit = np.exp(np.log(error).mean() + order.slope * (np.log(h) - np.log(h).mean()))
        ax.plot(h, error, zorder=5, gid=f"window {key}", **marks)
        ax.plot(h, fit, linestyle=look.line, color=look.color, zorder=3, gid=f"fit {key}")


def _spots(order: Order) -> list[tuple[float, float]]:
    """Where a name may stand: by the fitted line first."""
    inside = np.zeros(len(order.h), bool)
    if order.window is not None:
        inside[order.window[0] : order.window[1] + 1] = True
    drawable = np.isfinite(order.error) & (order.error > 0)
    return [
        (order.h[i], order.error[i])
        for group in (inside, ~inside)
        for i in np.flatnonzero(group & drawable)
    ]


def _measured(order: Order, name: str) -> str:
    """Slope ± standard error, with the digits that the error leaves."""
    if order.window is None:
        return f"{name}: no slope"
    digits = int(np.clip(np.ceil(-np.log10(max(order.stderr, 1e-9))), 2, 4))
    spread = (
        f"{order.stderr:.{digits}f}"
        if order.stderr >= 0.5 * 10**-digits
        else f"<{10**-digits:.{digits}f}"
    )
    return f"{name} {order.slope:.{digits}f} ± {spread}"


def _keys(ax: Axes, orders: list[Order]) -> list[Line2D]:
    marks = [legends.key("in the fit", marker="o", linestyle="-")]
    if any(o.window is None or o.window != (0, len(o.h) - 1) for o in orders):
        marks.append(
            legends.key("left out", marker="o", markerfacecolor=ground(), linestyle="none")
        )
    return marks + [legends.dotted("round-off")] * int(_floor(orders) > ax.get_ylim()[0])


def _below(ax: Axes, orders: list[Order]) -> list[Line2D]:
    floor = _floor(orders)
    unseen = 0 < floor <= ax.get_ylim()[0]
    return [legends.dotted(f"round-off, below the frame: at most {number(floor, 2)}")] * int(unseen)


def _floor(orders: list[Order]) -> float:
    return float(finite([o.floor for o in orders]).max(initial=0))


def _caption(orders: list[Order]) -> list[str]:
    settings = "; ".join(setting(o.optimizer) for o in orders)
    dtype = jnp.result_type(*jax.tree.leaves(orders[0].problem.start()))
    return [f"{plain(called(orders[0]))}.", f"{settings}.", f"{dtype}.", *refined(orders)]


def refined(orders: list[Order]) -> list[str]:
    """How far each clock was refined, and what was not."""
    how = [
        f"h\xa0≥\xa0{number(float(np.min(o.h)))} over t\xa0≤\xa0{number(o.time)} ({name})"
        for o, _, name, _ in runs.entries(orders)
    ]
    own = number(max(o.solver_error for o in orders))
    return [
        f"Refined to {listed(how)}, all times of the flow held fixed; the flow errs by at most {own}."
    ]


def title(orders: list[Order]) -> str:
    """Which gaps close like which power of h, as measured; and why, where a page knows."""
    groups: dict[str, dict[str, Order]] = {}
    for order, _, name, _ in runs.entries(orders):
        readable = order.window is not None and np.isfinite(order.slope)
        groups.setdefault(power(order.slope) if readable else "", {})[name] = order
    unread, said = groups.pop("", {}), []
    for found, members in sorted(groups.items(), key=lambda item: -len(item[1])):
        whom = (
            f" for {listed(list(members))}"
            if len(members) < len(orders) or len(orders) == 1
            else ""
        )
        said.append(
            f"{'' if said else 'the gap closes '}like {found}{whom}{_why(found, list(members.values()))}"
        )
    lost = [name for name, o in unread.items() if np.isfinite(o.error).sum() < 3]
    hidden = [name for name in unread if name not in lost]
    if lost:
        said.append(
            f"{listed(lost)} diverge{'s' * (len(lost) == 1)} on too many clocks for a slope"
        )
    if hidden:
        said.append(f"round-off hides the slope of {listed(hidden)}")
    text = "; ".join(said)
    return plain(text[:1].upper() + text[1:])


def _why(found: str, members: list[Order]) -> str:
    """What the page declares, if that is something else, and whether the fit can tell the two; and a cold start."""
    declared = sorted({power(o.expected) for o in members} - {found})
    cold = all(
        o.expected == 0.5 and getattr(o.optimizer, "initial_scale", None) == 0 and o.slope < 0.75
        for o in members
    )
    scatter = ", within the scatter" * all(
        abs(o.slope - o.expected) <= 2 * o.stderr for o in members
    )
    return (
        f" (declared {listed(declared)}{scatter})" if declared else ""
    ) + ": its memory starts at 0" * cold
