"""The course: what the notebooks ask of a reader, and how an answer is checked.

- `check`: one line per exercise, `check.close("01-a", answer)`; the answers are sealed, see `check.seal`.
- `conventions`: where dynopt, optax, PyTorch and papers say the same with other letters, or other things with the same.

The notebooks themselves lie in `notebooks/` beside the library.
"""

from . import bound as bound, check as check, precision as precision, steepest as steepest
from .conventions import conventions as conventions
