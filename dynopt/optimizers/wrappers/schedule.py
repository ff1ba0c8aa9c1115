"""A learning-rate schedule: the position moves faster or slower as time goes by."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from ...checks import Scalar, concrete_value, number, tracing_fault
from ...errors import DynoptError, InvalidType, InvalidValue
from ..base import AbstractOptimizer, replace_fields
from .base import function_name
from .factor import AbstractFactor, must_move_x_alone
from .transforms import must_repeat

CHECKED_STEPS = (0, 1, 10, 100, 1000, 10_000)
ROUND_OFF = 1e-4  # a time this close to a whole step, in units of a step, belongs to that step


class Schedule(AbstractFactor):
    """A schedule multiplies the learning rate by a factor that depends on the step.

    The map, for the step Φ of the inner optimizer and the factor cₖ = `schedule(k)`; the memory
    moves as it does without the schedule:

        xₖ₊₁ = xₖ + cₖ (Φ(xₖ) - xₖ)

    The flow, for the vector field F of the inner optimizer and c(t) = schedule(t/h₀), where h₀ is
    the time step at which the schedule was given:

        x′ = c(t) F(x)

    The time step: it is that of the inner optimizer. If it is refined, the schedule is evaluated
    between the steps, so that the flow stays the same. Without a memory (`SGD`) a schedule is a
    change of time and nothing else: the flow at time t is the flow without the schedule at the time
    T = ∫ c dt, and the map has covered the time Σ cₖ h. A memory, in contrast, forgets the same
    fraction in every step, however long the step is, so that it reaches back over a longer piece of
    the path where the steps are longer. SGD evaluates its schedule at the start of each step, so
    that the schedule acts half a step late on average; its modified flow is

        x′ = -(c - h c′/2) ∇f - (h/2) c² ∇²f ∇f.

    Lyapunov function: the loss, if the inner optimizer is `SGD`. For an optimizer with a memory
    none is known.

    Elsewhere: schedules of optax return the learning rate; here they return a factor of it, so give
    them a peak value of 1.

    Arguments:

    - `optimizer`: the inner optimizer, whose memory must hold no positions.
    - `schedule`: a function k ↦ cₖ ≥ 0, such as those of optax; it is also evaluated at real k.

    **Raises:** `InvalidValue` if the memory of `optimizer` holds a position, or if the schedule is
    negative, or another function at each call, as with numpy's random numbers; `InvalidType` if it
    is no function of the step that JAX can trace.

    >>> from dynopt import SGD
    >>> Schedule(SGD(0.1), optax.cosine_decay_schedule(1.0, 100))
    Schedule(SGD(learning_rate=0.1), schedule=cosine_decay_schedule)

    Source: `optax.scale_by_schedule`; that a factor in front of a vector field changes time is the
    chain rule.
    """

    optimizer: AbstractOptimizer
    schedule: Callable
    h0: Scalar

    def __init__(self, optimizer, schedule):
        must_move_x_alone(optimizer, "a schedule")
        self.optimizer, self.schedule, self.h0 = optimizer, schedule, optimizer.h
        _check(schedule)

    def rewrap(self, optimizer):
        return replace_fields(self, optimizer=optimizer, h0=self.h0 * optimizer.h / self.h)

    def factor(self, t):
        """c(t), which at t = k h₀ is schedule(k)."""
        k = jnp.asarray(t / self.h0)
        to_whole = jnp.round(k) - k
        correction = jnp.where(jnp.abs(to_whole) < ROUND_OFF, to_whole, 0)
        return self.schedule(k + jax.lax.stop_gradient(correction))

    def optax(self):
        evaluations = self.optimizer.evaluations  # optax counts these, and not the steps
        return optax.chain(
            self.optimizer.optax(),
            optax.scale_by_schedule(lambda count: self.schedule(count // evaluations)),
        )


def _check(schedule: Any) -> None:
    """Evaluate the schedule at a few steps, and under tracing."""
    if not callable(schedule):
        raise InvalidType(
            f"`schedule` must be a function of the step, got {schedule!r}; pass one of optax's, "
            "with a peak of 1."
        )
    name = function_name(schedule)
    for k in CHECKED_STEPS:
        try:
            factor = concrete_value(number("schedule", schedule(jnp.asarray(float(k)))))
        except (DynoptError, TypeError, IndexError) as error:
            raise InvalidType(
                f"`schedule` {name} must take the step and return one real number; "
                f"at step {k}: {error}"
            ) from error
        if factor is not None and factor < 0:
            raise InvalidValue(
                f"`schedule` {name} is {factor:g} at step {k}; return factors of at least 0."
            )
    try:
        must_repeat("schedule", schedule, schedule, 0.0)
    except Exception as error:
        if (fault := tracing_fault(error, "the traced step")) is None:
            raise
        raise InvalidType(f"`schedule` {name} {fault[0]}; {fault[1]}.") from error
