"""The dots are the map, the thick line is the modified flow, and the title has their distance."""

import dataclasses
from io import BytesIO

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from matplotlib.figure import Figure
from scenes import (
    KEYS,
    STEPS,
    artist,
    caption,
    gids,
    legend_texts,
    make_comparison,
    make_modified,
    scene,
    title,
)
from test_hostile import of_dim
from test_labels import outside, overlapping

from dynopt import SGD, Memoryless, Modified, Momentum, Optax, analysis
from dynopt.analysis import ModifiedComparison
from dynopt.errors import InvalidType, InvalidValue
from dynopt.figures import global_error, modified
from dynopt.figures.drawing import style
from dynopt.figures.drawing.words import format_number, run_names


def with_largest_error(comparison, largest: float):
    """The same runs, as if the largest error were this."""
    return dataclasses.replace(comparison, error=comparison.error * (largest / comparison.largest))


def with_modified(result: ModifiedComparison, **fields) -> ModifiedComparison:
    """The result with other fields of the comparison of the modified flow."""
    return ModifiedComparison(result.comparison, dataclasses.replace(result.modified, **fields))


@pytest.fixture(scope="module")
def measured() -> ModifiedComparison:
    """Gradient descent on the bowl with 3/10 of the largest stable learning rate."""
    return analysis.modified(SGD(0.06), scene("bowl"), STEPS)


def test_the_map_of_gradient_descent_lies_on_its_modified_flow(measured):
    ax = modified.draw(measured).axes[0]
    dots, line = artist(ax, "map sgd"), artist(ax, "flow sgd, modified")
    np.testing.assert_array_equal(dots.get_xydata(), measured.map.y.x)
    np.testing.assert_array_equal(line.get_xydata(), measured.modified_flow.y.x)
    np.testing.assert_array_equal(artist(ax, "flow sgd").get_xydata(), measured.flow.y.x)
    modified_error, error = (
        np.linalg.norm(dots.get_xydata() - artist(ax, f"flow {key}").get_xydata(), axis=1).max()
        for key in ("sgd, modified", "sgd")
    )
    assert modified_error < 0.09 < 2 * modified_error < error


def test_title_and_alt_text_have_the_numbers_of_the_comparisons(measured):
    near, far = measured.modified.largest, measured.comparison.largest
    assert title(modified.draw(measured)) == (
        f"The map of SGD is nearer to its modified flow ({format_number(float(near), 2)}) than to "
        f"its flow ({format_number(float(far), 2)})"
    )
    alt = modified.describe(measured)
    assert f"at most {format_number(float(near))} from its modified flow" in alt
    assert f"and {format_number(float(far))} from its flow" in alt


@pytest.mark.parametrize("i", range(4), ids=KEYS)
def test_map_flow_and_modified_flow_of_every_optimizer_are_drawn_exactly(i, comparisons):
    result = make_modified(comparisons["bowl"][i])
    ax = modified.draw(result).axes[0]
    np.testing.assert_array_equal(artist(ax, f"map {KEYS[i]}").get_xydata(), result.map.y.x)
    np.testing.assert_array_equal(artist(ax, f"flow {KEYS[i]}").get_xydata(), result.flow.y.x)
    np.testing.assert_array_equal(
        artist(ax, f"flow {KEYS[i]}, modified").get_xydata(), result.modified_flow.y.x
    )


def test_the_modified_flow_is_the_line_of_the_optimizer_and_the_flow_a_quieter_one(comparisons):
    result = make_modified(comparisons["bowl"][1])
    ax, look = modified.draw(result).axes[0], style.look(result.optimizer)
    line, flow, dots = (
        artist(ax, gid) for gid in ("flow momentum, modified", "flow momentum", "map momentum")
    )
    assert line.get_color() == dots.get_color() == look.color != flow.get_color()
    assert dots.get_marker() == look.marker and dots.get_linestyle() == "None"
    assert line.get_linestyle() == "-" != look.line, "dashes tell the flow, not the optimizer"
    assert flow.get_linewidth() < line.get_linewidth()
    assert flow.get_zorder() < line.get_zorder() < dots.get_zorder()
    assert sorted(legend_texts(ax)) == sorted(
        ["Momentum", "map", "modified flow", "flow", "start", "minimizer"]
    )


