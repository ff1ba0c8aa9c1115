"""What is written into files, and over which."""

import os
import re
from xml.etree import ElementTree

import pytest

from dynopt.compare.provenance import must_be_writable, render
from dynopt.errors import OutputError
from dynopt.figures import Picture


def test_a_pipe_is_refused_before_anything_is_computed(tmp_path):
    """To read it would wait for ever."""
    os.mkfifo(tmp_path / "pipe.npz")
    for force in (False, True):
        with pytest.raises(OutputError, match="pipe.npz' is no ordinary file; choose another name"):
            must_be_writable(tmp_path / "pipe.npz", force=force)


@pytest.fixture
def picture():
    picture = Picture(alt="The picture shows that 1 < 2 & that nothing moves.")
    ax = picture.add_subplot()
    ax.text(0.5, 0.5, "font-family: 'mine' <b>", fontfamily="DejaVu Sans")
    return picture


FACTS = {"title": "a & b: nothing", "command": "dynopt", "dtype": "float64"}


def test_an_svg_is_one_image_with_a_title_and_a_description(picture, tmp_path):
    picture.savefig(tmp_path / "own.svg")
    own = ElementTree.parse(tmp_path / "own.svg").getroot()
    rendered = ElementTree.fromstring(render(picture, "svg", **FACTS))
    for root, title in ((own, picture.alt), (rendered, FACTS["title"])):
        assert root.get("role") == "img"
        first, second = root[0], root[1]
        assert (first.tag, first.text) == ("{http://www.w3.org/2000/svg}title", title)
        assert (second.tag, second.text) == ("{http://www.w3.org/2000/svg}desc", picture.alt)


def test_text_of_an_svg_falls_back_to_a_font_without_serifs(picture):
    root = ElementTree.fromstring(render(picture, "svg", **FACTS))
    texts = list(root.iter("{http://www.w3.org/2000/svg}text"))
    assert "font-family: 'mine' <b>" in [text.text for text in texts]
    for text in texts:
        (family,) = re.findall(r"font(?:-family)?: ([^;]*'[^;]*)", text.get("style"))
        assert family.split(", ")[-1] == "sans-serif" and family.count("sans-serif") == 1


def test_an_svg_has_the_same_bytes_every_time(picture):
    assert render(picture, "svg", **FACTS) == render(picture, "svg", **FACTS)
