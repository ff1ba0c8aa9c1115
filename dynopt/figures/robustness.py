"""The robustness of classifiers: accuracy over the size of an attack, and certified radii."""

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from ..analysis import Robustness
from ..errors import InvalidValue
from .drawing import legends, runs
from .drawing.axes import set_linear_ticks
from .drawing.beside import along, write_beside
from .drawing.captions import problem_name
from .drawing.frames import draw_parts
from .drawing.labels import spread
from .drawing.legends import key as legend_key
from .drawing.measure import figure_of, font_size, frame_box, on_paper, stroke, text_width
from .drawing.notes import SIZES, write_halo
from .drawing.picture import Panel, Picture, write_title
from .drawing.results import must_be_axes, result_list
from .drawing.runs import Entry
from .drawing.style import in_style, ink, readable_color
from .drawing.words import capitalize, format_number, join_words, literal

LINE = 1.5  # of the names, in font sizes
DASHED = {"linestyle": (0, (4, 2))}


@in_style
def draw(
    results: Robustness | list[Robustness],
    *,
    title: str | None = None,
    ax: Axes | None = None,
    style: str = "notebook",
) -> Picture | Axes:
    """The accuracy on unseen examples over the size ε of an attack, and certified radii beside it.

    On the left a line with dots is the accuracy under FGSM attacks, and a thin dashed one that
    under projected gradient ascent. On the right is the share of the examples that are certified to
    more than a radius, with a dot at the median; this part is missing if no loss has a bound.

    - `results`: one or several results of `analysis.robustness`, of one or several optimizers or
      problems, such as one network under several constraints.
    - `title`: a title in place of the claim.
    - `ax`: axes to draw the left part in, instead of a new `Picture`.
    - `style`: "notebook", "paper" or "slides".

    **Raises:** `InvalidValue` if the attacks are of different sizes.
    """
    entries = _entries(results)
    must_be_axes(ax)
    if ax is not None:
        _paint_attacks(ax, entries)
        write_title(ax, title or capitalize(_claim(entries)), frame_box(ax).width)
        return ax
    picture = Picture(style, _describe(entries))
    parts = [_paint_attacks, _paint_radii] if _certified(entries) else [_paint_attacks]
    if style != "slides" and len(parts) > 1:
        width, height = (float(side) for side in picture.get_size_inches())
        picture.set_size_inches(1.5 * width, 0.9 * height)
    frames = np.ravel(picture.subplots(1, len(parts)))
    picture.write_caption(_caption(entries))
    picture.write_heading(title or capitalize(_claim(entries)), _keys())
    draw_parts(
        picture,
        [
            (frame, lambda ax, paint=paint: paint(ax, entries))
            for frame, paint in zip(frames, parts, strict=True)
        ],
    )
    return picture


def describe(results: Robustness | list[Robustness]) -> str:
    """The picture in one sentence with its numbers."""
    return _describe(_entries(results))


def paint(ax: Axes, results: list[Robustness]) -> Panel:
    """Draw the accuracies over the size of the attack into `ax`; return title and caption."""
    return _paint_attacks(ax, _entries(results))


def _entries(results: Any) -> list[Entry]:
    """The results with their names, in colours that differ in grey, too."""
    many = result_list(results, Robustness, "analysis.robustness", "eps", one_problem=False)
    if any(not np.array_equal(one.eps, many[0].eps) for one in many):
        raise InvalidValue(
            "the results are of attacks of different sizes; pass the same `eps` to "
            "analysis.robustness."
        )
    return runs.distinct_in_grey(runs.entries_by_problem(many))


def _paint_attacks(ax: Axes, entries: list[Entry]) -> Panel:
    eps = np.asarray(entries[0].result.eps, float)
    last = eps.max() or 1.0
    ax.set(xlim=(-0.02 * last, 1.02 * last), ylim=(-0.03, 1.03))
    set_linear_ticks(ax.xaxis)
    _set_percent(ax)
    lines = []
    looks: dict[str, dict[str, Any]] = {
        "pgd": DASHED | {"lw": stroke(0.9)},
        "fgsm": {"marker": "o"},
    }
    for result, color, _, key in entries:
        for (name, look), values in zip(looks.items(), (result.pgd, result.accuracy), strict=True):
            lines.append(np.stack([eps, np.asarray(values, float)], 1)[np.argsort(eps)])
            ax.plot(*lines[-1].T, color=color, zorder=3, gid=f"{name} {key}", **look)
    _write_names(ax, entries, lines)
    ax.set(xlabel="size ε of the attack on each feature", ylabel="accuracy")
    return Panel(
        capitalize(_claim(entries)),
        caption=_caption(entries),
        keys=_keys(),
        name="Attacks",
        color=ink(),
        fact="accuracy on unseen examples",
    )


