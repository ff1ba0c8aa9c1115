"""Runs: the map by `iterate`, the flow by `integrate`, and many maps at once by `sweep`."""

from .batches import grid as grid
from .ensemble import Ensemble as Ensemble, ensemble as ensemble
from .integrate import integrate as integrate
from .iterate import iterate as iterate
from .setup import Unrestored as Unrestored
from .status import Status as Status
from .sweep import Sweep as Sweep, sweep as sweep
from .trajectory import Trajectory as Trajectory
