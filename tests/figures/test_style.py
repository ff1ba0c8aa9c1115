"""One look per optimizer, three styles, and nothing left behind."""

import subprocess
import sys
from io import BytesIO
from itertools import combinations
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from scenes import PAGES, found

from dynopt import SGD, optimizers
from dynopt.errors import UnknownName
from dynopt.figures import Picture, global_error, loss, order, paths, phase
from dynopt.figures.drawing import style


def test_gradient_descent_is_blue_circles():
    assert style.look(SGD(0.1)) == ("#5790fc", "-", "o")


def test_all_pages_differ_in_colour_in_line_and_in_marker():
    looks = [style.look(optimizer) for optimizer in PAGES]
    for one, other in combinations(looks, 2):
        assert all(a != b for a, b in zip(one, other, strict=True))


def test_a_new_page_gets_a_look_of_its_own_without_edits(monkeypatch):
    pages = [type(f"Page{i}", (SGD,), {}) for i in range(20)]
    monkeypatch.setattr(
        optimizers, "catalogue", optimizers.catalogue | {p.__name__.lower(): p for p in pages}
    )
    looks = [style.look(optimizer(0.1)) for optimizer in (*optimizers.catalogue.values(),)]
    assert len(set(looks)) == len(looks) == 34
    assert style.keys([pages[3](0.1)]) == ["page3"]


def test_a_page_outside_the_catalogue_always_looks_the_same():
    mine = type("Mine", (SGD,), {})(0.1)
    assert style.look(mine) == ("#341a31", (0, (9, 1.5, 2, 1.5, 2, 1.5)), "<")
    assert style.keys([mine, SGD(0.1), mine]) == ["mine", "sgd", "mine 2"]


def test_a_third_run_of_one_optimizer_can_still_be_seen():
    """The second is paler than the first, the third darker: shades of grey, too, tell them apart."""
    with style.context("notebook"):
        tones = [
            style._luminance(look.color) for look in style.looks([SGD(h) for h in (0.1, 0.2, 0.3)])
        ]
    assert tones[2] < tones[0] < tones[1] and 1.05 / (max(tones) + 0.05) > 1.7


def test_an_optimizer_looks_the_same_in_every_picture(comparisons, orders):
    own = style.look(comparisons["bowl"][1].optimizer)
    for module in (loss, phase):
        ax = module.draw(comparisons["bowl"]).axes[0]
        assert (
            found(ax, "map momentum").get_color()
            == found(ax, "flow momentum").get_color()
            == own.color
        )
        assert found(ax, "map momentum").get_marker() == own.marker
    line = found(global_error.draw(comparisons["bowl"]).axes[0], "gap momentum")
    assert (line.get_color(), line.get_marker()) == (own.color, own.marker)
    ax = order.draw(orders["bowl"]).axes[0]
    assert found(ax, "gaps momentum").get_marker() == own.marker
    assert found(ax, "fit momentum").get_color() == own.color


@pytest.mark.parametrize("name", style.STYLES)
def test_drawing_and_saving_leave_the_users_settings_alone(name, comparisons):
    before = dict(mpl.rcParams)
    picture = phase.draw(comparisons["bowl"], style=name)
    picture.savefig(BytesIO())
    loss.draw(comparisons["bowl"], ax=Figure().add_subplot(), style=name)
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
    picture, before, after = global_error.draw(comparisons["bowl"]), BytesIO(), BytesIO()
    picture.savefig(before)
    with mpl.rc_context({"text.usetex": True, "font.size": 40, "xtick.labelsize": 30}):
        picture.savefig(after)
    assert before.getvalue() == after.getvalue()


def test_nor_do_they_if_somebody_else_saves_the_picture(comparisons):
    seen = []
    settings: Any
    for settings in ({}, {"text.usetex": True, "xtick.labelsize": 30, "axes.unicode_minus": False}):
        canvas = FigureCanvasAgg(global_error.draw(comparisons["bowl"]))
        with mpl.rc_context(settings):
            canvas.draw()
        seen.append(bytes(canvas.buffer_rgba()))
    assert seen[0] == seen[1]


@pytest.mark.parametrize("format", ["png", "svg", "pdf"])
def test_the_same_results_give_the_same_bytes(format, comparisons):
    dated = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[format]
    files = [BytesIO(), BytesIO()]
    for file in files:
        loss.draw(comparisons["bowl"]).savefig(file, format=format, metadata=dated)
    assert files[0].getvalue() == files[1].getvalue()


def test_styles_differ_and_slides_are_dark(comparisons):
    notebook, _, slides = blank = [Picture(name) for name in style.STYLES]
    assert sum(to_rgb(slides.get_facecolor())) < 0.4 and to_rgb(notebook.get_facecolor()) == (
        1,
        1,
        1,
    )
    assert len({tuple(picture.get_size_inches()) for picture in blank}) == 3
    assert tuple(paths.draw(comparisons["bowl"], style="slides").get_size_inches()) == (12, 6.75)


def test_an_unknown_style_is_named(comparisons):
    with pytest.raises(UnknownName, match="no style 'slide'; did you mean slides"):
        loss.draw(comparisons["bowl"], style="slide")


@pytest.mark.parametrize("name", style.STYLES)
def test_words_in_an_optimizers_colour_can_be_read(name):
    with style.context(name):
        for color in style.COLORS:
            assert style._contrast(style.readable(color), style.ground()) >= 4.5


def test_lines_can_be_told_from_the_field_behind_them():
    for name in style.STYLES:
        with style.context(name):
            for color in (look.color for look in style.looks(PAGES)):
                assert style._contrast(color, style.ground()) >= 2


def test_a_picture_shows_itself_and_says_what_is_to_be_seen(comparisons):
    picture = loss.draw(comparisons["bowl"])
    assert isinstance(picture, Picture) and isinstance(picture, Figure)
    assert picture._repr_png_().startswith(b"\x89PNG")
    data, metadata = picture._repr_mimebundle_()
    assert metadata["image/png"]["alt"] == data["text/plain"] == picture.alt


def test_pictures_need_no_pyplot_and_no_display():
    script = (
        "import sys, numpy as np\n"
        "from dynopt import SGD, Problem, iterate, figures\n"
        "from dynopt.analysis import LocalError\n"
        "bowl = Problem(lambda x: (x**2).sum(), [1.0], name='bowl')\n"
        "run = iterate(SGD(0.1), bowl, 3)\n"
        "figures.local_error.draw(LocalError(run.t[:3], run.loss[:3], run.loss[:3], run, SGD(0.1), bowl))._repr_png_()\n"
        "print([m for m in sys.modules if 'pyplot' in m or 'tkinter' in m])\n"
    )
    env = {"MPLBACKEND": "TkAgg", "PATH": "/usr/bin:/bin", "HOME": "/tmp"}
    said = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=env
    )
    assert said.stdout.strip() == "[]" and "findfont" not in said.stderr


def test_a_picture_is_no_larger_than_a_page(comparisons):
    for picture in (paths.draw(comparisons["valley"]), paths.draw(comparisons["nowhere"])):
        wide, high = picture.get_size_inches()
        assert 0.4 * wide < high <= 1.3 * wide and np.isclose(wide, 7.2)
