"""Accuracies under attack and certified radii are drawn as they were measured."""

from io import BytesIO

import equinox as eqx
import numpy as np
import pytest
from matplotlib.figure import Figure
from overlaps import outside, overlapping
from scenes import (
    EPS,
    PLAIN,
    RIDGE,
    TREATED,
    artist,
    called,
    caption,
    heading,
    keys,
    make_robustness,
    title,
)

from dynopt import SGD, Adam
from dynopt.errors import InvalidType, InvalidValue
from dynopt.figures import robustness
from dynopt.figures.drawing.style import STYLES, color_of

NAMES = ["net", "ridge", "gradient"]
BARE = make_robustness("mine", [0.9, 0.5, 0.2, 0.1, 0.0], [np.nan] * 4, np.nan)


def test_lines_stand_at_the_accuracies_under_both_attacks():
    attacks = robustness.draw(TREATED).axes[0]
    for result, name in zip(TREATED, NAMES, strict=True):
        for gid, values in (("fgsm", result.accuracy), ("pgd", result.pgd)):
            line = artist(attacks, f"{gid} {name}")
            np.testing.assert_array_equal(line.get_xydata(), np.stack([EPS, values], 1))
        assert artist(attacks, f"pgd {name}").get_linestyle() == "--"
        assert artist(attacks, f"fgsm {name}").get_linestyle() == "-"


def test_the_share_that_is_certified_falls_at_each_radius_and_a_dot_is_the_median():
    certificates = robustness.draw(TREATED).axes[1]
    line = artist(certificates, "radii net").get_xydata()
    np.testing.assert_allclose(line, [[0, 0.75], [0.05, 0.5], [0.07, 0.25], [0.09, 0]])
    line = artist(certificates, "radii ridge").get_xydata()
    np.testing.assert_allclose(line[:2], [[0, 1], [0.1, 0.8]])
    for name, median in zip(NAMES, (0.06, 0.3, 0.1), strict=True):
        np.testing.assert_allclose(
            artist(certificates, f"median {name}").get_xydata(), [[median, 0.5]]
        )
        number = artist(certificates, f"number {name}")
        assert number.get_text() == f"{median}" and (number.get_fontweight() == "bold") == (
            median == 0.3
        )


def test_the_title_tells_apart_at_the_attack_that_does_and_the_names_carry_its_numbers():
    picture = robustness.draw(TREATED)
    claim = (
        "nder FGSM of ε = 0.1 ridge is right about 62 % of unseen examples, net about 31 %; ridge is "
        "certified farthest, to 0.3"
    )
    assert heading(picture) == f"U{claim}"
    assert picture.alt.replace("\xa0", " ") == (
        "The picture shows the accuracy on unseen examples over the size of FGSM and PGD attacks: "
        f"u{claim}; the median of the certified radii is 0.06 for net (L = 106), 0.3 for ridge "
        "(L = 10.5) and 0.1 for gradient (L = 64)."
    )
    names = [artist(picture.axes[0], f"name {name}") for name in NAMES]
    assert [text.get_text().replace("\xa0", " ") for text in names] == [
        "net  31 %",
        "ridge  62 %",
        "gradient  55 %",
    ]
    assert [text.get_fontweight() for text in names] == ["bold", "bold", "normal"]
    heights = [text.xyann[1] for text in names]
    assert heights[1] > heights[2] > heights[0]  # in the order of the accuracies
    assert "0.06 for net (L = 106), 0.3 for ridge (L = 10.5)" in caption(picture).replace(
        "\xa0", " "
    )
    assert {"FGSM, one step", "PGD, ten steps"} <= set(keys(picture))
    assert heading(robustness.draw(TREATED, title="Mine")) == "Mine"


def test_results_that_read_alike_share_their_sentence():
    twin = eqx.tree_at(lambda r: r.problem, RIDGE, called("net_twin"))
    assert heading(robustness.draw([PLAIN, RIDGE, twin])) == (
        "Under FGSM of ε = 0.1 ridge and twin are right about 62 % of unseen examples, net about 31 %; "
        "ridge and twin are certified farthest, to 0.3"
    )


def test_one_result_is_compared_with_itself_unattacked():
    assert (
        heading(robustness.draw(PLAIN))
        == "Under FGSM of ε = 0.1 net is right about 31 % of unseen examples, and about 97 % without"
    )


def test_many_results_that_read_alike_are_counted():
    text = robustness.describe([PLAIN] * 10)
    assert "net and 9 others are right" in text and "net and 9 others are certified" in text


def test_optimizers_on_one_problem_have_their_names_and_colours():
    results = [
        make_robustness("net", [0.9, 0.5, 0.3, 0.1, 0.0], [0.1], 9.0, one)
        for one in (SGD(0.1), Adam(0.1))
    ]
    attacks = robustness.draw(results).axes[0]
    assert artist(attacks, "name adam").get_text().startswith("Adam")
    alone = robustness.draw(results[0]).axes[0]
    assert artist(alone, "fgsm sgd").get_color() == color_of(SGD(0.1))


def test_without_a_bound_there_is_no_part_of_certificates():
    picture = robustness.draw(BARE)
    assert len(picture.axes) == 1 and "radii" not in caption(picture)
    both = robustness.draw([BARE, RIDGE])
    assert len(both.axes) == 2 and "radii net ridge" in {a.get_gid() for a in both.axes[1].lines}


def test_where_lines_run_through_the_place_of_the_names_a_legend_takes_it():
    flat = [
        make_robustness(f"net_{name}", [0.95 - i / 50] * 5, [1.0], 1.0)
        for i, name in enumerate("abc")
    ]
    legend = robustness.draw(flat).axes[0].get_legend()
    assert [text.get_text()[0] for text in legend.get_texts()] == ["a", "b", "c"]


@pytest.mark.parametrize("style", STYLES)
def test_no_word_covers_another_or_leaves_the_picture(style):
    picture = robustness.draw(TREATED, style=style)
    picture.savefig(BytesIO())
    assert overlapping(picture) == [] and outside(picture) == []


def test_lines_join_the_attacks_in_the_order_of_their_sizes():
    upside_down = eqx.tree_at(
        lambda r: (r.eps, r.accuracy, r.pgd), PLAIN, (EPS[::-1], PLAIN.accuracy[::-1], PLAIN.pgd)
    )
    line = artist(robustness.draw(upside_down).axes[0], "fgsm net").get_xydata()
    np.testing.assert_array_equal(line, np.stack([EPS, PLAIN.accuracy], 1))


def test_without_any_attack_the_clean_accuracy_is_drawn():
    result = eqx.tree_at(
        lambda r: (r.eps, r.accuracy, r.pgd),
        PLAIN,
        (EPS[:1] * 0, PLAIN.accuracy[:1], PLAIN.pgd[:1]),
    )
    (point,) = artist(robustness.draw(result).axes[0], "fgsm net").get_xydata()
    np.testing.assert_array_equal(point, [0, PLAIN.accuracy[0]])


def test_axes_of_the_user_take_the_part_of_the_attacks():
    ax = Figure().subplots()
    assert robustness.draw(TREATED, ax=ax) is ax
    assert title(ax).startswith("Under FGSM of ε") and artist(ax, "fgsm net")


def test_results_of_other_attacks_or_kinds_are_refused(as_users_see_it):
    other = eqx.tree_at(lambda r: r.eps, PLAIN, EPS / 2)
    with pytest.raises(InvalidValue, match="attacks of different sizes; pass the same `eps`"):
        robustness.draw([PLAIN, other])
    with pytest.raises(InvalidType, match="must come from analysis.robustness, got int"):
        robustness.draw(3)
