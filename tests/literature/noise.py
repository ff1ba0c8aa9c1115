"""Optimizers whose gradient is drawn anew in each step: stationary laws and rules of scaling."""

import jax
import jax.numpy as jnp
import numpy as np

from dynopt import SGD, Adam, AdamW, Momentum, RMSprop, Signum

from .claim import Chapter

chapter = Chapter()
NUM_RUNS = 20_000


def run_with_noise(optimizer, gradient, x0, steps, observe=lambda x: x):
    """What is observed after each step of a map whose gradient has a key of its own in each.

    - `gradient`: a function of the position and of a key.
    """
    key = jax.random.key(0)

    def step(y, k):
        draw = jax.random.fold_in(key, k)
        y = optimizer.step(k * optimizer.h, y, lambda x: gradient(x, draw))
        return y, observe(y.x)

    y = optimizer.init(x0, lambda x: gradient(x, jax.random.fold_in(key, steps)))
    return jax.jit(lambda y: jax.lax.scan(step, y, jnp.arange(steps))[1])(y)


def bowl_with_noise(x, key):
    """The gradient of x²/2 in each coordinate, plus a normal number of variance 1."""
    return x + jax.random.normal(key, x.shape)


def stationary_variance(optimizer, steps, num_runs=NUM_RUNS):
    """The variance of many runs on the noisy bowl, averaged over the last half of the steps."""
    squares = run_with_noise(
        optimizer, bowl_with_noise, jnp.zeros(num_runs), steps, lambda x: jnp.mean(x**2)
    )
    return float(squares[steps // 2 :].mean())


@chapter.claim(
    "stationary variance of SGD, η/(2 - η) at η = 0.1",
    "K. Liu, L. Ziyin, M. Ueda, Noise and fluctuation of finite learning rate SGD, ICML (2021)",
    0.1 / 1.9,
    within=0.01 * 0.1 / 1.9,
)
def sgd():
    return stationary_variance(SGD(0.1), 200)


@chapter.claim(
    "stationary variance of SGD with momentum 0.9, at η = 0.1",
    "K. Liu, L. Ziyin, M. Ueda, Noise and fluctuation of finite learning rate SGD, ICML (2021)",
    1.9 * 0.1 / (0.1 * (2 * 1.9 - 0.1)),
    within=0.01 * 0.5135,
)
def momentum():
    return stationary_variance(Momentum(0.1, 0.9), 400)


@chapter.claim(
    "stationary variance of sign descent, η √(π/2)/2 at η = 0.02",
    "E. Monzio Compagnoni et al., Adaptive methods through the lens of SDEs, ICLR (2025)",
    0.02 * np.sqrt(np.pi / 2) / 2,
    within=0.02 * 0.0125,
    slow=True,
)
def sign_descent():
    return stationary_variance(Signum(0.02, beta=0.0), 800)


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
    return stationary_variance(optimizer, 2000, num_runs=5000)


@chapter.claim(
    "stationary variance of SGD with its noise amplified 8-fold at η/8: that of the SDE, η/2",
    "Z. Li, S. Malladi, S. Arora, On the validity of modeling SGD with SDEs, NeurIPS (2021)",
    0.05,
    within=0.01 * 0.05,
    slow=True,
)
def amplified_noise():
    fold = 8
    weights = (1 + np.array([1, -1]) * np.sqrt(2 * fold - 1)) / 2

    def gradient(x, key):
        draws = jax.random.normal(key, (2, *x.shape))
        return x + weights @ draws

    def square(x):
        return jnp.mean(x**2)

    squares = run_with_noise(SGD(0.1 / fold), gradient, jnp.zeros(10_000), 1200, square)
    return float(squares[600:].mean())


def mean_losses(optimizer, batch, num_examples, deviation, num_runs=NUM_RUNS):
    """The mean loss of many runs on the bowl from 1, each time that four examples have been drawn.

    - `batch`: the number of examples in one gradient.
    - `deviation`: the standard deviation of the gradient of one example.
    """

    def gradient(x, key):
        return x + deviation * jax.random.normal(key, x.shape) / np.sqrt(batch)

    steps, every = num_examples // batch, 4 // batch
    losses = run_with_noise(
        optimizer, gradient, jnp.ones(num_runs), steps, lambda x: jnp.mean(x**2) / 2
    )
    return losses[every - 1 :: every]


def largest_relative_difference(a, b):
    return float(jnp.max(jnp.abs(b / a - 1)))


LINEAR_SCALING = "P. Goyal et al., Accurate, large minibatch SGD (2017), section 2.1"


@chapter.claim(
    "SGD, batch × 4 and η × 4: largest relative difference of the mean loss",
    LINEAR_SCALING,
    0.0,
    bounds=(0.0, 0.1),
)
def linear_scaling():
    small = mean_losses(SGD(0.01), 1, 400, 3)
    return largest_relative_difference(small, mean_losses(SGD(0.04), 4, 400, 3))


@chapter.claim(
    "SGD, batch × 4 and η × 2, at equal numbers of examples: largest relative difference",
    LINEAR_SCALING + ", against the rule of the square root",
    np.inf,
    bounds=(0.4, np.inf),
)
def square_root_scaling_of_sgd():
    small = mean_losses(SGD(0.01), 1, 400, 3)
    return largest_relative_difference(small, mean_losses(SGD(0.02), 4, 400, 3))


SQUARE_ROOT_SCALING = (
    "S. Malladi, K. Lyu, A. Panigrahi, S. Arora, NeurIPS (2022), the square root scaling rule"
)


def adam(batch, learning_rate, forgetting):
    """The mean losses of Adam where 1 - b1 = 0.02 and 1 - b2 = 0.002, both times `forgetting`."""
    optimizer = Adam(learning_rate, 1 - 0.02 * forgetting, 1 - 0.002 * forgetting)
    return mean_losses(optimizer, batch, 2400, deviation=10, num_runs=5000)


@chapter.claim(
    "Adam, batch × 4, η × 2 and 1 - b × 4: largest relative difference of the mean loss",
    SQUARE_ROOT_SCALING,
    0.0,
    bounds=(0.0, 0.06),
    slow=True,
)
def square_root_scaling():
    return largest_relative_difference(adam(1, 0.01, 1), adam(4, 0.02, 4))


@chapter.claim(
    "Adam, batch × 4, η × 4 and 1 - b × 4: largest relative difference of the mean loss",
    SQUARE_ROOT_SCALING + ", against the linear rule",
    np.inf,
    bounds=(0.25, np.inf),
    slow=True,
)
def linear_scaling_of_adam():
    return largest_relative_difference(adam(1, 0.01, 1), adam(4, 0.04, 4))


@chapter.claim(
    "label noise on (uv - 1)²/2 leads u to the minimum of least trace of the Hessian, 1",
    "G. Blanc et al., Implicit regularization for deep neural networks driven by an "
    "Ornstein-Uhlenbeck like process, COLT (2020)",
    1.0,
    within=0.05,
    slow=True,
)
def label_noise():
    def gradient(x, key):
        label = 1 + 0.5 * jax.random.rademacher(key, (), x.dtype)
        return (x[0] * x[1] - label) * x[::-1]

    positions = run_with_noise(SGD(0.05), gradient, jnp.array([3.0, 1 / 3]), 100_000)
    return float(positions[50_000:].mean())


def tangent_noise(x, key):
    """A random gradient of a loss that ignores the length of x, plus a decay of 0.01."""
    noise = jax.random.normal(key, x.shape)
    size = jnp.linalg.norm(x)
    direction = x / size
    return (noise - (noise @ direction) * direction) / size + 0.01 * x


ROTATION = "R. Wan et al., Spherical motion dynamics, NeurIPS (2021)"


@chapter.claim(
    "rotation per step of weights without a scale, √(2 η λ) at η = 0.1 and λ = 0.01",
    ROTATION,
    np.sqrt(2 * 0.1 * 0.01),
    within=0.01 * np.sqrt(2 * 0.1 * 0.01),
)
def rotation():
    positions = run_with_noise(SGD(0.1), tangent_noise, jnp.full(50, 0.6), 8000)[4000:]
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
    positions = run_with_noise(SGD(0.1), tangent_noise, jnp.full(50, 0.6), 8000)[4000:]
    return float(jnp.mean(jnp.sum(positions**2, -1) ** 2))


@chapter.claim(
    "mean square of weights under AdamW and noise alone, η/(2λ) at η = 0.01 and λ = 0.1",
    "A. Kosson, B. Messmer, M. Jaggi, Rotational equilibrium, ICML (2024)",
    0.05,
    within=0.03 * 0.05,
    slow=True,
)
def adamw():
    def gradient(x, key):
        return jax.random.normal(key, x.shape)

    optimizer = AdamW(0.01, weight_decay=0.1)
    squares = run_with_noise(optimizer, gradient, jnp.zeros(3000), 6000, lambda x: jnp.mean(x**2))
    return float(squares[3000:].mean())


SKEWED = "S. Dereich, A. Jentzen, A. Kassing, arXiv:2511.04622 (2025): zeros of Adam's vector field"


def rest_under_skewed_noise(decay, num_runs, steps):
    """Where Adam without first average rests if the gradient is x - 10 in one of ten draws."""

    def gradient(x, key):
        return x - 10 * jax.random.bernoulli(key, 0.1, x.shape)

    optimizer = Adam(0.01, 0.0, decay)
    means = run_with_noise(optimizer, gradient, jnp.full(num_runs, 0.8), steps, jnp.mean)
    return float(means[steps // 2 :].mean())


@chapter.claim(
    "rest of Adam under skewed noise of mean 1, at b2 = 0.9",
    SKEWED,
    0.594,
    within=0.02,
)
def skewed_noise_short_memory():
    return rest_under_skewed_noise(0.9, 5000, 2000)


@chapter.claim(
    "rest of Adam under skewed noise of mean 1, at b2 = 0.99",
    SKEWED,
    0.961,
    within=0.02,
)
def skewed_noise_long_memory():
    return rest_under_skewed_noise(0.99, 5000, 2000)
