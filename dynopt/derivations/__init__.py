"""Flows derived by machine from maps."""

from .from_optax import Optax as Optax
from .memoryless import Memoryless as Memoryless
from .modified import Modified as Modified
