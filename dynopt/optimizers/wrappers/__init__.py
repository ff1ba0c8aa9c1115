"""Wrappers: optimizers that are made from an optimizer, by doing something to each step or to each gradient."""

from .accumulated import Accumulated as Accumulated
from .averaged import Averaged as Averaged
from .layerwise import Layerwise as Layerwise
from .schedule import Schedule as Schedule
from .with_gradient import WithGradient as WithGradient
