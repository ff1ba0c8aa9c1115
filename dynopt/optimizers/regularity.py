"""How regular a map is as its time step shrinks; an expansion in powers of h depends on it."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Regularity(NamedTuple):
    """What an optimizer declares about its map near h = 0; the defaults are those of a smooth map.

    - `order`: the power of h with which the global error of the map against the flow shrinks.
    - `nonsmooth`: the operations in the map that have no derivative, such as "sign".
    - `bias_corrected`: the fields of the state that start at 0 and are divided by the weight they
      have accumulated, each with its memory time.
    - `initial_layer`: whether the first steps differ from the later ones at every time step.
    - `singular_start`: whether the vector field divides by the time since the start.
    - `flow_depends_on_h`: whether the vector field depends on `h`, as that of a modified equation.
    - `mean_flow`: whether the map changes from step to step and the flow follows its mean.
    - `flow_error_ulps`: the error of the computed vector field, in units of machine epsilon; 0 if
      it is exact but for the round-off of its formula.
    """

    order: float = 1.0
    nonsmooth: tuple[str, ...] = ()
    bias_corrected: Mapping[str, Any] = {}
    initial_layer: bool = False
    singular_start: bool = False
    flow_depends_on_h: bool = False
    mean_flow: bool = False
    flow_error_ulps: float = 0.0
