"""The stability map is drawn as it was measured."""

import dataclasses
from io import BytesIO

import numpy as np
import pytest
from scenes import (
    artist,
    caption,
    legend_texts,
    make_stability,
    title,
)

from dynopt import Momentum
from dynopt.errors import InvalidType, InvalidValue
from dynopt.figures import stability
from dynopt.figures.drawing.style import STYLES, look
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
