"""The stability of numerical methods, at the price of one gradient, on an axis and in a plane."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes

from .. import analysis
from ..errors import InvalidType, InvalidValue
from ..optimizers import AbstractOptimizer
from .drawing import runs
from .drawing.axes import set_linear_ticks
from .drawing.beside import along, write_beside
from .drawing.frames import draw_parts
from .drawing.legends import key
from .drawing.measure import frame_box, on_paper, stroke
from .drawing.picture import Panel, Picture, write_title
from .drawing.results import must_be_axes
from .drawing.runs import Entry
from .drawing.style import background, in_style, ink, mix_colors, readable_color
from .drawing.words import count_noun, format_number, join_words, literal

POINTS = 961  # along the axis
ROWS, COLUMNS = 61, 121  # of the upper half of the plane
HIGHEST = 1.35  # factor per gradient that is in view


class Method(NamedTuple):
    """What is drawn of one optimizer, in units of the time that one gradient pays for.

    - `gradients`: s, the number of gradients of one step.
    - `limit`: the largest h λ/s at which it is stable; infinity if there is none.
    - `axis`, `factor`: h λ/s on the real axis, and |R|^(1/s) there, shape `(n,)`.
    - `real`, `imaginary`, `plane`: the coordinates of the upper half of the plane, and |R|^(1/s)
      there, shapes `(columns,)`, `(rows,)` and `(rows, columns)`.
    """

    optimizer: AbstractOptimizer
    gradients: int
    limit: float
    axis: np.ndarray
    factor: np.ndarray
    real: np.ndarray
    imaginary: np.ndarray
    plane: np.ndarray


@in_style
def draw(
    optimizers: AbstractOptimizer | Sequence[AbstractOptimizer],
    *,
    title: str | None = None,
    ax: Axes | None = None,
    style: str = "notebook",
) -> Picture | Axes:
    """The stability of methods against h λ per gradient, along the axis and in the complex plane.

    A step of the time h multiplies a mode of curvature λ by |R(h λ)|. It costs s gradients, which
    would pay for s steps of the length h/s, so that all is drawn per gradient: |R(h λ)|^(1/s) over
    h λ/s. On the left the line in ink is the flow, and a dot with a number marks where each method
    becomes unstable. On the right each line surrounds the h λ/s at which a method is stable, for
    modes that also turn, as in a game; the flow is stable to the right of the line in ink. The area
    in which a method without a limit is unstable is tinted.

    - `optimizers`: one or several optimizers without a memory, such as `Stepped(SGD(0.1), ...)`.
    - `title`: a title in place of the claim.
    - `ax`: axes to draw the left part in, instead of a new `Picture`.
    - `style`: "notebook", "paper" or "slides".

    **Raises:** `InvalidType` for anything else than optimizers; `InvalidValue` for an empty list,
    and for optimizers with a memory, whose stability does not depend on h λ alone; and as
    `analysis.critical_curvature` does.

    Source: E. Hairer and G. Wanner, "Solving ordinary differential equations II", chapter IV.
    """
    must_be_axes(ax)
    methods = measured(optimizers)
    if ax is not None:
        panel = _paint_axis(ax, methods)
        write_title(ax, title or panel.title, frame_box(ax).width)
        return ax
    picture = Picture(style, _sentence(methods))
    if style != "slides":
        width, height = (float(side) for side in picture.get_size_inches())
        picture.set_size_inches(1.5 * width, 0.95 * height)
    left, right = picture.subplots(1, 2, width_ratios=(1.15, 1))
    picture.write_caption(_caption(methods))
    handles = [_handle(entry) for entry in runs.entries(methods)]
    picture.write_heading(title or _claim(methods), [*handles, key("flow", color=ink())])
    draw_parts(
        picture,
        [
            (left, lambda ax: _paint_axis(ax, methods)),
            (right, lambda ax: _paint_plane(ax, methods)),
        ],
    )
    return picture


def describe(optimizers: AbstractOptimizer | Sequence[AbstractOptimizer]) -> str:
    """The picture in one sentence with its numbers."""
    return _sentence(measured(optimizers))


def paint(ax: Axes, optimizers: Sequence[AbstractOptimizer]) -> Panel:
    """Draw the factors per gradient along the axis into `ax`; return title and caption."""
    return _paint_axis(ax, measured(optimizers))


def measured(optimizers: Any) -> list[Method]:
    """What is drawn of each optimizer, in one window for all."""
    many = list(optimizers) if isinstance(optimizers, list | tuple) else [optimizers]
    if not many:
        raise InvalidValue(
            "`optimizers` is empty; pass for example dynopt.Stepped(dynopt.SGD(0.1), "
            "diffrax.Heun())."
        )
    for optimizer in many:
        _must_have_no_memory(optimizer)
    limits = [analysis.critical_curvature(one) * float(one.h) / one.evaluations for one in many]
    finite = [limit for limit in limits if np.isfinite(limit)]
    last = 1.2 * max(finite, default=2.5)
    axis = np.linspace(0, last, POINTS)
    first = -0.35 * last if len(finite) < len(many) else -0.12 * last
    real, imaginary = np.linspace(first, last, COLUMNS), np.linspace(0, 0.52 * last, ROWS)
    plane = real + 1j * imaginary[:, None]

    def method(optimizer: AbstractOptimizer, limit: float) -> Method:
        s = optimizer.evaluations
        factor, planar = (
            np.asarray(analysis.spectral_radius(optimizer, z * s / float(optimizer.h))) ** (1 / s)
            for z in (axis, plane)
        )
        return Method(optimizer, s, limit, axis, factor, real, imaginary, planar)

    return [method(*pair) for pair in zip(many, limits, strict=True)]


def _must_have_no_memory(optimizer: Any) -> None:
    if not isinstance(optimizer, AbstractOptimizer):
        raise InvalidType(
            f"`optimizers` must hold optimizers of dynopt, got {optimizer!r}; pass for example "
            "dynopt.Stepped(dynopt.SGD(0.1), diffrax.Heun())."
        )
    fields = jax.eval_shape(lambda x: optimizer.init(x, lambda x: x), jnp.zeros(1))._fields
    if fields != ("x",):
        raise InvalidValue(
            f"{optimizer!r} has the memory {join_words([f'`{name}`' for name in fields[1:]])}, so "
            "that its stability does not depend on h λ alone; pass optimizers without a memory, or "
            "draw analysis.stability of this one with dynopt.figures.stability."
        )


def _paint_axis(ax: Axes, methods: list[Method]) -> Panel:
    """Draw the factors along the real axis into `ax`."""
    entries, axis = runs.entries(methods), methods[0].axis
    ax.set(xlim=(-0.02 * axis[-1], axis[-1]), ylim=(-0.04, HIGHEST))
    wide = mpl.rcParams["lines.linewidth"]
    flow = np.exp(-axis)
    ax.axhline(1, color=mix_colors(ink(), background(), 0.5), linewidth=stroke(0.6), gid="one")
    ax.plot(axis, flow, color=ink(), linewidth=wide, zorder=3, gid="flow")
    lines = [np.stack([axis, flow], 1), np.array([[0, 1], [axis[-1], 1]])]
    for method, color, _, name in entries:
        ax.plot(axis, method.factor, color=color, linewidth=wide, zorder=4, gid=f"factor {name}")
        shown = method.factor <= HIGHEST
        lines.append(np.stack([axis[shown], method.factor[shown]], 1))
    drawn = along(ax, *lines)
    for method, color, _, name in entries:
        if np.isfinite(method.limit):
            ax.plot(
                method.limit, 1, "o", color=color, markeredgecolor=background(), zorder=5,
                markersize=1.5 * mpl.rcParams["lines.markersize"], gid=f"limit {name}",
            )  # fmt: skip
            at = on_paper(ax, np.array([[method.limit, 1.0]]))[0]
            text, strong = format_number(method.limit), readable_color(color)
            drawn = write_beside(ax, text, at, drawn, strong, f"number {name}", fontweight="bold")
    at = on_paper(ax, np.array([[axis[-1], flow[-1]]]))[0]
    write_beside(ax, "flow", at, drawn, ink(), "name of the flow")
    set_linear_ticks(ax.xaxis)
    set_linear_ticks(ax.yaxis)
    ax.set(xlabel="h λ per gradient", ylabel="factor per gradient  $|R|^{1/s}$")
    return Panel(
        _claim(methods), caption=_caption(methods), name="On a loss", color=ink(),
        fact="a curvature λ",
    )  # fmt: skip


def _paint_plane(ax: Axes, methods: list[Method]) -> Panel:
    """Draw the boundary of stability of each method in the complex plane into `ax`."""
    real, imaginary = methods[0].real, methods[0].imaginary
    rows = np.concatenate([-imaginary[:0:-1], imaginary])
    ax.set(xlim=real[[0, -1]], ylim=rows[[0, -1]])
    ax.set_aspect("equal")
    ax.axvline(0, color=ink(), linewidth=mpl.rcParams["lines.linewidth"], zorder=3, gid="flow")
    for method, color, _, name in runs.entries(methods):
        values = np.concatenate([method.plane[:0:-1], method.plane])
        if not np.isfinite(method.limit):
            tint = mix_colors(color, background(), 0.75)
            ax.contourf(real, rows, values, levels=[1, np.inf], colors=[tint], zorder=1).set_gid(
                f"unstable {name}"
            )
        width = mpl.rcParams["lines.linewidth"]
        ax.contour(
            real, rows, values, levels=[1], colors=[color], linewidths=[width], zorder=4
        ).set_gid(f"boundary {name}")
    set_linear_ticks(ax.xaxis)
    set_linear_ticks(ax.yaxis)
    ax.set(xlabel="Re h λ per gradient", ylabel="Im h λ per gradient")
    return Panel("", name="In a game", color=ink(), fact="modes that turn, with a complex λ")


def _handle(entry: Entry) -> Any:
    label = f"{literal(entry.name)}, s = {entry.result.gradients}"
    return key(label, color=entry.color)


def _claim(methods: list[Method]) -> str:
    """How far each method is stable, the farthest first."""
    entries = sorted(runs.entries(methods), key=lambda entry: -entry.result.limit)
    limits = []
    for method, _, name, _ in entries:
        if np.isfinite(method.limit):
            reach = "up to " if limits else "is stable up to h\xa0λ\xa0=\xa0"
            limits.append(f"{name} {reach}{format_number(method.limit)}")
    endless = [name for method, _, name, _ in entries if not np.isfinite(method.limit)]
    if endless:
        verb = "" if limits else " is stable" if len(endless) == 1 else " are stable"
        limits.append(f"{join_words(endless)}{verb} without limit")
    parts = join_words(limits)
    return literal(f"For the price of one gradient, {parts}")


def _sentence(methods: list[Method]) -> str:
    costs = [
        f"{name} with {count_noun(method.gradients, 'gradient')} per step"
        for method, _, name, _ in runs.entries(methods)
    ]
    return (
        "The picture shows the factor per gradient of a mode of curvature λ over h λ per gradient, "
        f"and the stable regions in the complex plane, of {join_words(costs)}: {_claim(methods)}."
    )


def _caption(methods: list[Method]) -> list[str]:
    sentences = [
        "A step of the time h multiplies a mode by |R(h λ)| and costs s gradients. On the right "
        "each line surrounds the h λ at which its method is stable, or a tinted area where it is "
        "not."
    ]
    if any(not np.isfinite(method.limit) for method in methods):
        sentences.append("An equation that a step solves is counted with two gradients.")
    return sentences
