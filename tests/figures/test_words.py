"""Every sentence on a picture is true of what is drawn."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from scenes import made_order, scene

from dynopt import SGD, Adam, Momentum, RMSprop
from dynopt.figures import global_error, local_error, loss, order, paths, phase
from dynopt.figures.drawing.words import number


def title(ax) -> str:
    return getattr(ax, "axes", [ax])[0].get_title().replace("\n", " ").replace("\xa0", " ")


def claim(*slopes: tuple, **changes) -> str:
    made = [made_order(optimizer, scene("bowl"), slope) for optimizer, slope in slopes]
    made = [dataclasses.replace(o, **changes) for o in made]
    return title(order.draw(made))


def test_the_order_is_named_only_if_it_was_measured():
    assert claim((SGD(0.1), 1.0)) == "The gap closes like h for SGD"
    assert claim((SGD(0.1), 1.0), (Adam(0.1), 1.01)) == "The gap closes like h"
    assert claim((SGD(0.1), 1.98)) == "The gap closes like h² for SGD (declared h)"
    assert claim((SGD(0.1), 0.8)) == "The gap closes like h⁰·⁸⁰ for SGD (declared h)"
    assert claim((SGD(0.1), 1.0), (RMSprop(0.1), 0.5)) == (
        "The gap closes like h for SGD; like √h for RMSprop: its memory starts at 0"
    )
    assert claim((SGD(0.1), 1.0), (RMSprop(0.1), 0.4), (Adam(0.1), 1.0)) == (
        "The gap closes like h for SGD and Adam; like h⁰·⁴⁰ for RMSprop (declared √h): its memory starts at 0"
    )
    assert claim((RMSprop(0.1), 2.3)) == "The gap closes like h²·³⁰ for RMSprop (declared √h)"
    assert claim((RMSprop(0.1, initial_scale=1.0), 1.0)) == "The gap closes like h for RMSprop"


def test_no_order_is_claimed_where_none_could_be_read():
    lost = {"window": None, "slope": float("nan"), "stderr": float("nan")}
    assert claim((Adam(0.1), 1.0), **lost) == "Round-off hides the slope of Adam"
    one = lost | {"error": np.r_[np.nan, np.ones(6)]}
    assert claim((Adam(0.1), 1.0), **one) == "Round-off hides the slope of Adam"
    gone = lost | {"error": np.r_[np.full(5, np.nan), np.ones(2)]}
    assert claim((SGD(0.1), 1.0), **gone) == "SGD diverges on too many clocks for a slope"
    picture = order.draw(dataclasses.replace(made_order(Adam(0.1), scene("bowl"), 1.0), **lost))
    assert "Adam: no slope" in picture.alt
    assert not [a for a in picture.axes[0].lines if str(a.get_gid()).startswith("fit")]


def test_the_gap_names_who_strays_farthest_and_who_least(comparisons):
    largest = {type(g.optimizer).__name__: float(g.error.max()) for g in comparisons["valley"]}
    far, near = max(largest, key=largest.__getitem__), min(largest, key=largest.__getitem__)
    assert title(global_error.draw(comparisons["valley"])) == (
        f"{far} strays farthest from its flow, by {number(largest[far], 2)}; {near} least, by {number(largest[near], 2)}"
    )
    assert title(global_error.draw(comparisons["valley"][0])).startswith(
        "SGD strays from its flow by at most "
    )


def test_the_loss_names_who_is_lowest(comparisons):
    ends = {type(g.optimizer).__name__: float(g.map.loss[-1]) for g in comparisons["valley"]}
    lowest = min(ends, key=ends.__getitem__)
    assert title(loss.draw(comparisons["valley"])) == (
        f"After 40 steps the map of {lowest} is lowest, with f − f* = {number(ends[lowest])}"
    )
    one = comparisons["valley"][0]
    first, last, flow = (
        number(float(v)) for v in (one.map.loss[0], one.map.loss[-1], one.flow.loss[-1])
    )
    assert title(loss.draw(one)) == f"SGD takes f − f* from {first} to {last}, its flow to {flow}"


def test_nobody_is_lowest_where_all_end_together(comparisons):
    same = [
        dataclasses.replace(g, map=dataclasses.replace(g.map, loss=comparisons["bowl"][0].map.loss))
        for g in comparisons["bowl"]
    ]
    assert title(loss.draw(same)).startswith("After 40 steps all maps have come to f − f* = ")


def test_the_paths_say_who_keeps_to_its_flow(comparisons):
    near, far = (
        dataclasses.replace(comparisons["bowl"][0], error=jnp.full(41, e)) for e in (0.01, 0.9)
    )
    assert title(paths.draw(near)) == "SGD keeps within 0.01 of its flow"
    assert title(paths.draw(far)) == "SGD strays from its flow by up to 0.9"
    adam = dataclasses.replace(comparisons["bowl"][3], error=jnp.full(41, 0.5))
    assert (
        title(paths.draw([near, adam]))
        == "SGD keeps within 0.01 of its flow; Adam strays by up to 0.5"
    )
    assert (
        title(paths.draw([far, adam])) == "SGD and Adam stray from their flows by up to 0.9 (SGD)"
    )


def test_the_local_error_names_the_worst_step(local_errors):
    worst = {type(r.optimizer).__name__: float(r.error.max()) for r in local_errors["bowl"]}
    far, near = max(worst, key=worst.__getitem__), min(worst, key=worst.__getitem__)
    assert title(local_error.draw(local_errors["bowl"])) == (
        f"One step misses its flow by at most {number(worst[far], 2)} with {far}, by {number(worst[near], 2)} with {near}"
    )


def test_the_phase_plane_counts_the_swings(comparisons):
    p = np.asarray(comparisons["bowl"][1].map.y.p)[:, 1]
    signs = np.sign(p[p != 0])
    turns = int((signs[1:] != signs[:-1]).sum())
    assert turns > 1
    assert title(phase.draw(comparisons["bowl"], coordinate=1)).startswith(
        f"Momentum turns back {turns} times along x₂, "
    )


@pytest.mark.parametrize("module", [paths, loss, global_error, phase])
def test_alt_texts_are_one_sentence_with_numbers(module, comparisons):
    said = module.describe(comparisons["wells"])
    assert said == module.draw(comparisons["wells"]).alt
    assert said.count(". ") == 0 and said.endswith(".") and any(c.isdigit() for c in said)
    assert "Momentum" in said and "wells" in said


def test_two_runs_of_one_optimizer_are_told_apart_by_what_differs(comparisons):
    slow, fast = (
        comparisons["bowl"][0],
        dataclasses.replace(comparisons["bowl"][0], optimizer=SGD(0.02)),
    )
    picture = global_error.draw([slow, fast])
    assert "SGD (learning_rate 0.02)" in picture.alt
    first, second = (
        next(a for a in picture.axes[0].lines if a.get_gid() == g) for g in ("gap sgd", "gap sgd 2")
    )
    assert first.get_marker() == second.get_marker() and first.get_color() != second.get_color()


def test_an_optimizer_with_its_own_friction_is_named_by_it(comparisons):
    light = dataclasses.replace(comparisons["bowl"][1], optimizer=Momentum(0.01, momentum=0.99))
    assert "Momentum (momentum 0.99) turns" in phase.draw([comparisons["bowl"][1], light]).alt
