"""Lyapunov functions and the stability map are drawn as they were measured."""

import dataclasses
from io import BytesIO

import jax.numpy as jnp
import numpy as np
import pytest
from scenes import (
    KEYS,
    artist,
    caption,
    gids,
    legend_texts,
    make_comparison,
    make_lyapunov,
    make_stability,
    scene,
    title,
    with_rises,
)

from dynopt import SGD, Momentum, Problem
from dynopt.errors import InvalidType, InvalidValue
from dynopt.figures import lyapunov, stability
from dynopt.figures.drawing.style import STYLES, look
from dynopt.figures.drawing.words import format_number

# --- the Lyapunov function


@pytest.mark.parametrize("kind", ["map", "flow"])
@pytest.mark.parametrize("i", range(4), ids=KEYS)
def test_the_function_along_each_run_is_drawn_above_the_minimum(kind, i, lyapunovs):
    ax = lyapunov.draw(lyapunovs["bowl"]).axes[0]
    values = np.asarray(getattr(lyapunovs["bowl"][i], f"{kind}_value"))
    np.testing.assert_array_equal(artist(ax, f"{kind} {KEYS[i]}").get_ydata(), values)
    deep = Problem(scene("bowl").loss, [-2.0, 1.5], name="deep", minimum=-5.0)
    ax = lyapunov.draw([dataclasses.replace(r, problem=deep) for r in lyapunovs["bowl"]]).axes[0]
    np.testing.assert_array_equal(artist(ax, f"{kind} {KEYS[i]}").get_ydata(), values + 5)
    assert ax.get_yscale() == "log"


def test_without_a_known_minimum_the_function_itself_is_drawn(lyapunovs):
    ax = lyapunov.draw(lyapunovs["nowhere"]).axes[0]
    values = lyapunovs["nowhere"][0].map_value
    np.testing.assert_array_equal(artist(ax, "map sgd").get_ydata(), values)
    assert ax.get_ylabel() == "Lyapunov function  E(t, y)"


def test_a_cross_marks_each_rise_and_a_line_the_way_up(lyapunovs):
    result = with_rises(lyapunovs["wells"][0], map=(0.0, 0.3, 0.2))
    ax = lyapunov.draw(result).axes[0]
    cross = artist(ax, "rise map sgd")
    np.testing.assert_array_equal(cross.get_ydata(), result.map_value[2:4])
    np.testing.assert_array_equal(cross.get_xdata(), result.t[2:4])
    assert cross.get_marker() == "x" and cross.get_color() == "#262a30"
    for k, way in enumerate(artist(ax, "way map sgd").get_segments()):
        np.testing.assert_array_equal(way[:, 1], result.map_value[k + 1 : k + 3])
    assert "rise flow sgd" not in gids(ax) and "a rise" in legend_texts(ax)


def test_without_a_rise_there_is_no_cross(lyapunovs):
    ax = lyapunov.draw([with_rises(r) for r in lyapunovs["bowl"]]).axes[0]
    assert not [gid for gid in gids(ax) if gid.startswith(("rise", "way"))]
    assert "a rise" not in legend_texts(ax)


def test_the_title_counts_the_rises_and_gives_the_largest(lyapunovs):
    sgd, momentum = (with_rises(r) for r in lyapunovs["bowl"][:2])
    start, end = (format_number(float(sgd.map_value[i])) for i in (0, -1))
    assert title(lyapunov.draw(sgd)) == (
        f"The Lyapunov function of SGD falls from {start} to {end} without a rise"
    )
    assert title(lyapunov.draw([sgd, momentum])) == "No Lyapunov function ever rises"
    one = with_rises(sgd, map=(0.1, 0.3))
    assert title(lyapunov.draw(one)) == (
        "The map of SGD raises its Lyapunov function 2 times in 40 steps, by at most 0.3; its flow "
        "never does"
    )
    assert title(lyapunov.draw([one, with_rises(momentum, map=(2.5,))])) == (
        "The maps of SGD and Momentum raise their Lyapunov functions 2 and 1 times in 40 steps, by "
        "at most 2.5 (Momentum); no flow does"
    )
    assert title(lyapunov.draw(with_rises(sgd, flow=(0.01,)))) == (
        "The flow of SGD raises its Lyapunov function 1 time in 40 steps, by at most 0.01"
    )


