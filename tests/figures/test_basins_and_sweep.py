"""Basins and heat maps are drawn as they were counted, and said in words that are true."""

import dataclasses
from io import BytesIO

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from scenes import found, gids, made_basins, made_sensitivity, scene

from dynopt import SGD, Adam, Momentum, Problem, analysis, problems
from dynopt.errors import InvalidType, InvalidValue
from dynopt.figures import basins, sweep
from dynopt.figures.drawing.style import STYLES, context, ink, look, mixed

STARS = [[1.0, 0.0], [-1.0, 0.5], [0.0, -1.5]]


def three(name="three") -> Problem:
    return Problem(
        scene("wells").loss,
        [0.0, 0.0],
        name=name,
        minimizers=STARS,
        minimum=0.0,
        window=((-3, 3), (-2, 2)),
    )


@pytest.fixture(scope="module")
def results():
    return [
        made_basins(SGD(0.1), three(), 0.1),
        made_basins(Momentum(0.1), three(), 1.0, failing=True),
    ]


def words(picture) -> str:
    return " ".join(picture.get_suptitle().split()).replace("\xa0", " ")


@pytest.mark.parametrize("style", STYLES)
def test_colours_are_the_minimizers_and_dark_where_map_and_flow_part(results, style):
    picture = basins.draw(results, style=style)
    flow, sgd, momentum = (ax for ax in picture.axes if ax.images)
    with context(style):
        bright = np.array([to_rgb(color) for color in basins.tones(3)])
        dark = np.array([to_rgb(mixed(color, ink(), basins.DARKER)) for color in basins.tones(3)])
    np.testing.assert_array_equal(found(flow, "flow").get_array(), bright[results[0].flow])
    for ax, name, seen in ((sgd, "map sgd", results[0]), (momentum, "map momentum", results[1])):
        image, fine = found(ax, name).get_array(), ~seen.failed
        expected = np.where(seen.differs[..., None], dark[seen.map], bright[seen.map])
        np.testing.assert_array_equal(image[fine], expected[fine])
        np.testing.assert_array_equal(found(ax, "minimizers").get_xydata(), STARS)
    assert "failed map momentum" in gids(momentum) and "failed map sgd" not in gids(sgd)


def test_the_pixels_lie_where_the_starts_are(results):
    ax = next(ax for ax in basins.draw(results).axes if ax.images)
    left, right, low, high = found(ax, "flow").get_extent()
    assert (left, right) == pytest.approx((-3.15, 3.15)) and (low, high) == pytest.approx(
        (-2.1, 2.1)
    )
    assert ax.get_aspect() == 1


def test_the_claim_names_the_map_that_strays_most_and_least(results):
    picture = basins.draw(results)
    sgd, momentum = (f"{100 * one.disagreement:.1f} %" for one in results)
    assert (
        words(picture)
        == f"Momentum ends elsewhere than the gradient flow from {momentum} of all starts, SGD from {sgd}"
    )
    titles = [ax.get_title(loc="left") or ax.get_title() for ax in picture.axes if ax.images]
    assert [title.replace("\xa0", " ") for title in titles] == [
        "gradient flow",
        f"SGD: {sgd}",
        f"Momentum: {momentum}",
    ]
    told = " ".join(picture.get_supxlabel().split()).replace("\xa0", " ")
    failing = f"{100 * results[1].failed.mean():.1f} % diverge"
    assert (
        "21 × 21 starts on [−3, 3] × [−2, 2]. SGD(learning_rate=0.1), h = 0.1;" in told
        and "300 steps" in told
    )
    assert told.endswith(f"Ends elsewhere: SGD {sgd} and Momentum {momentum} ({failing}).")
    assert picture.alt.endswith(".") and momentum in picture.alt.replace("\xa0", " ")


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
def test_every_number_of_maps_has_its_panels(results, number):
    many = [dataclasses.replace(results[0], optimizer=SGD(0.1 * (i + 1))) for i in range(number)]
    picture = basins.draw(many)
    assert sum(bool(ax.images) for ax in picture.axes) == number + 1
    picture.savefig(BytesIO(), dpi=40)


def test_one_map_can_be_drawn_in_axes(results):
    ax = Figure().add_subplot()
    assert basins.draw(results[0], ax=ax) is ax and found(ax, "map sgd") is ax.images[0]
    with pytest.raises(InvalidValue, match="`ax` has room for one map, and there are 2 results"):
        basins.draw(results, ax=ax)


def test_basins_of_other_problems_or_grids_are_not_mixed(results, as_users_see_it):
    with pytest.raises(InvalidValue, match="of several problems"):
        basins.draw([results[0], made_basins(SGD(0.1), three("others"))])
    with pytest.raises(InvalidValue, match="on several grids"):
        basins.draw([results[0], made_basins(SGD(0.1), three(), n=11)])
    with pytest.raises(InvalidType, match="must come from analysis.basins, got int"):
        basins.draw(3)
    with pytest.raises(InvalidType, match="`ax` must be a matplotlib Axes"):
        basins.draw(results[0], ax=3)


