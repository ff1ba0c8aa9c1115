"""Optimizers whose gradient is drawn anew in each step: stationary laws and rules of scaling."""

from functools import cache

import jax.numpy as jnp
import numpy as np

from dynopt import (
    SGD,
    Adam,
    AdamW,
    Minibatch,
    Momentum,
    Noisy,
    Problem,
    RMSprop,
    Signum,
    ensemble,
    iterate,
)
from dynopt.analysis import scaling_rule, stationary

from .claim import Chapter

chapter = Chapter()


def bowl(dim, start=0.0):
    return Problem(lambda x: (x**2).sum() / 2, np.full(dim, start), name="bowl")


def mean_square(optimizer, problem, steps):
    """The mean of x² over the coordinates, each a run of its own, and the last half of the steps."""
    run = iterate(Noisy(optimizer, sigma=1.0), problem, steps, save_every=steps // 40)
    return float((run.x[20:] ** 2).mean())


@chapter.claim(
    "stationary variance of SGD, η/(2 - η) at η = 0.1",
    "K. Liu, L. Ziyin, M. Ueda, Noise and fluctuation of finite learning rate SGD, ICML (2021)",
    0.1 / 1.9,
    within=0.01 * 0.1 / 1.9,
)
def sgd():
    return mean_square(SGD(0.1), bowl(20_000), 200)


@chapter.claim(
    "stationary variance of SGD with momentum 0.9, at η = 0.1",
    "K. Liu, L. Ziyin, M. Ueda, Noise and fluctuation of finite learning rate SGD, ICML (2021)",
    1.9 * 0.1 / (0.1 * (2 * 1.9 - 0.1)),
    within=0.01 * 0.5135,
)
def momentum():
    return mean_square(Momentum(0.1, 0.9), bowl(20_000), 400)


@chapter.claim(
    "stationary variance of sign descent, η √(π/2)/2 at η = 0.02",
    "E. Monzio Compagnoni et al., Adaptive methods through the lens of SDEs, ICLR (2025)",
    0.02 * np.sqrt(np.pi / 2) / 2,
    within=0.02 * 0.0125,
    slow=True,
)
def sign_descent():
    return mean_square(Signum(0.02, beta=0.0), bowl(20_000), 800)


@chapter.claim(
    "stationary variance of RMSprop, η/2 for a slow second moment, at η = 0.02",
    "S. Malladi, K. Lyu, A. Panigrahi, S. Arora, On the SDEs and scaling rules for adaptive "
    "gradient algorithms, NeurIPS (2022)",
    0.01,
    within=0.04 * 0.01,
    slow=True,
)
def rmsprop():
    optimizer = RMSprop(0.02, decay=0.999, bias_correction=True)
    return mean_square(optimizer, bowl(5000), 2000)


@chapter.claim(
    "stationary variance of SGD with its noise amplified 8-fold at η/8: that of the SDE, η/2",
    "Z. Li, S. Malladi, S. Arora, On the validity of modeling SGD with SDEs, NeurIPS (2021)",
    0.05,
    within=0.01 * 0.05,
)
def amplified_noise():
    law = stationary(Noisy(SGD(0.1), sigma=1.0).refine(8), bowl(1))
    return float(law.map.cov[0, 0])


@cache
def scaling_of_sgd():
    return scaling_rule(Noisy(SGD(0.01), sigma=3.0), bowl(1, start=1.0), 400)


@cache
def scaling_of_adam():
    """By the paths of 2000 coordinates, where noise has ten times the size of the gradient."""
    optimizer = Noisy(Adam(0.01, 0.98, 0.998), sigma=10.0)
    return scaling_rule(optimizer, bowl(200, start=1.0), 2400, paths=10)


LINEAR_SCALING = "P. Goyal et al., Accurate, large minibatch SGD (2017), section 2.1"


@chapter.claim(
    "SGD, batch × 4 and η × 4: largest relative difference of the mean loss",
    LINEAR_SCALING,
    0.0,
    bounds=(0.0, 0.1),
)
def linear_scaling():
    return scaling_of_sgd().scaled.deviation


@chapter.claim(
    "SGD, batch × 4 and η × 2, at equal numbers of examples: largest relative difference",
    LINEAR_SCALING + ", against the rule of the square root",
    np.inf,
    bounds=(0.4, np.inf),
)
def square_root_scaling_of_sgd():
    return scaling_of_sgd().others[0].deviation


SQUARE_ROOT_SCALING = (
    "S. Malladi, K. Lyu, A. Panigrahi, S. Arora, NeurIPS (2022), the square root scaling rule"
)


@chapter.claim(
    "Adam, batch × 4, η × 2 and 1 - b × 4: largest relative difference of the mean loss",
    SQUARE_ROOT_SCALING,
    0.0,
    bounds=(0.0, 0.06),
    slow=True,
)
def square_root_scaling():
    return scaling_of_adam().scaled.deviation


@chapter.claim(
    "Adam, batch × 4, η × 4 and the same decay rates: largest relative difference",
    SQUARE_ROOT_SCALING + ", against the linear rule",
    np.inf,
    bounds=(0.5, np.inf),
    slow=True,
)
def linear_scaling_of_adam():
    return scaling_of_adam().others[0].deviation


@chapter.claim(
    "label noise on (uv - 1)²/2 leads u to the minimum of least trace of the Hessian, 1",
    "G. Blanc et al., Implicit regularization for deep neural networks driven by an "
    "Ornstein-Uhlenbeck like process, COLT (2020)",
    1.0,
    within=0.05,
    slow=True,
)
def label_noise():
    def loss(x, labels):
        return ((x[0] * x[1] - labels) ** 2).mean() / 2

    problem = Problem(loss, [3.0, 1 / 3], data=[0.5, 1.5], name="label noise")
    run = iterate(Minibatch(SGD(0.05), 1), problem, 100_000, save_every=100)
    return float(run.x[500:].mean())


def tangents(x):
    """Noise orthogonal to x whose size is 1/|x|, as of a loss that ignores the length of x."""
    direction = x / jnp.linalg.norm(x)
    return (jnp.eye(x.size) - direction[:, None] * direction[None]) / jnp.linalg.norm(x)


@cache
def weights_without_scale():
    """The last half of 8000 steps with a decay of 0.01."""
    problem = Problem(lambda x: 0.01 * (x**2).sum() / 2, np.full(50, 0.6), name="decay")
    return iterate(Noisy(SGD(0.1), root=tangents), problem, 8000).x[4000:]


ROTATION = "R. Wan et al., Spherical motion dynamics, NeurIPS (2021)"


@chapter.claim(
    "rotation per step of weights without a scale, √(2 η λ) at η = 0.1 and λ = 0.01",
    ROTATION,
    np.sqrt(2 * 0.1 * 0.01),
    within=0.01 * np.sqrt(2 * 0.1 * 0.01),
)
def rotation():
    positions = weights_without_scale()
    directions = positions / jnp.linalg.norm(positions, axis=-1, keepdims=True)
    cosines = jnp.clip(jnp.sum(directions[1:] * directions[:-1], -1), -1, 1)
    return float(jnp.arccos(cosines).mean())


@chapter.claim(
    "|w|⁴ of weights without a scale, η E|g|²/(2λ) = 245",
    ROTATION,
    245.0,
    within=0.01 * 245,
)
def norm_at_equilibrium():
    return float(jnp.mean(jnp.sum(weights_without_scale() ** 2, -1) ** 2))


@chapter.claim(
    "mean square of weights under AdamW and noise alone, η/(2λ) at η = 0.01 and λ = 0.1",
    "A. Kosson, B. Messmer, M. Jaggi, Rotational equilibrium, ICML (2024)",
    0.05,
    within=0.03 * 0.05,
    slow=True,
)
def adamw():
    flat = Problem(lambda x: 0.0 * x.sum(), np.zeros(1500), name="flat")
    return mean_square(AdamW(0.01, weight_decay=0.1), flat, 6000)


SKEWED = "S. Dereich, A. Jentzen, A. Kassing, arXiv:2511.04622 (2025): zeros of Adam's vector field"


def rest_under_skewed_noise(decay):
    """Where Adam without first average rests if the gradient is x - 10 in one of ten draws."""

    def loss(x, data):
        return ((x[None] - data) ** 2).sum(-1).mean() / 2

    problem = Problem(loss, np.full(10, 0.8), data=10 * np.eye(10), name="skewed")
    optimizer = Minibatch(Adam(0.01, 0.0, decay), 1)
    paths = ensemble(optimizer, problem, 2000, paths=500, save_every=50)
    return float(paths.x[:, 20:].mean())


@chapter.claim(
    "rest of Adam under skewed noise of mean 1, at b2 = 0.9",
    SKEWED,
    0.594,
    within=0.02,
)
def skewed_noise_short_memory():
    return rest_under_skewed_noise(0.9)


@chapter.claim(
    "rest of Adam under skewed noise of mean 1, at b2 = 0.99",
    SKEWED,
    0.961,
    within=0.02,
)
def skewed_noise_long_memory():
    return rest_under_skewed_noise(0.99)
