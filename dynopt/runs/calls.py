"""A long run as many calls of compiled code, so that Ctrl-C ends it within a second."""

import time
from collections.abc import Callable
from typing import Any

import jax

from ..checks import is_concrete

# Nothing can interrupt a call of compiled code, so it should take this many seconds.
TARGET_SECONDS_PER_CALL = 0.25
FIRST_CALL_STEPS = 8  # in the first call, when the time that a step takes is not yet known


def steps_for_next_call(steps: int, seconds: float, size: int) -> int:
    """So many steps should take the time of one call, if the last `steps` took `seconds`.

    They are at most eight times the `size` of a call so far.
    """
    return max(1, int(min(8 * size, steps * TARGET_SECONDS_PER_CALL / seconds)))


def run_in_calls(
    advance: Callable[[Any, int], Any], state: Any, steps: int
) -> tuple[Any, KeyboardInterrupt | None]:
    """Go on with `state = advance(state, stop)` until `state.k` is `steps`, or until Ctrl-C.

    It returns the last state that was complete, and the interrupt, if any. If a state holds traced
    values, it is returned at once: it depends on what `advance` closes over, and that is traced.
    """
    size = FIRST_CALL_STEPS
    try:
        while is_concrete(state) and (k := int(state.k)) < steps:
            began = time.perf_counter()
            state = jax.block_until_ready(advance(state, min(k + size, steps)))
            size = steps_for_next_call(size, time.perf_counter() - began, size)
    except KeyboardInterrupt as interrupt:
        return state, interrupt
    return state, None
