"""Langevin dynamics: noise that makes an optimizer sample from the Gibbs law."""

from ...checks import nonnegative
from ...errors import InvalidValue
from ..momentum import Momentum
from ..sgd import SGD
from .noise import as_key, must_take_noise
from .noisy import Noisy


class Langevin(Noisy):
    """Langevin dynamics sample from the Gibbs law with the density exp(-f/T)/Z.

    The map is that of the inner optimizer with ∇f + σ ξₖ in place of ∇f, where the ξₖ are
    independent standard normal vectors and

        σ² = 2 T/h        for SGD (the unadjusted Langevin algorithm)
        σ² = 2 a T/h      for Momentum with the friction a

    The flow:

        dx = -∇f dt + √(2T) dW                               overdamped, for SGD
        dx = p dt,  dp = -(a p + ∇f) dt + √(2 a T) dW        underdamped, for Momentum

    The Gibbs law is stationary for the flow; for the overdamped one it is exp(-f/T)/Z, and for the
    other one exp(-(f + |p|²/2)/T)/Z. The stationary law of the map differs from it by O(h).

    The time step: it is that of the inner optimizer. Refinement keeps the temperature T.

    Lyapunov function: none for one path; the free energy of the law of the state falls along the
    flow.

    Elsewhere: `diffrax.UnderdampedLangevinDriftTerm` with γ = a, u = T and the gradient of f/T
    belongs to the flow of Momentum. Samplers often write SGD with ∇f/T and the time step h T.

    Arguments:

    - `optimizer`: an `SGD` or a `Momentum`.
    - `temperature`: T, in the unit of the loss; at least 0. A path has derivatives with respect to
      T > 0 alone, as it depends on √T.
    - `key`: a seed, 0 by default, or a typed key of JAX.

    **Raises:** `InvalidValue` for other optimizers, and for a temperature that is negative or not
    finite; `InvalidType` for other keys.

    >>> Langevin(SGD(0.01), temperature=0.5)
    Langevin(SGD(learning_rate=0.01), temperature=0.5, key=0)
    >>> float(Langevin(SGD(0.01), temperature=0.5).sigma)
    10.0

    Source: G. Pavliotis, "Stochastic Processes and Applications: Diffusion Processes, the
    Fokker-Planck and Langevin Equations" (2014).
    """

    def __init__(self, optimizer, temperature, key=0):
        must_take_noise(optimizer)
        if type(optimizer) not in (SGD, Momentum):
            raise InvalidValue(
                f"Langevin dynamics are known for SGD and Momentum, got {optimizer!r}; pass one of "
                "these, or give another optimizer noise with dynopt.Noisy."
            )
        self.optimizer, self.root, self.unravel = optimizer, None, None
        self.scale = (2 * self.friction * nonnegative("temperature", temperature)) ** 0.5
        self.key = as_key(key)

    @property
    def friction(self):
        """a, by which the velocity decays; 1 for SGD, whose velocity is -∇f."""
        return getattr(self.optimizer, "friction", 1.0)

    temperature = property(lambda self: self.scale**2 / (2 * self.friction))
