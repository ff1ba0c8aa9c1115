"""The extragradient method: the gradient is taken where one step would lead."""

from ...errors import InvalidValue
from ..base import AbstractOptimizer
from ..gradient import BatchGradient
from .base import AbstractWrapper, must_be_wrappable


class Extragradient(AbstractWrapper):
    """The extragradient method takes each step with the gradient at the point it would lead to.

    The map, for the step Φ of the inner optimizer; the first step only looks ahead, and the memory
    keeps nothing of it:

        x̂ = Φ(xₖ)
        xₖ₊₁ = Φ(xₖ) with ∇f(x + x̂ - xₖ) in place of every ∇f(x), so ∇f(x̂) at xₖ itself

    The flow is that of the inner optimizer, because x̂ tends to xₖ as h → 0:

        y′ = F(y)

    The time step: it is that of the inner optimizer, and the global error is O(h), or of the inner
    order where that is lower, because looking ahead is a correction of order h.
    Around gradient descent the modified flow is F + (h/2) DF F, where that of gradient descent
    itself is F - (h/2) DF F: the method damps the rotation of a game that gradient descent drives.
    On the game min over a, max over b of s a b it multiplies |x| by √(1 - s²h² + s⁴h⁴) in each
    step, which is below 1 if s h < 1. To leading order it is the implicit method of Euler.

    Lyapunov function: it is that of the inner optimizer.

    Elsewhere: no transformation of optax does this, because it asks for two gradients. One that
    uses the gradient of the step before in place of the second is `Optimistic`.

    Arguments:

    - `optimizer`: the inner optimizer, whose memory must hold no positions.

    **Raises:** `InvalidValue` if the memory of `optimizer` holds a position.

    >>> from dynopt import SGD, iterate, problems
    >>> game = problems.bilinear()
    >>> size = iterate(Extragradient(SGD(0.5)), game, 20).loss  # |g|, which is |x| here
    >>> print(f"{size[1] / size[0]:.4f}, {(1 - 0.5**2 + 0.5**4) ** 0.5:.4f}")
    0.9014, 0.9014

    Source: G. M. Korpelevich, "The extragradient method for finding saddle points and other
    problems" (1976).
    """

    optimizer: AbstractOptimizer

    def __init__(self, optimizer):
        must_be_wrappable(optimizer)
        if optimizer.positions != ("x",):
            raise InvalidValue(
                f"the extragradient method takes every gradient at the next `x`, but {optimizer!r} "
                f"takes its gradients at other positions, as at `{optimizer.positions[1]}`; wrap "
                "an optimizer whose memory holds no position, such as dynopt.SGD(0.1)."
            )
        self.optimizer = optimizer

    @property
    def regularity(self):
        inner = self.optimizer.regularity
        return inner._replace(order=min(inner.order, 1.0))

    evaluations = property(lambda self: 2 * self.optimizer.evaluations)

    def wrap_step(self, step, t, y, grad):
        ahead = step(t, y, grad).x
        grad = grad if isinstance(grad, BatchGradient) else BatchGradient(grad)
        return step(t, y, grad.taken_at(lambda x: ahead + (x - y.x)))

    def vector_field(self, t, y, grad):
        return self.optimizer.vector_field(t, y, grad)

    def lyapunov(self, t, y, loss):
        return self.optimizer.lyapunov(t, y, loss)
