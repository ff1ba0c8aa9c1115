"""Batches of optimizers: one object with arrays where an optimizer has numbers."""

import itertools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from ..checks import is_concrete, tracing_fault
from ..errors import InvalidType, InvalidValue
from ..optimizers import AbstractOptimizer
from ..optimizers.base import hyperparameter_defaults
from ..problems.arrays import real_array


def grid(optimizer: Callable[..., Any], /, **hyperparameters: Any) -> Any:
    """A batch of optimizers with all combinations of the hyperparameters, for `dynopt.sweep`.

    A list or array of n numbers is an axis of length n. The axes have the order of the keywords.
    Everything else is the same for all optimizers of the batch.

    - `optimizer`: a class such as `dynopt.Momentum`, or a function of the keywords that returns an
      optimizer, such as a wrapper.

    **Raises:** `UnknownName` for a keyword that the class does not have; `InvalidValue` and
    `InvalidType` for values that it refuses.

    >>> from dynopt import SGD, Averaged, Momentum, problems, sweep
    >>> momenta = grid(Momentum, learning_rate=[0.001, 0.01], momentum=[0.0, 0.5, 0.9])
    >>> sweep(momenta, problems.booth(), 100)
    Sweep(Momentum on booth, 2 x 3 runs of 100 steps: 6 ok)
    >>> averaged = grid(lambda rate, tau: Averaged(SGD(rate), tau), rate=[0.01, 0.02], tau=[1, 2])
    >>> averaged.tau.shape
    (2, 2)
    """
    if not callable(optimizer):
        raise InvalidType(
            "`optimizer` must be a class such as dynopt.Momentum, or a function that returns an "
            f"optimizer, got {optimizer!r}; pass the class, and its hyperparameters by name."
        )
    for name, value in hyperparameters.items():
        if isinstance(value, AbstractOptimizer) and any(
            eqx.is_array(leaf) for leaf in jax.tree.leaves(eqx.filter(value, batched_leaves(value)))
        ):
            raise InvalidType(
                f"`{name}` is a batch of optimizers, got {value!r}; pass a function that makes one "
                "from numbers, such as lambda rate, tau: Averaged(SGD(rate), tau)."
            )
    axes = {
        name: _as_axis(name, value)
        for name, value in hyperparameters.items()
        if isinstance(value, list | tuple | range) or getattr(value, "ndim", 0)
    }
    if is_concrete(axes):  # below, the constructor cannot know the values
        for corner in itertools.product(*({v.min(), v.max()} for v in axes.values())):
            numbers = dict(zip(axes, map(float, corner), strict=True))
            optimizer(**(hyperparameters | numbers))
    arrays = jnp.meshgrid(*(jnp.asarray(v, float) for v in axes.values()), indexing="ij")
    try:
        batch = make_batch(optimizer, hyperparameters | dict(zip(axes, arrays, strict=True)))
    except Exception as error:
        fault, remedy = tracing_fault(error, "a hyperparameter") or (None, None)
        if fault is None:
            raise
        raise InvalidType(
            f"`optimizer` {fault}, but a grid makes all its optimizers at once; {remedy}."
        ) from error
    if not isinstance(batch, AbstractOptimizer):
        raise InvalidType(
            f"`optimizer` must return an optimizer of dynopt, got {batch!r}; return for example "
            "dynopt.SGD(rate)."
        )
    return batch


def _as_axis(name: str, value: Any) -> Any:
    if not is_concrete(value):  # of a list whose numbers are traced, JAX alone makes an array
        value = jnp.asarray(value)
    numbers = real_array(name, value)
    if numbers.ndim != 1 or numbers.size == 0:
        raise InvalidValue(
            f"`{name}` has shape {numbers.shape}; pass one number, or a list of numbers for an "
            "axis of the grid."
        )
    return numbers


def make_batch(make: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    """`make(**arguments)` for every element of the arrays among the arguments."""

    def is_batch(leaf: Any) -> bool:
        return eqx.is_array(leaf) and leaf.ndim > 0

    def make_one(arguments: dict[str, Any]) -> Any:
        return make(**arguments)

    make_all, arrays = make_one, filter(is_batch, jax.tree.leaves(arguments))
    for _ in range(max((array.ndim for array in arrays), default=0)):
        make_all = eqx.filter_vmap(make_all, in_axes=lambda leaf: 0 if is_batch(leaf) else None)
    return make_all(arguments)


def is_key(leaf: Any) -> bool:
    """Whether the leaf is an array of typed random keys."""
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def batched_leaves(optimizer: AbstractOptimizer) -> PyTree:
    """Which leaves hold one value per optimizer of a batch, as a tree of True and False.

    These are the numbers of shape `(batch)` in place of `()`, and arrays of random keys. Arrays
    inside a user's function, such as a mask in a transform, are the same for all optimizers.
    """

    def is_batch_of_keys(leaf: Any) -> bool:
        return is_key(leaf) and leaf.ndim > 0

    def is_batched(value: Any) -> Any:
        if callable(value):
            return is_batch_of_keys
        return is_batch_of_keys(value) or (eqx.is_inexact_array(value) and value.ndim > 0)

    return jax.tree.map(is_batched, optimizer, is_leaf=callable)


def must_be_single(optimizer: AbstractOptimizer) -> None:
    """**Raises:** `InvalidType` if the optimizer is a batch."""
    for leaf in jax.tree.leaves(eqx.filter(optimizer, batched_leaves(optimizer))):
        raise InvalidType(
            f"`optimizer` is a batch of {' x '.join(map(str, leaf.shape))} optimizers; run them "
            "all with dynopt.sweep, or one by one under equinox.filter_vmap."
        )


def must_be_buildable(optimizer: AbstractOptimizer) -> None:
    """Call the constructor with the smallest and the largest value of each hyperparameter.

    Under `equinox.filter_vmap`, which made the batch, the constructor could not know the values.

    **Raises:** what the constructor raises.
    """
    is_batch = jax.tree.leaves(eqx.filter(optimizer, batched_leaves(optimizer)))
    if not is_concrete(optimizer) or not is_batch:
        return
    with jax.ensure_compile_time_eval():
        hyperparameters = optimizer.hyperparameters()
    if hyperparameters.keys() != hyperparameter_defaults(type(optimizer)).keys():
        return  # it keeps something else than the arguments of its constructor, as Optax does
    for name, value in hyperparameters.items():
        if isinstance(value, AbstractOptimizer):
            must_be_buildable(value)
        elif is_key(value):
            hyperparameters[name] = value.ravel()[0]
    arrays = {k: np.asarray(v) for k, v in hyperparameters.items() if eqx.is_inexact_array(v)}
    shape = np.broadcast_shapes(*(array.shape for array in arrays.values()))
    arrays = {name: np.broadcast_to(array, shape).ravel() for name, array in arrays.items()}
    for array in arrays.values():
        for i in {int(np.argmin(array)), int(np.argmax(array))}:
            one = {name: _without_round_off(values[i]) for name, values in arrays.items()}
            type(optimizer)(**(hyperparameters | one))


def _without_round_off(number: np.floating) -> float:
    """A hyperparameter as a float; 0 if it is below 0 by the round-off of 1 - h/tau."""
    round_off = 8 * float(jnp.finfo(number.dtype).eps)
    return 0.0 if -round_off < number < 0 else float(number)
