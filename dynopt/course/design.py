"""What the exercises of notebook 12 measure: methods and equations that the reader has designed.

>>> print(cost(lambda F, x, h: x + h * F(x)))  # one gradient, stable up to hλ = 2
0.5
"""

from itertools import takewhile
from typing import Any

import diffrax
import numpy as np

from ..derivations.stepped import Stepped
from ..errors import InvalidType, InvalidValue
from ..optimizers import ODE
from ..problems import quadratic
from ..runs import iterate

CURVATURES = np.geomspace(1, 100, 20)  # of the bowl of the notebook
GRADIENTS = 200
SHORT = 1e-4  # a time step whose square is below `TOLERANCE`
TOLERANCE = 1e-7
TIME_STEPS = np.arange(1, 200_001) / 1000  # at which a method is tried


def cost(step: Any) -> Any:
    """How many gradients a method takes for the time 1/λ, at the longest stable time step.

    One step multiplies a mode of curvature λ by a factor R(hλ). The cost is the number of gradients
    of one step, divided by the largest hλ up to which |R| is at most 1. It is infinite if no time
    step is stable.

    - `step`: a function of the vector field F = -∇f, a function itself, of the position x and of
      the time step h, which returns the next position. If it returns `...`, so does this function.

    **Raises:** `InvalidType` if `step` is no function, or returns no number; `InvalidValue` if it
    does not follow the gradient flow.
    """
    if not callable(step):
        raise InvalidType(
            f"`step` must be a function, got {step!r}; pass your step, without parentheses."
        )
    asked: list[Any] = []
    first = step(lambda x: asked.append(x) or -2 * x, 1.0, SHORT)
    if first is ...:
        return first
    if not abs(_number(first) - (1 - 2 * SHORT)) < TOLERANCE:
        raise InvalidValue(
            f"a step along the gradient flow of x² leads from 1 to 1 - 2h + O(h²), got "
            f"{_number(first):.6g} for h = {SHORT}; return x + h * F(x), for example."
        )
    stable = takewhile(lambda h: abs(_number(step(_decay, 1.0, h))) <= 1 + TOLERANCE, TIME_STEPS)
    longest = max(stable, default=0.0)
    return len(asked) / longest if longest else np.inf


def _decay(x: Any) -> Any:
    """The vector field of a mode of curvature 1."""
    return -x


def _number(position: Any) -> float:
    try:
        return float(position)
    except (TypeError, ValueError):
        raise InvalidType(
            f"a step must return the next position, here one number, got {position!r}; end it by "
            "return x + h * F(x), for example."
        ) from None


def loss_left(optimizer: Any) -> float:
    """The loss that remains after 200 gradients on the bowl of notebook 12, from (1, ..., 1).

    It is NaN or infinite if the run diverges.

    - `optimizer`: a `dynopt.ODE`, or a `dynopt.Stepped` of one with an explicit solver.

    **Raises:** `InvalidType` for anything else; `InvalidValue` for an implicit solver; and as
    `iterate` does.
    """
    stepped = Stepped(optimizer, diffrax.Euler()) if isinstance(optimizer, ODE) else optimizer
    if not isinstance(stepped, Stepped) or not isinstance(stepped.optimizer, ODE):
        raise InvalidType(
            f"`optimizer` must be made of an equation of your own, got {optimizer!r}; pass "
            "ODE(vector_field, init, h) or Stepped(ODE(vector_field, init, h), diffrax.Heun())."
        )
    if isinstance(stepped.solver, diffrax.AbstractImplicitSolver):
        raise InvalidValue(
            "gradients are counted, and an implicit solver also takes Hessian matrices, got "
            f"{optimizer!r}; pass an explicit solver such as diffrax.Heun()."
        )
    steps = GRADIENTS // max(1, stepped.evaluations)
    run = iterate(stepped, quadratic(CURVATURES), steps, x0=np.ones(20), throw=False)
    return float(run.loss[-1])
