"""An optimizer from a differential equation of one's own."""

from collections.abc import Callable
from typing import Any

import jax

from ..checks import Scalar, accepts, positive
from ..errors import InvalidType
from .base import AbstractOptimizer, format_hyperparameter
from .wrappers.base import function_name


class ODE(AbstractOptimizer):
    """An equation of one's own is an optimizer: its map is Euler's method until it is stepped.

    The map, for the vector field F and the start y₀ = `init(x₀, ∇f)`:

        yₖ₊₁ = yₖ + h F(tₖ, yₖ, ∇f)

    The flow:

        y′ = F(t, y, ∇f)

    The time step: one step takes the time h, and the global error is O(h). `dynopt.Stepped` gives
    the flow the map of another method, with another order.

    No Lyapunov function is known.

    Elsewhere: `diffrax.ODETerm` takes vector fields of (t, y, args).

    Arguments:

    - `vector_field`: F, a function of the time t, of a point y of phase space and of `grad`, the
      function x ↦ ∇f(x), which returns dy/dt with the fields and shapes of y. It must not depend on
      h.
    - `init`: a function of the position x, of shape `(dim,)`, and of `grad` that returns the first
      point: a NamedTuple whose first field is `x`.
    - `h`: the time of one step; positive.

    **Raises:** `InvalidType` if `vector_field` or `init` is no such function; a run raises it if
    they return other points.

    >>> import diffrax, dynopt
    >>> def rolling(t, y, grad):
    ...     return y._replace(x=y.p, p=-grad(y.x) - 0.1 * y.p)
    >>> def at_rest(x, grad):
    ...     return dynopt.optimizers.MomentumState(x, 0 * x)
    >>> dynopt.Stepped(ODE(rolling, at_rest, 0.05), diffrax.Heun())
    Stepped(ODE(rolling, at_rest, h=0.05), Heun())

    Source: L. Euler, "Institutionum calculi integralis" I (1768), section 650, for the map.
    """

    h: Scalar
    field: Callable
    start: Callable

    def __init__(self, vector_field: Callable, init: Callable, h: Scalar):
        for name, function, arguments in (
            ("vector_field", vector_field, ("t", "y", "grad")),
            ("init", init, ("x", "grad")),
        ):
            if not callable(function) or not accepts(function, *arguments):
                raise InvalidType(
                    f"`{name}` must be a function of ({', '.join(arguments)}), got {function!r}; "
                    "pass one like those in the docstring of dynopt.ODE."
                )
        self.h, self.field, self.start = positive("h", h), vector_field, init

    def hyperparameters(self) -> dict[str, Any]:
        return {"vector_field": self.field, "init": self.start, "h": self.h}

    def init(self, x, grad):
        return self.start(x, grad)

    def step(self, t, y, grad):
        dy = self.field(t, y, grad)
        return jax.tree.map(lambda y, dy: y + self.h * dy, y, dy)

    def vector_field(self, t, y, grad):
        return self.field(t, y, grad)

    def __repr__(self) -> str:
        names = f"{function_name(self.field)}, {function_name(self.start)}"
        return f"ODE({names}, h={format_hyperparameter(self.h)})"
