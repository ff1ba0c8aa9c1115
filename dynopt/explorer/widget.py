"""The explorer as a widget of notebooks, from which Python reads what the reader has chosen."""

from functools import cache
from pathlib import Path
from typing import Any

from ..errors import EnvironmentProblem

MODULE = Path(__file__).with_suffix(".js")


@cache
def widget_class() -> type:
    """The class of the widget, with the traits `frame` and `scene`.

    **Raises:** `EnvironmentProblem` if the library anywidget is missing.
    """
    try:
        import anywidget
        import traitlets
    except ImportError:
        raise EnvironmentProblem(
            "the library anywidget, which tells Python of the scene, is missing; type "
            'pip install "dynopt[notebooks]", or show the explorer itself.'
        ) from None

    class ExplorerWidget(anywidget.AnyWidget):
        """The web page of an explorer in a notebook, and the `scene` in it."""

        _esm: Any = MODULE.read_text("utf-8")
        frame = traitlets.Unicode().tag(sync=True)
        scene = traitlets.Dict().tag(sync=True)

    return ExplorerWidget
