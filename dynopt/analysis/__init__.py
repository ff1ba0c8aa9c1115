"""Numbers about trajectories and their maps: how far map and flow part in one step, along a run, and as the clock is
refined; what energy a run spends; which curvature a map still holds; what it descends beside the loss; what it makes
of other units; where it ends from everywhere, and with every rate."""

# isort: off
from .compare import Comparison as Comparison, compare as compare
from .modified import ModifiedComparison as ModifiedComparison, modified as modified
from .local_error import LocalError as LocalError, local_error as local_error
from .order import Order as Order, order as order
from .lyapunov import Lyapunov as Lyapunov, lyapunov as lyapunov
from .spectral_radius import spectral_radius as spectral_radius
from .critical_curvature import critical_curvature as critical_curvature
from .sharpness import sharpness as sharpness
from .stability import Stability as Stability, stability as stability
from .implicit_bias import ImplicitBias as ImplicitBias, implicit_bias as implicit_bias
from .rescaling import Rescaling as Rescaling, rescaling as rescaling
from .basins import Basins as Basins, basins as basins
from .sensitivity import Sensitivity as Sensitivity, sensitivity as sensitivity
from .inside import Inside as Inside, inside as inside
from .suggested_rates import suggested_rates as suggested_rates
from .check_optimizer import ContractCheck as ContractCheck, check_optimizer as check_optimizer
