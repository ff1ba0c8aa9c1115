"""Numbers about optimizers and their runs.

| question                                           | function             | result               |
|----------------------------------------------------|----------------------|----------------------|
| How far is the map from the flow, at each time?    | `compare`            | `Comparison`         |
| How much nearer to the map is the modified flow?   | `modified`           | `ModifiedComparison` |
| How large is the error of each single step?        | `local_error`        | `LocalError`         |
| With which power of h does the error go to 0?      | `order`              | `Order`              |
| Does the Lyapunov function rise along the map?     | `lyapunov`           | `Lyapunov`           |
| How fast does a small perturbation grow or decay?  | `spectral_radius`    | float or array       |
| Up to which curvature is the map stable?           | `critical_curvature` | float                |
| How do map and flow turn and decay at a point?     | `spectrum`           | `Spectrum`           |
| How large is the curvature of the loss?            | `sharpness`          | scalar array         |
| Which learning rates and momenta are stable?       | `stability`          | `Stability`          |
| What is minimized in addition to the loss?         | `implicit_bias`      | `ImplicitBias`       |
| What changes in other units of the position?       | `rescaling`          | `Rescaling`          |
| Which minimizer does a run reach from each start?  | `basins`             | `Basins`             |
| How does the final loss depend on hyperparameters? | `sensitivity`        | `Sensitivity`        |
| What do memory and gradient add to one step?      | `inside`             | `Inside`             |
| How often is a classifier right under attacks?     | `robustness`         | `Robustness`         |
| Is the nearest sentence one of the same intent?    | `retrieval`          | `Retrieval`          |
| How fast is each group of examples learned?        | `half_times`         | `HalfTimes`          |
| Are ambiguous names linked to the right entities?  | `linking`            | `Linking`            |
| Which learning rates suit each optimizer?          | `suggested_rates`    | dict of floats       |
| What are mean and covariance of a noisy run?       | `moments`            | `Moments`            |
| Which law does a noisy run approach?               | `stationary`         | `Stationary`         |
| How near are the mean values of map and flow?      | `weak_order`         | `WeakOrder`          |
| Which learning rate belongs to larger batches?     | `scaling_rule`       | `ScalingRule`        |
| Does an optimizer of my own keep the contract?     | `check_optimizer`    | `ContractCheck`      |

The result objects hold the optimizer and the problem that they belong to. Most have a figure of the
same name in `dynopt.figures`. That of `order` is `figures.convergence` and that of `sensitivity`
`figures.stability`. Those of `compare` are `paths`, `loss`, which also shows the Lyapunov function,
`phase` and `race`.
"""

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
from .spectrum import Spectrum as Spectrum, spectrum as spectrum
from .implicit_bias import ImplicitBias as ImplicitBias, implicit_bias as implicit_bias
from .rescaling import Rescaling as Rescaling, rescaling as rescaling
from .basins import Basins as Basins, basins as basins
from .sensitivity import Sensitivity as Sensitivity, sensitivity as sensitivity
from .adaptive_step import AdaptiveStep as AdaptiveStep
from .inside import Inside as Inside, inside as inside
from .robustness import Robustness as Robustness, robustness as robustness
from .half_times import HalfTimes as HalfTimes, half_times as half_times
from .linking import Linking as Linking, linking as linking
from .retrieval import Retrieval as Retrieval, retrieval as retrieval
from .suggested_rates import suggested_rates as suggested_rates
from .affine_law import TwoMoments as TwoMoments
from .moments import Moments as Moments, moments as moments
from .stationary import Stationary as Stationary, stationary as stationary
from .weak_order import WeakError as WeakError, WeakOrder as WeakOrder, weak_order as weak_order
from .scaling_rule import (
    LossCurve as LossCurve,
    ScalingRule as ScalingRule,
    scaling_rule as scaling_rule,
)
from .check_optimizer import ContractCheck as ContractCheck, check_optimizer as check_optimizer