def test_the_title_says_which_maps_lie_on_it_which_are_nearer_and_which_are_not(comparisons):
    sgd, momentum, rmsprop, adam = (with_largest_error(c, 0.5) for c in comparisons["bowl"])
    assert title(modified.draw(make_modified(sgd, 0.02))) == (
        "The map of SGD lies within 0.01 of its modified flow, and up to 0.5 from its flow"
    )
    assert title(modified.draw(make_modified(sgd, 0.6))) == (
        "The map of SGD is nearer to its modified flow (0.3) than to its flow (0.5)"
    )
    assert title(modified.draw(make_modified(sgd, 0.9))) == (
        "The map of SGD is hardly nearer to its modified flow (0.45) than to its flow (0.5)"
    )
    assert title(modified.draw(make_modified(sgd, 0.999))) == (
        "The map of SGD is hardly nearer to its modified flow (0.4995) than to its flow (0.5)"
    )
    assert title(modified.draw(make_modified(sgd, 1.4))) == (
        "The map of SGD is no nearer to its modified flow (0.7) than to its flow (0.5)"
    )
    four = [
        make_modified(comparison, fraction)
        for comparison, fraction in zip(
            (sgd, momentum, rmsprop, adam), (0.02, 0.6, 2, 0.04), strict=True
        )
    ]
    assert title(modified.draw(four)) == (
        "The maps of SGD and Adam lie within 0.01 and 0.02 of their modified flows, and up to 0.5 "
        "and 0.5 from their flows; the map of Momentum is nearer to its modified flow (0.3) than "
        "to its flow (0.5); the map of RMSprop is no nearer to its modified flow (1) than to its "
        "flow (0.5)"
    )
    assert title(modified.draw([make_modified(c, 0.6) for c in (sgd, momentum)])) == (
        "The maps of SGD and Momentum are nearer to their modified flows (0.3 and 0.3) than to "
        "their flows (0.5 and 0.5)"
    )


def test_the_window_fits_the_runs(comparisons):
    result = make_modified(comparisons["ripples"][0])
    picture = modified.draw(result)
    x, limits = np.concatenate([result.map.y.x, result.flow.y.x])[:, 0], picture.axes[0].get_xlim()
    assert limits[0] < x.min() and x.max() < limits[1] and np.ptp(limits) < 5
    assert "minimizer" not in caption(picture)


def test_caption_and_alt_text_say_under_which_conditions(comparisons):
    wells = comparisons["wells"][0]
    result = make_modified(wells)
    picture = modified.draw(with_modified(result, solver_error=wells.solver_error * 7))
    text = caption(picture)
    assert "40 steps, in float64: SGD(learning_rate=0.01), h = 0.01." in text
    assert (
        "The flow solves y′ = f₁, and the modified flow of order 2 solves y′ = f₁ + h f₂." in text
    )
    assert text.count("solved by Tsit5") == 1 and "has an error of at most 7×10⁻⁹" in text
    assert "y′ = f₁ + h f₂ + h² f₃" in caption(modified.draw(make_modified(wells, order=3)))
    assert picture.alt.startswith(
        "The picture shows contours of wells with map (dots), flow (thin dashed lines)"
    )
    assert picture.alt.endswith(".") and "\n" not in picture.alt and picture.alt.count(". ") == 0


def test_a_run_that_failed_is_named_first(diverged, comparisons):
    sentence = f"SGD diverged at step {int(diverged.map.stats['first_bad_step'])}"
    failed = with_modified(make_modified(diverged), flow=diverged.flow)
    picture = modified.draw([failed, make_modified(comparisons["bowl"][1])])
    assert title(picture).startswith(f"{sentence}; ") and sentence in picture.alt
    assert "exit map sgd" in gids(picture.axes[0])
    stats = diverged.flow.stats | diverged.map.stats
    flow = dataclasses.replace(diverged.map, kind="flow", stats=stats)
    picture = modified.draw(with_modified(make_modified(comparisons["bowl"][0]), flow=flow))
    assert title(picture).startswith("The modified flow of SGD diverged at t = ")
    assert "its modified flow diverged at t = " in picture.alt
    assert "exit flow sgd, modified" in gids(picture.axes[0])


