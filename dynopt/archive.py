"""A trajectory as one `.npz`: arrays and a JSON header, no pickle; the same run gives the same bytes."""

import io
import json
from collections import namedtuple
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import PyTree

from . import optimizers
from .errors import CorruptFile

ARRAYS = ("t", "loss", "grad_norm", "result")
WORDS = ("kind", "optimizer", "problem")


def pack(trajectory: Any) -> bytes:
    """The bytes of one trajectory."""
    example = trajectory.unravel(trajectory.y.x.reshape(-1, trajectory.y.x.shape[-1])[0])
    words = {k: v for k, v in trajectory.stats.items() if isinstance(v, str)}
    header = {"format": 1, "state": [type(trajectory.y).__name__, *trajectory.y._fields], "stats": words}
    header |= {"position": _described(example)} | {name: getattr(trajectory, name) for name in WORDS}
    arrays = {name: getattr(trajectory, name) for name in ARRAYS}
    arrays |= {f"y.{name}": value for name, value in trajectory.y._asdict().items()}
    arrays |= {f"stats.{k}": v for k, v in trajectory.stats.items() if k not in words}
    return npz({"header": json.dumps(header)} | arrays)


def npz(arrays: dict[str, Any]) -> bytes:
    """Named arrays as the bytes of an uncompressed `.npz`."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **{name: np.asarray(value) for name, value in arrays.items()})
    return buffer.getvalue()


def unpack(path: str | Path) -> dict[str, Any]:
    """The fields of the trajectory in a file.

    **Raises:** `CorruptFile` if the file is damaged or something else; `FileNotFoundError` if it is not there.
    """
    try:
        with open(path, "rb") as file:
            saved = dict(np.load(file, allow_pickle=False))
        header = json.loads(str(saved.pop("header")))
        arrays = {k: jnp.asarray(v) for k, v in saved.items()}
        name, *fields = header["state"]
        state = getattr(optimizers, name, None) or namedtuple(name, fields)
        return {
            "y": state(*(arrays[f"y.{field}"] for field in fields)),
            "stats": {k[6:]: v for k, v in arrays.items() if k.startswith("stats.")} | header["stats"],
            "unravel": ravel_pytree(_rebuilt(header["position"]))[1],
            **{name: arrays[name] for name in ARRAYS},
            **{name: header[name] for name in WORDS},
        }
    except FileNotFoundError:
        raise
    except Exception as error:
        reason = type(error).__name__
        raise CorruptFile(f"{str(path)!r} is not a whole trajectory ({reason}); run again and save it anew.") from error


def _described(tree: PyTree) -> Any:
    """The containers of a position as JSON."""
    if isinstance(tree, jax.Array):
        return {"array": [tree.shape, str(tree.dtype)]}
    if isinstance(tree, dict) and all(isinstance(key, str) for key in tree):
        return {"dict": {key: _described(value) for key, value in tree.items()}}
    if type(tree) in (list, tuple):
        return {type(tree).__name__: [_described(value) for value in tree]}
    return _described(jax.tree.leaves(tree))


def _rebuilt(description: Any) -> PyTree:
    ((kind, inside),) = description.items()
    if kind == "array":
        return np.zeros(inside[0], inside[1])
    if kind == "dict":
        return {key: _rebuilt(value) for key, value in inside.items()}
    return {"list": list, "tuple": tuple}[kind](_rebuilt(value) for value in inside)
