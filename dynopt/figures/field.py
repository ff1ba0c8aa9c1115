"""A vector field in the plane, with the map, the flow and the modified flow that follows it."""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes

from ..analysis import ModifiedComparison
from ..errors import InvalidValue
from ..runs.prepare import fit_to_start, flatten_loss
from .drawing import legends, runs
from .drawing.captions import claim, failures, problem_name, starts, summary
from .drawing.frames import draw_frames
from .drawing.measure import frame_box, stroke
from .drawing.picture import Panel, Picture
from .drawing.results import result_list
from .drawing.runs import Entry
from .drawing.style import background, in_style, ink, mix_colors, muted
from .drawing.ties import Tied, draw_tied, tie_keys, tied
from .drawing.words import (
    count_noun,
    facts,
    failure,
    format_number,
    join_words,
)
from .modified import DASHES, draw_dashed, nearness
from .plane.landscape import mark_places, set_limits
from .plane.window import PLANE, Limits, around, points_in_view

APART = 16.5  # points from one arrow to the next, in the style "notebook"
LONGEST = 0.85  # of the distance of two arrows
FASTEST = 0.9  # the quantile of the speeds above which all arrows are longest
RATIO = 0.82  # of the sides of a frame
APPROACHES, LEAVES = 0.95, 1.05  # factors of the distance from an equilibrium


@in_style
def draw(
    results: ModifiedComparison | list[ModifiedComparison],
    *,
    title: str | None = None,
    ax: Axes | None = None,
    style: str = "notebook",
) -> Picture | Axes:
    """Map, flow and modified flow in the vector field of the modified flow, one frame for each.

    Grey arrows are the modified vector field, which tells where the map goes: they point along
    x′ and are the longer the faster it is, as the root of the speed. Coloured dots are the map, the
    full line is the flow and the dashed line the modified flow. Ties join map and flow at equal
    times; the longest carries its length. All frames show the same part of the plane.

    Around one known equilibrium the title says which maps leave it and which approach it, and the
    head of each frame by which factors its distance from it changes from start to end. Gradient
    descent leaves the equilibrium of a game around which its flow turns; a look ahead approaches
    it:

        game, steps = dynopt.problems.dirac_gan(), 40
        optimizers = dynopt.SGD(0.3), dynopt.Extragradient(dynopt.SGD(0.3))
        figures.field.draw([analysis.modified(o, game, steps) for o in optimizers])

    - `results`: one or several results of `analysis.modified` on one problem in two coordinates, of
      optimizers without a memory.
    - `title`: a title in place of the claim.
    - `ax`: axes to draw one result in, instead of a new `Picture`.
    - `style`: "notebook", "paper" or "slides".

    **Raises:** `InvalidValue` if the problem has other than two coordinates, an optimizer has a
    memory, the results are of several problems, or one `ax` is given for several results.
    """
    results = _planar(results)
    views = [tied(result.comparison, PLANE, magnify=False) for result in results]
    shown = [_in_view(*pair) for pair in zip(results, views, strict=True)]
    everything = np.concatenate([*shown, _equilibrium(results[0])])
    paints = [
        partial(_paint_frame, entry, points, everything)
        for entry, points in zip(runs.entries(results), views, strict=True)
    ]
    return draw_frames(
        paints,
        title or _title(results),
        describe(results),
        [
            *summary([result.comparison for result in results]),
            "Arrows are the vector field of the modified flow.",
        ],
        ax,
        style,
        ratio=RATIO,
        columns=len(paints) if style == "slides" else None,
    )


def describe(results: ModifiedComparison | list[ModifiedComparison]) -> str:
    """The picture in one sentence with its numbers."""
    results = _planar(results)
    parts = []
    for result, _, name, _ in runs.entries(results):
        failed = failures([result])
        parts.append(failed or f"the map of {name} {_how_far(result)}")
    start = starts([result.comparison for result in results])
    return (
        f"The picture shows the modified vector field of {problem_name(results[0])} (arrows) with "
        f"map (dots), flow (full lines) and modified flow (dashed lines) from {start}: "
        f"{'; '.join(parts)}."
    )


