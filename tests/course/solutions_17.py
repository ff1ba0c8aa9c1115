"""17 · Embeddings, and how long a gradient lives. The exact answers come from searches and sums."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy.integrate import quad
from scipy.optimize import brentq
from solving import Later, Solution

from dynopt import SGD, WithGradient

CLASSES, MARGINS = (2, 10, 1000), (0.0, 0.1, 0.3)
P, A, S, END = 0.9999, 59, 16, 0.9


def scale(C):
    return (C - 1) / C * np.log((C - 1) * P / (1 - P))


def by_search(C: int) -> float:
    """The scale at which the softmax of the cosines of a simplex is p."""
    cosines = np.full(C, -1 / (C - 1))
    cosines[0] = 1.0

    def excess(s):
        return np.exp(s * (cosines[0] - 1)) / np.exp(s * (cosines - 1)).sum() - P

    return float(brentq(excess, 0.1, 100, xtol=1e-12))  # pyright: ignore


def time(m):
    start, end = -S * m, S * (END - m)
    return ((np.exp(end) - np.exp(start)) / A + end - start) / S**2


def by_integral(m: float) -> float:
    """The integral of dγ/γ′, with γ′ = minus the slope of log(1 + A e^(-s(γ - m)))."""

    def slowness(gamma):
        wrong = A * np.exp(-S * (gamma - m))
        return (1 + wrong) / (S * wrong)

    return quad(slowness, 0, END, epsrel=1e-10)[0]


def rows(g):
    return g | {"entity": g["entity"] / jnp.linalg.norm(g["entity"], axis=1, keepdims=True)}


def changed(rate, T):
    return WithGradient(SGD(rate), T)


def signs(g):
    return jax.tree.map(lambda a: jnp.sign(a) * jnp.sqrt(jnp.abs(a)), g)


PREDICTION = "B"
WHOLE_ROW = "multiplies its whole row of the gradient"
SOLUTIONS = {
    "17-a": Solution(
        lambda: (scale,),
        [
            (lambda C: np.log((C - 1) * P / (1 - P)), "not 0 but -1/(C - 1)"),
            (lambda C: (C - 1) / C * np.log(P / (1 - P)), "each of them has its share"),
            (lambda C: np.log((C - 1) * P / (1 - P)) / 2, "only two classes can be opposite"),
        ],
        exact=[by_search(C) for C in CLASSES],
        relative=0.01,
    ),
    "17-b": Solution(
        lambda: (time,),
        [
            (lambda m: S**2 * time(m), "divide it by s²"),
            (lambda m: (np.exp(S * (END - m)) / A + S * (END - m)) / S**2, "a u of its own"),
            (lambda m: time(0.0), "a margin lowers u"),
        ],
        exact=[by_integral(m) for m in MARGINS],
        relative=0.01,
    ),
    "17-c": Solution(
        lambda: (changed(0.05, rows),),
        [
            (Later(lambda: changed(10.0, lambda g: g)), WHOLE_ROW),
            (Later(lambda: changed(5.0, optax.clip_by_global_norm(0.01))), WHOLE_ROW),
            (Later(lambda: changed(0.2, signs)), WHOLE_ROW),
        ],
    ),
}
