"""Flows derived by machine from maps."""

from .from_optax import Optax as Optax
from .modified import Modified as Modified
