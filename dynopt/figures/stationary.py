"""Stationary laws: the variance that a noisy map and its flows keep, over the learning rate."""

from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes

from ..analysis import Stationary
from ..errors import InvalidType, InvalidValue
from ..optimizers import AbstractOptimizer
from ..optimizers.wrappers.noise import noise_of, replace_noise
from ..runs.ensemble import Ensemble
from .drawing import runs
from .drawing.axes import linear_limits, log_limits, set_linear_ticks, set_log_ticks
from .drawing.beside import along, write_beside
from .drawing.captions import problem_name
from .drawing.descent import draw_map
from .drawing.laws import Estimate, final_positions, noise_facts, variance_of
from .drawing.legends import key as legend_key
from .drawing.measure import on_paper, stroke
from .drawing.picture import Panel, Picture, draw_picture
from .drawing.results import must_share_problem, result_list
from .drawing.style import in_style, ink, readable_color
from .drawing.words import capitalize, count_noun, format_number, join_words, literal

WIDE = 10.0  # the largest over the smallest learning rate: the axes are then logarithmic
ERRORS = 2.0  # standard errors on each side of a simulated variance
FAR = 4.0  # standard errors, which chance explains no more
DASHED: dict[str, Any] = {"linestyle": (0, (4, 2))}


class Curves(NamedTuple):
    """Variances over the learning rate, NaN where there is no stationary law.

    - `flow`, `modified`: None if they are not known.
    - `simulated`: pairs of a learning rate and the variance of an ensemble.
    """

    rate: np.ndarray
    map: np.ndarray
    flow: np.ndarray | None
    modified: np.ndarray | None
    simulated: list[tuple[float, Estimate]]
    results: list[Stationary]


@in_style
def draw(
    results: Stationary | list[Stationary],
    ensembles: Ensemble | list[Ensemble] = (),  # pyright: ignore
    *,
    title: str | None = None,
    ax: Axes | None = None,
    style: str = "notebook",
) -> Picture | Axes:
    """The stationary variance E|x - E x|² of a noisy optimizer over its learning rate.

    Coloured dots are the exact variance of the map, a line in ink is that of its stochastic flow,
    and a dashed one that of the modified flow. At the largest learning rate a thick line joins map
    and flow; the number beside it is the ratio of their variances. Rings are simulated variances,
    with bars of two standard errors on each side. The axes are logarithmic if the learning rates
    cover a factor of ten.

    - `results`: results of `analysis.stationary` on one problem, of one optimizer with several
      learning rates.
    - `ensembles`: ensembles of the map from `dynopt.ensemble`, each long enough to have forgotten
      its start.
    - `title`: a title in place of the claim.
    - `ax`: axes to draw in, instead of a new `Picture`.
    - `style`: "notebook", "paper" or "slides".

    **Raises:** `InvalidValue` if the results differ in more than the learning rate, if there is no
    stationary law at any of the learning rates, and for ensembles of a flow.
    """
    curves = _curves(results, ensembles)

    def painted(ax: Axes, _: list[Stationary]) -> Panel:
        panel = _paint(ax, curves)
        panel.title = title or panel.title
        return panel

    return draw_picture(painted, lambda _: _describe(curves), curves.results, ax, style)


def describe(
    results: Stationary | list[Stationary],
    ensembles: Ensemble | list[Ensemble] = (),  # pyright: ignore
) -> str:
    """The picture in one sentence with its numbers."""
    return _describe(_curves(results, ensembles))


def paint(ax: Axes, results: list[Stationary]) -> Panel:
    """Draw the variances without simulations into `ax`; return title, keys and caption."""
    return _paint(ax, _curves(results, []))


def _curves(results: Any, ensembles: Any) -> Curves:
    many = result_list(results, Stationary, "analysis.stationary", "")
    simulated = ensembles if isinstance(ensembles, list | tuple) else [ensembles]
    for one in simulated:
        if not isinstance(one, Ensemble):
            raise InvalidType(
                f"`ensembles` must come from dynopt.ensemble, got {type(one).__name__}; pass one "
                "ensemble or a list of them."
            )
        if one.kind != "map":
            raise InvalidValue(
                f"`ensembles` holds the {one!r}; pass ensembles of the map, dynopt.ensemble(..., "
                'of="map").'
            )
    must_share_problem([*many, *simulated])
    settings = {_setting(one.optimizer) for one in (*many, *simulated)}
    if len(settings) > 1:
        raise InvalidValue(
            f"the results differ in more than the learning rate: {join_words(sorted(settings))}; "
            "draw one picture for each."
        )
    many.sort(key=lambda one: _rate(one.optimizer))
    rate = np.array([_rate(one.optimizer) for one in many])
    map, flow, modified = (_variances(many, name) for name in ("map", "flow", "modified"))
    if map is None or np.isnan(map).all():
        raise InvalidValue(
            f"{many[0].optimizer!r} has no stationary law on {problem_name(many[0])} at any of the "
            "learning rates; take smaller ones."
        )
    pairs = [(_rate(one.optimizer), variance_of(final_positions(one))) for one in simulated]
    return Curves(rate, map, flow, modified, pairs, many)


