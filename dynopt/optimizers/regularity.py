"""How regular a map is as its step size shrinks: what an expansion in powers of h must know."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Regularity(NamedTuple):
    """What a page declares of its map near h = 0; the defaults are those of a smooth map, as of SGD.

    - `order`: the power of h with which the gap between map and flow closes.
    - `nonsmooth`: operations in the map without a derivative, such as "sign".
    - `bias_corrected`: state fields that start at 0 and are divided by their accumulated weight, with their memory times.
    - `initial_layer`: whether the first steps differ from the others at every step size.
    - `singular_start`: whether the flow divides by the time since its start.
    - `flow_depends_on_h`, `flow_error_ulps`: of flows that are derived.
    """

    order: float = 1.0
    nonsmooth: tuple[str, ...] = ()
    bias_corrected: Mapping[str, Any] = {}
    initial_layer: bool = False
    singular_start: bool = False
    flow_depends_on_h: bool = False
    flow_error_ulps: float = 0.0
