"""Wrappers: optimizers made from another optimizer, by changing each of its steps or gradients."""

from .accumulated import Accumulated as Accumulated
from .alternating import Alternating as Alternating
from .averaged import Averaged as Averaged
from .base import AbstractWrapper as AbstractWrapper
from .consensus import Consensus as Consensus
from .extragradient import Extragradient as Extragradient
from .langevin import Langevin as Langevin
from .layerwise import Layerwise as Layerwise
from .leapfrog import Leapfrog as Leapfrog
from .minibatch import Minibatch as Minibatch
from .noisy import Noisy as Noisy
from .sam import SAM as SAM
from .schedule import Schedule as Schedule
from .with_gradient import WithGradient as WithGradient

catalogue: dict[str, type[AbstractWrapper]] = {
    "schedule": Schedule,
    "averaged": Averaged,
    "layerwise": Layerwise,
    "with_gradient": WithGradient,
    "accumulated": Accumulated,
    "sam": SAM,
    "leapfrog": Leapfrog,
    "alternating": Alternating,
    "extragradient": Extragradient,
    "consensus": Consensus,
    "noisy": Noisy,
    "minibatch": Minibatch,
    "langevin": Langevin,
}
