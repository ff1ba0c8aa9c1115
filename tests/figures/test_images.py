"""A few pictures, kept. `pytest --mpl` compares; without it they must still be drawn and hold ink.

`pytest --mpl-generate-path=tests/figures/baseline tests/figures/test_images.py` draws them anew;
open each of them.
"""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from scenes import make_stability

from dynopt import figures

KEPT = (
    "paths",
    "loss",
    "convergence",
    "phase",
    "stability",
)


def without_words(picture):
    """Letters differ from machine to machine; other tests read them."""
    for text in picture.findobj(Text):
        text.set_visible(False)
    return picture


@pytest.mark.mpl_image_compare(
    baseline_dir="baseline", tolerance=4, remove_text=True, savefig_kwargs={"dpi": 50}
)
@pytest.mark.parametrize("name", KEPT)
def test_picture(name, comparisons, orders):
    results = {
        "convergence": orders["wells"],
        "stability": make_stability(),
    }
    picture = figures.catalogue[name].draw(results.get(name, comparisons["wells"]))
    canvas = FigureCanvasAgg(without_words(picture))
    canvas.draw()
    ink = (np.asarray(canvas.buffer_rgba())[..., :3] < 250).any(-1).mean()
    assert 0.005 < ink < 0.9
    return picture
