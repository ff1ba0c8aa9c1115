"""The stability map is drawn as it was measured."""

import dataclasses
from io import BytesIO

import numpy as np
import pytest
from overlaps import outside, overlapping
from scenes import (
    artist,
    caption,
    gids,
    heading,
    make_sensitivity,
    make_stability,
    one_line,
    three_stars,
)

from dynopt import Adam, Momentum, Status, analysis, problems
from dynopt.errors import InvalidType, InvalidValue
from dynopt.figures import stability, stability_field
from dynopt.figures.drawing.style import STYLES, color_of
from dynopt.figures.drawing.words import format_number


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


@pytest.mark.parametrize("style", STYLES)
def test_words_stand_beside_the_lines_of_the_stability_map(style):
    picture = stability.draw(make_stability(), style=style)
    words = {text.get_text() for text in picture.axes[0].texts}
    assert {"radius 1", "fastest momentum", "unstable", "2", "3.94"} <= words
    assert overlapping(picture) == [] and outside(picture) == []


def test_the_stability_map_says_how_the_momentum_moves_the_boundary():
    result = make_stability()
    picture = stability.draw(result)
    claim = "Momentum is stable up to η λ = 2 with momentum 0, up to 3.94 with momentum 0.97"
    assert heading(picture) == claim and claim in picture.alt.replace("\xa0", " ")
    i, j = np.unravel_index(result.radius.argmin(), result.radius.shape)
    least, rate = format_number(result.radius[i, j], 2), format_number(result.learning_rate[j])
    sentence = f"the radius is smallest, {least}, at η λ = {rate} and momentum 0."
    assert sentence in caption(picture)
    assert picture.alt.endswith(".") and "\n" not in picture.alt


def test_a_complex_curvature_is_drawn_by_its_modulus():
    """Without momentum gradient descent is stable up to η |λ| = 2 Re λ/|λ|."""
    result = analysis.stability(Momentum(0.1), values=[0.0, 0.1, 0.2], curvature=1.2 + 1.6j)
    picture = stability.draw(result)
    assert artist(picture.axes[0], "boundary").get_xydata()[0, 0] == pytest.approx(1.2, rel=1e-9)
    assert picture.axes[0].get_xlabel() == "learning rate × curvature  η |λ|"
    assert heading(picture).startswith("Momentum is stable up to η |λ| = 1.2 with momentum 0, ")
    assert "at rest on g = λ x with λ = 1.2 + 1.6i in the complex plane" in caption(picture)


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
    assert line.get_color() == color_of(Momentum(0.1))


# --- the losses that runs reach, under the line of theory


@pytest.fixture
def field():
    """One setting in seven, of those with the smallest losses, ends at the minimum."""
    result = make_sensitivity(Momentum(0.1, 0.5), three_stars())
    low = result.loss < np.quantile(result.loss[np.isfinite(result.loss)], 1 / 7)
    return dataclasses.replace(result, loss=np.where(low, 0.0, result.loss))


def test_cells_hold_the_loss_and_runs_that_diverge_have_no_colour(field):
    ax = stability.draw(make_stability(), field).axes[0]
    cells, finite = artist(ax, "loss").get_array(), np.isfinite(field.loss)
    lowest = artist(ax, "loss").norm.vmin
    np.testing.assert_allclose(cells[finite], np.clip(field.loss[finite], lowest, 2.0))
    np.testing.assert_array_equal(np.ma.getmaskarray(cells), ~finite)
    assert artist(ax, "loss").cmap.name == "cividis_r" and artist(ax, "diverges").get_paths()
    assert ax.get_xscale() == "log"
    assert ax.get_xlabel() == "learning rate  η" and ax.get_ylabel() == "momentum"


def test_the_numbers_of_the_title_stand_in_the_two_regions(field):
    picture = stability.draw(make_stability(), field)
    ax = picture.axes[0]
    reached, failed = (field.loss == 0).sum(), np.isinf(field.loss).sum()
    assert heading(picture) == f"{reached} of 651 settings reach the minimum, {failed} diverge"
    assert artist(ax, "number").get_text() == f"{reached}\nreach the minimum"
    assert artist(ax, "number diverges").get_text() == f"{failed}\ndiverge"