def _how_far(result: ModifiedComparison) -> str:
    """How far the map is from its two flows, and from the equilibrium, in words."""
    errors = (result.modified_error, result.error)
    near, far = (format_number(float(np.nanmax(np.asarray(e, float))), 2) for e in errors)
    text = f"is at most {near} from its modified flow and at most {far} from its flow"
    factors = _factors(result)
    if factors is None:
        return text
    map, flow, modified = (format_number(factor, 2) for factor in factors)
    return (
        f"{text}, and ends {map} times as far from the equilibrium as it began, its flow {flow} "
        f"times and its modified flow {modified} times"
    )


def _paint_frame(
    entry: Entry, points: Tied, everything: np.ndarray, ax: Axes, ratio: float
) -> Panel:
    """Draw the field and the three runs of one optimizer into `ax`."""
    result = entry.result
    limits = around(everything, ratio)
    set_limits(ax, limits)
    ax.grid(False)
    _draw_arrows(ax, result, limits)
    mark_places(ax, result.comparison, limits)
    draw_tied(ax, points, entry._replace(result=result.comparison))
    draw_dashed(ax, np.stack(runs.view_points(result.modified.curve, PLANE), 1), entry.key)
    keys = [
        *tie_keys(points),
        legends.key("modified flow", linestyle=DASHES, color=ink()),
        legends.key(
            "modified field",
            color=_grey(),
            linewidth=stroke(0.9),
            marker=">",
            markersize=stroke(4.0),
            markevery=[1],
        ),
    ]
    head = facts(result.optimizer, *_facts(result))
    return Panel("", keys=keys, name=entry.name, color=entry.color, fact=head)


def _facts(result: ModifiedComparison) -> list[str]:
    """By which factors the distances from the equilibrium change, or what failed."""
    time_step = f"h\xa0=\xa0{format_number(float(result.optimizer.h))}"
    has_rate = "learning_rate" in result.optimizer.hyperparameters()
    known = [] if has_rate else [time_step]
    failed, factors = failures([result]), _factors(result)
    if failed or factors is None:
        return [*known, failed.partition(" ")[2]] if failed else known
    map, flow, modified = (format_number(factor, 2) for factor in factors)
    return [*known, f"distance ×{map}", f"flow ×{flow}, modified flow ×{modified}"]


def _draw_arrows(ax: Axes, result: ModifiedComparison, limits: Limits) -> None:
    """Arrows along the modified field, on a square grid."""
    (left, right), (bottom, top) = limits
    columns = max(round(frame_box(ax).width / stroke(APART)), 2)
    spacing = (right - left) / columns
    across = left + spacing * (np.arange(columns) + 0.5)
    number = max(int((top - bottom) / spacing), 1)
    up = (bottom + top) / 2 + spacing * (np.arange(number) - (number - 1) / 2)
    points = np.stack(np.meshgrid(across, up), -1).reshape(-1, 2)
    arrows = _field(result, points)
    speed = np.hypot(*arrows.T)
    moves = np.isfinite(speed) & (speed > 0)
    if not moves.any():
        return
    fastest = np.quantile(speed[moves], FASTEST)
    length = LONGEST * spacing * np.minimum(np.sqrt(speed[moves] / fastest), 1)
    arrows = arrows[moves] / speed[moves, None] * length[:, None]
    ax.quiver(
        *points[moves].T, *arrows.T, color=_grey(), angles="xy", scale_units="xy", scale=1,
        pivot="mid", units="inches", width=stroke(0.8) / 72, headwidth=4.5, headlength=5,
        headaxislength=4.2, minlength=0, zorder=1,
    ).set_gid("field")  # fmt: skip


def _grey() -> str:
    return mix_colors(muted(), background(), 0.55)