def _rate(optimizer: AbstractOptimizer) -> float:
    inner = replace_noise(optimizer, lambda noise: noise.optimizer)
    rate = inner.hyperparameters().get("learning_rate")
    if rate is None:
        raise InvalidValue(
            f"{optimizer!r} has no learning rate to draw its variance over; pass results of an "
            "optimizer such as dynopt.Noisy(dynopt.SGD(0.1), sigma=1.0)."
        )
    return float(rate)


def _setting(optimizer: AbstractOptimizer) -> str:
    """The optimizer in words, but for its learning rate and its key."""
    inner = replace_noise(optimizer, lambda noise: noise.optimizer)
    own, noise = inner.hyperparameters(), noise_of(optimizer)
    assert noise is not None
    values = own | {k: v for k, v in noise.hyperparameters().items() if k != "optimizer"}
    rounded = {k: f"{v:.9g}" if isinstance(v, float) else v for k, v in values.items()}
    kept = (f"{k}={v}" for k, v in rounded.items() if k not in ("learning_rate", "key"))
    return f"{optimizer.name} with {', '.join(kept)}"


def _variances(results: list[Stationary], name: str) -> np.ndarray | None:
    laws = [getattr(one, name) for one in results]
    if any(law is None for law in laws):
        return None
    return np.array(
        [np.trace(law.cov[: one.dim, : one.dim]) for law, one in zip(laws, results, strict=True)]
    )


def _paint(ax: Axes, curves: Curves) -> Panel:
    (entry,) = runs.entries(curves.results[:1])
    rate, key = curves.rate, entry.key
    known = {"map": curves.map, "flow": curves.flow, "modified": curves.modified}
    lines = {name: line for name, line in known.items() if line is not None}
    bars = [
        np.array([[one.value - ERRORS * one.error], [one.value + ERRORS * one.error]])
        for _, one in curves.simulated
    ]
    _set_axes(ax, curves, [*lines.values(), *bars])
    drawn = []
    for name, style in (("flow", {}), ("modified", DASHED)):
        if name in lines:
            ax.plot(rate, lines[name], color=ink(), zorder=3, gid=f"{name} {key}", **style)
            drawn.append(np.stack([rate, lines[name]], 1))
    draw_map(ax, rate, curves.map, entry.color, key)
    drawn.append(np.stack([rate, curves.map], 1))
    size = 1.7 * float(mpl.rcParams["lines.markersize"])
    for i, ((at, variance), bar) in enumerate(zip(curves.simulated, bars, strict=True)):
        ax.plot(
            [at, at], bar.ravel(), color=entry.color, linewidth=stroke(1.3), zorder=4.5,
            gid=f"errors {i} {key}",
        )  # fmt: skip
        ax.plot(
            at, variance.value, "o", color=entry.color, markersize=size, markerfacecolor="none",
            markeredgewidth=stroke(1.3), zorder=4.5, gid=f"simulated {i} {key}",
        )  # fmt: skip
        drawn.append(np.stack([[at, at], bar.ravel()], 1))
    place = _last(curves)
    if curves.flow is not None:
        ends = curves.flow[place], curves.map[place]
        ax.plot(
            [rate[place]] * 2, ends, color=entry.color, linewidth=stroke(2.6), alpha=0.8,
            zorder=2.7, gid=f"tie {key}",
        )  # fmt: skip
        middle = np.sqrt(ends[0] * ends[1]) if ax.get_yscale() == "log" else sum(ends) / 2
        at = on_paper(ax, np.array([[rate[place], middle]]))[0]
        covered = along(ax, *map(_known, drawn), np.stack([[rate[place]] * 2, ends], 1))
        strong = readable_color(entry.color)
        text = f"× {_ratio(curves, 'flow')}"
        write_beside(ax, text, at, covered, strong, f"ratio {key}", fontweight="bold")
    ax.set(xlabel="learning rate η", ylabel="stationary variance  E|x\xa0−\xa0E\xa0x|²")
    return Panel(_claim(curves), keys=_keys(curves, entry.color), caption=_caption(curves))


