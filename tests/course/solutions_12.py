"""12 · Design your own optimizer."""

import diffrax
import numpy as np
from scipy.optimize import minimize_scalar
from solving import Later, Solution

from dynopt import ODE, Stepped
from dynopt.optimizers import MomentumState

H = 0.3


def proximal(x):
    return np.sign(x) * max(abs(x) - H, 0.0)


def by_search(x):
    """The minimum of |z| + (z - x)²/(2h), which is convex."""
    options = {"bounds": (-2, 2), "method": "bounded", "options": {"xatol": 1e-9}}
    return minimize_scalar(lambda z: abs(z) + (z - x) ** 2 / (2 * H), **options).x


def look_ahead(a):
    return lambda F, x, h: x + h * F(x + a * h * F(x))


def heun(F, x, h):
    k1 = F(x)
    return x + h / 2 * (k1 + F(x + h * k1))


def rolling(friction, h, solver):
    def vector_field(t, y, grad):
        return MomentumState(x=y.p, p=-grad(y.x) - friction * y.p)

    return Stepped(ODE(vector_field, lambda x, grad: MomentumState(x, 0 * x), h), solver)


TOUCH = "Which a just lets it touch -1?"
TURN = "the solver must bear modes that turn"
PREDICTION = "B"
SOLUTIONS = {
    "12-a": Solution(
        lambda: (by_search,),
        [
            (lambda x: x - H * np.sign(x), "that is the explicit step"),
            (lambda x: max(x - H, 0.0) if x > 0 else x - H, "keep the sign of x"),
            (lambda x: x / (1 + H), "the step for the loss x²/2"),
            (lambda x: x, "Is there such a z"),
        ],
        exact=[proximal(x) for x in (1.0, 0.2, -0.5)],
        absolute=0.001,
    ),
    "12-b": Solution(
        lambda: (look_ahead(1 / 8),),
        [(heun, TOUCH), (look_ahead(0.12), TOUCH), (look_ahead(0.14), TOUCH)],
    ),
    "12-c": Solution(
        lambda: (rolling(2.0, 0.2, diffrax.Bosh3()),),
        [
            (Later(lambda: rolling(2.0, 0.02, diffrax.Euler())), TURN),
            (Later(lambda: rolling(20.0, 0.1, diffrax.Heun())), TURN),
            (Later(lambda: rolling(2.0, 0.5, diffrax.Bosh3())), TURN),
        ],
    ),
}
