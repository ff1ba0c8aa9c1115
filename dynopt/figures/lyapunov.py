"""The energy: what map and flow spend on their way down, and where a map lifts it."""

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from ..analysis import Lyapunov
from .drawing import descent, legends, runs
from .drawing.captions import called, claim, largest
from .drawing.descent import Descent
from .drawing.picture import Panel, Picture, drawn, several
from .drawing.style import ground, ink
from .drawing.words import counted, failure, listed, number, plain

MOST = 50  # dots along one run


def draw(
    results: Lyapunov | list[Lyapunov], *, ax: Axes | None = None, style: str = "notebook"
) -> Picture | Axes:
    """The energy along map and flow: dots are the map, a line is the flow, and a cross marks each rise.

    Where the minimum f* is known, E - f* on a logarithmic axis, as no energy is below the loss; else E, on a
    logarithmic axis only if it is positive and falls a hundredfold. A run that fails is drawn to its last finite point.

    - `results`: one or several `analysis.energy` of one problem, of maps, of flows or of both; those of one optimizer
      belong together. - `ax`: axes to draw in, instead of a new `Picture`. - `style`: "notebook", "paper" or "slides".

    **Raises:** `InvalidValue` if the results are of several problems.
    """
    return drawn(
        paint, describe, several(results, Lyapunov, "analysis.energy", "energy"), ax, style
    )


def describe(results: Lyapunov | list[Lyapunov]) -> str:
    """The picture in one sentence with its numbers."""
    energies = several(results, Lyapunov, "analysis.energy", "energy")
    pairs = _pairs(energies)
    said = []
    for pair, (_, _, name, _) in zip(pairs, runs.entries(_descents(pairs)), strict=True):
        for energy in pair:
            values, run = _heights(energy), energy.trajectory
            end = f"ends at {number(values[-1])}" if values.size else "has nothing finite"
            rose = f"rises {counted(_rises(energy), 'time')}" if _rises(energy) else "never rises"
            most = f" by at most {number(largest(energy.violation))}" if _rises(energy) else ""
            whose = name if run.kind == "map" else f"the flow of {name}"
            said.append(f"{whose} {failure(run) or end} and {rose}{most}")
    what = f"Lyapunov{' above the minimum' * (energies[0].problem.minimum is not None)} on {called(energies[0])}"
    return f"{what} along map (dots) and flow (lines): {'; '.join(said)}."


def paint(ax: Axes, energies: list[Lyapunov]) -> Panel:
    """Draw in the axes, and say what stands around them."""
    pairs = _pairs(energies)
    descents = _descents(pairs)
    panel = descent.paint(
        ax, descents, "energy", ("E(t, y)", "E − f*"), _title(pairs, descents), MOST
    )
    lines = {line.get_gid(): line for line in ax.lines}
    for pair, (_, _, _, key) in zip(pairs, runs.entries(descents), strict=True):
        for energy in pair:
            run = energy.trajectory
            _cross(
                ax,
                lines[f"{run.kind} {key}"],
                np.asarray(energy.violation)[run.finite],
                f"{run.kind} {key}",
            )
    rises = sum(map(_rises, energies))
    panel.keys = [*panel.keys, *[legends.key("a rise", **_crosses())] * bool(rises)]
    panel.caption = [*panel.caption, *_told(pairs, descents)]
    return panel


def _pairs(energies: list[Lyapunov]) -> list[list[Lyapunov]]:
    """Map and flow of one optimizer together, in the order in which they come."""
    pairs: list[list[Lyapunov]] = []
    for energy in energies:
        for pair in pairs:
            kinds = [other.trajectory.kind for other in pair]
            if (
                repr(pair[0].optimizer) == repr(energy.optimizer)
                and energy.trajectory.kind not in kinds
            ):
                pair.append(energy)
                break
        else:
            pairs.append([energy])
    return pairs


def _descents(pairs: list[list[Lyapunov]]) -> list[Descent]:
    made = []
    for pair in pairs:
        ran = {energy.trajectory.kind: energy.trajectory for energy in pair}
        values = {energy.trajectory.kind: _heights(energy) for energy in pair}
        made.append(
            Descent(pair[0].optimizer, pair[0].problem, ran.get("map"), ran.get("flow"), values)
        )
    return made


def _heights(energy: Lyapunov) -> np.ndarray:
    """The finite energies, above the minimum of the loss if that is known."""
    return descent.finite_values(energy.trajectory, energy.energy, energy.problem.minimum)