def test_tones_are_told_apart_in_grey():
    with context("notebook"):
        for number in (2, 3, 4, 6):
            grey = [
                0.2126 * r + 0.7152 * g + 0.0722 * b
                for r, g, b in map(to_rgb, basins.tones(number))
            ]
            assert (np.diff(grey) < -0.02).all()


# --- the sweep


@pytest.fixture
def heat():
    return made_sensitivity(Momentum(0.1), three())


def test_cells_hold_the_loss_and_what_failed_is_hatched(heat):
    ax = sweep.draw(heat).axes[0]
    cells = found(ax, "loss").get_array()
    fine = np.isfinite(heat.loss)
    np.testing.assert_allclose(cells[fine], np.clip(heat.loss[fine], 1e-9, 2.0))
    np.testing.assert_array_equal(np.ma.getmaskarray(cells), ~fine)
    assert found(ax, "failed").get_paths() and ax.get_xscale() == "log"
    assert ax.get_xlabel() == "learning rate  η" and ax.get_ylabel() == "momentum"


def test_the_boundary_and_the_lowest_run_are_drawn_where_they_are(heat):
    ax = sweep.draw(heat).axes[0]
    np.testing.assert_array_equal(
        found(ax, "boundary").get_xydata(), np.stack([heat.boundary, heat.value], 1)
    )
    i, j = np.unravel_index(
        np.nanargmin(np.where(np.isfinite(heat.loss), heat.loss, np.nan)), heat.loss.shape
    )
    ring = found(ax, "lowest")
    assert ring.get_xydata().tolist() == [[heat.learning_rate[j], heat.value[i]]]
    assert ring.get_markeredgecolor() == look(Momentum(0.1)).color


def test_the_heat_map_says_where_it_is_lowest_and_how_many_diverged(heat):
    picture = sweep.draw(heat)
    claim = " ".join(picture.axes[0].get_title().split())
    low = np.flatnonzero(heat.loss.ravel() == np.nanmin(heat.loss))
    tied = dataclasses.replace(
        heat, loss=np.where(heat.loss > np.nanmedian(heat.loss), heat.loss, np.nanmin(heat.loss))
    )
    others = int((tied.loss == np.nanmin(tied.loss)).sum()) - 1
    assert len(low) == 1 and others > 100
    assert " ".join(sweep.draw(tied).axes[0].get_title().split()).endswith(
        f"to 10⁻⁹, as {others} others do"
    )
    assert claim.startswith(
        "Momentum on three comes lowest with learning rate 0."
    ) and claim.endswith("to 10⁻⁹")
    told = " ".join(picture.get_supxlabel().split()).replace("\xa0", " ")
    assert "100 % of the runs beyond the boundary diverged, and 0 % of those before it." in told
    assert "31 × 21 runs of 50 steps, float64" in told and "λ = 4 at the flattest" in told
    assert claim in picture.alt and "over learning rates from 0.001 to 2" in picture.alt


def test_heat_maps_without_theory_or_without_an_end_are_drawn(heat):
    bare = dataclasses.replace(heat, boundary=np.full(21, np.nan), optimizer=Adam(0.1))
    ax = sweep.draw(bare).axes[0]
    assert "boundary" not in gids(ax)
    lost = dataclasses.replace(heat, loss=np.full_like(heat.loss, np.nan))
    picture = sweep.draw(lost)
    assert "no run of Momentum on three reaches its end" in picture.alt and "lowest" not in gids(
        picture.axes[0]
    )
    row = dataclasses.replace(
        heat,
        value=heat.value[:1],
        loss=heat.loss[:1],
        result=heat.result[:1],
        boundary=heat.boundary[:1],
    )
    for odd in (bare, lost, row):
        sweep.draw(odd).savefig(BytesIO(), dpi=30)


def test_runs_that_rest_where_the_loss_is_zero_are_drawn():
    bowl = problems.quadratic([1.0, 4.0])
    seen = analysis.sensitivity(
        Momentum(0.1),
        bowl,
        5,
        x0=[0.0, 0.0],
        learning_rates=[0.1, 0.2, 0.4],
        values=[0.0, 0.5, 0.9],
    )
    assert seen.start == 0
    sweep.draw(seen).savefig(BytesIO(), format="png")


def test_one_heat_map_is_one_picture(heat, as_users_see_it):
    with pytest.raises(
        InvalidValue, match="`results` holds 2 results; pass one of analysis.sensitivity"
    ):
        sweep.draw([heat, heat])
    assert sweep.describe([heat]) == sweep.describe(heat)