def test_caption_and_alt_text_say_by_how_much_each_rises(lyapunovs):
    sgd, momentum = lyapunovs["bowl"][:2]
    results = [with_rises(sgd, map=(0.1, 0.3)), with_rises(momentum, map=(2.5,))]
    picture = lyapunov.draw(results)
    assert (
        "A cross marks each rise since the point before: 2 times by at most 0.3 along the map of "
        "SGD; 1 time by at most 2.5 along the map of Momentum."
    ) in caption(picture)
    assert "along the map of SGD it ends at" in picture.alt
    assert "and rises 2 times by at most 0.3" in picture.alt
    assert "along the flow of SGD it ends at" in picture.alt and "and never rises" in picture.alt
    assert picture.alt == lyapunov.describe(results)
    assert "40 steps each" in caption(picture) and "The flow is solved by Tsit5" in caption(picture)


def test_two_runs_of_one_optimizer_are_told_apart(lyapunovs):
    """By their hyperparameters; the same result given twice is drawn twice."""
    sgd = lyapunovs["bowl"][0]
    picture = lyapunov.draw([sgd, make_lyapunov(make_comparison(SGD(0.02), scene("bowl")))])
    assert {"map sgd", "flow sgd", "map sgd 2", "flow sgd 2"} <= gids(picture.axes[0])
    assert "SGD (learning_rate 0.02)" in picture.alt
    assert "map sgd 2" in gids(lyapunov.draw([sgd, sgd]).axes[0])


def test_a_run_that_failed_is_drawn_to_its_last_finite_point(diverged):
    result = make_lyapunov(diverged)
    picture = lyapunov.draw(result)
    sentence = f"SGD diverged at step {int(diverged.map.stats['first_bad_step'])}"
    assert title(picture).startswith(sentence)
    assert "along the map of " + sentence.replace("SGD", "SGD it") in picture.alt
    np.testing.assert_array_equal(
        artist(picture.axes[0], "map sgd").get_ydata(),
        np.asarray(result.map_value)[diverged.map.finite],
    )


def test_a_function_that_is_nowhere_finite_is_a_picture_that_says_so(lyapunovs):
    nan, sgd = jnp.full(41, jnp.nan), lyapunovs["bowl"][0]
    lost = dataclasses.replace(
        sgd,
        map_value=nan,
        flow_value=nan,
        map=dataclasses.replace(sgd.map, loss=nan),
        flow=dataclasses.replace(sgd.flow, loss=nan),
    )
    picture = lyapunov.draw(lost)
    notice = artist(picture.axes[0], "notice")
    assert notice.get_text() == "no finite Lyapunov function to draw"
    picture.savefig(BytesIO(), dpi=30)


def test_results_that_are_no_lyapunov_functions_are_named(lyapunovs, comparisons, as_users_see_it):
    with pytest.raises(InvalidType, match="must come from analysis.lyapunov, got Comparison"):
        lyapunov.draw(comparisons["bowl"][0])
    with pytest.raises(InvalidValue, match="draw one picture for each"):
        lyapunov.draw([lyapunovs["bowl"][0], lyapunovs["valley"][0]])
    batch = dataclasses.replace(lyapunovs["bowl"][0], map_value=jnp.ones((2, 41)))
    with pytest.raises(InvalidValue, match="holds a batch"):
        lyapunov.draw(batch)


# --- the stability map


