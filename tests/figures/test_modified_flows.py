"""The dots are the map, the thick line is the modified flow, and the title says how far they are apart."""

import dataclasses
import warnings
from io import BytesIO

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.figure import Figure
from scenes import STEPS, found, gids, keys, made_gap, scene
from test_hostile import of_dim
from test_labels import outside, overlapping

from dynopt import SGD, Memoryless, Modified, Momentum, Optax, analysis
from dynopt.errors import InvalidType, InvalidValue
from dynopt.figures import global_error, modified
from dynopt.figures.drawing import style
from dynopt.figures.drawing.words import names, number

KEYS = ("sgd", "momentum", "rmsprop", "adam")


def mended(made, share: float = 0.1, order: int = 2):
    """What is left of the gap is a share of it: as if by `Modified`, without a solver."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a cold start
        optimizer = Modified(made.optimizer, order)
    between = jax.tree.map(lambda m, f: m + share * (f - m), made.map.y, made.flow.y)
    flow = dataclasses.replace(made.flow, y=between)
    return dataclasses.replace(made, optimizer=optimizer, flow=flow, error=share * made.error)


def away(made, distance: float):
    """The same gap, said to be at most so far."""
    return dataclasses.replace(made, error=made.error * (distance / made.error.max()))


def title(picture) -> str:
    return picture.axes[0].get_title().replace("\n", " ").replace("\xa0", " ")


def caption(picture) -> str:
    return picture.get_supxlabel().replace("\n", " ").replace("\xa0", " ")


@pytest.fixture(scope="module")
def true():
    """Gradient descent on the bowl at 3/10 of the learning rate that its steeper side can bear."""
    optimizer, problem = SGD(0.06), scene("bowl")
    return analysis.compare(optimizer, problem, STEPS), analysis.compare(
        Modified(optimizer), problem, STEPS
    )


def test_the_dots_of_gradient_descent_lie_on_its_modified_flow(true):
    own, other = true
    ax = modified.draw(own, other).axes[0]
    dots, line = found(ax, "map sgd"), found(ax, "flow sgd, modified")
    np.testing.assert_array_equal(dots.get_xydata(), own.map.y.x)
    np.testing.assert_array_equal(line.get_xydata(), other.flow.y.x)
    np.testing.assert_array_equal(found(ax, "flow sgd").get_xydata(), own.flow.y.x)
    within, away = (
        np.linalg.norm(dots.get_xydata() - found(ax, f"flow {key}").get_xydata(), axis=1).max()
        for key in ("sgd, modified", "sgd")
    )
    assert within < 0.09 < 2 * within < away


def test_the_title_has_the_numbers_of_the_gaps(true):
    own, other = true
    within, far = (number(float(g.largest), 2) for g in (other, own))
    said = f"SGD within {within}, where its flow is {far} away"
    assert title(modified.draw(own, other)).endswith(said)
    assert f"at most {number(float(other.largest))} from its modified flow" in modified.describe(
        own, other
    )
    assert f"and {number(float(own.largest))} from its flow" in modified.describe(own, other)


@pytest.mark.parametrize("i", range(4), ids=KEYS)
def test_map_flow_and_modified_flow_of_every_page(i, comparisons):
    made = comparisons["bowl"][i]
    ax = modified.draw(made, mended(made)).axes[0]
    np.testing.assert_array_equal(found(ax, f"map {KEYS[i]}").get_xydata(), made.map.y.x)
    np.testing.assert_array_equal(found(ax, f"flow {KEYS[i]}").get_xydata(), made.flow.y.x)
    np.testing.assert_array_equal(
        found(ax, f"flow {KEYS[i]}, modified").get_xydata(), mended(made).flow.y.x
    )


def test_the_modified_flow_is_the_optimizers_line_and_the_flow_a_quieter_one(comparisons):
    made = comparisons["bowl"][1]
    ax, own = modified.draw(made, mended(made)).axes[0], style.look(made.optimizer)
    line, flow, dots = (
        found(ax, gid) for gid in ("flow momentum, modified", "flow momentum", "map momentum")
    )
    assert line.get_color() == dots.get_color() == own.color != flow.get_color()
    assert dots.get_marker() == own.marker and dots.get_linestyle() == "None"
    assert line.get_linestyle() == "-" != own.line, "dashes tell the flow, not the optimizer"
    assert (
        flow.get_linewidth() < line.get_linewidth()
        and flow.get_zorder() < line.get_zorder() < dots.get_zorder()
    )
    assert sorted(keys(ax)) == sorted(
        ["Momentum", "map", "modified flow", "flow", "start", "minimizer"]
    )


def test_the_title_says_whose_dots_lie_on_it_nearer_and_not(comparisons):
    sgd, momentum, rmsprop, adam = (away(g, 0.5) for g in comparisons["bowl"])
    on = [mended(sgd, 0.02)]
    assert title(modified.draw(sgd, on)) == (
        "The dots lie on the modified flow: SGD within 0.01, where its flow is 0.5 away"
    )
    assert title(modified.draw(sgd, mended(sgd, 0.6))) == (
        "The dots lie nearer to the modified flow: SGD within 0.3, where its flow is 0.5 away"
    )
    assert title(modified.draw(sgd, mended(sgd, 0.9))) == (
        "The dots of SGD lie hardly nearer to its modified flow (0.45) than to its flow (0.5)"
    )
    assert title(modified.draw(sgd, mended(sgd, 1.4))) == (
        "The dots of SGD lie no nearer to its modified flow (0.7) than to its flow (0.5)"
    )
    four = [
        mended(g, share)
        for g, share in zip((sgd, momentum, rmsprop, adam), (0.02, 0.6, 2, 0.04), strict=True)
    ]
    assert title(modified.draw([sgd, momentum, rmsprop, adam], four)) == (
        "The dots of SGD and Adam lie on their modified flows, within 0.01 and 0.02, where their flows are 0.5 and 0.5 "
        "away; those of Momentum lie nearer to its modified flow, within 0.3, where its flow is 0.5 away; those of "
        "RMSprop lie no nearer to its modified flow (1) than to its flow (0.5)"
    )


def test_the_window_fits_the_runs(comparisons):
    made = comparisons["ripples"][0]
    ax = modified.draw(made, mended(made)).axes[0]
    x = np.concatenate([made.map.y.x, made.flow.y.x])
    assert ax.get_xlim()[0] < x[:, 0].min() and x[:, 0].max() < ax.get_xlim()[1]
    assert np.ptp(ax.get_xlim()) < 5 and "minimizer" not in caption(
        modified.draw(made, mended(made))
    )


def test_caption_and_alt_text_say_under_which_conditions(comparisons):
    made = comparisons["wells"][0]
    picture = modified.draw(
        made, dataclasses.replace(mended(made), solver_error=made.solver_error * 7)
    )
    said = caption(picture)
    assert "SGD(learning_rate=0.01), h = 0.01. 40 steps, float64." in said
    assert "Flow: y′ = f₁; modified flow, of order 2: y′ = f₁ + h f₂." in said
    assert said.count("The flow by Tsit5") == 1 and "errs by at most 7×10⁻⁹" in said
    assert "y′ = f₁ + h f₂ + h² f₃" in caption(modified.draw(made, mended(made, order=3)))
    assert picture.alt.startswith("Contours of wells with map (dots), flow (thin dashed lines)")
    assert picture.alt.endswith(".") and "\n" not in picture.alt and picture.alt.count(". ") == 0


def test_a_run_that_failed_is_said_first(diverged, comparisons):
    k = int(diverged.map.stats["first_bad_step"])
    with_failed = dataclasses.replace(mended(diverged), flow=diverged.flow)
    picture = modified.draw(
        [diverged, comparisons["bowl"][1]], [with_failed, mended(comparisons["bowl"][1])]
    )
    assert title(picture).startswith(f"SGD diverged at step {k}; ")
    assert f"SGD diverged at step {k}" in picture.alt and "exit map sgd" in gids(picture.axes[0])
    lost = dataclasses.replace(
        mended(comparisons["bowl"][0]),
        flow=dataclasses.replace(
            diverged.map, kind="flow", stats=diverged.flow.stats | diverged.map.stats
        ),
    )
    picture = modified.draw(comparisons["bowl"][0], lost)
    assert title(picture).startswith("The modified flow of SGD diverged at t = ")
    assert (
        "its modified flow diverged at t = " in picture.alt
        and "exit flow sgd, modified" in gids(picture.axes[0])
    )


def test_what_does_not_belong_together_is_refused(comparisons, as_users_see_it):
    sgd, momentum = comparisons["bowl"][:2]
    with pytest.raises(
        InvalidValue, match="there are 2 gaps but 1 modified gap; pass for each gap"
    ):
        modified.draw([sgd, momentum], mended(sgd))
    with pytest.raises(
        InvalidValue, match=r"a modified gap of Modified\(Momentum.* stands beside the gap of SGD"
    ):
        modified.draw([sgd, momentum], [mended(momentum), mended(sgd)])
    with pytest.raises(
        InvalidValue, match=r"stands beside the gap of SGD.*; pass that of dynopt.Modified\(SGD"
    ):
        modified.draw(sgd, sgd)
    with pytest.raises(InvalidValue, match="stands beside"):
        modified.draw(sgd, mended(dataclasses.replace(sgd, optimizer=SGD(0.02))))
    with pytest.raises(InvalidValue, match="several problems, bowl in 2 coordinates and valley"):
        modified.draw(sgd, mended(comparisons["valley"][0]))
    short = made_gap(sgd.optimizer, sgd.problem, 39)
    with pytest.raises(
        InvalidValue, match="ran 40 steps but its modified gap 39; measure both over the same steps"
    ):
        modified.draw(sgd, mended(short))
    moved = dataclasses.replace(sgd.map, y=sgd.map.y._replace(x=sgd.map.y.x + 1))
    with pytest.raises(
        InvalidValue,
        match=r"starts at \(−2, 1.5\) but its modified gap at \(−1, 2.5\); measure both",
    ):
        modified.draw(sgd, dataclasses.replace(mended(sgd), map=moved))
    with pytest.raises(
        InvalidValue,
        match="modified flows are drawn in a plane but high has 3 coordinates; draw the gap",
    ):
        modified.draw(of_dim(sgd, 3), mended(sgd))
    with pytest.raises(InvalidType, match="must come from analysis.gap, got SGD"):
        modified.draw(sgd, SGD(0.1))  # pyright: ignore


@pytest.mark.parametrize("look", style.STYLES)
def test_no_word_lies_on_another_or_outside(look, comparisons):
    picture = modified.draw(
        comparisons["wells"], [mended(g) for g in comparisons["wells"]], style=look
    )
    assert overlapping(picture) == [] and outside(picture) == []


def test_it_is_drawn_in_the_axes_of_others(comparisons):
    figure = Figure(figsize=(9, 4))
    left, right = figure.subplots(1, 2)
    assert (
        modified.draw(comparisons["bowl"], [mended(g) for g in comparisons["bowl"]], ax=left)
        is left
    )
    assert figure.axes == [left, right] and not right.has_data() and left.get_title()


def test_nothing_finite_is_a_picture_that_says_so(comparisons):
    nan = jnp.full(STEPS + 1, jnp.nan)
    lost = dataclasses.replace(comparisons["bowl"][0], error=nan, solver_error=nan)
    picture = modified.draw(lost, dataclasses.replace(mended(lost), error=nan))
    assert title(picture) == "No gap could be measured"
    picture.savefig(BytesIO(), dpi=30)


def test_what_is_derived_from_a_page_looks_like_it_and_is_called_after_it(comparisons):
    sgd, momentum = SGD(0.1), Momentum(0.1)
    with jax.numpy_rank_promotion("allow"):
        memoryless = Memoryless(momentum)
    for optimizer in (Modified(momentum), memoryless, Modified(memoryless)):
        assert style.look(optimizer) == style.look(momentum)
    assert style.keys([sgd, Modified(sgd)]) == ["sgd", "sgd, modified"]
    assert names([sgd, Modified(sgd)]) == ["SGD", "SGD, modified"]
    assert names([Modified(sgd), Modified(SGD(0.2))]) == [
        "SGD, modified (learning_rate 0.1)", "SGD, modified (learning_rate 0.2)"
    ]  # fmt: skip
    ax = global_error.draw([comparisons["bowl"][0], mended(comparisons["bowl"][0])]).axes[0]
    first, second = (found(ax, gid) for gid in ("gap sgd", "gap sgd, modified"))
    assert first.get_color() != second.get_color() and first.get_marker() == second.get_marker()


def test_a_page_made_from_optax_looks_as_its_name_says():
    import optax

    def lamb(h):
        return optax.sgd(h)

    def lars(h):
        return optax.sgd(h)

    one, again, other = Optax(lamb, 0.1), Optax(lamb, 0.2), Optax(lars, 0.1)
    assert style.look(one) == style.look(again) != style.look(other)
    assert style.keys([one, other]) == ["lamb", "lars"] and names([one, again]) == [
        "lamb (h 0.1)",
        "lamb (h 0.2)",
    ]