def _write_names(ax: Axes, entries: list[Entry], lines: list[np.ndarray]) -> None:
    """The names in one column at the right edge, in the order of the accuracies they stand for.

    Leaders join them to the dots of the attack that the title is about. Where lines would run
    through the column, it is smaller, or a legend takes its place.
    """
    place = _attack(entries)
    ranked = _ranked(entries)
    texts = [f"{literal(e.name)}  {_percent(e.result.accuracy[place])}" for e in ranked]
    box, to_axes = frame_box(ax), ax.transAxes.inverted()
    drawn = to_axes.transform(along(ax, *lines) * figure_of(ax).dpi / 72)
    dots = np.array([[e.result.eps[place], e.result.accuracy[place]] for e in ranked], float)
    dots = to_axes.transform(ax.transData.transform(dots))
    for scale in SIZES:
        size = scale * font_size("legend.fontsize")
        left = 1 - (1.15 * max(text_width(text, size) for text in texts) + size) / box.width
        spacing = LINE * size / box.height
        low = drawn[drawn[:, 0] > left - 0.02, 1].max(initial=0) + spacing
        room = 1 - 0.7 * spacing - low
        if room >= spacing * (len(texts) - 1) and dots[:, 0].max() < left - 0.05:
            break
    else:
        handles = [legend_key(literal(e.name), color=e.color, marker="o") for e in ranked]
        legends.draw_inside(ax, handles)
        return
    wanted = np.clip((dots[::-1, 1] - low) / room, 0, 1)
    heights = low + room * spread(wanted, spacing / room)[::-1]
    claimed = {ranked[0].key, ranked[-1].key}
    for entry, text, dot, height in zip(ranked, texts, dots, heights, strict=True):
        strong = readable_color(entry.color)
        leader: dict[str, Any] = {
            "arrowstyle": "-", "color": strong, "lw": stroke(0.6), "shrinkA": 2, "shrinkB": 4,
        }  # fmt: skip
        ax.annotate(
            "", tuple(dot), xytext=(left, height), xycoords="axes fraction",
            textcoords="axes fraction", arrowprops=leader, zorder=2.5,
        )  # fmt: skip
        write_halo(
            ax, text, (left, height), strong, xycoords="axes fraction", va="center", fontsize=size,
            fontweight="bold" if entry.key in claimed else "normal", gid=f"name {entry.key}",
        )  # fmt: skip


def _paint_radii(ax: Axes, entries: list[Entry]) -> Panel:
    """Draw the share of the examples that are certified to more than each radius into `ax`."""
    known = _certified(entries)
    last = max(float(np.max(entry.result.radii)) for entry in known) or 1.0
    ax.set(xlim=(-0.02 * last, 1.02 * last), ylim=(-0.03, 1.03))
    set_linear_ticks(ax.xaxis)
    _set_percent(ax)
    lines, medians = [], []
    for result, color, _, key in known:
        radii = np.unique(np.append(0, result.radii))
        share = (np.asarray(result.radii)[None] > radii[:, None]).mean(1)
        lines.append(np.stack([radii, share], 1))
        ax.plot(*lines[-1].T, color=color, zorder=3, drawstyle="steps-post", gid=f"radii {key}")
        medians.append((float(result.certified), min(0.5, share[0])))
        ax.plot(*medians[-1], "o", color=color, zorder=5, gid=f"median {key}")
    around = 5 * np.mgrid[-1:1:3j, -1:1:3j].reshape(2, -1).T  # points: dots have a size
    places = on_paper(ax, np.array(medians))
    dots = (places[:, None] + around).reshape(-1, 2)
    drawn, numbers = np.concatenate([along(ax, *lines), dots]), list(map(_radius, known))
    farthest = _radius(_by_radius(known)[0])
    for (_, color, _, key), place, number in zip(known, places, numbers, strict=True):
        drawn = write_beside(
            ax, number, place, drawn, readable_color(color), f"number {key}",
            fontweight="bold" if number == farthest else "normal",
            fontsize=font_size("legend.fontsize"),
        )  # fmt: skip
    ax.set(xlabel="radius r, Euclidean", ylabel="share of examples")
    return Panel("", name="Certificates", color=ink(), fact="share certified beyond r")


