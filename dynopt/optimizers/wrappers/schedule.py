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

LOOKED_AT = (
    0,
    1,
    10,
    100,
    1000,
    10_000,
)  # steps at which a schedule must be a number of at least 0
NEAR = 1e-4  # of a step: times this near to a whole step are that step, whatever round-off says


class Schedule(AbstractFactor):
    """A schedule multiplies the learning rate by a factor that depends on the step.

    The map, for the step Φ of the page inside and the factor cₖ = `schedule(k)`, its memory as ever:

        xₖ₊₁ = xₖ + cₖ (Φ(xₖ) - xₖ)

    The flow, for the velocity F of the page inside, and c(t) = schedule(t/h₀) with h₀ the clock it was made with:

        x′ = c(t) F(x)

    The clock: that of the page. When it is refined the schedule is read between the steps, so that the flow stays.
    Without a memory (`SGD`) a schedule is a change of time and nothing else: the flow is at t where the plain flow is
    at T = ∫ c dt, and the map has gone the time Σ cₖ h. A memory still forgets by the steps, and so forgets more of
    the path the faster it is walked. SGD reads its schedule half a step late: its modified flow is

        x′ = -(c - h c′/2) ∇f - (h/2) c² ∇²f ∇f.
    Energy: none is known but for `SGD`, of which it is the loss.
    Elsewhere: optax's schedules give the learning rate; here they give its share, so ask them for a peak of 1.
    - `optimizer`: a page whose memory holds no positions. - `schedule`: k ↦ factor ≥ 0, such as those of optax.
    >>> from dynopt import SGD
    >>> Schedule(SGD(0.1), optax.cosine_decay_schedule(1.0, 100))
    Schedule(SGD(learning_rate=0.1), schedule=cosine_decay_schedule)

    Source: `optax.scale_by_schedule`; that a factor in front of a field changes time is the chain rule.
    """

    optimizer: AbstractOptimizer
    schedule: Callable
    per_step: Scalar

    def __init__(self, optimizer, schedule):
        must_move_x_alone(optimizer, "a schedule")
        self.optimizer, self.schedule, self.per_step = optimizer, schedule, optimizer.h
        _check(schedule)

    def rewrap(self, optimizer):
        return replace_fields(
            self, optimizer=optimizer, per_step=self.per_step * optimizer.h / self.h
        )

    def factor(self, t):
        """c(t), which at t = k h₀ is schedule(k)."""
        k = jnp.asarray(t / self.per_step)
        whole = jnp.round(k)
        return self.schedule(
            k + jax.lax.stop_gradient(jnp.where(jnp.abs(whole - k) < NEAR, whole - k, 0))
        )

    def optax(self):
        every = self.optimizer.evaluations  # optax counts them
        return optax.chain(
            self.optimizer.optax(),
            optax.scale_by_schedule(lambda count: self.schedule(count // every)),
        )


def _check(schedule: Any) -> None:
    if not callable(schedule):
        raise InvalidType(
            f"`schedule` must be a function of the step, got {schedule!r}; pass one of optax's, with a peak of 1."
        )
    for k in LOOKED_AT:
        try:
            plain = concrete_value(number("schedule", schedule(jnp.asarray(float(k)))))
        except (DynoptError, TypeError, IndexError) as error:
            raise InvalidType(
                f"`schedule` {function_name(schedule)} must take the step and return one real number; at step {k}: {error}"
            ) from error
        if plain is not None and plain < 0:
            raise InvalidValue(
                f"`schedule` {function_name(schedule)} is {plain:g} at step {k}; return factors of at least 0."
            )
    try:
        jax.eval_shape(schedule, 0.0)
    except Exception as error:
        if (known := tracing_fault(error, "the traced step")) is None:
            raise
        raise InvalidType(
            f"`schedule` {function_name(schedule)} {known[0]}; {known[1]}."
        ) from error