def _rises(energy: Lyapunov) -> int:
    return int((np.asarray(energy.violation) > 0).sum())


def _crosses() -> dict:
    size = 0.8 * mpl.rcParams["lines.markersize"]
    edge = [withStroke(linewidth=0.55 * size, foreground=ground())]
    look = {
        "marker": "x",
        "linestyle": "none",
        "color": ink(),
        "markersize": size,
        "markeredgewidth": 0.28 * size,
    }
    return look | {"path_effects": edge}


def _cross(ax: Axes, line: Line2D, violation: np.ndarray, gid: str) -> None:
    """A cross at each point of a line to which its energy has risen, and the way up from the point before."""
    x, y = (np.asarray(values, float) for values in line.get_data())
    risen = np.flatnonzero(violation > 0)
    if risen.size:
        ways = np.stack(
            [np.stack([x[risen - 1], y[risen - 1]], 1), np.stack([x[risen], y[risen]], 1)], 1
        )
        thin = 0.6 * mpl.rcParams["lines.linewidth"]
        ax.add_collection(
            LineCollection(
                list(ways), colors=[line.get_color()], linewidths=thin, zorder=3.5, gid=f"way {gid}"
            ),
            False,
        )
        ax.plot(x[risen], y[risen], zorder=6, gid=f"rise {gid}", **_crosses())


def _title(pairs: list[list[Lyapunov]], descents: list[Descent]) -> str:
    """Whose map lifts its energy, how often and how much; and what the flows do."""
    entries = runs.entries(descents)
    rising = {kind: _rising(pairs, entries, kind) for kind in ("map", "flow")}
    said = [_raise(kind, found) for kind, found in rising.items() if found]
    lasting = [
        (pair, each)
        for pair, each in zip(pairs, entries, strict=True)
        if all(not failure(e.trajectory) for e in pair)
    ]
    flows = any(e.trajectory.kind == "flow" for pair, _ in lasting for e in pair)
    if rising["map"] and not rising["flow"] and flows:
        said.append("its flow never does" if len(pairs) == 1 else "no flow does")
    if not said and lasting:
        if len(lasting) == 1:
            ((pair, each),) = lasting
            ends = [_heights(e) for e in pair]
            if all(values.size for values in ends):
                said.append(
                    f"the energy of {each.name} falls from {number(ends[0][0])} to {number(ends[0][-1])} without a rise"
                )
        else:
            said.append("no energy ever rises")
    return claim(descents, "; ".join(said))


def _rising(pairs, entries, kind: str) -> dict[str, Lyapunov]:
    return {
        each.name: energy
        for pair, each in zip(pairs, entries, strict=True)
        for energy in pair
        if energy.trajectory.kind == kind and _rises(energy)
    }


def _raise(kind: str, found: dict[str, Lyapunov]) -> str:
    """As in "the maps of Momentum and RMSprop raise their energy 41 and 30 times in 100 steps, by at most 19"."""
    most = {name: largest(energy.violation) for name, energy in found.items()}
    worst = max(most, key=lambda name: most[name])
    lengths = {int(np.isfinite(energy.energy).sum()) - 1 for energy in found.values()}
    of = f" in {counted(lengths.pop(), 'step')}" if len(lengths) == 1 else ""
    if len(found) == 1:
        often = f"the {kind} of {worst} raises its energy {counted(_rises(found[worst]), 'time')}"
        return f"{often}{of}, by at most {number(most[worst], 2)}"
    times = listed([str(_rises(energy)) for energy in found.values()])
    often = f"the {kind}s of {listed(list(found))} raise their energy {times} times"
    return f"{often}{of}, by at most {number(most[worst], 2)} ({worst})"


def _told(pairs: list[list[Lyapunov]], descents: list[Descent]) -> list[str]:
    """Whose energy rose, in numbers."""
    entries, said = runs.entries(descents), []
    for kind in ("map", "flow"):
        for name, energy in _rising(pairs, entries, kind).items():
            whose = f"the flow of {name}" if kind == "flow" else name
            said.append(
                f"{whose} {counted(_rises(energy), 'time')} by at most {number(largest(energy.violation))}"
            )
    return (
        [plain(f"Crosses mark each rise of the energy since the point before: {'; '.join(said)}.")]
        if said
        else []
    )
