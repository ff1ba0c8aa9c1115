"""Pictures of numbers, in teaching order. Dots are the map, a line is the flow, in every one of them. A line here is
all that the command line and the tests need."""

from types import ModuleType

# isort: off
from . import paths as paths
from . import loss as loss
from . import gap as gap
from . import local_error as local_error
from . import order as order
from . import phase as phase
from . import modified as modified
from . import energy as energy
from . import stability as stability
from . import basins as basins
from . import sweep as sweep
from . import rescaling as rescaling
from . import overview as overview
from .picture import Picture as Picture

catalogue: dict[str, ModuleType] = {
    "paths": paths,
    "loss": loss,
    "gap": gap,
    "local_error": local_error,
    "order": order,
    "phase": phase,
    "modified": modified,
    "energy": energy,
    "stability": stability,
    "basins": basins,
    "sweep": sweep,
    "rescaling": rescaling,
    "overview": overview,
}
