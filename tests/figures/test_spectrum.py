"""Eigenvalues are drawn where they were computed, in the plane of the flow and beside the unit circle."""

from io import BytesIO

import equinox as eqx
import numpy as np
import pytest
from matplotlib.figure import Figure
from overlaps import outside, overlapping
from scenes import artist, caption, heading, keys, make_spectra, on_problem, scene, title

from dynopt.errors import InvalidValue
from dynopt.figures import spectrum
from dynopt.figures.drawing.style import STYLES, artist_keys, color_of

SPECTRA = make_spectra()
KEYS = artist_keys([one.optimizer for one in SPECTRA])


def points(values):
    return np.stack([values.real, values.imag], 1)


def unknown(one):
    """The same result where there is no derivative."""
    no = np.full(2, complex(np.nan, np.nan))
    where = lambda s: (s.flow, s.map, s.modified, s.stable_rate)  # noqa: E731
    return eqx.tree_at(where, one, (no, no, no, np.nan))


def test_rings_diamonds_and_dots_stand_at_the_eigenvalues():
    flow, map = spectrum.draw(SPECTRA).axes
    for one, key in zip(SPECTRA, KEYS, strict=True):
        for ax, gid, values in ((flow, "modified", one.modified), (map, "map", one.map)):
            mark = artist(ax, f"{gid} {key}")
            np.testing.assert_array_equal(mark.get_xydata(), points(values))
            assert mark.get_color() == color_of(one.optimizer)
    for ax, values in ((flow, SPECTRA[0].flow), (map, np.exp(SPECTRA[0].flow))):
        rings = [line.get_xydata() for line in ax.lines if line.get_gid() == "flow"]
        assert len(rings) == 3  # one for each optimizer, with its own h
        np.testing.assert_allclose(rings[0], points(values))


def test_the_stable_area_is_left_of_the_axis_and_inside_of_the_unit_circle():
    flow, map = spectrum.draw(SPECTRA).axes
    half = artist(flow, "half").get_bbox()
    assert half.x1 == 0 and half.x0 == flow.get_xlim()[0]
    disc, circle = artist(map, "disc"), artist(map, "unit circle").get_xydata()
    assert disc.radius == 1 and tuple(disc.center) == (0, 0)
    np.testing.assert_allclose(np.hypot(*circle.T), 1)
    for ax in (flow, map):  # a circle looks like one
        box, (left, right), (low, high) = ax.bbox, ax.get_xlim(), ax.get_ylim()
        unit = box.width / (right - left), box.height / (high - low)
        assert unit[0] == pytest.approx(unit[1], rel=0.02)


def test_the_number_of_the_largest_modulus_stands_at_its_dot():
    map = spectrum.draw(SPECTRA).axes[1]
    expected = ["1.118", "1", "0.9014"]
    for key, number in zip(KEYS, expected, strict=True):
        assert artist(map, f"radius {key}").get_text().split("\n")[-1] == number


@pytest.mark.parametrize("style", STYLES)
def test_no_word_covers_another_or_leaves_the_picture(style):
    picture = spectrum.draw(SPECTRA, style=style)
    picture.savefig(BytesIO())
    assert overlapping(picture) == [] and outside(picture) == []


def test_the_title_says_up_to_which_rate_each_is_stable():
    claim = (
        "On dirac_gan SGD is unstable at every learning rate; Alternating(SGD) is stable up to 4; "
        "Extragradient(SGD) is stable up to 2"
    )
    picture = spectrum.draw(SPECTRA)
    assert heading(picture) == claim and claim in picture.alt and picture.alt.endswith(".")
    assert "Linearised at the equilibrium of dirac_gan; the largest |μ| is" in caption(picture)
    assert heading(spectrum.draw(SPECTRA[1], title="Mine")) == "Mine"
    assert {"SGD", "Alternating(SGD)", "flow", "modified flow"} <= set(keys(picture))


def test_where_there_is_no_derivative_the_picture_says_so():
    picture = spectrum.draw(unknown(SPECTRA[0]))
    assert heading(picture) == "On dirac_gan SGD has no derivative at the equilibrium"
    assert "there are no eigenvalues" in caption(picture)
    for ax in picture.axes:
        assert "no derivative, and so no eigenvalues" in {text.get_text() for text in ax.texts}
    both = spectrum.draw([unknown(SPECTRA[0]), SPECTRA[1]])
    assert "no derivative, and" not in "".join(text.get_text() for text in both.axes[1].texts)


def test_a_method_without_a_flow_has_no_rings():
    one = eqx.tree_at(lambda s: (s.flow, s.modified), SPECTRA[0], (None, None))
    picture = spectrum.draw(one)
    assert "no flow is known" in {text.get_text() for text in picture.axes[0].texts}
    assert "modified flow" not in keys(picture)


def test_axes_of_the_user_take_the_part_of_the_map():
    ax = Figure().subplots()
    assert spectrum.draw(SPECTRA, ax=ax) is ax
    assert title(ax).startswith("On dirac_gan SGD is unstable") and ax.get_xlabel() == "Re μ"


def test_results_of_several_problems_or_positions_are_refused(as_users_see_it):
    with pytest.raises(InvalidValue, match="several problems|on one problem|problems"):
        spectrum.draw([SPECTRA[0], on_problem(SPECTRA[1], scene("bowl"))])
    moved = eqx.tree_at(lambda s: s.x, SPECTRA[1], {"psi": 1.0, "theta": 0.0})
    with pytest.raises(InvalidValue, match="linearised at different positions; draw a picture of"):
        spectrum.draw([SPECTRA[0], moved])
