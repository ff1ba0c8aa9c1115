"""Rings lie on dots where one factor makes up for other units, and the title says which rate that is."""

import dataclasses
from io import BytesIO

import numpy as np
import pytest
from scenes import STEPS, found, made_gap, made_rescaling, scene
from test_labels import outside, overlapping

from dynopt import SGD, Adam, Momentum, Problem, analysis
from dynopt.errors import InvalidType, InvalidValue
from dynopt.figures import rescaling
from dynopt.figures.drawing import style
from dynopt.figures.drawing.words import number

KEYS = ("sgd", "momentum", "rmsprop", "adam")


@pytest.fixture(scope="module")
def made(comparisons):
    return [
        made_rescaling(g, power=p)
        for g, p in zip(comparisons["bowl"], (1.0, 1.0, 0.0, 0.0), strict=True)
    ]


def title(picture) -> str:
    return picture.axes[0].get_title().replace("\n", " ").replace("\xa0", " ")


def caption(picture) -> str:
    return picture.get_supxlabel().replace("\n", " ").replace("\xa0", " ")


@pytest.mark.parametrize("i", range(4), ids=KEYS)
def test_dots_are_the_run_in_x_rings_and_pale_dots_those_in_z(i, made):
    ax, steps = rescaling.draw(made).axes[0], np.arange(STEPS + 1)
    for kind, run in (
        ("map", made[i].map),
        ("corrected", made[i].corrected),
        ("same rate", made[i].same_rate),
    ):
        line = found(ax, f"{kind} {KEYS[i]}")
        np.testing.assert_array_equal(line.get_xdata(), steps)
        np.testing.assert_array_equal(line.get_ydata(), run.loss)
        assert line.get_linestyle() == "None"
    dots, rings, pale = (
        found(ax, f"{kind} {KEYS[i]}") for kind in ("map", "corrected", "same rate")
    )
    own = style.look(made[i].optimizer)
    assert dots.get_color() == own.color and dots.get_marker() == pale.get_marker() == own.marker
    assert rings.get_markerfacecolor() == "none" and rings.get_markersize() > dots.get_markersize()
    assert (
        pale.get_zorder() < dots.get_zorder() < rings.get_zorder() and pale.get_color() != own.color
    )


def test_rings_lie_on_dots_where_steps_are_a_power_of_the_gradient():
    """Gradient descent at nine times its rate in z = 3x, as it was measured."""
    seen = analysis.rescaling(SGD(0.01), scene("bowl"), STEPS, 1 / 3)
    picture = rescaling.draw(seen)
    dots, rings, pale = (
        found(picture.axes[0], f"{kind} sgd") for kind in ("map", "corrected", "same rate")
    )
    np.testing.assert_allclose(rings.get_ydata(), dots.get_ydata(), rtol=1e-12)
    assert (pale.get_ydata() > 2 * np.asarray(dots.get_ydata()))[10:].all()
    assert title(picture) == "In z = x/λ, λ = 1/3, SGD takes the same path at 9 times the rate"
    assert number(float(seen.same_rate_distance.max())) in caption(picture)


def test_the_title_says_at_which_rate_each_takes_the_same_path(made):
    sgd, momentum, rmsprop, adam = made
    assert title(rescaling.draw([sgd, adam])) == (
        "In z = x/λ, λ = 1/3, SGD takes the same path at 9 times the rate, Adam at 3 times the rate"
    )
    off = dataclasses.replace(rmsprop, distance=rmsprop.distance + 0.25)
    assert title(rescaling.draw([sgd, momentum, off, adam])) == (
        "In z = x/λ, λ = 1/3, SGD and Momentum take the same path at 9 times the rate, Adam at 3 times the rate; "
        "RMSprop at 3 times the rate comes within 0.25 of it"
    )
    assert title(rescaling.draw(off)) == (
        "In z = x/λ, λ = 1/3, RMSprop at 3 times the rate comes within 0.25 of its path in x"
    )


def test_a_larger_unit_wants_a_smaller_rate(comparisons):
    seen = made_rescaling(comparisons["bowl"][0], scale=3.0)
    assert (
        title(rescaling.draw(seen))
        == "In z = x/λ, λ = 3, SGD takes the same path at 1/9 of the rate"
    )


