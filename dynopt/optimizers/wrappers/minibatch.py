"""Minibatches: each step uses the gradient over a few examples, drawn at random."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from ...checks import Scalar, boolean, concrete_value, whole_number
from ...errors import InvalidValue
from ..base import AbstractOptimizer, replace_fields
from ..gradient import BatchGradient
from .noise import AbstractNoise, as_key, must_take_noise


class Minibatch(AbstractNoise):
    """Minibatches replace the gradient over n examples by that over b of them.

    The map, for the step Φ of the inner optimizer and the gradients ∇fᵢ of the n examples:

        yₖ₊₁ = Φ(yₖ) with (∇f_{i₁} + ... + ∇f_{i_b})/b in place of ∇f

    where the indices i are drawn anew for each step: independently if `replace`, or otherwise from
    a permutation of all examples, which is drawn anew for each epoch of n/b steps.

    The flow, with replacement, is the stochastic differential equation of `Noisy` with the
    covariance of the mean over a batch:

        dy = F(y, ∇f) dt + √h (∂F/∂g) S dW,    S Sᵀ = 1/(n b) Σᵢ (∇fᵢ - ∇f)(∇fᵢ - ∇f)ᵀ

    The columns of S are the centred gradients of the examples over √(n b). If the optimizer is not
    affine in the gradient, random batches are pushed through its vector field, see `Noisy`. Without
    replacement the noise of an epoch sums to nearly 0; it is no white noise, and no stochastic
    equation belongs to it.

    The time step: it is that of the inner optimizer. With replacement `refine(n)` keeps the
    temperature by variance amplification: a step uses (1 + r)/2 times the gradient over one batch
    and (1 - r)/2 times that over another, with r = √(2n - 1), which has the mean ∇f and n times
    the covariance. A time step may be at most twice as long. Without replacement the batches stay.

    Lyapunov function: none is known; the noise raises the loss again and again.

    Elsewhere: training loops mostly draw without replacement, and theorems about stochastic
    gradients mostly assume replacement.

    Arguments:

    - `optimizer`: the inner optimizer.
    - `size`: b, the number of examples in each batch; without replacement a divisor of n.
    - `key`: a seed, 0 by default, or a typed key of JAX. The same key gives the same run.
    - `replace`: whether an example may be drawn again before all others were; True by default.

    **Raises:** `InvalidValue` for a problem without data, for batches larger than the data or,
    without replacement, of a size that does not divide n, for a time step that is more than twice
    that of `size`, and for an optimizer that is noisy already; `InvalidType` for a size that is no
    whole number and for other keys.

    >>> from dynopt import SGD, Problem, iterate
    >>> Minibatch(SGD(0.1), 8)
    Minibatch(SGD(learning_rate=0.1), size=8, key=0, replace=True)
    >>> fit = Problem(lambda x, data: ((data - x) ** 2).mean() / 2, 0.0, data=[1.0, 2.0, 3.0])
    >>> run = iterate(Minibatch(SGD(1.0), 1, replace=False), fit, 3)
    >>> sorted(run.x[1:].tolist())  # with η = 1 each step jumps to an example
    [1.0, 2.0, 3.0]

    Source: for the refinement Z. Li, S. Malladi and S. Arora, "On the validity of modeling SGD with
    stochastic differential equations (SDEs)" (2021), section 4; for batches without replacement
    S. Smith, B. Dherin, D. Barrett and S. De, "On the origin of implicit regularization in
    stochastic gradient descent" (2021).
    """

    optimizer: AbstractOptimizer
    size: int = eqx.field(static=True)
    key: Key[Array, "..."]
    replace: bool = eqx.field(static=True)
    h0: Scalar | None  # the time step to which the size belongs; None if it is the own one

    def __init__(self, optimizer, size, key=0, replace=True):
        must_take_noise(optimizer)
        self.optimizer, self.size = optimizer, whole_number("size", size, least=1, like=8)
        self.key, self.replace, self.h0 = as_key(key), boolean("replace", replace), None

    @property
    def made_at(self):
        return self.h0

    is_white = property(lambda self: self.replace)

    @property
    def amplification(self):
        """By how much the covariance exceeds that of a batch mean, h₀/h."""
        return 1.0 if self.h0 is None else self.h0 / self.h

    def with_time_step(self, h):
        refined = super().with_time_step(h)
        if not self.replace:
            return refined
        h0 = self.h if self.h0 is None else self.h0
        before, now = concrete_value(h0), concrete_value(refined.h)
        if before is not None and now is not None and now > 2 * before * (1 + 1e-9):
            raise InvalidValue(
                f"the time step {now:g} is more than twice that of batches of {self.size}, "
                f"{before:g}; wrap the optimizer with this time step, "
                f"dynopt.Minibatch(optimizer, {self.size})."
            )
        return replace_fields(refined, h0=h0)

    def draw(self, key, k, x, grad):
        examples = self._examples(grad)
        if not self.replace:
            in_epoch = examples // self.size
            order = jax.random.permutation(jax.random.fold_in(self.key, k // in_epoch), examples)
            drawn = jax.lax.dynamic_slice_in_dim(order, k % in_epoch * self.size, self.size)
            return _over(drawn, grad, examples)
        if self.h0 is None:
            drawn = jax.random.randint(key, (self.size,), 0, examples)
            return _over(drawn, grad, examples)
        drawn = jax.random.randint(key, (2, self.size), 0, examples)
        r = jnp.sqrt(jnp.maximum(2 * self.amplification - 1, 0))
        first, second = (_over(row, grad, examples) for row in drawn)
        return BatchGradient(
            lambda x: (1 + r) / 2 * first(x) + (1 - r) / 2 * second(x),
            lambda x, i, k: (1 + r) / 2 * first.part(x, i, k) + (1 - r) / 2 * second.part(x, i, k),
        )

    def root_at(self, x, grad):
        examples = self._examples(grad)
        gradients = jax.lax.map(lambda i: grad.part(x, i, examples), jnp.arange(examples))
        factor = (self.amplification / (examples * self.size)) ** 0.5
        return factor * (gradients - gradients.mean(0, keepdims=True))

    def _examples(self, grad: Any) -> int:
        """n, the number of examples of a gradient."""
        examples = getattr(grad, "examples", None)
        if examples is None:
            raise InvalidValue(
                "minibatches need a problem over data, but this gradient knows no examples; make "
                "the problem with dynopt.Problem(loss, x0, data=...), and put Minibatch outside of "
                "wrappers that change or sum gradients, such as Accumulated."
            )
        if self.size > examples:
            raise InvalidValue(
                f"`size` is {self.size}, but the problem has {examples} examples; use a size of at "
                f"most {examples}."
            )
        if not self.replace and examples % self.size:
            raise InvalidValue(
                f"`size` is {self.size}, which does not divide the {examples} examples; use a "
                "divisor, or replace=True."
            )
        return examples


def _over(drawn: Array, grad: Any, examples: int) -> Any:
    """The gradient over the examples with these indices, and over equal parts of them."""

    def mean(x, indices):
        return jax.vmap(lambda i: grad.part(x, i, examples))(indices).mean(0)

    def part(x, i, k):
        k = whole_number("k", k, least=1)
        if len(drawn) % k:
            raise InvalidValue(
                f"`k` is {k}, which does not divide batches of {len(drawn)}; use a divisor."
            )
        size = len(drawn) // k
        return mean(x, jax.lax.dynamic_slice_in_dim(drawn, jnp.mod(i, k) * size, size))

    return BatchGradient(lambda x: mean(x, drawn), part)
