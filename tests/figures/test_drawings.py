"""What is true of every figure of the catalogue."""

import re
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from matplotlib.figure import Figure
from scenes import KEYS, artist, caption, heading, heads, title

from dynopt import figures
from dynopt.figures import drawing


def test_the_catalogue_holds_each_figure_under_its_own_name():
    names = list(figures.catalogue)
    assert names[0] == "paths" and names[-1] == "overview"
    for name, module in figures.catalogue.items():
        assert module.__name__ == f"dynopt.figures.{name}" and module is getattr(figures, name)
        assert callable(module.draw) and callable(module.describe) and module.draw.__doc__


def test_the_introduction_to_figures_names_helpers_that_exist():
    helpers = re.findall(r"`([a-z]+)\.(\w+)`", drawing.__doc__)
    assert len(helpers) > 12
    for module, name in helpers:
        helper = getattr(import_module(f"dynopt.figures.drawing.{module}"), name)
        assert helper.__doc__


def test_the_figure_of_the_book_has_a_frame_for_each_optimizer_and_stands_in_panels(comparisons):
    book = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text("utf-8")
    code = re.search(r"```python\n# dynopt/figures/stride.py\n(.*?)```", book, re.DOTALL)[1]
    figure = ModuleType("dynopt.figures.stride")
    figure.__package__ = "dynopt.figures"
    exec(code, vars(figure))
    bowl = comparisons["bowl"]
    picture = figure.draw(bowl)
    longest = {}
    for ax, comparison, key in zip(picture.axes, bowl, KEYS, strict=True):
        for run, line in ((comparison.map, "map"), (comparison.flow, "flow")):
            lengths = np.linalg.norm(np.diff(run.y.x, axis=0), axis=1)
            np.testing.assert_allclose(artist(ax, f"{line} {key}").get_ydata(), lengths, rtol=1e-12)
        longest[comparison.optimizer.name] = np.linalg.norm(
            np.diff(comparison.map.y.x, axis=0), axis=1
        ).max()
    assert heads(picture) == list(longest)
    name = max(longest, key=longest.get)
    number = f"{longest[name]:.2g}"
    assert heading(picture) == f"{name} takes the longest step, {number}"
    note = artist(
        picture.axes[heads(picture).index(name)], f"longest {KEYS[list(longest).index(name)]}"
    )
    assert note.get_text() == f"longest step {number}" and note.get_fontweight() == "bold"
    assert "40 steps" in caption(picture) and picture.alt == figure.describe(bowl)
    panels = figures.panels.draw([(figure, bowl)])
    assert heads(panels) == list(longest)
    ax = Figure().add_subplot()
    assert figure.draw(bowl[0], ax=ax) is ax and title(ax).startswith("SGD takes")


@pytest.mark.parametrize("name", list(figures.catalogue))
def test_every_picture_has_a_claim_a_caption_of_its_runs_and_an_alt_text(name, arguments):
    picture = figures.catalogue[name].draw(*arguments[name])
    claim = heading(picture) or title(picture)
    assert claim and caption(picture).endswith(".")
    assert picture.alt.endswith(".") and "\n" not in picture.alt
    assert any(letter.isdigit() for letter in picture.alt)


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
