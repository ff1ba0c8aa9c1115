"""Two players: the GAN of Dirac distributions."""

import jax
import jax.numpy as jnp
import numpy as np

from dynopt import SGD, Problem, WithGradient, iterate

from .claim import Chapter

chapter = Chapter()
CONVERGE = (
    "L. Mescheder, A. Geiger, S. Nowozin, Which training methods for GANs do actually converge?, "
    "ICML (2018)"
)
START = np.array([1.0, 1.0])


def players(h):
    """Simultaneous descent of the first coordinate and ascent of the second."""
    return WithGradient(SGD(h), lambda g: g * jnp.array([1.0, -1.0]))


def gan(regularizer):
    """What the first coordinate minimizes and the second maximizes."""
    return Problem(lambda x: -jnp.log1p(jnp.exp(-x[0] * x[1])) - regularizer(x), START)


def eigenvalues(regularizer):
    """Those of the players' vector field at their equilibrium, 0."""
    optimizer, grad = players(0.01), jax.grad(gan(regularizer).loss)

    def velocity(x):
        return optimizer.vector_field(0.0, optimizer.init(x, grad), grad).x

    return jnp.linalg.eigvals(jax.jacfwd(velocity)(jnp.zeros(2)))


@chapter.claim(
    "Dirac-GAN: the imaginary part of the eigenvalues, whose real part is 0",
    CONVERGE,
    0.5,
    within=1e-12,
)
def without_regularizer():
    found = eigenvalues(lambda x: 0.0)
    assert jnp.abs(found.real).max() < 1e-12
    return float(found.imag.max())


def slowest_rate(gamma):
    return float(eigenvalues(lambda x: gamma / 2 * x[1] ** 2).real.max())


R1 = CONVERGE + ", with f′(0) = 1/2"


@chapter.claim("Dirac-GAN with R1: the rate at γ = 0.1, -γ/2", R1, -0.05, within=1e-12)
def weak_regularizer():
    return slowest_rate(0.1)


@chapter.claim("Dirac-GAN with R1: the rate at the critical γ = 1", R1, -0.5, within=1e-7)
def critical_regularizer():
    return slowest_rate(1.0)


@chapter.claim("Dirac-GAN with R1: the rate at γ = 2", R1, -1 + np.sqrt(3) / 2, within=1e-12)
def strong_regularizer():
    return slowest_rate(2.0)


@chapter.claim(
    "Dirac-GAN: growth of |x|² under simultaneous descent, over Π(1 + h² f′²)",
    CONVERGE,
    1.0,
    within=1e-10,
)
def simultaneous_descent():
    h = 0.1
    x = iterate(players(h), gan(lambda x: 0.0), 500).x
    slope = jax.nn.sigmoid(-x[:-1, 0] * x[:-1, 1])
    growth = jnp.sum(x[-1] ** 2) / jnp.sum(x[0] ** 2)
    return float(growth / jnp.prod(1 + h**2 * slope**2))


@chapter.claim(
    "Wasserstein GAN with gradient penalty: the generator's amplitude at the end of 40000 steps",
    CONVERGE,
    0.42,
    within=0.005,
)
def gradient_penalty():
    problem = Problem(lambda x: x[0] * x[1] - (jnp.abs(x[1]) - 0.3) ** 2 / 2, START)
    x = iterate(players(0.01), problem, 40_000).x
    return float(jnp.abs(x[-4000:, 0]).max())
