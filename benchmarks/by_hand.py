"""Gradients, vector fields and maps as a user of NumPy or PyTorch writes them.

They are for `flow.py` and `order.py`. A point of phase space is one vector, the position first;
`xp` is `numpy` or `torch`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import dynopt
from dynopt import SGD, Adam, Momentum, problems


def himmelblau(x, xp):
    a, b = x[0] ** 2 + x[1] - 11, x[0] + x[1] ** 2 - 7
    return xp.stack([4 * a * x[0] + 2 * b, 2 * a + 4 * b * x[1]])


def rosenbrock(x, xp):
    b = x[1] - x[0] ** 2
    return xp.stack([-400 * x[0] * b - 2 * (1 - x[0]), 200 * b])


def sgd_field(t, y, gradient, optimizer, xp):
    return -gradient(y, xp)


def momentum_field(t, y, gradient, optimizer, xp):
    x, p = y[:2], y[2:]
    return xp.concatenate([p, -optimizer.friction * p - gradient(x, xp)])


def adam_field(t, y, gradient, optimizer, xp):
    x, m, v = y[:2], y[2:4], y[4:]
    g = gradient(x, xp)
    m_hat, v_hat = g, g**2
    if t > 0:
        m_hat, v_hat = -m / xp.expm1(-t / optimizer.tau1), -v / xp.expm1(-t / optimizer.tau2)
    dx = -m_hat / (xp.sqrt(v_hat) + optimizer.eps)
    return xp.concatenate([dx, (g - m) / optimizer.tau1, (g**2 - v) / optimizer.tau2])


def sgd_step(k, y, gradient, optimizer):
    return y - optimizer.learning_rate * gradient(y, np)


def momentum_step(k, y, gradient, optimizer):
    x, trace = y[:2], y[2:]
    trace = optimizer.momentum * trace + gradient(x, np)
    return np.concatenate([x - optimizer.learning_rate * trace, trace])


def adam_step(k, y, gradient, optimizer):
    x, m, v = y[:2], y[2:4], y[4:]
    g = gradient(x, np)
    m, v = optimizer.b1 * m + (1 - optimizer.b1) * g, optimizer.b2 * v + (1 - optimizer.b2) * g**2
    m_hat, v_hat = m / (1 - optimizer.b1 ** (k + 1)), v / (1 - optimizer.b2 ** (k + 1))
    return np.concatenate(
        [x - optimizer.learning_rate * m_hat / (np.sqrt(v_hat) + optimizer.eps), m, v]
    )


class Case(NamedTuple):
    """An optimizer and a problem, with its gradient, vector field and map by hand.

    - `steps`: the number of steps of the run.
    - `memories`: the number of memories of the optimizer, each of the size of the position.
    """

    optimizer: dynopt.optimizers.AbstractOptimizer
    steps: int
    problem: dynopt.Problem
    gradient: Callable
    vector_field: Callable
    step: Callable
    memories: int

    @property
    def name(self) -> str:
        return f"{self.optimizer.name} on {self.problem.name}"

    @property
    def time(self) -> float:
        return self.steps * self.optimizer.h

    def start(self, x0: Any = None) -> np.ndarray:
        x0 = np.asarray(self.problem.x0 if x0 is None else x0, float)
        return np.concatenate([x0, np.zeros(2 * self.memories)])

    def field(self, t, y, xp=np):
        return self.vector_field(t, y, self.gradient, self.optimizer, xp)


def cases() -> list[Case]:
    """Runs whose flow still moves at their end."""
    hills, valley = (problems.himmelblau(), himmelblau), (problems.rosenbrock(), rosenbrock)
    return [
        Case(SGD(0.001), 50, *hills, sgd_field, sgd_step, 0),
        Case(Momentum(0.001), 50, *hills, momentum_field, momentum_step, 1),
        Case(Adam(0.01), 100, *hills, adam_field, adam_step, 2),
        Case(SGD(0.0005), 1000, *valley, sgd_field, sgd_step, 0),
        Case(Momentum(0.0005), 100, *valley, momentum_field, momentum_step, 1),
        Case(Adam(0.01), 100, *valley, adam_field, adam_step, 2),
    ]
