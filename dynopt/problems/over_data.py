"""Losses over data: means over examples, and so the means of the losses over equal parts."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike
from jaxtyping import Array, PyTree

from ..checks import is_concrete, whole_number
from ..errors import InvalidValue, ProblemError
from .arrays import is_plain, number_array


class MeanLoss(eqx.Module):
    """f(x) = 1/n Σᵢ ℓ(x, example i), as a function of the position alone.

    - `loss`: called as `loss(x, data)`; it returns the mean of ℓ over however many examples `data`
      holds.
    - `data`: arrays with one common first axis, the n examples. New numbers in them compile
      nothing anew. Floats take the dtype of the position where they are used; whole numbers, such
      as labels, stay whole.

    What `loss` has beside its value, such as a function that predicts, the mean has, too.

    >>> mean = MeanLoss(lambda x, data: ((data - x) ** 2).mean(), jnp.array([0.0, 2.0, 4.0, 6.0]))
    >>> float(mean(3.0))
    5.0
    >>> [float(mean.part(3.0, i, 2)) for i in range(2)]  # over 0, 2 and over 4, 6; their mean is 5
    [5.0, 5.0]
    """

    loss: Callable[[Any, Any], Any]
    data: PyTree[Array]

    @property
    def examples(self) -> int:
        """n, the number of examples."""
        return jax.tree.leaves(self.data)[0].shape[0]

    def __call__(self, x):
        return self.over_all(self.loss, x)

    def __getattr__(self, name: str) -> Any:
        """What `loss` has beside its value, such as a function that predicts."""
        if name.startswith("_") or name in ("loss", "data"):  # not there while the object is made
            raise AttributeError(name)
        return getattr(self.loss, name)

    def value(self, x) -> Array:
        """What pictures show: the mean, or the number that is shown of a field over the data."""
        return self.over_all(getattr(self.loss, "value", self.loss), x)

    def over_all(self, function: Callable, x) -> Any:
        """A function of the position and the data, at all data."""
        return function(x, with_dtype_of(x, self.data))

    def part(self, x, i: ArrayLike, k):
        """The loss over the i-th of k equal parts of the data, in their order.

        The mean over all i is the loss.

        - `i`: counted from 0, and modulo k, so that it may be a step number; it may be traced.
        - `k`: a divisor of n.

        **Raises:** `InvalidValue` if k does not divide n.
        """
        return self.over_part(self.loss, x, i, k)

    def over_part(self, function: Callable, x, i: ArrayLike, k) -> Any:
        """A function of the position and the data, at the i-th of k equal parts of the data."""
        k = whole_number("k", k, least=1)
        if self.examples % k:
            raise InvalidValue(
                f"`k` is {k}, which does not divide the {self.examples} examples; use "
                f"{self._nearest_divisors(k)}."
            )
        size = self.examples // k
        begin = jnp.mod(i, k) * size
        part = jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, begin, size), self.data)
        return function(x, with_dtype_of(x, part))

    def _nearest_divisors(self, k: int) -> str:
        divisors = [d for d in range(1, self.examples + 1) if self.examples % d == 0]
        below, above = [d for d in divisors if d < k], [d for d in divisors if d > k]
        return " or ".join(str(d) for d in (*below[-1:], *above[:1]))


def as_data(data: Any) -> PyTree[Array]:
    """The examples as jax arrays of finite numbers, as many in each; lists of numbers are arrays.

    **Raises:** `InvalidType` if they are not real numbers; `InvalidValue` if there are none, or not
    as many in each array.
    """
    leaves, structure = jax.tree_util.tree_flatten_with_path(
        data, is_leaf=lambda value: type(value) is list and is_plain(value)
    )
    arrays = {}
    for path, leaf in leaves:
        name = "data" + jax.tree_util.keystr(path)
        arrays[f"`{name}`"] = number_array(name, leaf)
    for name, array in arrays.items():
        if np.ndim(array) == 0:
            raise InvalidValue(
                f"{name} is one number; pass an array whose first axis counts the examples."
            )
    if not arrays or any(np.size(array) == 0 for array in arrays.values()):
        raise InvalidValue("`data` is empty; pass arrays of at least one example.")
    (first_name, first), *others = arrays.items()
    for name, array in others:
        if len(array) != len(first):
            raise InvalidValue(
                f"{name} has {len(array)} examples but {first_name} has {len(first)}; pass arrays "
                "with as many rows each, one for each example."
            )
    return jax.tree.unflatten(structure, map(jnp.asarray, arrays.values()))


def must_be_mean(loss: MeanLoss, x0: PyTree, subject: str, epsilon: float) -> None:
    """Compare the loss over a few examples with the mean of the losses over their two halves.

    They are compared at the start and near it, because a start of zeros hides how the examples act
    on one another: predictions are then equal.

    - `subject`: what the message calls the loss, such as "the loss of fit".
    - `epsilon`: the machine epsilon with which the loss is computed.

    **Raises:** `ProblemError` if they differ, as they do for a sum, and for examples that act on
    one another: then the steps over parts of the data would not descend the loss over all of them.
    """
    half = max(1, min(loss.examples // 2, 32))
    sample = jax.tree.map(lambda leaf: leaf[jnp.arange(2 * half) % loss.examples], loss.data)
    for position in (x0, _moved(x0)):
        _must_be_mean_at(position, MeanLoss(loss.loss, sample), 2 * half, subject, epsilon)


def _moved(x0: PyTree) -> PyTree:
    """A position whose distance from the start is a tenth of 1 + |coordinate|, up and down."""
    draw = np.random.default_rng(0).normal

    def moved(leaf):
        size = 1 + abs(leaf if isinstance(leaf, Tracer) else np.asarray(leaf))
        return jnp.asarray(leaf + (0.1 * size * draw(size=leaf.shape)).astype(leaf.dtype))

    return jax.tree.map(moved, x0)


def _must_be_mean_at(x: PyTree, small: MeanLoss, number: int, subject: str, epsilon: float) -> None:
    values = _whole_and_halves(small, x)
    if not is_concrete(values):
        return
    values = np.stack([_in_one_row(value) for value in values])
    if not np.isfinite(values).all():
        return
    worst = np.abs(values[0] - (values[1] + values[2]) / 2).argmax()  # a field has coordinates
    whole, parts = values[0, worst], values[1:, worst].mean()
    tolerance = np.sqrt(epsilon) * np.abs(values).max()
    if abs(whole - parts) > tolerance:
        twice = jax.tree.map(lambda leaf: jnp.concatenate([leaf, leaf]), small.data)
        of_twice = _in_one_row(MeanLoss(small.loss, twice)(x))[worst]
        is_sum = abs(of_twice - whole) > tolerance
        what, remedy = (
            ("", "divide it by their number, `.mean()` in place of `.sum()`")
            if is_sum
            else (
                ", which act on one another, as in batch normalisation or where shapes such as "
                "(n,) and (n, 1) broadcast",
                "compare the shapes, or pass it as a loss of x alone, "
                "dynopt.Problem(lambda x: loss(x, data), x0)",
            )
        )
        raise ProblemError(
            f"{subject} must be a mean over its examples{what}: over {number} of them it is "
            f"{whole:.4g}, but the mean over their halves is {parts:.4g}; {remedy}."
        )


@eqx.filter_jit
def _whole_and_halves(loss: MeanLoss, x: PyTree) -> tuple[Any, Any, Any]:
    return loss(x), loss.part(x, 0, 2), loss.part(x, 1, 2)


def _in_one_row(tree: PyTree) -> np.ndarray:
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)]).astype(float)


def with_dtype_of(x: PyTree, data: PyTree[Array]) -> PyTree[Array]:
    """Floats in the dtype of the position, so that a position in float32 keeps it."""
    dtype = jnp.result_type(*jax.tree.leaves(x))
    if not jnp.issubdtype(dtype, jnp.floating):
        return data
    return jax.tree.map(
        lambda a: a.astype(dtype) if jnp.issubdtype(a.dtype, jnp.floating) else a, data
    )
