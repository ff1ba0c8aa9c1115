from . import (
    analysis as analysis,
    course as course,
    derivations as derivations,
    figures as figures,
    optimizers as optimizers,
    problems as problems,
)
from .analysis import (
    check_optimizer as check_optimizer,
)
from .derivations import (
    Memoryless as Memoryless,
    Modified as Modified,
    Optax as Optax,
    Stepped as Stepped,
)
from .errors import (
    DynoptError as DynoptError,
    SolverFailure as SolverFailure,
)
from .explorer import (
    explore as explore,
)
from .optimizers import (
    ODE as ODE,
    SAM as SAM,
    SGD as SGD,
    AbstractOptimizer as AbstractOptimizer,
    Accumulated as Accumulated,
    AdaBelief as AdaBelief,
    AdaGrad as AdaGrad,
    Adam as Adam,
    AdamW as AdamW,
    Alternating as Alternating,
    Averaged as Averaged,
    Consensus as Consensus,
    Extragradient as Extragradient,
    Langevin as Langevin,
    Layerwise as Layerwise,
    Leapfrog as Leapfrog,
    Lion as Lion,
    Minibatch as Minibatch,
    Momentum as Momentum,
    Muon as Muon,
    NAdam as NAdam,
    Nesterov as Nesterov,
    NesterovConvex as NesterovConvex,
    Noisy as Noisy,
    Optimistic as Optimistic,
    RMSprop as RMSprop,
    Schedule as Schedule,
    ScheduleFree as ScheduleFree,
    Signum as Signum,
    WithGradient as WithGradient,
)
from .problems import (
    Game as Game,
    Held as Held,
    Problem as Problem,
)
from .runs import (
    Ensemble as Ensemble,
    Status as Status,
    Sweep as Sweep,
    Trajectory as Trajectory,
    ensemble as ensemble,
    grid as grid,
    integrate as integrate,
    iterate as iterate,
    sweep as sweep,
)

__version__: str
