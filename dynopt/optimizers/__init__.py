"""One page per optimizer. Its line here is all that the command line, the figures and the tests need."""

from .adam import Adam as Adam, AdamState as AdamState
from .base import AbstractOptimizer as AbstractOptimizer
from .momentum import Momentum as Momentum, MomentumState as MomentumState
from .rmsprop import RMSprop as RMSprop, RMSpropState as RMSpropState
from .sgd import SGD as SGD, SGDState as SGDState

catalogue: dict[str, type[AbstractOptimizer]] = {"sgd": SGD, "momentum": Momentum, "rmsprop": RMSprop, "adam": Adam}
