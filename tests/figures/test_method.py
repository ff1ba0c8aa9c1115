"""The stability of methods is drawn per gradient, as their stability functions say."""

from io import BytesIO

import diffrax
import numpy as np
import pytest
from matplotlib.figure import Figure
from overlaps import outside, overlapping
from scenes import METHODS, artist, caption, gids, heading, keys, make_methods, title

from dynopt import SGD, Momentum, Stepped, figures
from dynopt.errors import InvalidType, InvalidValue
from dynopt.figures import method
from dynopt.figures.drawing.style import color_of

EULER, HEUN = Stepped(SGD(0.1), diffrax.Euler()), Stepped(SGD(0.02), diffrax.Heun())


@pytest.fixture(scope="module")
def measured():
    return method.measured([EULER, HEUN])


@pytest.fixture
def by_hand(monkeypatch):
    """Four methods with a closed stability function, of which one is stable without a limit."""
    monkeypatch.setattr(method, "measured", make_methods)
    return list(METHODS)


def test_factors_and_limits_are_those_of_the_stability_functions_per_gradient(measured):
    euler, heun = measured
    assert (euler.gradients, heun.gradients) == (1, 2)
    assert euler.limit == pytest.approx(2, rel=1e-9) and heun.limit == pytest.approx(1, rel=1e-9)
    x = euler.axis
    np.testing.assert_allclose(euler.factor, abs(1 - x), atol=1e-12)
    np.testing.assert_allclose(heun.factor, abs(1 - 2 * x + 2 * x**2) ** 0.5, rtol=1e-12)
    z = euler.real + 1j * euler.imaginary[:, None]
    np.testing.assert_allclose(euler.plane, abs(1 - z), atol=1e-12)
    np.testing.assert_allclose(heun.plane, abs(1 - 2 * z + 2 * z**2) ** 0.5, rtol=1e-12)


def test_lines_and_dots_are_drawn_where_they_were_measured(by_hand):
    picture = method.draw(by_hand)
    axis, plane = picture.axes
    for one, key in zip(make_methods(by_hand), picture_keys(by_hand), strict=True):
        line = artist(axis, f"factor {key}").get_xydata()
        np.testing.assert_array_equal(line, np.stack([one.axis, one.factor], 1))
        if np.isfinite(one.limit):
            (dot,) = artist(axis, f"limit {key}").get_xydata()
            assert tuple(dot) == (one.limit, 1)
            assert artist(axis, f"number {key}").get_fontweight() == "bold"
            assert f"unstable {key}" not in gids(plane)
        else:
            assert f"unstable {key}" in gids(plane) and f"limit {key}" not in gids(axis)
    x, flow = artist(axis, "flow").get_xydata().T
    np.testing.assert_allclose(flow, np.exp(-x))


def picture_keys(optimizers):
    return [optimizer.name.lower() for optimizer in optimizers]


def test_the_boundary_in_the_plane_is_where_the_stability_function_has_modulus_one(by_hand):
    plane = method.draw(by_hand).axes[1]
    for optimizer, key in zip(by_hand, picture_keys(by_hand), strict=True):
        function, s, _ = METHODS[optimizer]
        (path,) = artist(plane, f"boundary {key}").get_paths()
        z = path.vertices[:, 0] + 1j * path.vertices[:, 1]
        np.testing.assert_allclose(abs(function(s * z)), 1, atol=0.03)
        assert z.imag.min() == pytest.approx(-z.imag.max(), rel=1e-6)
    assert plane.get_aspect() == 1


def test_the_claim_tells_how_far_each_method_is_stable(by_hand):
    picture = method.draw(by_hand)
    claim = (
        "For the price of one gradient, Euler(SGD) is stable up to h λ = 2, Heun(SGD) up to 1, "
        "Bosh3(SGD) up to 0.838 and Implicit(SGD) without limit"
    )
    assert heading(picture) == claim and claim in picture.alt.replace("\xa0", " ")
    assert picture.alt == method.describe(by_hand) and picture.alt.endswith(".")
    assert [t for t in keys(picture) if "s =" in t] == [
        "Euler(SGD), s = 1", "Heun(SGD), s = 2", "Bosh3(SGD), s = 3", "Implicit(SGD), s = 3",
    ]  # fmt: skip
    assert "An equation that a step solves is counted with two gradients." in caption(picture)
    alone = method.describe(by_hand[3:]).replace("\xa0", " ")
    assert alone.endswith("For the price of one gradient, Implicit(SGD) is stable without limit.")


@pytest.mark.parametrize("style", ["notebook", "slides"])
def test_no_words_cover_each_other_in_any_style(style, by_hand):
    picture = method.draw(by_hand, style=style)
    picture.savefig(BytesIO(), format="png")
    assert overlapping(picture) == [] and outside(picture) == []


def test_axes_and_panels_hold_the_left_part(by_hand):
    ax, other = Figure(figsize=(9, 4)).subplots(1, 2)
    assert method.draw(by_hand, ax=ax, title="mine") is ax and title(ax) == "mine"
    assert not other.has_data()
    panels = figures.panels.draw([(method, by_hand)])
    assert "factor euler(sgd)" in gids(panels.axes[0])


def test_a_method_has_one_colour_for_all_flows():
    heuns = [Stepped(flow, diffrax.Heun()) for flow in (SGD(0.1), Momentum(0.1))]
    assert color_of(heuns[0]) == color_of(heuns[1]) != color_of(EULER)


@pytest.mark.parametrize(
    "optimizers, kind, sentence",
    [
        ([], InvalidValue, "`optimizers` is empty; pass for example dynopt.Stepped"),
        (["Heun"], InvalidType, "`optimizers` must hold optimizers of dynopt, got 'Heun'"),
        (Momentum(0.1), InvalidValue, "has the memory `p`, so that its stability"),
    ],
)
def test_what_has_no_stability_function_is_refused(optimizers, kind, sentence, as_users_see_it):
    with pytest.raises(kind, match=sentence):
        method.draw(optimizers)
