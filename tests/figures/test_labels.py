"""No word lies on another, and none outside of the picture."""

import numpy as np
import pytest
from overlaps import outside, overlapping

from dynopt import figures
from dynopt.figures.drawing import labels, measure, style


@pytest.mark.parametrize("look", style.STYLES)
@pytest.mark.parametrize("name", list(figures.catalogue))
def test_no_word_lies_on_another_or_outside(name, look, arguments):
    picture = figures.catalogue[name].draw(*arguments[name], style=look)
    assert overlapping(picture) == [] and outside(picture) == []


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