@pytest.mark.parametrize("curvature", [1.0, 50.0])
def test_boundary_and_optimum_are_drawn_as_they_were_measured(curvature):
    result = make_stability(curvature=curvature)
    ax = stability.draw(result).axes[0]
    np.testing.assert_allclose(
        artist(ax, "boundary").get_xydata(), np.stack([2 + 2 * result.value, result.value], 1)
    )
    np.testing.assert_allclose(
        artist(ax, "optimal").get_xydata(),
        np.stack([result.learning_rate * curvature, result.optimal], 1),
    )
    assert ax.get_xlabel() == "learning rate × curvature  η λ" and ax.get_ylabel() == "momentum"
    assert ax.get_xlim()[1] == pytest.approx(4.2) and ax.get_ylim() == (0, result.value[-1])


def test_levels_of_the_radius_are_round_and_labelled():
    ax = stability.draw(make_stability()).axes[0]
    lines = artist(ax, "contours")
    assert set(lines.levels) <= set(stability.LEVELS) and len(lines.levels) == 7
    assert {"0.5", "0.8", "0.9", "0.95"} <= {text.get_text() for text in ax.texts}
    assert list(artist(ax, "field").levels) == [0, *lines.levels, 1]


def test_the_area_beyond_the_boundary_is_hatched():
    ax = stability.draw(make_stability()).axes[0]
    unstable = artist(ax, "unstable")
    assert unstable.get_hatch() and unstable.get_paths()[0].contains_point((3.9, 0.5))
    assert not unstable.get_paths()[0].contains_point((2.9, 0.5))
    assert "unstable: radius above 1" in legend_texts(ax)


@pytest.mark.parametrize("style", STYLES)
def test_the_lines_of_the_stability_map_are_named_in_the_legend(style):
    ax = stability.draw(make_stability(), style=style).axes[0]
    assert {"critical: radius 1", "fastest momentum"} <= set(legend_texts(ax))


def test_the_stability_map_says_how_the_momentum_moves_the_boundary():
    result = make_stability()
    picture = stability.draw(result)
    claim = "Momentum is stable up to η λ = 2 with momentum 0, up to 3.94 with momentum 0.97"
    assert title(picture) == claim and claim in picture.alt.replace("\xa0", " ")
    assert "Momentum(learning_rate=0.01, momentum=0.9)" in caption(picture)
    assert "float64" in caption(picture)
    i, j = np.unravel_index(result.radius.argmin(), result.radius.shape)
    least, rate = format_number(result.radius[i, j], 2), format_number(result.learning_rate[j])
    sentence = f"The radius is smallest, {least}, at η λ = {rate} and momentum 0."
    assert sentence in caption(picture)
    assert picture.alt.endswith(".") and "\n" not in picture.alt


def test_stability_maps_without_contours_or_boundaries_are_drawn():
    result = make_stability()
    row = dataclasses.replace(
        result, value=result.value[:1], radius=result.radius[:1], boundary=result.boundary[:1]
    )
    lost = dataclasses.replace(result, boundary=np.full(31, np.nan), optimal=np.full(41, np.nan))
    endless = dataclasses.replace(result, boundary=np.full(31, np.inf))
    for odd in (row, lost, endless, make_stability(reach=1e-3), make_stability(n=2, m=2)):
        stability.draw(odd).savefig(BytesIO(), dpi=30)


def test_one_stability_map_is_one_picture(comparisons, as_users_see_it):
    with pytest.raises(
        InvalidValue, match="`results` holds 2 results; pass one result of analysis.stability"
    ):
        stability.draw([make_stability()] * 2)
    with pytest.raises(
        InvalidType, match="`results` must come from analysis.stability, got Comparison"
    ):
        stability.draw(comparisons["bowl"][0])
    assert stability.describe([make_stability()]) == stability.describe(make_stability())


def test_the_optimum_has_the_look_of_the_optimizer():
    line = artist(stability.draw(make_stability()).axes[0], "optimal")
    assert line.get_color() == look(Momentum(0.1)).color
