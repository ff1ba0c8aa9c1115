"""No word lies on another, none on a line that it does not name, none outside of the picture."""

from itertools import combinations

import jax
import numpy as np
import pytest
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from scenes import gids, legend_texts, make_stability, with_runs

from dynopt.figures import (
    global_error,
    local_error,
    loss,
    lyapunov,
    order,
    overview,
    paths,
    phase,
    stability,
)
from dynopt.figures.drawing import labels, measure, style


def boxes(picture):
    """Every visible text of the picture, with the box in pixels that it covers."""
    picture.draw_without_rendering()
    texts = [t for t in picture.findobj(Text) if t.get_visible() and t.get_text().strip()]
    covered = [(t.get_text(), box_of(t)) for t in texts]
    with style.context(picture.style):  # the number of ticks depends on the size of their labels
        hidden = {
            tick
            for ax in picture.findobj(lambda a: hasattr(a, "get_xticklabels"))
            for tick in hidden_ticks(ax)
        }
    return [box for box, t in zip(covered, texts, strict=True) if t not in hidden]


def box_of(text):
    """The box without a connection to a line, and without blank lines at the end."""
    box = Text.get_window_extent(text)
    lines = text.get_text().split("\n")
    blank = len(lines) - len(text.get_text().rstrip("\n ").split("\n"))
    return Bbox([[box.x0, box.y0 + box.height * blank / len(lines)], [box.x1, box.y1]])


def hidden_ticks(ax):
    """Labels of ticks outside of the view exist but are not drawn."""
    for axis in (ax.xaxis, ax.yaxis):
        low, high = sorted(axis.get_view_interval())
        for tick in axis.get_major_ticks() + axis.get_minor_ticks():
            if not low * (1 - 1e-9) - 1e-12 <= tick.get_loc() <= high * (1 + 1e-9) + 1e-12:
                yield from (tick.label1, tick.label2)


def overlapping(picture) -> list[tuple[str, str]]:
    return [
        (one, other)
        for (one, a), (other, b) in combinations(boxes(picture), 2)
        if min(a.x1, b.x1) - max(a.x0, b.x0) > 1 and min(a.y1, b.y1) - max(a.y0, b.y0) > 1
    ]


def outside(picture) -> list[str]:
    wide, high = picture.get_size_inches() * picture.dpi
    return [
        t for t, b in boxes(picture) if b.x0 < -1 or b.y0 < -1 or b.x1 > wide + 1 or b.y1 > high + 1
    ]


@pytest.mark.parametrize("name", ["valley", "nowhere"])
def test_no_word_lies_on_another_or_outside(name, comparisons, local_errors, orders, lyapunovs):
    pictures = [module.draw(comparisons[name]) for module in (paths, loss, global_error, phase)]
    pictures += [
        local_error.draw(local_errors[name]),
        order.draw(orders[name]),
        lyapunov.draw(lyapunovs[name]),
    ]
    for picture in pictures:
        assert overlapping(picture) == [] and outside(picture) == []


@pytest.mark.parametrize("look", style.STYLES)
def test_nor_in_any_style(look, comparisons, local_errors, orders):
    pictures = [
        overview.draw(comparisons["wells"], local_errors["wells"], orders["wells"], style=look),
        stability.draw(make_stability(), style=look),
    ]
    pictures += [
        paths.draw(comparisons[name], style=look)
        for name in ("ripples", "wells", "valley")
        if look == "slides"
    ]
    for picture in pictures:
        assert overlapping(picture) == [] and outside(picture) == []


def test_nor_with_a_run_that_failed(diverged, comparisons):
    for module in (paths, loss):
        picture = module.draw([diverged, *comparisons["bowl"][1:]])
        assert overlapping(picture) == [] and outside(picture) == []


def test_lines_that_end_inside_the_frame_are_named_in_the_legend(orders, comparisons):
    for name in ("bowl", "wells"):
        ax = order.draw(orders[name]).axes[0]
        assert not [gid for gid in gids(ax) if gid.startswith("label")]
        assert len([text for text in legend_texts(ax) if "±" in text]) == 4
    sgd, momentum = comparisons["bowl"][:2]
    short = with_runs(momentum, lambda runs: [jax.tree.map(lambda a: a[:3], a) for a in runs])
    for other, labelled in ((momentum, True), (short, False)):
        ax = global_error.draw([sgd, other]).axes[0]
        assert ("label SGD" in gids(ax)) == ("label Momentum" in gids(ax)) == labelled
        assert ("SGD" in legend_texts(ax)) == ("Momentum" in legend_texts(ax)) != labelled


def test_more_labels_than_the_margin_holds_stand_in_the_legend(comparisons):
    sgd = comparisons["bowl"][0]
    ax = loss.draw([sgd] * 30).axes[0]
    assert len([text for text in legend_texts(ax) if text == "SGD"]) == 30
    assert not [gid for gid in gids(ax) if gid.startswith("label")]


def test_crowded_labels_are_moved_apart_and_kept_in_order():
    places = labels.spread(np.array([0.5, 0.5, 0.5, 0.98, 1.0]), 0.1)
    assert (np.diff(places) >= 0.1 - 1e-12).all() and places.min() >= 0 and places.max() <= 1
    np.testing.assert_allclose(labels.spread(np.array([0.1, 0.5, 0.9]), 0.1), [0.1, 0.5, 0.9])
    assert labels.spread(np.zeros(3), 0.2).min() >= 0


def test_sentences_are_wrapped_to_their_width():
    with style.context("notebook"):
        text = measure.wrap_text("one two three " * 30 + "x" * 300, 200.0, 10.0)
        lines = text.split("\n")
        assert len(lines) > 5 and all(measure.text_width(line, 10.0) <= 200 for line in lines)
        assert measure.wrap_text("f\xa0−\xa0f* is", 30.0, 10.0).split("\n")[0] == "f\xa0−\xa0f*"