def _set_percent(ax: Axes) -> None:
    ax.set_yticks(np.linspace(0, 1, 6))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda share, _: _percent(share)))


def _percent(share: Any) -> str:
    return f"{100 * float(share):.0f}\xa0%"


def _keys() -> list[Any]:
    return [
        legend_key("FGSM, one step", marker="o", linewidth=mpl.rcParams["lines.linewidth"]),
        legend_key("PGD, ten steps", linewidth=stroke(0.9), **DASHED),
    ]


def _certified(entries: list[Entry]) -> list[Entry]:
    """The entries with certified radii."""
    return [entry for entry in entries if np.isfinite(float(entry.result.certified))]


def _by_radius(entries: list[Entry]) -> list[Entry]:
    """The entries by falling median of their radii."""
    return sorted(entries, key=lambda entry: -float(entry.result.certified))


def _radius(entry: Entry) -> str:
    return format_number(float(entry.result.certified), 2)


def _attack(entries: list[Entry]) -> int:
    """The attack that the title is about, by its place among the sizes.

    It tells several results most apart, and takes one about half of its accuracy.
    """
    accuracies = np.array([entry.result.accuracy for entry in entries], float)
    if len(entries) == 1:
        return int(np.abs(accuracies[0] - float(entries[0].result.clean) / 2).argmin())
    return int(np.ptp(accuracies, axis=0).argmax())


def _best(entries: list[Entry], numbers: list[str]) -> tuple[str, str]:
    """The names of the entries that share the first number, and the verb "to be" that fits."""
    names = [e.name for e, number in zip(entries, numbers, strict=True) if number == numbers[0]]
    names[1:] = names[1:] if len(names) < 4 else [f"{len(names) - 1} others"]
    return join_words(names), "is" if len(names) == 1 else "are"


def _ranked(entries: list[Entry]) -> list[Entry]:
    """The entries by falling accuracy under the attack of the title."""
    place = _attack(entries)
    return sorted(entries, key=lambda entry: -float(entry.result.accuracy[place]))


def _claim(entries: list[Entry]) -> str:
    """Who is right most and least often under one attack, and who is certified farthest."""
    place, ranked = _attack(entries), _ranked(entries)
    shares = [_percent(entry.result.accuracy[place]) for entry in ranked]
    size = f"ε\xa0=\xa0{format_number(float(ranked[0].result.eps[place]))}"
    who, verb = _best(ranked, shares)
    right = f"{who} {verb} right about {shares[0]} of unseen examples"
    if len(entries) == 1:
        rest = f", and about {_percent(ranked[0].result.clean)} without"
    else:
        rest = f", {ranked[-1].name} about {shares[-1]}" * (shares[-1] != shares[0])
    known, radius = _certified(entries), ""
    if len(known) > 1:
        far = _by_radius(known)
        numbers = list(map(_radius, far))
        who, verb = _best(far, numbers)
        radius = f"; {who} {verb} certified farthest, to {numbers[0]}"
    return literal(f"under FGSM of {size} {right}{rest}{radius}")


def _radii(entries: list[Entry]) -> str:
    medians = [
        f"{_radius(entry)} for {entry.name} "
        f"(L\xa0=\xa0{format_number(float(entry.result.lipschitz))})"
        for entry in _certified(entries)
    ]
    return f"the median of the certified radii is {join_words(medians)}" if medians else ""


def _describe(entries: list[Entry]) -> str:
    radii = "; ".join(filter(None, [_claim(entries), _radii(entries)]))
    return (
        "The picture shows the accuracy on unseen examples over the size of FGSM and PGD attacks: "
        f"{radii}."
    )


def _caption(entries: list[Entry]) -> list[str]:
    counts = join_words(sorted({f"{len(entry.result.radii)}" for entry in entries}))
    names = {problem_name(entry.result) for entry in entries}
    of = f" of {literal(names.pop())}" if len(names) == 1 else ""
    sentences = [f"{counts} unseen examples{of}, whose features may change by at most ε each."]
    if radii := _radii(entries):
        sentences.append(f"{literal(capitalize(radii))}, with the bound L of the scores.")
    return sentences
