"""Problems that own their field: what stands in place of the gradient need be no gradient.

Every optimizer asks for one thing, a function x ↦ g(x), and moves along -g. For a loss that is its
gradient. For players with losses of their own, and for a loss part of which is held, it is another
field, whose Jacobian is not symmetric.
"""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from ..errors import ProblemError
from .over_data import MeanLoss


class AbstractField(eqx.Module):
    """A field g that optimizers follow in place of a gradient, and a number that pictures show.

    Both take a position, or with data a position and the data. The field is a mean over the data,
    and so are the functions that it is made from. A call gives the number, but refuses to be
    differentiated in the position, since its gradient is not the field.
    """

    @abc.abstractmethod
    def field(self, x: PyTree, *data: Any) -> PyTree[Array]:
        """g(x), of the structure of x. Its derivatives are right, to any order."""

    @abc.abstractmethod
    def value(self, x: PyTree, *data: Any) -> Array:
        """What pictures show; its derivatives are those of this number."""

    @abc.abstractmethod
    def terms(self, name: str) -> dict[str, Callable]:
        """The functions of (x, *data) that the field is made from, by what messages call them.

        - `name`: that of the problem.
        """

    @abc.abstractmethod
    def completed(self, constants: PyTree) -> "AbstractField":
        """The same field for positions without their `constants`."""

    symbol = property(lambda self: "|g|", doc="What pictures call the value.")

    def __call__(self, x, *data):
        return _value(x, self, data)


@eqx.filter_custom_jvp
def _value(x, field, data):
    return field.value(x, *data)


@_value.def_jvp
def _value_jvp(primals, tangents):
    raise ProblemError(
        "the gradient of this `loss` is not the field that optimizers follow; use problem.field(x) "
        "for the field, or differentiate problem.loss.value for the number that pictures show."
    )


class FirstOrderField(AbstractField):
    """A field that refuses to be differentiated, since JAX would do it wrongly.

    - `inner`: the field.
    - `name`: the name of the problem, for the message.
    """

    inner: AbstractField
    name: str = eqx.field(static=True)

    symbol = property(lambda self: self.inner.symbol)

    def field(self, x, *data):
        return _field(x, self.inner, data, name=self.name)

    def value(self, x, *data):
        return self.inner.value(x, *data)

    def terms(self, name):
        return self.inner.terms(name)

    def completed(self, constants):
        return FirstOrderField(self.inner.completed(constants), self.name)


@eqx.filter_custom_jvp
def _field(x, field, data, *, name):
    return field.field(x, *data)


@_field.def_jvp
def _field_jvp(primals, tangents, *, name):
    raise ProblemError(
        f"the field of {name} cannot be differentiated, because it holds a jax.lax.stop_gradient, "
        "a rule or a callback through which JAX knows no right derivative of it; hold what shall "
        "be constant by dynopt.Held in place of jax.lax.stop_gradient."
    )


def own_field(loss: Any) -> AbstractField | None:
    """The field of a problem whose loss owns one; None for a loss whose gradient is followed."""
    inner = loss.loss if isinstance(loss, MeanLoss) else loss
    return inner if isinstance(inner, AbstractField) else None


def gradient(loss: Callable, x: PyTree) -> PyTree[Array]:
    """What optimizers follow: the field if the loss owns one, and its gradient otherwise."""
    own = own_field(loss)
    if own is None:
        return jax.grad(loss)(x)
    field = loss.over_all(own.field, x) if isinstance(loss, MeanLoss) else own.field(x)
    return jax.tree.map(lambda g, leaf: jnp.asarray(g, jnp.result_type(leaf)), field, x)


def partial_gradient(loss: Any, x: PyTree, i: Any, k: Any) -> PyTree[Array]:
    """`gradient` over the i-th of k equal parts of the data."""
    own = own_field(loss)
    return jax.grad(loss.part)(x, i, k) if own is None else loss.over_part(own.field, x, i, k)


def value(loss: Callable, x: PyTree) -> Any:
    """The loss, or the number that is shown of a field; its derivatives are honest."""
    return loss(x) if own_field(loss) is None else loss.value(x)  # pyright: ignore[reportFunctionMemberAccess]


def norm(tree: PyTree[Array]) -> Array:
    """|g| over all leaves, with the derivative 0 at 0."""
    square: Any = sum(jnp.vdot(leaf, leaf) for leaf in jax.tree.leaves(tree))
    return jnp.where(square == 0, 0, jnp.sqrt(jnp.where(square == 0, 1, square)))
