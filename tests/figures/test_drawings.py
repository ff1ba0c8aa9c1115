"""What is true of every figure of the catalogue."""

import dataclasses
import re
import textwrap
from importlib import import_module
from types import ModuleType
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.figure import Figure
from scenes import artist, caption, heading, legend_texts, title

from dynopt import figures
from dynopt.figures import drawing
from dynopt.figures.drawing.runs import entries, legend_handles


def frame(picture) -> Any:
    return picture.axes[0]


def test_the_catalogue_holds_each_figure_under_its_own_name():
    names = list(figures.catalogue)
    assert names[0] == "paths" and names[-1] == "overview"
    for name, module in figures.catalogue.items():
        assert module.__name__ == f"dynopt.figures.{name}" and module is getattr(figures, name)
        assert callable(module.draw) and callable(module.describe) and module.draw.__doc__


def test_the_introduction_to_figures_names_twelve_helpers_that_exist():
    bullets = [line for line in drawing.__doc__.splitlines() if re.match(r"- `\w+\.\w+`", line)]
    assert len(bullets) == 12
    for module, name in re.findall(r"`(\w+)\.(\w+)`", "\n".join(bullets)):
        helper = getattr(import_module(f"dynopt.figures.drawing.{module}"), name)
        assert helper.__doc__


def test_the_figure_of_the_introduction_draws_describes_and_stands_in_a_panel(comparisons):
    code = "".join(re.findall(r"^    .*\n|^\n(?=    )", drawing.__doc__, re.MULTILINE))
    figure = ModuleType("dynopt.figures.gradient")
    figure.__package__ = "dynopt.figures"
    exec(textwrap.dedent(code), vars(figure))
    picture = figure.draw(comparisons["bowl"])
    np.testing.assert_array_equal(
        artist(frame(picture), "map sgd").get_ydata(), comparisons["bowl"][0].map.grad_norm
    )
    assert title(picture) == "The gradient falls" and "40 steps each" in caption(picture)
    assert picture.alt == figure.describe(comparisons["bowl"])
    assert "SGD" in legend_texts(frame(picture))
    panel = figures.panels.draw([(figure, comparisons["bowl"])])
    assert title(panel) == "The gradient falls"


@pytest.mark.parametrize("name", list(figures.catalogue))
def test_every_picture_has_a_claim_a_caption_of_its_runs_and_an_alt_text(name, arguments):
    picture = figures.catalogue[name].draw(*arguments[name])
    claim = heading(picture) or title(picture)
    assert claim and caption(picture).endswith(".")
    assert picture.alt.endswith(".") and "\n" not in picture.alt
    assert any(letter.isdigit() for letter in picture.alt)


def test_the_legend_says_in_a_word_that_a_run_failed(diverged, comparisons):
    sgd = comparisons["bowl"][0]
    lost = dataclasses.replace(sgd, flow=dataclasses.replace(diverged.flow, result=jnp.asarray(4)))
    labels = [handle.get_label() for handle in legend_handles(entries([diverged, lost]))]
    assert [label.partition(" (")[2] for label in labels] == ["diverged)", "flow unsolved)"]


@pytest.mark.parametrize("name", [name for name in figures.catalogue if name != "overview"])
def test_ax_is_drawn_into_and_returned_and_the_rest_is_left_alone(name, arguments):
    figure = Figure(figsize=(9, 4))
    ax, other = figure.subplots(1, 2)
    results, *more = arguments[name]
    one = results[1:2] if isinstance(results, list) else results
    assert figures.catalogue[name].draw(one, *more, ax=ax) is ax
    assert figure.axes == [ax, other] and not other.has_data() and other.get_title() == ""
    assert ax.get_title() and ax.has_data()
    assert figure.get_suptitle() == "" and figure.get_supxlabel() == ""
    assert figure.get_size_inches().tolist() == [9, 4]
    figure.draw_without_rendering()
