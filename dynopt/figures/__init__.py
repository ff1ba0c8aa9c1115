"""Pictures of numbers, in teaching order; in each of them dots are the map and a line is the flow.

The `catalogue` holds the figures that the command line draws, as it does `spectrum`, `inside` and
`animation`; `method` and `panels` are drawn in notebooks. Each figure returns a `Picture`, or draws
into axes of yours (`ax=`); with `layout="constrained"` your figure leaves room for the labels in
its margin. An `animation` shows one optimizer as it moves. Of noisy optimizers `ensemble` and
`langevin` draw the laws of many paths, `stationary` the variance that is left after many steps, and
`weak_order` how mean values converge.

How a figure is added: `dynopt/figures/drawing/__init__.py` introduces its parts.
"""

from types import ModuleType

# isort: off
from . import paths as paths
from . import loss as loss
from . import race as race
from . import convergence as convergence
from . import phase as phase
from . import modified as modified
from . import field as field
from . import stability as stability
from . import basins as basins
from . import ensemble as ensemble
from . import langevin as langevin
from . import stationary as stationary
from . import weak_order as weak_order
from . import overview as overview
from . import method as method
from . import spectrum as spectrum
from . import inside as inside
from . import half_times as half_times
from . import robustness as robustness
from . import retrieval as retrieval
from . import panels as panels
from . import animation as animation
from .drawing.picture import Picture as Picture

catalogue: dict[str, ModuleType] = {
    "paths": paths,
    "loss": loss,
    "race": race,
    "convergence": convergence,
    "phase": phase,
    "modified": modified,
    "field": field,
    "stability": stability,
    "basins": basins,
    "overview": overview,
}