def _field(result: ModifiedComparison, points: np.ndarray) -> np.ndarray:
    """x′ of the modified flow at points of the plane, shape `(n, 2)`."""
    run = result.map
    start = run.unravel(run.y.x[0])
    optimizer = fit_to_start(result.modified.optimizer, start, run.y.x.dtype)
    return np.asarray(
        _derivatives(optimizer, result.problem.loss, start, jnp.asarray(points, run.y.x.dtype)),
        float,
    )


@eqx.filter_jit
def _derivatives(optimizer, loss, start, points):
    x, _, grad = flatten_loss(loss, start)

    def derivative(point):
        y = optimizer.init(point, grad)
        return optimizer.vector_field(jnp.zeros((), x.dtype), y, grad).x

    return jax.vmap(derivative)(points)


def _planar(results: ModifiedComparison | list[ModifiedComparison]) -> list[ModifiedComparison]:
    results = result_list(results, ModifiedComparison, "analysis.modified")
    dim = results[0].problem.dim
    if dim != 2:
        raise InvalidValue(
            f"a vector field is drawn in a plane, but {problem_name(results[0])} has "
            f"{count_noun(dim, 'coordinate')}; draw figures.paths of `.comparison` instead."
        )
    for entry in runs.entries(results):
        if entry.result.map.y._fields != ("x",):
            raise InvalidValue(
                f"a vector field is drawn of positions, but {entry.name} has a memory as well; "
                "draw figures.modified instead."
            )
    return results


def _in_view(result: ModifiedComparison, points: Tied) -> np.ndarray:
    return points_in_view(result.comparison, points)


def _equilibrium(result: ModifiedComparison) -> np.ndarray:
    """The only known minimizer or equilibrium, shape `(1, 2)`; `(0, 2)` if there is no such."""
    known = result.problem.minimizers
    is_one = known is not None and len(known) == 1
    return np.asarray(known, float) if is_one else np.zeros((0, 2))


def _factors(result: ModifiedComparison) -> tuple[float, float, float] | None:
    """Distances of the ends of map, flow and modified flow from the equilibrium, over the start's.

    None if no single equilibrium is known, the start lies on it, or a run failed.
    """
    drawn = result.map, result.flow, result.modified_flow
    equilibrium = _equilibrium(result)
    if not len(equilibrium) or any(map(failure, drawn)):
        return None
    ends = [np.linalg.norm(np.asarray(run.y.x, float) - equilibrium, axis=1) for run in drawn]
    if not ends[0][0] > 0:
        return None
    map_end, flow_end, modified_end = (float(end[-1] / end[0]) for end in ends)
    return map_end, flow_end, modified_end


def _title(results: list[ModifiedComparison]) -> str:
    """Which maps leave the equilibrium, keep their distance, or approach it."""
    groups: dict[str, dict[str, str]] = {"leave": {}, "keep": {}, "approach": {}}
    for result, _, name, _ in runs.entries(results):
        factors = _factors(result)
        if factors is not None:
            kind = "leave" if factors[0] > LEAVES else "keep"
            kind = "approach" if factors[0] < APPROACHES else kind
            groups[kind][name] = format_number(factors[0], 2)
    steps = {len(result.t) - 1 for result in results}
    when = f" in {count_noun(steps.pop(), 'step')}" if len(steps) == 1 else ""
    place = "the equilibrium" if results[0].problem.owns_field else "the minimizer"
    parts, first = [], True
    for kind, members in groups.items():
        if not members:
            continue
        who, many = join_words(list(members)), len(members) > 1
        times = join_words(list(members.values()))
        verb = (
            kind if many else {"leave": "leaves", "keep": "keeps", "approach": "approaches"}[kind]
        )
        where = place if first else "it"
        if kind == "keep":
            part = f"{who} {verb} {'their' if many else 'its'} distance"
            part += f" from {where}" * first
        else:
            part = f"{who} {verb} {where}, to {times} times{f' the distance{when}' * first}"
        parts.append(part)
        first = False
    return claim([r.comparison for r in results], "; ".join(parts)) if parts else nearness(results)