def test_the_outlines_run_midway_between_cells_in_and_out_of_a_region(field):
    ax, rate, value = stability.draw(make_stability(), field).axes[0], *axes_of(field)
    for gid, where in (("reached", field.loss == 0), ("diverges", np.isinf(field.loss))):
        i, j = np.nonzero(where[:, 1:] != where[:, :-1])
        across = np.stack([(rate[j] + rate[j + 1]) / 2, value[i]], 1)
        i, j = np.nonzero(where[1:] != where[:-1])
        up = np.stack([rate[j], (value[i] + value[i + 1]) / 2], 1)
        drawn = np.concatenate([p.vertices for p in artist(ax, f"outline of {gid}").get_paths()])
        expected = np.unique(np.concatenate([across, up]).round(9), axis=0)
        np.testing.assert_allclose(np.unique(drawn.round(9), axis=0), expected, atol=2e-9)


def axes_of(field):
    return field.learning_rate, field.value


def test_the_line_of_theory_is_that_of_the_curvature_at_the_minimizer(field):
    """The heavy ball on curvature 4 is stable up to η = (2 + 2μ)/4, whatever λ theory was for."""
    for curvature in (1.0, 50.0):
        theory = make_stability(curvature=curvature)
        ax = stability.draw(theory, field).axes[0]
        np.testing.assert_allclose(
            artist(ax, "boundary").get_xydata(),
            np.stack([(2 + 2 * theory.value) / 4, theory.value], 1),
        )
    picture = stability.draw(make_stability(), field)
    sentence = "beyond theory's line 100 % diverge, before it 0 %"
    assert sentence in caption(picture) and sentence in one_line(picture.alt)


def test_the_setting_of_the_optimizer_is_marked(field):
    ax = stability.draw(make_stability(), field).axes[0]
    assert artist(ax, "setting").get_xydata().tolist() == [[0.1, 0.5]]
    assert artist(ax, "setting").get_color() == color_of(Momentum(0.1))
    outside_of_it = dataclasses.replace(field, optimizer=Momentum(100.0))
    assert "setting" not in gids(stability.draw(make_stability(), outside_of_it).axes[0])


@pytest.mark.parametrize("style", STYLES)
def test_no_word_of_the_field_lies_outside(field, style):
    assert outside(stability.draw(make_stability(), field, style=style)) == []


def test_fields_without_theory_or_without_a_finished_run_are_drawn(field):
    bare = dataclasses.replace(field, curvature=np.nan)
    assert "boundary" not in gids(stability.draw(make_stability(), bare).axes[0])
    assert "theory knows no boundary here" in stability.describe(make_stability(), bare)
    lost = dataclasses.replace(
        field,
        loss=np.full_like(field.loss, np.nan),
        result=np.full_like(field.result, Status.nonfinite),
    )
    picture = stability.draw(make_stability(), lost)
    assert heading(picture) == "651 of 651 settings diverge"
    row = {name: getattr(field, name)[:1] for name in ("value", "loss", "result", "boundary")}
    for odd in (bare, lost, dataclasses.replace(field, **row)):
        stability.draw(make_stability(), odd).savefig(BytesIO(), dpi=30)


def test_runs_at_rest_where_the_loss_is_zero_have_all_reached_it():
    field = analysis.sensitivity(
        Momentum(0.1),
        problems.quadratic([1.0, 4.0]),
        5,
        x0=[0.0, 0.0],
        learning_rates=[0.1, 0.2, 0.4],
        values=[0.0, 0.5, 0.9],
    )
    assert field.start == 0 and stability_field.has_reached(field).all()
    stability.draw(make_stability(), field).savefig(BytesIO(), format="png")


def test_theory_and_field_are_of_one_optimizer_and_one_option(field, as_users_see_it):
    other = dataclasses.replace(field, optimizer=Adam(0.1), option="b1")
    with pytest.raises(
        InvalidValue,
        match="stability is over momentum of Momentum, but the sensitivity over b1 of Adam; pass",
    ):
        stability.draw(make_stability(), other)
    with pytest.raises(InvalidValue, match="`results` holds 2 results; pass one result of"):
        stability.draw(make_stability(), [field, field])
    assert stability.describe(make_stability(), [field]) == stability.describe(
        make_stability(), field
    )
