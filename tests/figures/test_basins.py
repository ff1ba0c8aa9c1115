"""Basins are drawn as they were measured, and described in words that are true."""

import dataclasses
from io import BytesIO

import numpy as np
import pytest
from matplotlib.colors import rgb_to_hsv, to_rgb
from matplotlib.figure import Figure
from overlaps import outside, overlapping
from scenes import (
    STARS,
    artist,
    caption,
    gids,
    make_basins,
    one_line,
    three_stars,
)

from dynopt import SGD, Momentum
from dynopt.errors import InvalidType, InvalidValue
from dynopt.figures import basins
from dynopt.figures.drawing.style import STYLES, context


@pytest.fixture(scope="module")
def results():
    return [
        make_basins(SGD(0.1), three_stars(), 0.1),
        make_basins(Momentum(0.1), three_stars(), 1.0, failing=True),
    ]


def heading(picture) -> str:
    return one_line(picture.get_suptitle())


def frames(picture):
    """The panels of a picture: flow, maps, and agreements, in the order of reading."""
    return [ax for ax in picture.axes if ax.images]


@pytest.mark.parametrize("style", STYLES)
def test_colours_are_the_minimizers_and_a_panel_shows_where_map_and_flow_agree(results, style):
    flow, *maps, sgd, momentum = frames(basins.draw(results, style=style))
    with context(style):
        hues = np.array([to_rgb(color) for color in basins.tones(3)])
        same = np.array(to_rgb(basins.same_color()))
    np.testing.assert_array_equal(artist(flow, "flow").get_array(), hues[results[0].flow])
    for ax, agreement, key, result in zip(
        maps, (sgd, momentum), ("sgd", "momentum"), results, strict=True
    ):
        finished = ~result.failed
        image = artist(ax, f"map {key}").get_array()
        np.testing.assert_array_equal(image[finished], hues[result.map][finished])
        image = artist(agreement, f"agreement {key}").get_array()
        agrees = (image == same).all(-1)
        np.testing.assert_array_equal(agrees, (result.map == result.flow) & finished)
        elsewhere = np.unique(image[~agrees & finished], axis=0)
        assert len(elsewhere) == 1 and np.ptp(elsewhere[0]) > 0.3, "one hue, and no grey"
        for one in (ax, agreement):
            failed = [gid for gid in gids(one) if gid.startswith("failed")]
            assert bool(failed) == (key == "momentum")


def test_each_star_has_the_hue_of_its_basin(results):
    flow = frames(basins.draw(results))[0]
    stars = [line for line in flow.lines if line.get_gid() == "minimizer"]
    np.testing.assert_array_equal([star.get_xydata()[0] for star in stars], STARS)
    with context("notebook"):
        hues = [rgb_to_hsv(to_rgb(color))[0] for color in basins.tones(3)]
    found = [rgb_to_hsv(to_rgb(star.get_markerfacecolor()))[0] for star in stars]
    np.testing.assert_allclose(found, hues, atol=0.05)


@pytest.mark.parametrize("style", STYLES)
def test_both_axes_have_the_same_ticks(results, style):
    picture = basins.draw(results, style=style)
    picture.draw_without_rendering()
    for ax in frames(picture):
        across, up = (np.diff(axis.get_majorticklocs()) for axis in (ax.xaxis, ax.yaxis))
        assert np.unique(np.concatenate([across, up]).round(9)).size == 1


def test_the_pixels_lie_where_the_starts_are(results):
    ax = frames(basins.draw(results))[0]
    left, right, low, high = artist(ax, "flow").get_extent()
    assert (left, right) == pytest.approx((-3.15, 3.15))
    assert (low, high) == pytest.approx((-2.1, 2.1))
    assert ax.get_aspect() == 1


def test_the_claim_names_the_maps_that_end_elsewhere_most_and_least_often(results):
    picture = basins.draw(results)
    sgd, momentum = (f"{100 * result.disagreement:.1f} %" for result in results)
    assert heading(picture) == (
        f"Momentum ends elsewhere than the flow from {momentum} of these starts, SGD from {sgd}"
    )
    heads = [one_line(ax.get_title(loc="left")) for ax in frames(picture)]
    assert heads == ["flow", "SGD", "Momentum", sgd, momentum]
    assert caption(picture) == (
        "On three, 21 × 21 starts in [−3, 3] × [−2, 2]; the maps take 300 steps, the flow is "
        "x′ = −∇f."
    )
    failed = f"{100 * results[1].failed.mean():.1f} % diverge"
    assert one_line(picture.alt).endswith(f"SGD {sgd} and Momentum {momentum} ({failed}).")
    assert picture.alt.endswith(".") and momentum in one_line(picture.alt)


@pytest.mark.parametrize("style", STYLES)
def test_no_word_lies_on_another_or_outside(results, style):
    picture = basins.draw(results, style=style)
    assert overlapping(picture) == [] and outside(picture) == []


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
def test_every_number_of_maps_has_its_panels(results, number):
    many = [dataclasses.replace(results[0], optimizer=SGD(0.1 * (i + 1))) for i in range(number)]
    picture = basins.draw(many)
    assert len(frames(picture)) == 2 * number + 1
    picture.savefig(BytesIO(), dpi=40)


def test_one_map_can_be_drawn_into_axes(results):
    ax = Figure().add_subplot()
    assert basins.draw(results[0], ax=ax) is ax and artist(ax, "map sgd") is ax.images[0]
    with pytest.raises(InvalidValue, match="`ax` has room for one map, and there are 2 results"):
        basins.draw(results, ax=ax)


def test_basins_of_other_problems_or_grids_are_not_mixed(results, as_users_see_it):
    with pytest.raises(InvalidValue, match="of several problems"):
        basins.draw([results[0], make_basins(SGD(0.1), three_stars("others"))])
    with pytest.raises(InvalidValue, match="on several grids"):
        basins.draw([results[0], make_basins(SGD(0.1), three_stars(), n=11)])
    with pytest.raises(InvalidType, match="must come from analysis.basins, got int"):
        basins.draw(3)  # pyright: ignore
    with pytest.raises(InvalidType, match="`ax` must be a matplotlib Axes"):
        basins.draw(results[0], ax=3)  # pyright: ignore


def test_the_colours_of_minimizers_are_told_apart_in_grey():
    with context("notebook"):
        for number in (2, 3, 4, 6):
            grey = [
                0.2126 * r + 0.7152 * g + 0.0722 * b
                for r, g, b in map(to_rgb, basins.tones(number))
            ]
            assert (np.diff(grey) < -0.02).all()
