"""A few pictures, looked at once and kept. `pytest --mpl` compares; without it they must still be drawn and hold ink.

`pytest --mpl-generate-path=tests/figures/baseline tests/figures/test_images.py` draws them anew; look at each.
"""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from scenes import made_stability

from dynopt import figures

SHOWN = ("paths", "loss", "gap", "local_error", "order", "phase", "energy", "stability")


def wordless(picture):
    """Letters differ from machine to machine; what they say is tested elsewhere."""
    for text in picture.findobj(Text):
        text.set_visible(False)
    return picture


@pytest.mark.mpl_image_compare(
    baseline_dir="baseline", tolerance=4, remove_text=True, savefig_kwargs={"dpi": 50}
)
@pytest.mark.parametrize("name", SHOWN)
def test_picture(name, comparisons, local_errors, orders, energies):
    shown = {
        "local_error": local_errors["wells"],
        "order": orders["wells"],
        "energy": energies["wells"],
    }
    shown["stability"] = made_stability()
    picture = wordless(figures.catalogue[name].draw(shown.get(name, comparisons["wells"])))
    canvas = FigureCanvasAgg(picture)
    canvas.draw()
    ink = (np.asarray(canvas.buffer_rgba())[..., :3] < 250).any(-1).mean()
    assert 0.005 < ink < 0.9
    return picture
