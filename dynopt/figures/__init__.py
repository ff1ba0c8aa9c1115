"""Pictures of numbers, in teaching order. Dots are the map, a line is the flow, in every one of them. The
catalogue is what the command line draws; the rest is drawn in notebooks. Each draws into axes of yours (`ax=`), with
names beside their lines, for which `layout="constrained"` leaves room."""

from types import ModuleType

# isort: off
from . import paths as paths
from . import loss as loss
from . import global_error as global_error
from . import local_error as local_error
from . import order as order
from . import phase as phase
from . import modified as modified
from . import lyapunov as lyapunov
from . import stability as stability
from . import basins as basins
from . import sweep as sweep
from . import rescaling as rescaling
from . import overview as overview
from . import inside as inside
from . import precision as precision
from . import bound as bound
from . import steepest as steepest
from . import panels as panels
from .drawing.picture import Picture as Picture

catalogue: dict[str, ModuleType] = {
    "paths": paths,
    "loss": loss,
    "global_error": global_error,
    "local_error": local_error,
    "order": order,
    "phase": phase,
    "modified": modified,
    "lyapunov": lyapunov,
    "stability": stability,
    "basins": basins,
    "sweep": sweep,
    "rescaling": rescaling,
    "overview": overview,
}
