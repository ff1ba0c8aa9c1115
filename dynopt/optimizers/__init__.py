"""The optimizers: one file each, with the map and the vector field next to each other.

The table of lines below is all that the command line, the figures and the tests need to know of
an optimizer.
"""

# isort: off
from .base import AbstractOptimizer as AbstractOptimizer
from .sgd import SGD as SGD, SGDState as SGDState
from .momentum import Momentum as Momentum, MomentumState as MomentumState
from .rmsprop import RMSprop as RMSprop, RMSpropState as RMSpropState
from .adam import Adam as Adam, AdamState as AdamState
from .nesterov import Nesterov as Nesterov, NesterovState as NesterovState
from .nesterov_convex import (
    NesterovConvex as NesterovConvex,
    NesterovConvexState as NesterovConvexState,
)
from .adagrad import AdaGrad as AdaGrad, AdaGradState as AdaGradState
from .adamw import AdamW as AdamW, AdamWState as AdamWState
from .nadam import NAdam as NAdam, NAdamState as NAdamState
from .adabelief import AdaBelief as AdaBelief, AdaBeliefState as AdaBeliefState
from .signum import Signum as Signum, SignumState as SignumState
from .lion import Lion as Lion, LionState as LionState
from .muon import Muon as Muon, MuonState as MuonState
from .schedule_free import ScheduleFree as ScheduleFree, ScheduleFreeState as ScheduleFreeState
from .optimistic import Optimistic as Optimistic, OptimisticState as OptimisticState

from .wrappers import (
    Accumulated as Accumulated,
    Alternating as Alternating,
    Averaged as Averaged,
    Consensus as Consensus,
    Extragradient as Extragradient,
    Langevin as Langevin,
    Layerwise as Layerwise,
    Leapfrog as Leapfrog,
    Minibatch as Minibatch,
    Noisy as Noisy,
    SAM as SAM,
    Schedule as Schedule,
    WithGradient as WithGradient,
)
from .ode import ODE as ODE

# One line per optimizer, in the order of teaching: its name on the command line, its class and the
# number of its colour in the figures. A new line takes the next free number wherever it stands, so
# that no other optimizer changes its colour.
_lines: tuple[tuple[str, type[AbstractOptimizer], int], ...] = (
    ("sgd", SGD, 0),
    ("momentum", Momentum, 1),
    ("rmsprop", RMSprop, 2),
    ("adam", Adam, 3),
    ("nesterov", Nesterov, 4),
    ("nesterov_convex", NesterovConvex, 5),
    ("adagrad", AdaGrad, 6),
    ("adamw", AdamW, 7),
    ("nadam", NAdam, 8),
    ("adabelief", AdaBelief, 9),
    ("signum", Signum, 10),
    ("lion", Lion, 11),
    ("muon", Muon, 12),
    ("schedule_free", ScheduleFree, 13),
    ("optimistic", Optimistic, 14),
)

catalogue: dict[str, type[AbstractOptimizer]] = {name: kind for name, kind, _ in _lines}
color_numbers: dict[type[AbstractOptimizer], int] = {kind: number for _, kind, number in _lines}
