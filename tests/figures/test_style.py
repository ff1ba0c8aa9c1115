"""One colour for each optimizer, three styles, and nothing left behind."""

import subprocess
import sys
from io import BytesIO
from typing import Any

import matplotlib as mpl
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scenes import OPTIMIZERS, artist

from dynopt import SGD, Adam, AdamW, figures, optimizers
from dynopt.errors import UnknownName
from dynopt.figures import Picture, convergence, loss, paths, phase
from dynopt.figures.drawing import style


def test_gradient_descent_is_blue():
    assert style.color_of(SGD(0.1)) == "#3f7be8"


def optimizers_of_the_catalogue():
    return [kind(0.1) for kind in optimizers.catalogue.values()]


def test_no_two_optimizers_of_the_catalogue_have_one_colour():
    colors = [style.color_of(optimizer) for optimizer in optimizers_of_the_catalogue()]
    assert len(set(colors)) == len(colors) >= 14


def test_an_optimizer_in_the_middle_of_the_catalogue_changes_no_other_colour(monkeypatch):
    before = [style.color_of(optimizer) for optimizer in optimizers_of_the_catalogue()]
    kind = type("Inserted", (SGD,), {})
    names = list(optimizers.catalogue)
    middle = len(names) // 2
    catalogue = {name: optimizers.catalogue[name] for name in names[:middle]} | {"inserted": kind}
    catalogue |= {name: optimizers.catalogue[name] for name in names[middle:]}
    number = max(optimizers.color_numbers.values()) + 1
    monkeypatch.setattr(optimizers, "catalogue", catalogue)
    monkeypatch.setattr(optimizers, "color_numbers", optimizers.color_numbers | {kind: number})
    after = [style.color_of(optimizer) for optimizer in optimizers_of_the_catalogue()]
    assert after[middle] not in before
    assert after[:middle] + after[middle + 1 :] == before
    assert style.artist_keys([kind(0.1)]) == ["inserted"]


def test_a_strangers_colour_depends_on_its_name_alone(monkeypatch):
    mine, yours = (type(name, (SGD,), {})(0.1) for name in ("Mine", "Yours"))
    colors = style.color_of(mine), style.color_of(yours)
    assert colors[0] == "#864a00"
    kinds = {f"more {i}": type(f"More{i}", (SGD,), {}) for i in range(40)}
    numbers = {kind: 14 + i for i, kind in enumerate(kinds.values())}
    monkeypatch.setattr(optimizers, "catalogue", optimizers.catalogue | kinds)
    monkeypatch.setattr(optimizers, "color_numbers", optimizers.color_numbers | numbers)
    assert (style.color_of(mine), style.color_of(yours)) == colors
    assert style.artist_keys([mine, SGD(0.1), mine]) == ["mine", "sgd", "mine 2"]


def test_optimizers_that_share_a_colour_differ_in_one_picture():
    """The name Mine has the colour of AdamW."""
    mine, adamw = type("Mine", (SGD,), {})(0.1), AdamW(0.1)
    assert style.color_of(mine) == style.color_of(adamw)
    with style.context("notebook"):
        assert len(set(style.colors_of([mine, adamw, SGD(0.1)]))) == 3


def test_a_third_run_of_one_optimizer_can_still_be_seen():
    """The second is paler than the first, the third darker, so that they differ in grey, too."""
    with style.context("notebook"):
        tones = list(map(style._luminance, style.colors_of([SGD(h) for h in (0.1, 0.2, 0.3)])))
    assert tones[2] < tones[0] < tones[1] and 1.05 / (max(tones) + 0.05) > 1.7


def test_an_optimizer_has_its_colour_in_every_picture(comparisons, orders):
    color = style.color_of(comparisons["bowl"][1].optimizer)
    ax = loss.draw(comparisons["bowl"]).axes[1]
    assert artist(ax, "map momentum").get_color() == color
    for ax in convergence.draw(orders["bowl"]).axes[1::3]:  # that of momentum and the last one
        assert artist(ax, "largest h/64 momentum").get_color() == color


@pytest.mark.parametrize("name", style.STYLES)
def test_drawing_and_saving_leave_the_users_settings_alone(name, comparisons):
    before = dict(mpl.rcParams)
    picture = phase.draw(comparisons["bowl"], style=name)
    picture.savefig(BytesIO())
    loss.draw(comparisons["bowl"][0], ax=Figure().add_subplot(), style=name)
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("name", style.STYLES)
def test_the_users_settings_leave_the_picture_alone(name, comparisons):
    plain, odd = BytesIO(), BytesIO()
    loss.draw(comparisons["bowl"], style=name).savefig(plain)
    hostile: Any = {
        "text.usetex": True,
        "figure.dpi": 1200,
        "axes.facecolor": "red",
        "font.family": "no such font",
        "font.size": 99,
    }
    with mpl.rc_context(
        hostile | {"lines.linewidth": 9, "savefig.bbox": "tight", "axes.unicode_minus": False}
    ):
        loss.draw(comparisons["bowl"], style=name).savefig(odd)
    assert plain.getvalue() == odd.getvalue()


