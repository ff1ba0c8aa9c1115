"""The figure of half-times draws groups at their counts, and the slope that its title says."""

import dataclasses
import re

import numpy as np
import pytest
from scenes import COUNTS, artist, called, heading, make_half_times

from dynopt import SGD, Adam, Momentum, figures
from dynopt.compare import main
from dynopt.errors import InvalidType, InvalidValue


def labels(ax):
    return [text.get_text() for text in ax.texts if (text.get_gid() or "").startswith("label")]


def test_dots_lines_and_labels_are_those_of_the_results():
    results = [make_half_times(SGD(0.1), -0.9), make_half_times(Adam(0.1), 0.1, first=30)]
    picture = figures.half_times.draw(results)
    (ax,) = picture.axes
    for key, result in zip(("sgd", "adam"), results, strict=True):
        dots, line = artist(ax, f"map {key}"), artist(ax, f"fit {key}")
        np.testing.assert_array_equal(dots.get_xydata(), np.stack([COUNTS, result.steps], 1))
        np.testing.assert_allclose(line.get_ydata(), result.steps[[0, -1]], rtol=1e-12)
    assert labels(ax) == ["SGD  slope −0.90", "Adam  slope 0.10"]
    assert {text.get_fontweight() for text in ax.texts} == {"bold"}
    assert heading(picture) == (
        "SGD learns rare groups later than frequent ones, slope −0.90; Adam learns all groups "
        "about alike, slope 0.10"
    )
    assert "SGD halves 4 of 4 groups with the slope −0.90 ± 0.04" in picture.alt


def test_groups_that_are_not_halved_are_triangles_at_the_last_step_and_are_counted():
    picture = figures.half_times.draw(
        [make_half_times(SGD(0.1), -0.9, unreached=3), make_half_times(Momentum(0.1), -0.8)]
    )
    (ax,) = picture.axes
    missing = artist(ax, "unreached sgd").get_xydata()
    np.testing.assert_array_equal(missing, [[10, 100], [20, 100], [40, 100]])
    assert not len(artist(ax, "unreached momentum").get_xydata())
    assert "SGD halves too few groups for a slope" in heading(picture)
    legend = [text.get_text() for text in picture.findobj(match=type(ax.title))]
    assert "not halved by the last step: 3 of SGD" in legend
    assert labels(ax) == ["SGD", "Momentum  slope −0.80"]


def test_a_flow_has_rings_and_its_name():
    picture = figures.half_times.draw(make_half_times(SGD(0.1), 0.5, kind="flow"))
    assert artist(picture.axes[0], "flow sgd").get_markerfacecolor() == "none"
    assert heading(picture).startswith("The flow of SGD learns rare groups before frequent ones")


def test_what_shows_no_half_times_is_refused(as_users_see_it):
    with pytest.raises(InvalidType, match="must come from analysis.half_times, got int"):
        figures.half_times.draw(3)  # pyright: ignore
    other = called("other")
    with pytest.raises(InvalidValue, match="of several problems, bowl in 2 .* and other in 2"):
        figures.half_times.draw(
            [
                make_half_times(SGD(0.1), 0.0),
                dataclasses.replace(make_half_times(SGD(0.2), 0.0), problem=other),
            ]
        )


def test_the_command_draws_it_of_groups_only(capsys):
    command = ["--figures", "half_times", "--optimizers", "sgd", "--learning-rate", "1"]
    assert main(["--problem", "booth", *command]) == 2
    assert re.search(
        r"`half_times` needs a loss that knows groups of its examples, which booth does not have; "
        "(take|draw) --problem entity_linking",
        " ".join(capsys.readouterr().err.split()),
    )
    assert main(["--problem", "entity_linking", "--show-code", *command]) == 0
    code = capsys.readouterr().out
    assert "from dynopt import analysis, figures, iterate, problems" in code
    assert "    half_times.append(analysis.half_times(run))" in code
    compile(code, "script", "exec")
