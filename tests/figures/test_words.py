"""Every sentence on a picture is true of what is drawn."""

import dataclasses
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from scenes import artist

from dynopt import SGD, Adam, Momentum
from dynopt.figures import convergence, loss, paths, phase, race
from dynopt.figures.drawing.runs import entries_by_problem
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


class Result(NamedTuple):
    """A result of a problem with a name, and of an optimizer."""

    problem: SimpleNamespace
    optimizer: Any


def names_of(*pairs):
    results = [Result(SimpleNamespace(name=name), optimizer) for name, optimizer in pairs]
    return [(entry.name, entry.key) for entry in entries_by_problem(results)]


def test_results_of_several_problems_are_named_by_what_differs():
    adam, sgd = Adam(0.1), SGD(0.1)
    assert names_of(("net", adam), ("net", sgd)) == [("Adam", "adam"), ("SGD", "sgd")]
    treated = names_of(("a_net_ridge", adam), ("a_net_gradient_penalty", adam))
    assert treated == [("ridge", "ridge"), ("gradient penalty", "gradient penalty")]
    names = [name for name, _ in names_of(("a_net", adam), ("a_net_ridge", sgd))]
    assert names == ["Adam, a net", "SGD, ridge"]
    assert [name for name, _ in names_of(("net", None), ("net", None))] == ["net", "net 2"]
