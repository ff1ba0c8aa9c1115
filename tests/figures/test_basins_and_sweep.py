"""Basins and sweeps are drawn as they were measured, and described in words that are true."""

import dataclasses
from io import BytesIO

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from overlaps import outside, overlapping
from scenes import (
    STARS,
    artist,
    caption,
    gids,
    legend_texts,
    make_basins,
    make_sensitivity,
    one_line,
    three_stars,
    title,
)

from dynopt import SGD, Adam, Momentum, analysis, problems
from dynopt.errors import InvalidType, InvalidValue
from dynopt.figures import basins, sweep
from dynopt.figures.drawing.style import STYLES, context, ink, look, mix_colors


@pytest.fixture(scope="module")
def results():
    return [
        make_basins(SGD(0.1), three_stars(), 0.1),
        make_basins(Momentum(0.1), three_stars(), 1.0, failing=True),
    ]


def heading(picture) -> str:
    return one_line(picture.get_suptitle())


@pytest.mark.parametrize("style", STYLES)
def test_colours_are_the_minimizers_and_dark_where_map_and_flow_differ(results, style):
    picture = basins.draw(results, style=style)
    flow, sgd, momentum = (ax for ax in picture.axes if ax.images)
    with context(style):
        bright = np.array([to_rgb(color) for color in basins.tones(3)])
        dark = np.array(
            [to_rgb(mix_colors(color, ink(), basins.DARKER)) for color in basins.tones(3)]
        )
    np.testing.assert_array_equal(artist(flow, "flow").get_array(), bright[results[0].flow])
    for ax, name, result in ((sgd, "map sgd", results[0]), (momentum, "map momentum", results[1])):
        image, finished = artist(ax, name).get_array(), ~result.failed
        expected = np.where(result.differs[..., None], dark[result.map], bright[result.map])
        np.testing.assert_array_equal(image[finished], expected[finished])
        np.testing.assert_array_equal(artist(ax, "minimizers").get_xydata(), STARS)
    assert "failed map momentum" in gids(momentum) and "failed map sgd" not in gids(sgd)


def test_the_pixels_lie_where_the_starts_are(results):
    ax = next(ax for ax in basins.draw(results).axes if ax.images)
    left, right, low, high = artist(ax, "flow").get_extent()
    assert (left, right) == pytest.approx((-3.15, 3.15))
    assert (low, high) == pytest.approx((-2.1, 2.1))
    assert ax.get_aspect() == 1


def test_the_claim_names_the_maps_that_end_elsewhere_most_and_least_often(results):
    picture = basins.draw(results)
    sgd, momentum = (f"{100 * result.disagreement:.1f} %" for result in results)
    assert heading(picture) == (
        f"The map of Momentum ends elsewhere than the gradient flow from {momentum} of the starts, "
        f"that of SGD from {sgd}"
    )
    titles = [one_line(ax.get_title()) for ax in picture.axes if ax.images]
    assert titles == ["gradient flow", f"SGD: {sgd}", f"Momentum: {momentum}"]
    text = caption(picture)
    assert "The 21 × 21 starts on three lie in [−3, 3] × [−2, 2]." in text
    assert "The maps take 300 steps: SGD(learning_rate=0.1), h = 0.1;" in text
    failed = f"{100 * results[1].failed.mean():.1f} % diverge"
    assert text.endswith(
        "The maps end elsewhere from these fractions of the starts: "
        f"SGD {sgd} and Momentum {momentum} ({failed})."
    )
    assert picture.alt.endswith(".") and momentum in one_line(picture.alt)


@pytest.mark.parametrize("style", STYLES)
def test_no_word_lies_on_another_or_outside(results, style):
    picture = basins.draw(results, style=style)
    assert overlapping(picture) == [] and outside(picture) == []


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
def test_every_number_of_maps_has_its_panels(results, number):
    many = [dataclasses.replace(results[0], optimizer=SGD(0.1 * (i + 1))) for i in range(number)]
    picture = basins.draw(many)
    assert sum(bool(ax.images) for ax in picture.axes) == number + 1
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


