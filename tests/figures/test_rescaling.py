"""Rings lie on dots where one factor makes up for other units, and the title names the rate."""

import dataclasses
from io import BytesIO

import numpy as np
import pytest
from scenes import (
    KEYS,
    STEPS,
    artist,
    caption,
    gids,
    make_comparison,
    make_rescaling,
    scene,
    title,
)
from test_labels import outside, overlapping

from dynopt import SGD, Adam, Momentum, Problem, analysis
from dynopt.errors import InvalidType, InvalidValue
from dynopt.figures import rescaling
from dynopt.figures.drawing import style
from dynopt.figures.drawing.words import format_number


@pytest.fixture(scope="module")
def results(comparisons):
    return [
        make_rescaling(comparison, power=power)
        for comparison, power in zip(comparisons["bowl"], (1.0, 1.0, 0.0, 0.0), strict=True)
    ]


@pytest.mark.parametrize("i", range(4), ids=KEYS)
def test_dots_are_the_run_in_x_rings_and_pale_dots_those_in_z(i, results):
    ax, steps = rescaling.draw(results).axes[0], np.arange(STEPS + 1)
    for kind, run in (
        ("map", results[i].map),
        ("corrected", results[i].corrected),
        ("same rate", results[i].same_rate),
    ):
        line = artist(ax, f"{kind} {KEYS[i]}")
        np.testing.assert_array_equal(line.get_xdata(), steps)
        np.testing.assert_array_equal(line.get_ydata(), run.loss)
        assert line.get_linestyle() == "None"
    dots, rings, pale = (
        artist(ax, f"{kind} {KEYS[i]}") for kind in ("map", "corrected", "same rate")
    )
    look = style.look(results[i].optimizer)
    assert dots.get_color() == look.color != pale.get_color()
    assert dots.get_marker() == pale.get_marker() == look.marker
    assert rings.get_markerfacecolor() == "none" and rings.get_markersize() > dots.get_markersize()
    assert pale.get_zorder() < dots.get_zorder() < rings.get_zorder()


def test_rings_lie_on_dots_where_steps_are_a_power_of_the_gradient():
    """Gradient descent at nine times its learning rate in z = 3x, as it was measured."""
    result = analysis.rescaling(SGD(0.01), scene("bowl"), STEPS, 1 / 3)
    picture = rescaling.draw(result)
    dots, rings, pale = (
        artist(picture.axes[0], f"{kind} sgd") for kind in ("map", "corrected", "same rate")
    )
    np.testing.assert_allclose(rings.get_ydata(), dots.get_ydata(), rtol=1e-12)
    assert (pale.get_ydata() > 2 * np.asarray(dots.get_ydata()))[10:].all()
    assert title(picture) == (
        "In z = x/λ, λ = 1/3, SGD takes the same path at 9 times the learning rate"
    )
    assert format_number(float(result.same_rate_distance.max())) in caption(picture)


def test_the_title_says_at_which_rate_each_takes_the_same_path(results):
    sgd, momentum, rmsprop, adam = results
    assert title(rescaling.draw([sgd, adam])) == (
        "In z = x/λ, λ = 1/3, SGD takes the same path at 9 times the learning rate, Adam at 3 "
        "times the learning rate"
    )
    off = dataclasses.replace(rmsprop, distance=rmsprop.distance + 0.25)
    assert title(rescaling.draw([sgd, momentum, off, adam])) == (
        "In z = x/λ, λ = 1/3, SGD and Momentum take the same path at 9 times the learning rate, "
        "Adam at 3 times the learning rate; RMSprop at 3 times the learning rate comes within 0.25 "
        "of it"
    )
    assert title(rescaling.draw(off)) == (
        "In z = x/λ, λ = 1/3, RMSprop at 3 times the learning rate comes within 0.25 of its path "
        "in x"
    )


def test_a_larger_unit_needs_a_smaller_rate(comparisons):
    result = make_rescaling(comparisons["bowl"][0], scale=3.0)
    assert title(rescaling.draw(result)) == (
        "In z = x/λ, λ = 3, SGD takes the same path at 1/9 of the learning rate"
    )


