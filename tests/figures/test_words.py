"""Every sentence on a picture is true of what is drawn."""

import dataclasses

import pytest
from scenes import artist

from dynopt import SGD, Momentum
from dynopt.figures import convergence, loss, paths, phase, race
from dynopt.figures.drawing.words import capitalize


@pytest.mark.parametrize("module", [paths, loss, race, phase])
def test_alt_texts_are_one_sentence_with_numbers(module, comparisons):
    text = module.describe(comparisons["wells"])
    assert text == module.draw(comparisons["wells"]).alt
    assert text.count(". ") == 0 and text.endswith(".") and any(c.isdigit() for c in text)
    assert "Momentum" in text and "wells" in text


def test_two_runs_of_one_optimizer_are_told_apart_by_what_differs(orders):
    first = orders["bowl"][0]
    second = dataclasses.replace(first, optimizer=SGD(0.02))
    picture = convergence.draw([first, second])
    assert "SGD η\xa0=\xa00.01" in picture.alt and "SGD η\xa0=\xa00.02" in picture.alt
    dots = [artist(picture.axes[-1], f"largest h/64 {key}") for key in ("sgd", "sgd 2")]
    assert dots[0].get_color() != dots[1].get_color()


def test_an_optimizer_with_another_momentum_is_named_by_it(comparisons):
    light = dataclasses.replace(comparisons["bowl"][1], optimizer=Momentum(0.01, momentum=0.99))
    assert "Momentum μ\xa0=\xa00.99 turns back" in (phase.draw([comparisons["bowl"][1], light]).alt)


@pytest.mark.parametrize(("text", "expected"), [("γ = 1 ends", "γ = 1 ends"), ("été", "Été")])
def test_a_greek_letter_is_a_symbol_that_a_sentence_may_begin_with(text, expected):
    assert capitalize(text) == expected
