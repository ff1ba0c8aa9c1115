"""The optimizer and the problem of a run, as a part of a result that transformations can return."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PyTree

from ..checks import is_concrete
from ..optimizers import AbstractOptimizer, Minibatch
from ..optimizers.gradient import BatchGradient
from ..optimizers.wrappers.noise import replace_noise
from ..problems import Problem

SHORT = 256  # arrays of so many numbers are compared by value, longer ones by identity
BOWL_GRADIENT = BatchGradient(lambda x: x, loss=lambda x: jnp.vdot(x, x) / 2)


@dataclass(frozen=True)
class Unrestored:
    """A text in place of an optimizer or a problem that could not be kept.

    A file keeps no classes and no functions of its author. A result that leaves a transformation
    keeps no function that closes over a traced value.

    >>> Unrestored("Mine(learning_rate=0.1)")
    Mine(learning_rate=0.1)
    """

    text: str

    name = property(lambda self: self.text)

    def __repr__(self) -> str:
        return self.text


class Kept(eqx.Module):
    """An optimizer or a problem that `jax.jit`, `jax.vmap` and `jax.grad` may return.

    The numbers that a transformation traces are leaves, so that a batch of optimizers comes back
    as a batch. Everything else is static: functions and names are no JAX types, and data that all
    runs of a batch share are not copied once per run.
    """

    traced: list[Any]
    static: "_Static" = eqx.field(static=True)

    def __init__(self, tree: PyTree):
        leaves, structure = jax.tree.flatten(tree)
        self.traced = [leaf for leaf in leaves if isinstance(leaf, Tracer)]
        leaves = [_Traced if isinstance(leaf, Tracer) else leaf for leaf in leaves]
        self.static = _Static(leaves, structure, None if self.traced else tree)

    @property
    def tree(self) -> Any:
        """What was kept; the same object if nothing of it was traced."""
        if not self.traced:
            return self.static.tree
        traced = iter(self.traced)
        leaves = [next(traced) if leaf is _Traced else leaf for leaf in self.static.leaves]
        return jax.tree.unflatten(self.static.structure, leaves)


class _Traced:
    """The mark in the place of a traced leaf."""


class _Static:
    """A tree without its traced leaves.

    Two are equal if they hold the same objects, numbers and short arrays, so that runs on a
    problem that is made twice, or loaded twice, can be stacked.
    """

    def __init__(self, leaves: list[Any], structure: Any, tree: PyTree):
        self.leaves, self.structure, self.tree = leaves, structure, tree
        self.key = tuple(map(_key, leaves))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Static):
            return False
        return self.key == other.key and self.structure == other.structure

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:  # the errors of JAX print it, such as that of `jax.lax.cond`
        return "another optimizer or problem" if self.tree is None else safe_repr(self.tree)

    def __reduce__(self):  # a structure of JAX is no pickle, and a copy has objects of its own
        is_whole = self.tree is not None
        tree = self.tree if is_whole else jax.tree.unflatten(self.structure, self.leaves)
        return _make_static, (tree, is_whole)


def _key(leaf: Any) -> Any:
    if isinstance(leaf, np.ndarray) and leaf.size <= SHORT and not leaf.dtype.hasobject:
        return leaf.dtype.str, leaf.shape, leaf.tobytes()
    return leaf if isinstance(leaf, bool | int | float) else id(leaf)


def _make_static(tree: PyTree, is_whole: bool) -> _Static:
    return _Static(*jax.tree.flatten(tree), tree if is_whole else None)


Setup = tuple[Kept, Kept]  # the optimizer and the problem of a run


def keep_setup(
    optimizer: AbstractOptimizer,
    problem: Problem,
    advance: Callable[[AbstractOptimizer, Array], Any],
    fitted: AbstractOptimizer,
    x0: PyTree,
    outcome: PyTree,
) -> Setup:
    """The optimizer and the problem of a run, as far as they outlive its transformations.

    - `advance`: what the run does, `first_step` or `first_velocity`.
    - `fitted`: the optimizer for positions like `x0`.
    - `outcome`: the arrays that the run returned.
    """
    if is_concrete(outcome):
        return Kept(optimizer), Kept(problem)
    vector, _ = ravel_pytree(x0)
    dies = _closes_over_traced_values(advance, fitted, vector)
    kept_optimizer = Kept(Unrestored(safe_repr(optimizer)) if dies else optimizer)
    dies = _closes_over_traced_values(problem.loss, x0)
    return kept_optimizer, Kept(Unrestored(problem.name) if dies else problem)


def first_step(optimizer: AbstractOptimizer, x: Array) -> Any:
    """The point of phase space after one step of the map, with the gradient g(x) = x."""
    # That gradient knows no examples, of which minibatches are drawn.
    optimizer = replace_noise(optimizer, lambda n: n.optimizer if isinstance(n, Minibatch) else n)
    return optimizer.step(0 * optimizer.h, optimizer.init(x, BOWL_GRADIENT), BOWL_GRADIENT)


def first_velocity(optimizer: AbstractOptimizer, x: Array) -> Any:
    """The vector field at the start, with the gradient g(x) = x."""
    return optimizer.vector_field(
        0 * optimizer.h, optimizer.init_flow(x, BOWL_GRADIENT), BOWL_GRADIENT
    )


def _closes_over_traced_values(function: Callable, *arguments: Any) -> bool:
    """Whether a call uses a traced value that is no leaf of the function or of its arguments."""
    arrays, static = eqx.partition((function, arguments), eqx.is_array)

    def call(arrays):
        function, arguments = eqx.combine(arrays, static)
        return function(*arguments)

    return not is_concrete(jax.make_jaxpr(call)(arrays).consts)


def safe_repr(value: Any) -> str:
    """The text of anything, even if its own `__repr__` fails."""
    try:
        return repr(value)
    except Exception:
        return f"{type(value).__name__}(...)"