def test_results_of_another_kind_problem_or_dimension_are_refused(comparisons, as_users_see_it):
    sgd = comparisons["bowl"][0]
    with pytest.raises(InvalidValue, match="several problems, bowl in 2 coordinates and valley"):
        modified.draw([make_modified(sgd), make_modified(comparisons["valley"][0])])
    with pytest.raises(
        InvalidValue,
        match="modified flows are drawn in a plane, but high has 3 coordinates; draw figures.global_",
    ):
        modified.draw(make_modified(of_dim(sgd, 3)))
    with pytest.raises(InvalidType, match="must come from analysis.modified, got Comparison"):
        modified.draw(sgd)  # pyright: ignore


@pytest.mark.parametrize("look", style.STYLES)
def test_no_word_lies_on_another_or_outside(look, comparisons):
    picture = modified.draw([make_modified(c) for c in comparisons["wells"]], style=look)
    assert overlapping(picture) == [] and outside(picture) == []


def test_it_is_drawn_into_given_axes(comparisons):
    figure = Figure(figsize=(9, 4))
    left, right = figure.subplots(1, 2)
    assert modified.draw([make_modified(c) for c in comparisons["bowl"]], ax=left) is left
    assert figure.axes == [left, right] and not right.has_data() and left.get_title()


def test_nothing_finite_is_a_picture_that_says_so(comparisons):
    nan = jnp.full(STEPS + 1, jnp.nan)
    lost = dataclasses.replace(comparisons["bowl"][0], error=nan, solver_error=nan)
    picture = modified.draw(make_modified(lost))
    assert title(picture) == "No global error could be measured"
    picture.savefig(BytesIO(), dpi=30)


def test_a_derived_optimizer_looks_like_its_base_and_is_named_after_it(comparisons):
    sgd, momentum = SGD(0.1), Momentum(0.1)
    with jax.numpy_rank_promotion("allow"):
        memoryless = Memoryless(momentum)
    for optimizer in (Modified(momentum), memoryless, Modified(memoryless)):
        assert style.look(optimizer) == style.look(momentum)
    assert style.artist_keys([sgd, Modified(sgd)]) == ["sgd", "sgd, modified"]
    assert run_names([sgd, Modified(sgd)]) == ["SGD", "SGD, modified"]
    assert run_names([Modified(sgd), Modified(SGD(0.2))]) == [
        "SGD, modified (learning_rate 0.1)", "SGD, modified (learning_rate 0.2)"
    ]  # fmt: skip
    result = make_modified(comparisons["bowl"][0])
    ax = global_error.draw([result.comparison, result.modified]).axes[0]
    first, second = (artist(ax, gid) for gid in ("global error sgd", "global error sgd, modified"))
    assert first.get_color() != second.get_color() and first.get_marker() == second.get_marker()


def lamb(h):
    return optax.sgd(h)


def lars(h):
    return optax.sgd(h)


def test_an_optimizer_made_from_optax_has_the_look_of_its_name():
    one, again, other = Optax(lamb, 0.1), Optax(lamb, 0.2), Optax(lars, 0.1)
    assert style.look(one) == style.look(again) != style.look(other)
    assert style.artist_keys([one, other]) == ["lamb", "lars"]
    assert run_names([one, again]) == ["lamb (h 0.1)", "lamb (h 0.2)"]


def test_the_same_steps_are_drawn_for_every_member():
    results = [make_modified(make_comparison(SGD(h), scene("bowl"), 7)) for h in (0.01, 0.02)]
    assert "take 7 steps each" in caption(modified.draw(results))