def test_caption_and_alt_text_give_the_distances(made):
    sgd, adam = made[0], made[3]
    picture = rescaling.draw([sgd, adam])
    far = [number(float(one.same_rate_distance.max())) for one in (sgd, adam)]
    said = f"Largest |x − λz|: SGD 10⁻¹⁵, Adam 10⁻¹⁵ at the corrected rate; SGD {far[0]}, Adam {far[1]} at the same."
    assert said in caption(picture)
    assert "The rate in z is that in x divided for SGD by λ² and for Adam by λ." in caption(picture)
    assert "40 steps each, float64." in caption(
        picture
    ) and "Every 2nd iterate has a dot." in caption(picture)
    assert (
        f"its run in z at 9 times the rate is at most 10⁻¹⁵ away, that at the same rate is up to {far[0]}"
        in picture.alt
    )
    assert (
        picture.alt == rescaling.describe([sgd, adam])
        and picture.alt.endswith(".")
        and "\n" not in picture.alt
    )


def test_the_loss_is_drawn_above_the_minimum_where_that_is_known(comparisons, made):
    deep = Problem(scene("bowl").loss, [-2.0, 1.5], name="deep", minimum=-5.0)
    ax = rescaling.draw(dataclasses.replace(made[0], problem=deep)).axes[0]
    np.testing.assert_array_equal(
        found(ax, "corrected sgd").get_ydata(), np.asarray(made[0].map.loss) + 5
    )
    assert ax.get_ylabel() == "loss above minimum  f(x) − f*"
    ax = rescaling.draw(made_rescaling(comparisons["nowhere"][0])).axes[0]
    assert ax.get_ylabel() == "loss  f(x)"


def test_runs_that_fail_are_said(diverged, comparisons):
    k = int(diverged.map.stats["first_bad_step"])
    picture = rescaling.draw(made_rescaling(diverged))
    assert (
        title(picture) == f"SGD diverged at step {k}" and f"SGD diverged at step {k}" in picture.alt
    )
    assert len(found(picture.axes[0], "map sgd").get_ydata()) == int(diverged.map.finite.sum())
    lost = dataclasses.replace(made_rescaling(comparisons["bowl"][0]), same_rate=diverged.map)
    picture = rescaling.draw(lost)
    assert title(picture).endswith("SGD takes the same path at 9 times the rate")
    assert f"that at the same rate diverged at step {k}" in picture.alt
    assert f"SGD diverged at step {k} at the same" in caption(picture)
    picture.savefig(BytesIO(), dpi=30)


@pytest.mark.parametrize("look", style.STYLES)
def test_no_word_lies_on_another_or_outside(look, made):
    picture = rescaling.draw(made, style=look)
    assert overlapping(picture) == [] and outside(picture) == []


def test_results_that_do_not_belong_together_are_refused(made, comparisons, as_users_see_it):
    with pytest.raises(
        InvalidValue, match="by several scales, 0.333333 and 3; draw one picture for each"
    ):
        rescaling.draw([made[0], made_rescaling(comparisons["bowl"][3], scale=3.0)])
    with pytest.raises(InvalidValue, match="several problems"):
        rescaling.draw([made[0], made_rescaling(comparisons["valley"][0])])
    with pytest.raises(InvalidType, match="must come from analysis.rescaling, got Gap"):
        rescaling.draw(comparisons["bowl"][0])
    with pytest.raises(InvalidValue, match="holds a batch"):
        rescaling.draw(dataclasses.replace(made[0], distance=np.ones((2, STEPS + 1))))


def test_two_runs_of_one_optimizer_are_told_apart():
    optimizers = SGD(0.01), SGD(0.02), Momentum(0.01), Adam(0.05)
    picture = rescaling.draw(
        [made_rescaling(made_gap(optimizer, scene("bowl"))) for optimizer in optimizers]
    )
    assert "corrected sgd 2" in {line.get_gid() for line in picture.axes[0].lines}
    assert "SGD (learning_rate 0.02)" in picture.alt