def _known(points: np.ndarray) -> np.ndarray:
    return points[np.isfinite(points).all(1)]


def _set_axes(ax: Axes, curves: Curves, shown: list[np.ndarray]) -> None:
    rates = [curves.rate, np.array([rate for rate, _ in curves.simulated])]
    all_rates = np.concatenate(rates)
    if all_rates.max() > WIDE * all_rates.min() and (limits := log_limits(shown)):
        ax.set(xlim=(1, 10), ylim=(1, 10), xscale="log", yscale="log")
        ax.set(xlim=log_limits(rates), ylim=limits)
        set_log_ticks(ax.xaxis)
        set_log_ticks(ax.yaxis)
    else:
        ax.set(xlim=linear_limits(rates), ylim=linear_limits([np.zeros(1), *shown]))
        set_linear_ticks(ax.xaxis)
        set_linear_ticks(ax.yaxis)


def _keys(curves: Curves, color: str) -> list[Any]:
    keys = [legend_key("map, exact", color=color, marker="o", linewidth=stroke(0.5))]
    if curves.simulated:
        ring = {"marker": "o", "markerfacecolor": "none", "linestyle": "none"}
        keys.append(legend_key("map, simulated, ± 2 standard errors", color=color, **ring))
    if curves.flow is not None:
        keys.append(legend_key("flow", color=ink()))
    if curves.modified is not None:
        keys.append(legend_key("modified flow", color=ink(), **DASHED))
    return keys


def _last(curves: Curves) -> int:
    """The largest learning rate at which the map has a stationary law."""
    return int(np.flatnonzero(np.isfinite(curves.map))[-1])


def _ratio(curves: Curves, name: str) -> str:
    place, variance = _last(curves), getattr(curves, name)
    return format_number(curves.map[place] / variance[place])


def _claim(curves: Curves) -> str:
    """The variance of the map in units of those of the flows, at the largest learning rate."""
    name, place = curves.results[0].optimizer.name, _last(curves)
    at = f"at η\xa0=\xa0{format_number(curves.rate[place])} the stationary variance of {name} is"
    if curves.flow is None:
        return literal(capitalize(f"{at} {format_number(curves.map[place])}"))
    sentence = f"{at} {_ratio(curves, 'flow')} times that of its flow"
    if curves.modified is not None:
        sentence += f", and {_ratio(curves, 'modified')} times that of its modified flow"
    return literal(capitalize(sentence))


def _within(curves: Curves) -> str:
    """How many simulations agree with the exact variance, of those whose learning rate has one."""
    distances = [
        abs(one.value - variance) / one.error
        for at, one in curves.simulated
        for rate, variance in zip(curves.rate, curves.map, strict=True)
        if np.isclose(at, rate) and np.isfinite(variance)
    ]
    if not distances:
        return ""
    of, near = count_noun(len(distances), "simulation"), sum(z <= ERRORS for z in distances)
    verb = "lies" if near == 1 else "lie"
    text = f"{near} of {of} {verb} within two standard errors of the exact variance"
    too_short = "; one that is farther off may be too short to have forgotten its start"
    return text + too_short * bool(max(distances) > FAR)


def _describe(curves: Curves) -> str:
    where = problem_name(curves.results[0])
    simulated = f"; {text}" if (text := _within(curves)) else ""
    return (
        f"The picture shows the stationary variance of map and flows on {where} over "
        f"{count_noun(len(curves.rate), 'learning rate')}: {_claim(curves)}{simulated}."
    )


def _caption(curves: Curves) -> list[str]:
    first = curves.results[0]
    known = noise_facts(first.optimizer).split("   ")[1:]
    setting = ", ".join(known)
    sentences = [f"On {literal(problem_name(first))}{f' with {setting}' if setting else ''}."]
    unstable = curves.rate[np.isnan(curves.map)]
    if unstable.size:
        sentences.append(
            f"There is no stationary law from η\xa0=\xa0{format_number(unstable.min())} on."
        )
    if text := _within(curves):
        sentences.append(f"{capitalize(text)}.")
    return sentences
