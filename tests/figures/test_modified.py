"""The full line is the flow, the dashed line is the modified flow, and the title has their ratio."""

import dataclasses
from io import BytesIO

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from overlaps import outside, overlapping
from scenes import (
    KEYS,
    STEPS,
    artist,
    caption,
    gids,
    heading,
    heads,
    keys,
    make_comparison,
    make_modified,
    one_line,
    scene,
)
from test_hostile import of_dim

from dynopt import SGD, Memoryless, Modified, Momentum, Optax, analysis
from dynopt.analysis import ModifiedComparison
from dynopt.errors import InvalidType, InvalidValue
from dynopt.figures import modified
from dynopt.figures.drawing import style, ties
from dynopt.figures.drawing.words import format_number, run_names
from dynopt.figures.plane.window import PLANE


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
    dots = np.asarray(artist(ax, "map sgd").get_xydata())
    np.testing.assert_array_equal(dots, measured.map.y.x)
    per_step = (len(measured.comparison.curve.t) - 1) // STEPS
    near, far = (
        np.linalg.norm(dots - np.asarray(artist(ax, gid).get_xydata())[::per_step], axis=1).max()
        for gid in ("modified flow sgd", "flow sgd")
    )
    assert near == pytest.approx(float(measured.modified.largest), rel=1e-6)
    assert far == pytest.approx(float(measured.comparison.largest), rel=1e-6)
    assert near < 0.09 < 2 * near < far


def test_title_facts_and_alt_text_have_the_numbers_of_the_comparisons(measured):
    near, far = float(measured.modified.largest), float(measured.comparison.largest)
    picture = modified.draw(measured)
    assert heading(picture) == (
        f"The map of SGD is {format_number(far / near, 2)} times nearer to its modified flow than "
        "to its flow"
    )
    nearer = f"{format_number(far / near, 2)} times nearer"
    near, far = format_number(near, 2), format_number(far, 2)
    fact = one_line(artist(picture.axes[0], "fact").get_text())
    assert fact == f"η = 0.06 {nearer} to its modified flow {near}, not {far}"
    assert one_line(artist(picture.axes[0], "number sgd").get_text()) == far
    within = f"is at most {near} from its modified flow and at most {far} from its flow"
    assert within in modified.describe(measured) == picture.alt


@pytest.mark.parametrize("i", range(4), ids=KEYS)
def test_map_and_modified_flow_are_magnified_about_the_flow_by_one_factor(i, comparisons):
    result = make_modified(comparisons["bowl"][i], 0.5)
    ax = modified.draw(result).axes[0]
    factor = ties.tied(result.comparison, PLANE).magnification
    assert (f"magnified {KEYS[i]}" in gids(ax)) == (factor > 1)
    for gid, run, base in (
        (f"map {KEYS[i]}", result.map, result.flow),
        (f"modified flow {KEYS[i]}", result.modified.curve, result.comparison.curve),
    ):
        x, flow = np.asarray(run.y.x), np.asarray(base.y.x)
        expected = flow + factor * (x - flow) if factor > 1 else x
        np.testing.assert_allclose(artist(ax, gid).get_xydata(), expected, rtol=1e-12)


def test_the_modified_flow_is_the_only_dashed_line(comparisons):
    ax = modified.draw(make_modified(comparisons["bowl"][1])).axes[0]
    line, flow, dots = (
        artist(ax, gid) for gid in ("modified flow momentum", "flow momentum", "map momentum")
    )
    assert line.get_color() == flow.get_color() != dots.get_color()
    assert flow.get_linestyle() == "-" and line.get_linestyle() == "--"
    assert flow.get_zorder() < line.get_zorder() < dots.get_zorder()
    dashed = [a.get_gid() for a in ax.lines if a.get_linestyle() == "--"]
    assert dashed == ["modified flow momentum"]


def test_the_title_says_which_maps_are_nearer_and_which_are_not(comparisons):
    sgd, momentum, rmsprop, adam = (with_largest_error(c, 0.5) for c in comparisons["bowl"])
    for fraction, says in (
        (0.02, "The map of SGD is 50 times nearer to its modified flow than to its flow"),
        (0.6, "The map of SGD is 1.7 times nearer to its modified flow than to its flow"),
        (0.9, "The modified flow is no nearer to SGD than the flow"),
        (1.4, "The modified flow is no nearer to SGD than the flow"),
    ):
        assert heading(modified.draw(make_modified(sgd, fraction))) == says
    four = [
        make_modified(comparison, fraction)
        for comparison, fraction in zip(
            (sgd, momentum, rmsprop, adam), (0.02, 0.5, 2, 0.04), strict=True
        )
    ]
    picture = modified.draw(four)
    assert heading(picture) == (
        "The maps of SGD, Momentum and Adam are 50, 2 and 25 times nearer to their modified flows "
        "than to their flows; the modified flow is no nearer to RMSprop than the flow"
    )
    assert heads(picture) == ["SGD", "Momentum", "RMSprop", "Adam"]
    assert "modified flow" in keys(picture)


