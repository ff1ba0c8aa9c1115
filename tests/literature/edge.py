"""The edge of stability: the sharpness at which an optimizer settles on a network."""

import jax
import jax.numpy as jnp

from dynopt import SGD, Adam, Momentum, Nesterov, Problem, RMSprop, analysis, iterate
from dynopt.problems import tanh_network

from .claim import Chapter

chapter = Chapter()
COHEN = "J. Cohen et al., Gradient descent on neural networks typically occurs at the edge of "
ADAPTIVE = "J. Cohen et al., Adaptive gradient methods at the edge of stability (2022)"


def late_sharpness(optimizer, steps):
    """The mean sharpness at four late points of a run on the network, over the critical one."""
    run = iterate(optimizer, tanh_network(), steps, save_every=steps // 40)
    late = jax.tree.map(lambda leaf: leaf[-4:], run.x)
    sharpness = jax.lax.map(lambda x: analysis.sharpness(tanh_network(), x), late)
    return float(sharpness.mean() / analysis.critical_curvature(optimizer))


@chapter.claim(
    "heavy ball on a network: sharpness over (2 + 2μ)/η, at μ = 0.5 and η = 0.2",
    COHEN + "stability, ICLR (2021), appendix B",
    1.0,
    bounds=(0.9, 1.05),
    slow=True,
)
def heavy_ball():
    return late_sharpness(Momentum(0.2, 0.5), 8000)


@chapter.claim(
    "Nesterov on a network: sharpness over (2 + 2μ)/((1 + 2μ) η), at μ = 0.9 and η = 0.08",
    COHEN + "stability, ICLR (2021), appendix B",
    1.0,
    bounds=(0.9, 1.05),
    slow=True,
)
def nesterov():
    return late_sharpness(Nesterov(0.08, 0.9), 8000)


def late_preconditioned_sharpness(optimizer, steps):
    """The mean largest eigenvalue of P⁻¹ ∇²f at four late points, where P = √v + ε."""
    run = iterate(optimizer, tanh_network(), steps, save_every=steps // 40)
    loss, unravel = tanh_network().loss, run.unravel

    @jax.jit
    def sharpness(x, v):
        scale = (jnp.sqrt(v) + 1e-8) ** -0.5
        scaled = Problem(lambda z: loss(unravel(x + scale * z)), jnp.zeros_like(x))
        return analysis.sharpness(scaled)

    return float(jnp.mean(jax.lax.map(lambda y: sharpness(*y), (run.y.x[-4:], run.y.v[-4:]))))


@chapter.claim(
    "RMSprop on a network: preconditioned sharpness over 2/η, at η = 0.001",
    ADAPTIVE,
    1.0,
    bounds=(0.93, 1.05),
    slow=True,
)
def rmsprop():
    return late_preconditioned_sharpness(RMSprop(0.001, 0.99), 4000) * 0.001 / 2


@chapter.claim(
    "Adam on a network: preconditioned sharpness over 38/η, at η = 0.01",
    ADAPTIVE,
    1.0,
    bounds=(0.93, 1.05),
    slow=True,
)
def adam():
    return late_preconditioned_sharpness(Adam(0.01), 8000) * 0.01 / 38


@chapter.claim(
    "the flow that gradient descent oscillates about: y rests at 2/η in L = x²y/2 + k(y - 22)²/2, k = 1/2",
    "J. Cohen et al., Understanding optimization in deep learning with central flows, ICLR (2025)",
    20.0,
    within=1e-3,
)
def rest_of_the_toy():
    return float(_toy()[-1000:, 1].mean())


@chapter.claim(
    "the same: the mean of x², 2k(22 - 2/η)",
    "J. Cohen et al., Understanding optimization in deep learning with central flows, ICLR (2025)",
    2.0,
    within=1e-3,
)
def oscillation_of_the_toy():
    return float((_toy()[-1000:, 0] ** 2).mean())


def _toy():
    problem = Problem(lambda z: z[1] * z[0] ** 2 / 2 + (z[1] - 22) ** 2 / 4, [0.1, 12.3])
    return iterate(SGD(0.1), problem, 4000).x


@chapter.claim(
    "gradient descent on (x²y² - 1)²/4 from a sharp start: 2/η minus the final sharpness, over η",
    "X. Zhu et al., Understanding edge-of-stability training dynamics with a minimalist example, "
    "ICLR (2023)",
    0.47,
    bounds=(0.4, 0.55),
)
def minimalist_example():
    h = 0.1
    problem = Problem(lambda z: ((z[0] * z[1]) ** 2 - 1) ** 2 / 4, [3.5, 0.3])
    run = iterate(SGD(h), problem, 20_000, save_every=20_000)
    return float((2 / h - analysis.sharpness(problem, run.x[-1])) / h)
