"""The course: what the notebooks need beyond the library.

- `check`: one line for each exercise, such as `check.close("01-a", answer)`. The answers are
  sealed; `check.seal` makes a seal for an exercise of your own.
- `conventions`: where dynopt, optax, PyTorch and papers use other letters for the same thing, or
  the same letter for other things.
- `adam_steps`, `bound`, `design`, `ends`, `one_loss`, `polygon`, `precision`, `rare`, `steepest`,
  `step_length`: measurements and figures that only one notebook needs.

The notebooks lie in the folder `notebooks/` of the repository.
"""

from . import (
    adam_steps as adam_steps,
    bound as bound,
    check as check,
    design as design,
    ends as ends,
    one_loss as one_loss,
    polygon as polygon,
    precision as precision,
    rare as rare,
    steepest as steepest,
    step_length as step_length,
)
from .conventions import conventions as conventions
