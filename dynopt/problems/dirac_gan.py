"""The smallest GAN: a generator of one point mass against a discriminator with one weight."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..checks import positive
from ..errors import InvalidValue, unknown_name
from .game import Game
from .problem import source_in_docstring

PENALIZED = ("wgan_gp", "r1")  # kinds of which the discriminator has a penalty
KINDS = ("gan", "nsgan", "wgan", *PENALIZED)


class Generator(eqx.Module):
    """What the generator minimizes.

    - `kind`: a key of the table of `dirac_gan`.
    """

    kind: str = eqx.field(static=True)

    def __call__(self, x):
        product = x["theta"] * x["psi"]
        if self.kind == "nsgan":
            return -jax.nn.log_sigmoid(-product)
        return product if self.kind in ("wgan", "wgan_gp") else jax.nn.log_sigmoid(product)


class Discriminator(eqx.Module):
    """What the discriminator minimizes.

    - `kind`: a key of the table of `dirac_gan`.
    - `gamma`, `slope`: γ and g₀ of the penalty, where there is one.
    """

    kind: str = eqx.field(static=True)
    gamma: Array
    slope: Array

    def __call__(self, x):
        product, psi = x["theta"] * x["psi"], x["psi"]
        gamma, slope = (jnp.asarray(v, jnp.result_type(psi)) for v in (self.gamma, self.slope))
        loss = -product if self.kind in ("wgan", "wgan_gp") else -jax.nn.log_sigmoid(product)
        if self.kind == "r1":
            loss = loss + gamma / 2 * psi**2
        if self.kind == "wgan_gp":
            size = jnp.where(psi == 0, 0, jnp.abs(psi))  # of slope 0 at 0, between both sides
            loss = loss + gamma / 2 * (size - slope) ** 2
        return loss


def dirac_gan(kind="gan", gamma=None, slope=None) -> Game:
    """All real data are 0, the generator makes the number θ, and D(x) = ψ x discriminates them.

    With f(s) = -log(1 + e⁻ˢ), the log-probability of a logit s, the players minimize

        kind      generator, by θ   discriminator, by ψ            eigenvalues of x′ = -g(x) at 0
        gan       f(θψ)             -f(θψ)                         ± i/2
        nsgan     -f(-θψ)           -f(θψ)                         ± i/2
        wgan      θψ                -θψ                            ± i
        wgan_gp   θψ                -θψ + (γ/2) (|ψ| - g₀)²        none: the field jumps at ψ = 0
        r1        f(θψ)             -f(θψ) + (γ/2) ψ²              roots of s² + γ s + 1/4

    The equilibrium is (0, 0): the generator makes real data, and the discriminator cannot tell.
    Without a penalty the flow turns around it. Of gan and wgan it keeps |x|, while each step of
    simultaneous gradient descent multiplies |x|² by 1 + h² f′(θψ)², so that no learning rate
    converges. The penalty R1 on the gradient of D is friction: simultaneous gradient descent
    converges from nearby up to the learning rate 4γ if γ < 1. The penalty of wgan_gp drives |ψ| to
    g₀ and not to 0, and the players end in a cycle, whose size grows with g₀. Consensus
    optimization is no loss, but a change of the field: use `dynopt.Consensus` on the kind gan. A
    spectral norm needs a discriminator of two weights; with one, D(x) = ± x cannot learn.

    The coordinates of pictures are ψ and θ, in this order, because keys are sorted.

    - `kind`: a row of the table, "gan" by default: the losses of the first GAN. "nsgan" is the
      loss that does not saturate.
    - `gamma`: γ, the strength of the penalty, for "r1" and "wgan_gp"; 1 by default.
    - `slope`: g₀, the slope of D that "wgan_gp" asks for; 0.3 by default.

    **Raises:** `UnknownName` for another `kind`; `InvalidValue` for a number that is not positive,
    or that this kind does not have.

    >>> import numpy as np
    >>> from dynopt import SGD, iterate
    >>> x = iterate(SGD(0.2), dirac_gan(), 300).x
    >>> radius = np.hypot(x["theta"], x["psi"])
    >>> print(f"{radius[0]:.3f}, {radius[-1]:.3f}")
    1.118, 2.889

    Source: L. Mescheder, A. Geiger and S. Nowozin, "Which training methods for GANs do actually
    converge?" (2018), sections 2 and 3.
    """
    if kind not in KINDS:
        raise unknown_name("kind of dirac_gan", str(kind), KINDS)
    if gamma is not None and kind not in PENALIZED:
        raise InvalidValue(f"the kind {kind!r} has no penalty; leave `gamma` out, or use 'r1'.")
    if slope is not None and kind != "wgan_gp":
        raise InvalidValue(f"the kind {kind!r} has no `slope`; leave it out, or use 'wgan_gp'.")
    gamma = jnp.asarray(positive("gamma", 1.0 if gamma is None else gamma))
    slope = jnp.asarray(positive("slope", 0.3 if slope is None else slope))
    return Game(
        {"theta": Generator(kind), "psi": Discriminator(kind, gamma, slope)},
        {"theta": 1.0, "psi": 0.5},
        name="dirac_gan" if kind == "gan" else f"dirac_gan_{kind}",
        equilibria={"theta": 0.0, "psi": 0.0},
        window=((-2, 2), (-2, 2)),
        source=source_in_docstring(dirac_gan),
    )
