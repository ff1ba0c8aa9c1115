"""One page per optimizer. Its line here is all that the command line, the figures and the tests need."""

# isort: off
from .adam import Adam as Adam, AdamState as AdamState
from .base import AbstractOptimizer as AbstractOptimizer
from .momentum import Momentum as Momentum, MomentumState as MomentumState
from .rmsprop import RMSprop as RMSprop, RMSpropState as RMSpropState
from .sgd import SGD as SGD, SGDState as SGDState
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

from .wrappers import (
    Accumulated as Accumulated,
    Averaged as Averaged,
    Layerwise as Layerwise,
    Schedule as Schedule,
    WithGradient as WithGradient,
)

catalogue: dict[str, type[AbstractOptimizer]] = {
    "sgd": SGD, "momentum": Momentum, "rmsprop": RMSprop, "adam": Adam,
    "nesterov": Nesterov, "nesterov_convex": NesterovConvex, "adagrad": AdaGrad,
    "adamw": AdamW, "nadam": NAdam, "adabelief": AdaBelief,
    "signum": Signum, "lion": Lion, "muon": Muon, "schedule_free": ScheduleFree,
}  # fmt: skip
