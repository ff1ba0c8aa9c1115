"""Weight averaging: what is kept is the running mean of the positions, not the last of them."""

from collections import namedtuple
from functools import cache
from typing import Any

from ...checks import Scalar, positive
from ...errors import InvalidValue
from ..base import AbstractOptimizer, replace_fields
from ..twin import optax_parameters
from .base import AbstractWrapper, must_be_wrappable


class Averaged(AbstractWrapper):
    """Averaging lets a page run as ever, and takes as the position the running mean of where it has been.

    The map, for the step Φ of the page inside, from x₀ = z₀ (`fast`):

        zₖ₊₁ = Φ(zₖ)
        xₖ₊₁ = xₖ + (h/τ) (zₖ₊₁ - xₖ)

    The flow, for the velocity F of the page inside:

        z′ = F(z)
        τ x′ = z - x

    The clock: that of the page; the mean keeps 1 - h/τ in each step. With τ held fixed the gap closes as that of the
    page does. The mean of what turns in a circle, e^(iωt), is a smaller circle, of radius 1/√(1 + ω²τ²): averaging
    damps what oscillates, and lags by τ behind what does not.

    Energy: none is known.
    Elsewhere: in optax, `optax.incremental_update(z, x, h/τ)` after every step of the page inside.
    - `optimizer`: any page. - `tau`: τ, the memory time of the mean, at least h.

    >>> from dynopt import SGD
    >>> Averaged(SGD(0.1), 2.0)
    Averaged(SGD(learning_rate=0.1), tau=2)

    Source: B. Polyak and A. Juditsky, "Acceleration of stochastic approximation by averaging" (1992), for averages over
    all time; `optax.incremental_update`.
    """

    optimizer: AbstractOptimizer
    tau: Scalar

    def __init__(self, optimizer, tau):
        must_be_wrappable(optimizer)
        if "fast" in optimizer.positions:
            raise InvalidValue(
                f"{optimizer!r} is averaged already; pass the page inside, with the `tau` you want."
            )
        self.optimizer, self.tau = optimizer, positive("tau", tau)

    def rewrap(self, optimizer):
        return replace_fields(self, optimizer=optimizer, tau=self.tau * optimizer.h / self.h)

    positions = property(lambda self: ("x", "fast", *self.optimizer.positions[1:]))

    def init(self, x, grad):
        return _with_mean(self.optimizer.init(x, grad), x)

    def init_flow(self, x, grad, order=1):
        return _with_mean(self.optimizer.init_flow(x, grad, order), x)

    def wrap_step(self, step, t, y, grad):
        after = step(t, _inside(y), grad)
        return _with_mean(after, y.x + self.h / self.tau * (after.x - y.x))

    def vector_field(self, t, y, grad):
        velocity = self.optimizer.vector_field(t, _inside(y), grad)
        return _with_mean(velocity, (y.fast - y.x) / self.tau)

    def optax(self):
        return self.optimizer.optax()


@optax_parameters.register
def _(optimizer: Averaged, y):
    return optax_parameters(optimizer.optimizer, _inside(y))


@cache
def _averaged(kind: Any) -> Any:
    """Points of phase space with a mean before those of `kind`, whose position becomes `fast`."""
    made: Any = namedtuple("AveragedState", ("x", "fast", *kind._fields[1:]))
    made.inside = kind
    return made


def _with_mean(y: Any, mean: Any) -> Any:
    return _averaged(type(y))(mean, *y)


def _inside(y: Any) -> Any:
    return type(y).inside(*y[1:])