# --- the sweep


@pytest.fixture
def result():
    return make_sensitivity(Momentum(0.1), three_stars())


def test_cells_hold_the_loss_and_what_failed_is_hatched(result):
    ax = sweep.draw(result).axes[0]
    cells = artist(ax, "loss").get_array()
    finite = np.isfinite(result.loss)
    np.testing.assert_allclose(cells[finite], np.clip(result.loss[finite], 1e-9, 2.0))
    np.testing.assert_array_equal(np.ma.getmaskarray(cells), ~finite)
    assert artist(ax, "failed").get_paths() and ax.get_xscale() == "log"
    assert "diverged" in legend_texts(ax)
    assert ax.get_xlabel() == "learning rate  η" and ax.get_ylabel() == "momentum"


def test_the_boundary_and_the_lowest_run_are_drawn_where_they_are(result):
    ax = sweep.draw(result).axes[0]
    np.testing.assert_array_equal(
        artist(ax, "boundary").get_xydata(), np.stack([result.boundary, result.value], 1)
    )
    loss = np.where(np.isfinite(result.loss), result.loss, np.nan)
    i, j = np.unravel_index(np.nanargmin(loss), loss.shape)
    ring = artist(ax, "lowest")
    assert ring.get_xydata().tolist() == [[result.learning_rate[j], result.value[i]]]
    assert ring.get_markeredgecolor() == look(Momentum(0.1)).color


def test_the_sweep_says_where_the_loss_is_lowest_and_how_many_runs_diverged(result):
    picture = sweep.draw(result)
    lowest = np.nanmin(result.loss)
    assert (result.loss == lowest).sum() == 1
    tied = np.where(result.loss > np.nanmedian(result.loss), result.loss, lowest)
    others = int((tied == lowest).sum()) - 1
    assert others > 100
    claim = title(picture)
    assert claim.startswith("The loss of Momentum on three is lowest, f − f* = 10⁻⁹, with ")
    assert title(sweep.draw(dataclasses.replace(result, loss=tied))).endswith(
        f"; {others} other runs reach it, too"
    )
    text = caption(picture)
    assert "100 % of the runs beyond the boundary diverged, and 0 % of those before it." in text
    assert "31 × 21 runs of 50 steps on three, in float64" in text
    assert "at the flattest, λ = 4" in text
    assert (
        claim[1:] in one_line(picture.alt) and "over learning rates from 0.001 to 2" in picture.alt
    )


def test_sweeps_without_theory_or_without_a_finished_run_are_drawn(result):
    bare = dataclasses.replace(result, boundary=np.full(21, np.nan), optimizer=Adam(0.1))
    assert "boundary" not in gids(sweep.draw(bare).axes[0])
    lost = dataclasses.replace(result, loss=np.full_like(result.loss, np.nan))
    picture = sweep.draw(lost)
    assert "no run of Momentum on three reaches its end" in picture.alt
    assert "lowest" not in gids(picture.axes[0])
    row = dataclasses.replace(
        result,
        value=result.value[:1],
        loss=result.loss[:1],
        result=result.result[:1],
        boundary=result.boundary[:1],
    )
    for odd in (bare, lost, row):
        sweep.draw(odd).savefig(BytesIO(), dpi=30)


def test_runs_at_rest_where_the_loss_is_zero_are_drawn():
    result = analysis.sensitivity(
        Momentum(0.1),
        problems.quadratic([1.0, 4.0]),
        5,
        x0=[0.0, 0.0],
        learning_rates=[0.1, 0.2, 0.4],
        values=[0.0, 0.5, 0.9],
    )
    assert result.start == 0
    sweep.draw(result).savefig(BytesIO(), format="png")


def test_one_sweep_is_one_picture(result, as_users_see_it):
    with pytest.raises(
        InvalidValue, match="`results` holds 2 results; pass one result of analysis.sensitivity"
    ):
        sweep.draw([result, result])
    assert sweep.describe([result]) == sweep.describe(result)
