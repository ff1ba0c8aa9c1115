"""Optimizers and problems as JSON and arrays, from which they are made again by name."""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .. import derivations, optimizers, problems
from ..optimizers import AbstractOptimizer
from ..problems import Game, Problem
from ..problems.digits_network import CONSTRAINTS
from ..problems.dirac_gan import KINDS
from ..problems.sentences import LOSSES
from .batches import is_key, make_batch
from .setup import Unrestored

OPTIMIZERS = {
    name: kind
    for package in (optimizers, derivations)
    for name, kind in vars(package).items()
    if isinstance(kind, type) and issubclass(kind, AbstractOptimizer)
}
VARIANTS: dict[str, Callable[[], Problem]] = {
    f"{make.__name__}_{kind}": partial(make, kind)
    for make, kinds in (
        (problems.dirac_gan, KINDS),
        (problems.digits_network, CONSTRAINTS),
        (problems.sentence_similarity, LOSSES),
    )
    for kind in kinds
} | {
    "spectral_shrinkage_exact": partial(problems.spectral_shrinkage, smooth=None),
    "entity_linking_all": partial(problems.entity_linking, learn="all"),
    "entity_linking_within_names": partial(problems.entity_linking, "entities"),
    "entity_linking_within_names_all": partial(problems.entity_linking, "entities", "all"),
}
PROBLEMS = problems.catalogue | problems.games | VARIANTS  # by the beginnings of their names
CONTAINERS = {"list": list, "tuple": tuple}
FIELDS = ("x0", "name", "minimizers", "minimum", "window", "source")  # of a problem, but its loss


def describe(value: Any, text: str, name: str, arrays: dict[str, Any]) -> dict[str, Any]:
    """An optimizer or a problem as its text and, if it can be made again, as its parts.

    Arrays among the parts go into `arrays`, under names that begin with `name`.
    """
    # An optimizer that stores 1 - b1 as h/tau1 gives back 0.9 to one ulp only. Twelve digits are
    # what was typed, as a rule. If they do not make the same optimizer again, all digits do.
    for digits, rtol in ((12, 0.0), (17, 1e-6)):
        new_arrays: dict[str, Any] = {}
        try:
            parts = encode(value, name, new_arrays, digits)
            again = _make(parts, {key: jnp.asarray(array) for key, array in new_arrays.items()})
        except Exception:  # a file cannot hold it
            break
        if _equal(again, value, rtol):
            arrays |= new_arrays
            return {"text": text, "parts": parts}
    return {"text": text}


def restore(description: dict[str, Any], kind: type, arrays: dict[str, Any]) -> Any:
    """The optimizer or the problem that `describe` was given, or its text as `Unrestored`."""
    try:
        value = _make(description["parts"], arrays)
        if isinstance(value, kind):
            return value
    except Exception:  # there are no parts, or this version of dynopt asks for others
        pass
    return Unrestored(str(description["text"]))


def _make(parts: Any, arrays: dict[str, Any]) -> Any:
    with warnings.catch_warnings():  # its author has heard them
        warnings.simplefilter("ignore")
        return decode(parts, arrays)


def encode(value: Any, name: str, arrays: dict[str, Any], digits: int = 17) -> Any:
    """A tree as JSON; its arrays go into `arrays`, under names that begin with `name`.

    **Raises:** `TypeError` for what no file holds, such as a function.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return float(f"{value:.{digits}g}")
    if is_key(value):
        raise TypeError("random keys cannot be saved")
    if isinstance(value, jax.Array | np.ndarray):
        arrays[name] = _round(value, digits)
        return {"array": name}
    if type(value) is OPTIMIZERS.get(type(value).__name__):
        kind, inside = type(value).__name__, value.hyperparameters()
    elif isinstance(value, Problem):
        kind, inside = "problem", _changes(value)
    elif type(value) in (dict, list, tuple):
        kind, inside = type(value).__name__, value
    elif jax.tree_util.all_leaves([value]):
        raise TypeError(f"{value!r} cannot be saved")
    else:
        kind, inside = "list", jax.tree.leaves(value)
    if isinstance(inside, dict):
        return {kind: {k: encode(v, f"{name}.{k}", arrays, digits) for k, v in inside.items()}}
    return {kind: [encode(v, f"{name}.{i}", arrays, digits) for i, v in enumerate(inside)]}


def decode(parts: Any, arrays: dict[str, Any]) -> Any:
    """What `encode` was given."""
    if not isinstance(parts, dict):
        return parts
    ((kind, inside),) = parts.items()
    if kind == "array":
        return arrays[inside]
    if not isinstance(inside, dict):
        return CONTAINERS[kind](decode(value, arrays) for value in inside)
    named = {key: decode(value, arrays) for key, value in inside.items()}
    if kind in OPTIMIZERS:
        return make_batch(OPTIMIZERS[kind], named)
    return _changed(**named) if kind == "problem" else named


def _changes(problem: Problem) -> dict[str, Any]:
    """In what a problem differs from the one of the catalogue with which its name begins."""
    key = max(filter(problem.name.startswith, PROBLEMS), key=len)
    default = PROBLEMS[key]()
    leaves = jax.tree.leaves(problem.loss)
    pairs = enumerate(zip(leaves, jax.tree.leaves(default.loss), strict=True))
    loss = {str(i): leaf for i, (leaf, other) in pairs if not _equal(leaf, other)}
    fields = {field: getattr(problem, field) for field in FIELDS}
    fields = {k: v for k, v in fields.items() if not _equal(v, getattr(default, k))}
    return {"catalogue": key, "loss": loss} | fields


def _changed(catalogue: str, loss: dict[str, Any], **fields: Any) -> Problem:
    default = PROBLEMS[catalogue]()
    leaves, structure = jax.tree.flatten(default.loss)
    leaves = [loss.get(str(i), leaf) for i, leaf in enumerate(leaves)]
    fields = {field: getattr(default, field) for field in FIELDS} | fields
    loss = jax.tree.unflatten(structure, leaves)
    if isinstance(default, Game):
        del fields["minimum"]
        return Game(loss, equilibria=fields.pop("minimizers"), **fields)
    return Problem(loss, **fields)


def _round(array: Any, digits: int) -> Any:
    """An array of floats, each rounded to so many digits."""
    if digits == 17 or not jnp.issubdtype(array.dtype, jnp.floating):
        return array
    rounded = [float(f"{float(number):.{digits}g}") for number in np.ravel(array)]
    return np.reshape(np.array(rounded, array.dtype), array.shape)


def _equal(a: Any, b: Any, rtol: float = 0.0) -> bool:
    a, b = jax.tree.map(lambda v: np.float64(v) if isinstance(v, float) else v, (a, b))
    return bool(eqx.tree_equal(a, b, rtol=rtol))
