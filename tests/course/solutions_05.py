"""05 · Momentum: one method, two equations."""

import jax.numpy as jnp
import numpy as np
from solving import Solution

from dynopt import SGD, Memoryless, Momentum, iterate, problems

PARABOLA = problems.quadratic([0.5])


def speed(momentum: float) -> float:
    """The speed of the flow for a fixed momentum, relative to that of gradient flow."""
    optimizer = Memoryless(Momentum(1e-6, momentum))
    y = optimizer.init(jnp.array([1.0]), lambda x: x)
    return float(-optimizer.vector_field(0.0, y, lambda x: x).x[0])


def critical_friction(curvature: float) -> float:
    """The friction from which on the exact solution does not change its sign, by bisection."""
    bowl, t = problems.quadratic([curvature]), np.linspace(0, 20, 4001)
    low, high = 0.1, 20.0
    for _ in range(30):
        middle = (low + high) / 2
        oscillates = bool(
            (np.asarray(bowl.loss.oscillator(t, np.array([1.0]), middle)) < -1e-13).any()
        )
        low, high = (middle, high) if oscillates else (low, middle)
    return high


def steps(optimizer) -> int:
    loss = np.asarray(iterate(optimizer, PARABOLA, 12_000, x0=[1.0]).loss)
    return int((loss < 1e-4 * loss[0]).argmax())


def steps_in_numpy(rate: float, momentum: float = 0.0) -> int:
    """Until f(x) = x²/4 has fallen to a ten-thousandth, that is, x to a hundredth."""
    x, p, k = 1.0, 0.0, 0
    while x**2 >= 1e-4:
        p = momentum * p - rate * x / 2
        x, k = x + p, k + 1
    return k


def quotients() -> list[float]:
    slow, heavy, fast = map(steps, (SGD(0.001), Momentum(0.001, 0.9), SGD(0.01)))
    return [slow / heavy, fast / heavy]


PREDICTION = "B"
SOLUTIONS = {
    "05-a": Solution(
        lambda: (speed(0.95),),
        [
            (0.05, "fraction of the velocity that is lost"),
            (19.0, "begins with 1"),
            (10.0, "μ = 0.9"),
        ],
        exact=20.0,
        relative=0.01,
    ),
    "05-b": Solution(
        lambda: (critical_friction(9.0),),
        [(3.0, "without friction"), (36.0, "the square of"), (18.0, "not with the curvature")],
        exact=6.0,
        relative=0.02,
    ),
    "05-c": Solution(
        lambda: (quotients(),),
        [
            ([1.0, 10.0], "must be in the other order"),
            ([0.1, 1.0], "not the other way round"),
            ([10.0, 10.0], "a tenth of the steps"),
        ],
        exact=[steps_in_numpy(rate) / steps_in_numpy(1e-3, 0.9) for rate in (1e-3, 1e-2)],
        relative=0.1,
    ),
}
