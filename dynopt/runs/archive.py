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

from .. import optimizers
from ..errors import CorruptFile

FORMAT = 1  # to be raised when what is written changes
ARRAYS = ("t", "loss", "grad_norm", "result")
WORDS = ("kind", "optimizer", "problem")


def pack(trajectory: Any) -> bytes:
    """The bytes of one trajectory."""
    example = trajectory.unravel(trajectory.y.x.reshape(-1, trajectory.y.x.shape[-1])[0])
    words = {k: v for k, v in trajectory.stats.items() if isinstance(v, str)}
    header = {
        "format": FORMAT,
        "state": [type(trajectory.y).__name__, *trajectory.y._fields],
        "stats": words,
    }
    header |= {"position": _described(example)} | {
        name: getattr(trajectory, name) for name in WORDS
    }
    arrays = {name: getattr(trajectory, name) for name in ARRAYS}
    arrays |= {f"y.{name}": value for name, value in trajectory.y._asdict().items()}
    arrays |= {f"stats.{k}": v for k, v in trajectory.stats.items() if k not in words}
    dtypes = {name: np.asarray(value).dtype for name, value in arrays.items()}
    foreign = {name: str(dtype) for name, dtype in dtypes.items() if dtype.kind == "V"}
    header |= (
        {"dtypes": foreign} if foreign else {}
    )  # bfloat16 and its like, which numpy would store as mere bytes
    return npz({"header": json.dumps(header)} | arrays)


def npz(arrays: dict[str, Any]) -> bytes:
    """Named arrays as the bytes of an uncompressed `.npz`."""
    buffer = io.BytesIO()
    np.savez(
        buffer, allow_pickle=False, **{name: np.asarray(value) for name, value in arrays.items()}
    )
    return buffer.getvalue()


def unpack(path: str | Path) -> dict[str, Any]:
    """The fields of the trajectory in a file.

    **Raises:** `CorruptFile` if the file is damaged or something else; `OSError` if it cannot be read.
    """
    data = Path(path).read_bytes()
    try:
        saved = dict(np.load(io.BytesIO(data), allow_pickle=False))
        header = json.loads(str(saved.pop("header")))
        _check(header, str(path))
        saved |= {
            name: saved[name].prepare_loss(jnp.dtype(dtype))
            for name, dtype in header.get("dtypes", {}).items()
        }
        arrays = {k: jnp.asarray(v) for k, v in saved.items()}
        name, *fields = header["state"]
        state = getattr(optimizers, name, None) or namedtuple(name, fields)
        position, unravel = ravel_pytree(_rebuilt(header["position"]))
        if (
            not arrays["t"].shape
            == arrays["loss"].shape
            == arrays["grad_norm"].shape
            == arrays["y.x"].shape[:-1]
        ):
            raise ValueError("arrays of several lengths")
        if position.shape != arrays["y.x"].shape[-1:]:
            raise ValueError("positions of another size")
        return {
            "y": state(*(arrays[f"y.{field}"] for field in fields)),
            "stats": {k[6:]: v for k, v in arrays.items() if k.startswith("stats.")}
            | header["stats"],
            "unravel": unravel,
            **{name: arrays[name] for name in ARRAYS},
            **{name: header[name] for name in WORDS},
        }
    except CorruptFile:
        raise
    except Exception as error:
        reason = type(error).__name__
        raise CorruptFile(
            f"{str(path)!r} is not a whole trajectory ({reason}); run again and save it anew."
        ) from error


def _check(header: dict[str, Any], path: str) -> None:
    if "runs" in header:
        name = next(iter(header["runs"]), "problem.optimizer.map")
        raise CorruptFile(
            f"{path!r} holds all runs of a command, not one trajectory; read it with numpy.load({path!r})['{name}.x']."
        )
    if header["format"] != FORMAT:
        raise CorruptFile(
            f"{path!r} is of format {header['format']!r}, and this dynopt reads {FORMAT}; install a newer dynopt."
        )


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