def test_caption_and_alt_text_say_under_which_conditions(comparisons):
    picture = modified.draw(make_modified(comparisons["wells"][0]))
    assert caption(picture).startswith("On wells from (0, −3), 40 steps in float64; the flow is")
    assert picture.alt.startswith(
        "The picture shows contours of wells with map (dots), flow (full lines) and modified flow "
        "(dashed lines) from (0, −3): the map of SGD is at most"
    )
    assert picture.alt.endswith(".") and "\n" not in picture.alt and picture.alt.count(". ") == 0


def test_a_run_that_failed_is_named_first(diverged, comparisons):
    sentence = f"diverged at step {int(diverged.map.stats['first_bad_step'])}"
    failed = with_modified(make_modified(diverged), flow=diverged.flow)
    picture = modified.draw([failed, make_modified(comparisons["bowl"][1])])
    assert heading(picture).startswith(f"SGD {sentence}; ") and sentence in picture.alt
    assert "exit thread sgd" in gids(picture.axes[0])
    stats = diverged.flow.stats | diverged.map.stats
    flow = dataclasses.replace(diverged.map, kind="flow", stats=stats)
    picture = modified.draw(
        with_modified(make_modified(comparisons["bowl"][0]), flow=flow, curve=flow)
    )
    assert heading(picture).startswith("The modified flow of SGD diverged at t = ")
    assert "its modified flow diverged at t = " in picture.alt


def test_results_of_another_kind_problem_or_dimension_are_refused(comparisons, as_users_see_it):
    sgd = comparisons["bowl"][0]
    with pytest.raises(InvalidValue, match="several problems, bowl in 2 coordinates and valley"):
        modified.draw([make_modified(sgd), make_modified(comparisons["valley"][0])])
    with pytest.raises(
        InvalidValue,
        match="modified flows are drawn in a plane, but high has 3 coordinates; draw figures.loss",
    ):
        modified.draw(make_modified(of_dim(sgd, 3)))
    with pytest.raises(InvalidType, match="must come from analysis.modified, got Comparison"):
        modified.draw(sgd)  # pyright: ignore


@pytest.mark.parametrize("look", style.STYLES)
def test_no_word_lies_on_another_or_outside(look, comparisons):
    picture = modified.draw([make_modified(c) for c in comparisons["wells"]], style=look)
    assert overlapping(picture) == [] and outside(picture) == []


def test_nothing_finite_is_a_picture_that_says_so(comparisons):
    nan = jnp.full(STEPS + 1, jnp.nan)
    lost = dataclasses.replace(comparisons["bowl"][0], error=nan, solver_error=nan)
    picture = modified.draw(make_modified(lost))
    assert heading(picture) == "No global error could be measured"
    picture.savefig(BytesIO(), dpi=30)


def test_a_derived_optimizer_looks_like_its_base_and_is_named_after_it():
    sgd, momentum = SGD(0.1), Momentum(0.1)
    with jax.numpy_rank_promotion("allow"):
        memoryless = Memoryless(momentum)
    for optimizer in (Modified(momentum), memoryless, Modified(memoryless)):
        assert style.color_of(optimizer) == style.color_of(momentum)
    assert style.artist_keys([sgd, Modified(sgd)]) == ["sgd", "sgd, modified"]
    assert run_names([sgd, Modified(sgd)]) == ["SGD", "SGD, modified"]
    assert run_names([Modified(sgd), Modified(SGD(0.2))]) == [
        "SGD, modified η\xa0=\xa00.1", "SGD, modified η\xa0=\xa00.2"
    ]  # fmt: skip


def lamb(h):
    return optax.sgd(h)


def lars(h):
    return optax.sgd(h)


def test_an_optimizer_made_from_optax_has_the_look_of_its_name():
    one, again, other = Optax(lamb, 0.1), Optax(lamb, 0.2), Optax(lars, 0.1)
    assert style.color_of(one) == style.color_of(again) != style.color_of(other)
    assert style.artist_keys([one, other]) == ["lamb", "lars"]
    assert run_names([one, again]) == ["lamb h\xa0=\xa00.1", "lamb h\xa0=\xa00.2"]


def test_the_steps_of_all_members_are_told():
    results = [make_modified(make_comparison(SGD(h), scene("bowl"), 7)) for h in (0.01, 0.02)]
    assert "7 steps in float64" in caption(modified.draw(results))


@pytest.mark.parametrize(("fraction", "hidden"), [(1.0, True), (0.05, False)])
def test_a_modified_flow_that_lies_on_the_flow_is_said_to(fraction, hidden, comparisons):
    (ax,) = modified.draw(make_modified(comparisons["bowl"][1], fraction)).axes
    assert ("hidden momentum" in gids(ax)) == hidden
