"""A long run as many calls of compiled code, so that Ctrl-C ends it within a second."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, PyTree

from ..checks import is_concrete
from .prepare import prepare_loss

# Nothing can interrupt a call of compiled code, so it should take this many seconds.
TARGET_SECONDS_PER_CALL = 0.25
FIRST_CALL_STEPS = 8  # in the first call, when the time that a step takes is not yet known


def steps_for_next_call(steps: int, seconds: float, size: int) -> int:
    """So many steps should take the time of one call, if the last `steps` took `seconds`.

    They are at most eight times the `size` of a call so far.
    """
    return max(1, int(min(8 * size, steps * TARGET_SECONDS_PER_CALL / seconds)))


def run_in_calls(
    advance: Callable[[Any, int], Any],
    state: Any,
    steps: int,
    size: int | None = None,
) -> tuple[Any, KeyboardInterrupt | None]:
    """Go on with `state = advance(state, stop)` until `state.k` is `steps`, or until Ctrl-C.

    A run may end before, and then `state.is_over` says so. It returns the last state, and the
    interrupt, if any. If a state holds traced values, it is returned at once: it depends on what
    `advance` closes over, and that is traced.

    - `size`: the number of steps in the first call, by default a few.
    """
    size = size or FIRST_CALL_STEPS
    try:
        while is_concrete(state) and (k := int(state.k)) < steps and not state.is_over:
            began = time.perf_counter()
            with interrupts_at_the_end():
                state = jax.block_until_ready(advance(state, min(k + size, steps)))
            size = steps_for_next_call(size, time.perf_counter() - began, size)
    except KeyboardInterrupt as interrupt:
        return state, interrupt
    return state, None


@contextmanager
def interrupts_at_the_end() -> Iterator[None]:
    """Answer Ctrl-C at the end of the block, so that its result is kept; a second one at once."""
    handler, received = signal.getsignal(signal.SIGINT), []
    if not callable(handler) or threading.current_thread() is not threading.main_thread():
        yield
        return

    def keep(*arguments):
        received.append(arguments)
        if len(received) > 1:
            handler(*arguments)

    signal.signal(signal.SIGINT, keep)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if received:
            handler(*received[0])


@eqx.filter_jit
def observe_at(loss: Callable, x0: PyTree, x: Array) -> tuple[Array, Array]:
    """The loss and the norm of its gradient at one vector."""
    _, _, observe, _ = prepare_loss(loss, x0)
    return observe(x)
