"""A trajectory as one `.npz` file: arrays, and a header in JSON."""

import io
import json
from collections import namedtuple
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from .. import optimizers
from ..errors import CorruptFile
from ..problems import Problem
from .restore import decode, describe, encode, restore
from .setup import Kept, safe_repr

FORMAT = 2  # to be raised when what is written changes
ARRAYS = ("t", "loss", "grad_norm", "result")


def pack(trajectory: Any) -> bytes:
    """The bytes of one trajectory."""
    y, stats = trajectory.y, trajectory.stats
    names = {name: value for name, value in stats.items() if isinstance(value, str)}
    arrays = {name: getattr(trajectory, name) for name in ARRAYS}
    arrays |= {f"y.{name}": value for name, value in y._asdict().items()}
    arrays |= {f"stats.{name}": value for name, value in stats.items() if name not in names}
    optimizer, problem = trajectory.optimizer, trajectory.problem
    position = trajectory.unravel(y.x.reshape(-1, y.x.shape[-1])[0])
    header = {
        "format": FORMAT,
        "kind": trajectory.kind,
        "state": [type(y).__name__, *y._fields],
        "stats": names,
        "position": encode(position, "position", arrays),
        "optimizer": describe(optimizer, safe_repr(optimizer), "optimizer", arrays),
        "problem": describe(problem, problem.name, "problem", arrays),
    }
    dtypes = {name: np.asarray(value).dtype for name, value in arrays.items()}
    # numpy would store bfloat16 and its like as mere bytes.
    header["dtypes"] = {name: str(dtype) for name, dtype in dtypes.items() if dtype.kind == "V"}
    return npz({"header": json.dumps(header)} | arrays)


def npz(arrays: dict[str, Any]) -> bytes:
    """Named arrays as the bytes of an uncompressed `.npz` file."""
    buffer = io.BytesIO()
    arrays = {name: np.asarray(value) for name, value in arrays.items()}
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def unpack(path: str | Path) -> dict[str, Any]:
    """The fields of the trajectory in a file.

    **Raises:** `CorruptFile` if the file is damaged or something else; `OSError` if it cannot be
    read.
    """
    data = Path(path).read_bytes()
    try:
        saved = dict(np.load(io.BytesIO(data), allow_pickle=False))
        header = json.loads(str(saved.pop("header")))
        _must_be_trajectory(header, str(path))
        for name, dtype in header["dtypes"].items():
            saved[name] = saved[name].view(jnp.dtype(dtype))
        arrays = {name: jnp.asarray(value) for name, value in saved.items()}
        _, unravel = ravel_pytree(decode(header["position"], arrays))
        stats = {k.removeprefix("stats."): v for k, v in arrays.items() if k.startswith("stats.")}
        fields = {
            **{name: arrays[name] for name in ARRAYS},
            "y": _state(*header["state"], arrays=arrays),
            "stats": stats | header["stats"],
            "kind": header["kind"],
            "unravel": unravel,
            "setup": (
                Kept(restore(header["optimizer"], optimizers.AbstractOptimizer, arrays)),
                Kept(restore(header["problem"], Problem, arrays)),
            ),
        }
        _must_fit(fields)
        return fields
    except CorruptFile:
        raise
    except Exception as error:
        raise CorruptFile(
            f"{str(path)!r} is not a whole trajectory ({type(error).__name__}); run again and save "
            "it anew."
        ) from error


def _state(name: str, *fields: str, arrays: dict[str, Any]) -> Any:
    """The points of phase space, in the NamedTuple of their optimizer or in one of that name."""
    kind: Any = getattr(optimizers, name, None)
    if getattr(kind, "_fields", None) != fields:
        kind = namedtuple(name, fields)
    return kind(*(arrays[f"y.{field}"] for field in fields))


def _must_fit(fields: dict[str, Any]) -> None:
    """**Raises:** `ValueError` if the arrays are not those of one run."""
    x = fields["y"].x
    if any(fields[name].shape != x.shape[:-1] for name in ("t", "loss", "grad_norm")):
        raise ValueError("arrays of several lengths")
    jax.eval_shape(fields["unravel"], jax.ShapeDtypeStruct(x.shape[-1:], x.dtype))


def _must_be_trajectory(header: dict[str, Any], path: str) -> None:
    if "runs" in header:
        name = next(iter(header["runs"]), "problem.optimizer.map")
        raise CorruptFile(
            f"{path!r} holds all runs of a command, not one trajectory; read it with "
            f"numpy.load({path!r})['{name}.x']."
        )
    if header["format"] != FORMAT:
        newer = isinstance(header["format"], int) and header["format"] > FORMAT
        remedy = "install a newer dynopt" if newer else "run again and save it anew"
        raise CorruptFile(
            f"{path!r} is of format {header['format']!r}, and this dynopt reads {FORMAT}; {remedy}."
        )
