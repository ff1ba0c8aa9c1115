"""Traced programs of small arrays as operations on scalars: JavaScript text, and lanes in JAX."""

from .javascript import to_javascript as to_javascript
from .lanes import evaluate as evaluate, to_lanes as to_lanes
from .opaque_gradient import opaque_gradient as opaque_gradient
from .program import Constant as Constant, Operation as Operation, Program as Program
from .tracing import trace as trace