def test_caption_and_alt_text_give_the_distances(results):
    sgd, adam = results[0], results[3]
    picture = rescaling.draw([sgd, adam])
    far = [format_number(float(result.same_rate_distance.max())) for result in (sgd, adam)]
    text = caption(picture)
    assert (
        "The largest |x − λz| is SGD 10⁻¹⁵, Adam 10⁻¹⁵ with the corrected learning rate and SGD "
        f"{far[0]}, Adam {far[1]} with the same."
    ) in text
    assert "The learning rate in z is that in x divided for SGD by λ² and for Adam by λ." in text
    assert "40 steps each, in float64" in text and "Every 2nd iterate has a dot." in text
    assert (
        "its run in z at 9 times the learning rate is at most 10⁻¹⁵ away, that at the same learning "
        f"rate is up to {far[0]} away"
    ) in picture.alt
    assert picture.alt == rescaling.describe([sgd, adam])
    assert picture.alt.endswith(".") and "\n" not in picture.alt


def test_the_loss_is_drawn_above_the_minimum_if_that_is_known(comparisons, results):
    deep = Problem(scene("bowl").loss, [-2.0, 1.5], name="deep", minimum=-5.0)
    ax = rescaling.draw(dataclasses.replace(results[0], problem=deep)).axes[0]
    np.testing.assert_array_equal(
        artist(ax, "corrected sgd").get_ydata(), np.asarray(results[0].map.loss) + 5
    )
    assert ax.get_ylabel() == "loss above minimum  f(x) − f*"
    ax = rescaling.draw(make_rescaling(comparisons["nowhere"][0])).axes[0]
    assert ax.get_ylabel() == "loss  f(x)"


def test_runs_that_fail_are_named(diverged, comparisons):
    failure = f"diverged at step {int(diverged.map.stats['first_bad_step'])}"
    picture = rescaling.draw(make_rescaling(diverged))
    assert title(picture) == f"SGD {failure}" and f"SGD {failure}" in picture.alt
    drawn = artist(picture.axes[0], "map sgd").get_ydata()
    assert len(drawn) == int(diverged.map.finite.sum())
    lost = dataclasses.replace(make_rescaling(comparisons["bowl"][0]), same_rate=diverged.map)
    picture = rescaling.draw(lost)
    assert title(picture).endswith("SGD takes the same path at 9 times the learning rate")
    assert f"that at the same learning rate {failure}" in picture.alt
    assert f"SGD {failure} with the same" in caption(picture)
    picture.savefig(BytesIO(), dpi=30)


@pytest.mark.parametrize("look", style.STYLES)
def test_no_word_lies_on_another_or_outside(look, results):
    picture = rescaling.draw(results, style=look)
    assert overlapping(picture) == [] and outside(picture) == []


def test_results_that_do_not_belong_together_are_refused(results, comparisons, as_users_see_it):
    with pytest.raises(
        InvalidValue, match="have several scales, 0.333333 and 3; draw one picture for each"
    ):
        rescaling.draw([results[0], make_rescaling(comparisons["bowl"][3], scale=3.0)])
    with pytest.raises(InvalidValue, match="several problems"):
        rescaling.draw([results[0], make_rescaling(comparisons["valley"][0])])
    with pytest.raises(InvalidType, match="must come from analysis.rescaling, got Comparison"):
        rescaling.draw(comparisons["bowl"][0])
    with pytest.raises(InvalidValue, match="holds a batch"):
        rescaling.draw(dataclasses.replace(results[0], distance=np.ones((2, STEPS + 1))))


def test_two_runs_of_one_optimizer_are_told_apart():
    optimizers = SGD(0.01), SGD(0.02), Momentum(0.01), Adam(0.05)
    picture = rescaling.draw(
        [make_rescaling(make_comparison(optimizer, scene("bowl"))) for optimizer in optimizers]
    )
    assert "corrected sgd 2" in gids(picture.axes[0])
    assert "SGD (learning_rate 0.02)" in picture.alt
