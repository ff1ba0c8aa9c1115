"""A few pictures, kept. `pytest --mpl` compares; without it they must still be drawn and hold ink.

`pytest --mpl-generate-path=tests/figures/baseline tests/figures/test_images.py` draws them anew;
open each of them.
"""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from scenes import (
    METHODS,
    WEAK,
    make_basins,
    make_fan,
    make_gibbs,
    make_methods,
    make_modified,
    make_settled,
    make_stationary,
    scene,
    three_stars,
)

from dynopt import SGD, Adam, analysis, figures

KEPT = (
    "paths", "loss", "race", "convergence", "phase", "modified", "stability", "basins", "overview",
    "inside", "method", "ensemble", "langevin", "stationary",
    "weak_order",
)  # fmt: skip


def without_words(picture):
    """Letters differ from machine to machine; other tests read them. Arrows stay."""
    for text in picture.findobj(Text):
        if getattr(text, "arrow_patch", None) is None:
            text.set_visible(False)
        else:
            text.set_text("")
    return picture


@pytest.mark.mpl_image_compare(
    baseline_dir="baseline", tolerance=4, remove_text=True, savefig_kwargs={"dpi": 50}
)
@pytest.mark.parametrize("name", KEPT)
def test_picture(name, comparisons, orders, arguments, monkeypatch):
    monkeypatch.setattr(figures.method, "measured", make_methods)
    wells = comparisons["wells"]
    kept = {
        "convergence": (orders["wells"],),
        "race": (wells, "the same learning rates"),
        "modified": (list(map(make_modified, wells)),),
        "stability": arguments["stability"],
        "basins": (make_basins(SGD(0.1), three_stars()),),
        "overview": (wells, orders["wells"]),
        "method": (list(METHODS),),
        "ensemble": ([make_fan(), make_fan("flow", 0.8, 0.3)],),
        "stationary": (
            [make_stationary(rate) for rate in (0.1, 0.2, 0.4, 0.8, 1.2, 1.6, 1.8)],
            [make_settled(0.4, 0.55)],
        ),
        "weak_order": (WEAK,),
        "langevin": ([make_gibbs(0.1), make_gibbs(0.2, shift=0.3)],),
    }
    if name == "inside":
        kept["inside"] = (analysis.inside(Adam(0.1), scene("wells"), 12),)
    picture = getattr(figures, name).draw(*kept.get(name, (wells,)))
    canvas = FigureCanvasAgg(without_words(picture))
    canvas.draw()
    ink = (np.asarray(canvas.buffer_rgba())[..., :3] < 250).any(-1).mean()
    assert 0.005 < ink < 0.9
    return picture
