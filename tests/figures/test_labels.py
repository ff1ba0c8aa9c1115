"""No word lies on another, none on a line it does not name, none outside the picture."""

from itertools import combinations

import numpy as np
import pytest
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from scenes import made_stability

from dynopt.figures import (
    energy,
    global_error,
    local_error,
    loss,
    order,
    overview,
    paths,
    phase,
    stability,
)
from dynopt.figures.drawing import labels as beside, measure, style


def boxes(picture):
    """Every visible word of the picture, with the box in pixels that it covers."""
    picture.draw_without_rendering()
    shown = [t for t in picture.findobj(Text) if t.get_visible() and t.get_text().strip()]
    drawn = [(t.get_text(), box_of(t)) for t in shown]
    ticks = {
        t
        for ax in picture.findobj(lambda a: hasattr(a, "get_xticklabels"))
        for t in unseen_ticks(ax)
    }
    return [(text, box) for (text, box), t in zip(drawn, shown, strict=True) if t not in ticks]


def box_of(text):
    """Without the line that ties it, and without lines left free."""
    box = Text.get_window_extent(text)
    lines = text.get_text().split("\n")
    free = len(lines) - len(text.get_text().rstrip("\n").split("\n"))
    return Bbox([[box.x0, box.y0 + box.height * free / len(lines)], [box.x1, box.y1]])


def unseen_ticks(ax):
    """Labels of ticks outside the view exist but are not drawn."""
    for axis in (ax.xaxis, ax.yaxis):
        low, high = sorted(axis.get_view_interval())
        for tick in axis.get_major_ticks() + axis.get_minor_ticks():
            if not low * (1 - 1e-9) - 1e-12 <= tick.get_loc() <= high * (1 + 1e-9) + 1e-12:
                yield from (tick.label1, tick.label2)


def overlapping(picture) -> list[tuple[str, str]]:
    found = boxes(picture)
    return [
        (one, other)
        for (one, a), (other, b) in combinations(found, 2)
        if min(a.x1, b.x1) - max(a.x0, b.x0) > 1 and min(a.y1, b.y1) - max(a.y0, b.y0) > 1
    ]


def outside(picture) -> list[str]:
    wide, high = picture.get_size_inches() * picture.dpi
    return [
        t for t, b in boxes(picture) if b.x0 < -1 or b.y0 < -1 or b.x1 > wide + 1 or b.y1 > high + 1
    ]


@pytest.mark.parametrize("name", ["valley", "nowhere"])
def test_no_word_lies_on_another_or_outside(name, comparisons, local_errors, orders, energies):
    pictures = [module.draw(comparisons[name]) for module in (paths, loss, global_error, phase)]
    pictures += [
        local_error.draw(local_errors[name]),
        order.draw(orders[name]),
        energy.draw(energies[name]),
    ]
    for picture in pictures:
        assert overlapping(picture) == [] and outside(picture) == []


@pytest.mark.parametrize("look", style.STYLES)
def test_nor_in_any_style(look, comparisons, local_errors, orders):
    pictures = [
        overview.draw(comparisons["wells"], local_errors["wells"], orders["wells"], style=look)
    ]
    pictures += [stability.draw(made_stability(), style=look)]
    for picture in pictures + [paths.draw(comparisons["ripples"], style=look)] * (look == "slides"):
        assert overlapping(picture) == [] and outside(picture) == []


def test_nor_with_a_run_that_failed(diverged, comparisons):
    for module in (paths, loss):
        picture = module.draw([diverged, *comparisons["bowl"][1:]])
        assert overlapping(picture) == [] and outside(picture) == []


def test_names_by_slopes_lie_on_no_line(orders):
    for name in ("bowl", "wells"):
        picture = order.draw(orders[name])
        picture.draw_without_rendering()
        ax = picture.axes[0]
        points = [
            ax.transData.transform(line.get_xydata())
            for line in ax.lines
            if str(line.get_gid()).startswith("gaps")
        ]
        for text in ax.texts:
            box = text.get_window_extent()
            for x, y in np.concatenate(points):
                assert not box.contains(x, y)


def test_crowded_ends_are_moved_apart_and_kept_in_order():
    seats = beside.apart(np.array([0.5, 0.5, 0.5, 0.98, 1.0]), 0.1)
    assert (np.diff(seats) >= 0.1 - 1e-12).all() and seats.min() >= 0 and seats.max() <= 1
    np.testing.assert_allclose(beside.apart(np.array([0.1, 0.5, 0.9]), 0.1), [0.1, 0.5, 0.9])
    assert beside.apart(np.zeros(3), 0.2).min() >= 0


def test_sentences_are_wrapped_to_their_room():
    with style.context("notebook"):
        text = measure.wrapped("one two three " * 30 + "x" * 300, 200.0, 10.0)
        lines = text.split("\n")
        assert len(lines) > 5 and all(measure.width(line, 10.0) <= 200 for line in lines)
        assert measure.wrapped("f\xa0−\xa0f* is", 30.0, 10.0).split("\n")[0] == "f\xa0−\xa0f*"
