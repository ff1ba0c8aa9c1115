"""Weight averaging: the position is the running mean of the positions, not the last of them."""

from collections import namedtuple
from functools import cache
from typing import Any

from ...checks import Scalar, positive
from ...errors import InvalidValue
from ..base import AbstractOptimizer, replace_fields
from ..twin import optax_parameters
from .base import AbstractWrapper, must_be_wrappable


class Averaged(AbstractWrapper):
    """Averaging runs the inner optimizer unchanged; the position is the running mean of its path.

    The map, for the step Φ of the inner optimizer, from x₀ = z₀; z is the field `fast`:

        zₖ₊₁ = Φ(zₖ)
        xₖ₊₁ = xₖ + (h/τ) (zₖ₊₁ - xₖ)

    The flow, for the vector field F of the inner optimizer:

        z′ = F(z)
        τ x′ = z - x

    The time step: it is that of the inner optimizer; each step keeps the fraction 1 - h/τ of the
    mean.
    With τ held fixed the global error has the order of the inner optimizer. The mean of a rotation
    e^(iωt) is a smaller circle, of radius 1/√(1 + ω²τ²): averaging damps oscillations, and it lags
    by the time τ behind a steady motion.

    No Lyapunov function is known.

    Elsewhere: in optax, `optax.incremental_update(z, x, h/τ)` after every step of the inner
    optimizer.

    Arguments:

    - `optimizer`: the inner optimizer; any but an averaged one.
    - `tau`: τ, the memory time of the mean, in the unit of h; at least h.

    **Raises:** `InvalidValue` if `optimizer` is averaged already, or if τ < h.

    >>> from dynopt import SGD
    >>> Averaged(SGD(0.1), 2.0)
    Averaged(SGD(learning_rate=0.1), tau=2)

    Source: B. Polyak and A. Juditsky, "Acceleration of stochastic approximation by averaging"
    (1992), for averages over all time; `optax.incremental_update`.
    """

    optimizer: AbstractOptimizer
    tau: Scalar

    def __init__(self, optimizer, tau):
        must_be_wrappable(optimizer)
        if "fast" in optimizer.positions:
            raise InvalidValue(
                f"{optimizer!r} is averaged already; pass its inner optimizer, with the `tau` you "
                "want."
            )
        self.optimizer, self.tau = optimizer, positive("tau", tau)

    def rewrap(self, optimizer):
        return replace_fields(self, optimizer=optimizer, tau=self.tau * optimizer.h / self.h)

    positions = property(lambda self: ("x", "fast", *self.optimizer.positions[1:]))

    def init(self, x, grad):
        return _with_mean(x, self.optimizer.init(x, grad))

    def init_flow(self, x, grad, order=1):
        return _with_mean(x, self.optimizer.init_flow(x, grad, order))

    def wrap_step(self, step, t, y, grad):
        inner = step(t, _inner_state(y), grad)
        return _with_mean(y.x + self.h / self.tau * (inner.x - y.x), inner)

    def vector_field(self, t, y, grad):
        inner = self.optimizer.vector_field(t, _inner_state(y), grad)
        return _with_mean((y.fast - y.x) / self.tau, inner)

    def optax(self):
        return self.optimizer.optax()


@optax_parameters.register
def _(optimizer: Averaged, y):
    return optax_parameters(optimizer.optimizer, _inner_state(y))


@cache
def _averaged_state(inner_state: Any) -> Any:
    """The NamedTuple with the mean `x` first, and the position of `inner_state` as `fast`."""
    state: Any = namedtuple("AveragedState", ("x", "fast", *inner_state._fields[1:]))
    state.inner_state = inner_state
    return state


def _with_mean(mean: Any, inner: Any) -> Any:
    return _averaged_state(type(inner))(mean, *inner)


def _inner_state(y: Any) -> Any:
    return type(y).inner_state(*y[1:])
