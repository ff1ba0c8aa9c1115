"""Every sentence on a picture is true of what is drawn."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from scenes import caption, make_order, scene, title, without_fit

from dynopt import SGD, Adam, Momentum, RMSprop
from dynopt.figures import global_error, local_error, loss, order, paths, phase
from dynopt.figures.drawing.words import format_number


def order_claim(*slopes: tuple) -> str:
    """The title of the order, for optimizers with these slopes."""
    return title(order.draw([make_order(who, scene("bowl"), slope) for who, slope in slopes]))


def test_the_order_is_named_only_if_it_was_measured():
    assert order_claim((SGD(0.1), 1.0)) == "The global error is O(h) for SGD"
    assert order_claim((SGD(0.1), 1.0), (Adam(0.1), 1.01)) == "The global error is O(h)"
    assert order_claim((SGD(0.1), 1.98)) == "The global error is O(h²) for SGD (declared O(h))"
    assert order_claim((SGD(0.1), 0.7)) == "The global error is O(h⁰·⁷⁰) for SGD (declared O(h))"
    assert order_claim((SGD(0.1), 0.8)) == (
        "The global error is O(h⁰·⁸⁰) for SGD (in agreement with the declared O(h))"
    )
    assert order_claim((SGD(0.1), 1.0), (RMSprop(0.1), 0.5)) == (
        "The global error is O(h) for SGD; O(√h) for RMSprop, where the memory starts at 0"
    )
    assert order_claim((SGD(0.1), 1.0), (RMSprop(0.1), 0.4), (Adam(0.1), 1.0)) == (
        "The global error is O(h) for SGD and Adam; O(h⁰·⁴⁰) for RMSprop (in agreement with the "
        "declared O(√h)), where the memory starts at 0"
    )
    assert order_claim((RMSprop(0.1), 2.3)) == (
        "The global error is O(h²·³⁰) for RMSprop (declared O(√h))"
    )
    assert order_claim((RMSprop(0.1, initial_scale=1.0), 1.0)) == (
        "The global error is O(h) for RMSprop"
    )


def test_the_title_calls_no_scatter_a_disagreement():
    scattered = make_order(SGD(0.1), scene("bowl"), 1.18)
    steady = dataclasses.replace(scattered, slope=1.4, stderr=0.1)
    moving = dataclasses.replace(steady, pairwise=np.linspace(1.7, 1.3, 6))
    for measured, comment in [
        (scattered, "(in agreement with the declared O(h))"),
        (steady, "(in agreement with the declared O(h))"),
        (dataclasses.replace(steady, stderr=0.07), "(declared O(h))"),
        (moving, "(declared O(h), but the slopes still change)"),
    ]:
        assert title(order.draw(measured)).endswith(f"for SGD {comment}")


def test_no_order_is_claimed_where_none_is_fitted_and_the_caption_says_why():
    fitted = make_order(SGD(0.1), scene("bowl"), 1.0)
    error = np.r_[np.nan, np.ones(6)]
    lost = without_fit(make_order(Adam(0.1), scene("bowl"), 1.0), error, "6 errors are round-off")
    picture = order.draw(lost)
    assert title(picture) == "No order is fitted for Adam"
    assert "No order is fitted for Adam: 6 errors are round-off." in caption(picture)
    assert "Adam: no slope" in picture.alt
    assert not [a for a in picture.axes[0].lines if str(a.get_gid()).startswith("fit")]
    picture = order.draw([fitted, lost])
    assert title(picture) == "The global error is O(h) for SGD; no order is fitted for Adam"
    assert "is fitted" not in caption(order.draw(fitted))


@pytest.mark.parametrize("module", [global_error, local_error])
def test_errors_name_the_optimizers_with_the_largest_and_the_smallest(
    module, comparisons, local_errors
):
    results = (comparisons if module is global_error else local_errors)["valley"]
    quantity = module.__name__.rpartition(".")[2].replace("_", " ")
    errors = {type(r.optimizer).__name__: float(r.error.max()) for r in results}
    most, least = max(errors, key=errors.__getitem__), min(errors, key=errors.__getitem__)
    assert title(module.draw(results)) == (
        f"The {quantity} is largest for {most}, at most {format_number(errors[most], 2)}, and "
        f"smallest for {least}, at most {format_number(errors[least], 2)}"
    )
    assert title(module.draw(results[0])) == (
        f"The {quantity} of SGD is at most {format_number(errors['SGD'], 2)}"
    )


def test_the_loss_names_the_map_that_ends_lowest(comparisons):
    ends = {type(c.optimizer).__name__: float(c.map.loss[-1]) for c in comparisons["valley"]}
    lowest = min(ends, key=ends.__getitem__)
    assert title(loss.draw(comparisons["valley"])) == (
        f"After 40 steps the map of {lowest} has the lowest loss, f − f* = "
        f"{format_number(ends[lowest])}"
    )
    one = comparisons["valley"][0]
    first, last, flow = (
        format_number(float(v)) for v in (one.map.loss[0], one.map.loss[-1], one.flow.loss[-1])
    )
    assert title(loss.draw(one)) == f"SGD takes f − f* from {first} to {last}, its flow to {flow}"


def test_no_map_is_lowest_where_all_end_together(comparisons):
    end = comparisons["bowl"][0].map.loss
    same = [
        dataclasses.replace(c, map=dataclasses.replace(c.map, loss=end))
        for c in comparisons["bowl"]
    ]
    assert title(loss.draw(same)).startswith("After 40 steps all maps have reached f − f* = ")
    assert title(loss.draw([*same[:2], comparisons["bowl"][2]])).startswith(
        "After 40 steps the maps of SGD and Momentum have the lowest loss, f − f* = "
    )


def test_the_paths_say_which_maps_stay_near_their_flows(comparisons):
    near, far = (
        dataclasses.replace(comparisons["bowl"][0], error=jnp.full(41, e)) for e in (0.01, 0.9)
    )
    adam = dataclasses.replace(comparisons["bowl"][3], error=jnp.full(41, 0.5))
    assert title(paths.draw(near)) == "SGD stays within 0.01 of its flow"
    assert title(paths.draw(far)) == "SGD departs from its flow by up to 0.9"
    assert title(paths.draw([near, adam])) == (
        "SGD stays within 0.01 of its flow; Adam departs from its flow by up to 0.5"
    )
    assert title(paths.draw([far, adam])) == (
        "SGD and Adam depart from their flows by up to 0.9 (SGD)"
    )


def test_the_phase_plane_counts_the_changes_of_sign(comparisons):
    changes = []
    for run in (comparisons["bowl"][1].map, comparisons["bowl"][1].flow):
        p = np.asarray(run.y.p)[:, 1]
        signs = np.sign(p[p != 0])
        changes.append(int((signs[1:] != signs[:-1]).sum()))
    assert changes[0] > 1
    flow = "as often" if changes[0] == changes[1] else f"{changes[1]} times"
    assert title(phase.draw(comparisons["bowl"], coordinate=1)) == (
        f"The velocity p₂ of Momentum changes sign {changes[0]} times, that of its flow {flow}"
    )


def test_a_velocity_that_keeps_its_sign_is_said_to_do_so(comparisons):
    momentum = comparisons["bowl"][1]
    runs = {
        kind: dataclasses.replace(run, y=run.y._replace(p=jnp.ones_like(run.y.p)))
        for kind, run in (("map", momentum.map), ("flow", momentum.flow))
    }
    assert title(phase.draw(dataclasses.replace(momentum, **runs))) == (
        "The velocity p₁ of Momentum never changes sign, nor does that of its flow"
    )


@pytest.mark.parametrize("module", [paths, loss, global_error, phase])
def test_alt_texts_are_one_sentence_with_numbers(module, comparisons):
    text = module.describe(comparisons["wells"])
    assert text == module.draw(comparisons["wells"]).alt
    assert text.count(". ") == 0 and text.endswith(".") and any(c.isdigit() for c in text)
    assert "Momentum" in text and "wells" in text


def test_two_runs_of_one_optimizer_are_told_apart_by_what_differs(comparisons):
    slow = comparisons["bowl"][0]
    picture = global_error.draw([slow, dataclasses.replace(slow, optimizer=SGD(0.02))])
    assert "SGD η\xa0=\xa00.02" in picture.alt
    first, second = (
        next(a for a in picture.axes[0].lines if a.get_gid() == gid)
        for gid in ("global error sgd", "global error sgd 2")
    )
    assert first.get_marker() == second.get_marker() and first.get_color() != second.get_color()


def test_an_optimizer_with_another_momentum_is_named_by_it(comparisons):
    light = dataclasses.replace(comparisons["bowl"][1], optimizer=Momentum(0.01, momentum=0.99))
    assert "for Momentum (momentum 0.99) its sign changes" in (
        phase.draw([comparisons["bowl"][1], light]).alt
    )