def test_settings_that_change_between_drawing_and_saving_change_nothing(comparisons):
    picture, before, after = loss.draw(comparisons["bowl"]), BytesIO(), BytesIO()
    picture.savefig(before)
    with mpl.rc_context({"text.usetex": True, "font.size": 40, "xtick.labelsize": 30}):
        picture.savefig(after)
    assert before.getvalue() == after.getvalue()


def test_nor_do_they_if_somebody_else_saves_the_picture(comparisons):
    images = []
    settings: Any
    for settings in ({}, {"text.usetex": True, "xtick.labelsize": 30, "axes.unicode_minus": False}):
        canvas = FigureCanvasAgg(loss.draw(comparisons["bowl"]))
        with mpl.rc_context(settings):
            canvas.draw()
        images.append(bytes(canvas.buffer_rgba()))
    assert images[0] == images[1]


@pytest.mark.parametrize("format", ["png", "svg", "pdf"])
def test_the_same_results_give_the_same_bytes(format, comparisons):
    dated = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[format]
    files = [BytesIO(), BytesIO()]
    for file in files:
        loss.draw(comparisons["bowl"]).savefig(file, format=format, metadata=dated)
    assert files[0].getvalue() == files[1].getvalue()


def test_styles_differ_and_slides_are_dark(comparisons):
    notebook, _, slides = blank = [Picture(name) for name in style.STYLES]
    assert sum(to_rgb(slides.get_facecolor())) < 0.4
    assert to_rgb(notebook.get_facecolor()) == (1, 1, 1)
    assert len({tuple(picture.get_size_inches()) for picture in blank}) == 3
    assert tuple(paths.draw(comparisons["bowl"], style="slides").get_size_inches()) == (12, 6.75)


OF_ADAM = ("paths", "loss", "race", "convergence", "modified", "overview", "panels")


@pytest.mark.parametrize("name", OF_ADAM)
def test_on_a_dark_slide_no_optimizer_has_the_colour_that_it_has_on_white_paper(name, arguments):
    purple = style.color_of(Adam(0.1))
    with style.context("slides"):
        assert style.colors_of([Adam(0.1)]) != [purple]
    given = [(figures.loss, arguments["loss"][0])] if name == "panels" else arguments[name][0]
    more = () if name == "panels" else arguments[name][1:]
    picture = getattr(figures, name).draw(given, *more, style="slides")
    colors = {to_hex(line.get_color()) for line in picture.findobj(Line2D)}
    assert len(colors) > 2 and purple not in colors


def test_an_unknown_style_is_named(comparisons):
    with pytest.raises(UnknownName, match="no style 'slide'; did you mean slides"):
        loss.draw(comparisons["bowl"], style="slide")


@pytest.mark.parametrize("name", style.STYLES)
def test_words_in_the_colour_of_an_optimizer_can_be_read(name):
    with style.context(name):
        for color in style.COLORS:
            assert style._contrast(style.readable_color(color), style.background()) >= 4.5


def test_lines_can_be_told_from_the_contours_behind_them():
    for name in style.STYLES:
        with style.context(name):
            for color in style.colors_of(OPTIMIZERS):
                assert style._contrast(color, style.background()) >= 2


def test_a_picture_shows_itself_and_says_what_it_shows(comparisons):
    picture = loss.draw(comparisons["bowl"])
    assert isinstance(picture, Picture) and isinstance(picture, Figure)
    assert picture._repr_png_().startswith(b"\x89PNG")
    data, metadata = picture._repr_mimebundle_()
    assert metadata["image/png"]["alt"] == data["text/plain"] == picture.alt


def test_pictures_need_no_pyplot_and_no_display():
    script = (
        "import sys, numpy as np\n"
        "from dynopt import SGD, Problem, iterate, figures\n"
        "from dynopt.analysis import Comparison\n"
        "bowl = Problem(lambda x: (x**2).sum(), [1.0], name='bowl')\n"
        "run = iterate(SGD(0.1), bowl, 3)\n"
        "result = Comparison(run.t, run.loss, run.loss, run, run, run, SGD(0.1), bowl)\n"
        "figures.race.draw(result)._repr_png_()\n"
        "print([m for m in sys.modules if 'pyplot' in m or 'tkinter' in m])\n"
    )
    env = {"MPLBACKEND": "TkAgg", "PATH": "/usr/bin:/bin", "HOME": "/tmp"}
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=env
    )
    assert run.stdout.strip() == "[]" and "findfont" not in run.stderr


def test_a_picture_is_no_larger_than_a_sheet_of_paper(comparisons):
    for picture in (paths.draw(comparisons["valley"]), paths.draw(comparisons["nowhere"])):
        wide, high = picture.get_size_inches()
        assert 0.4 * wide < high <= 1.3 * wide and wide <= 1.7 * 7.2
