"""A trajectory as one `.npz` file: arrays, and a header in JSON."""

import json
from collections import namedtuple
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from .. import optimizers
from ..checks import is_concrete
from ..errors import CorruptFile, InvalidValue
from ..files import as_path
from ..optimizers import AbstractOptimizer
from ..problems import Problem
from . import npz
from .npz import Damage, must
from .prepare import MAX_BYTES, fit_to_start
from .restore import decode, describe, encode, restore
from .setup import Kept, first_step, safe_repr
from .status import Status

FORMAT = 2  # to be raised when what is written changes
LARGEST = 4 * MAX_BYTES  # bytes of a file: one array has MAX_BYTES, and three are no longer
ARRAYS = ("t", "loss", "grad_norm", "result")
STATS = {  # what is known of a run beside its arrays, and the kinds of numbers that it may be
    "map": {"first_bad_step": jnp.integer},
    "flow": {
        "first_bad_step": jnp.integer,
        "solver_steps": jnp.integer,
        "rtol": jnp.floating,
        "atol": jnp.floating,
    },
}
WITHOUT_BAD_STEP = (Status.ok, Status.stalled)


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
    return npz.pack({"header": json.dumps(header)} | arrays)


def unpack(path: str | Path) -> dict[str, Any]:
    """The fields of the trajectory in a file.

    **Raises:** `CorruptFile` if the file is damaged or something else; `InvalidValue` if it holds
    float64 and JAX is set to float32; `OSError` if it cannot be read.
    """
    data, name = _read(as_path(path)), repr(str(path))
    try:
        saved: Any = npz.unpack(data)
        header = json.loads(str(saved.pop("header")))
        _must_be_trajectory(header, name)
        for member, dtype in header["dtypes"].items():
            must(saved[member].dtype.kind == "V", f"`{member}` is of another type than it says")
            saved[member] = saved[member].view(jnp.dtype(dtype))
        _must_keep_precision(saved, name)
        arrays = {member: jnp.asarray(value) for member, value in saved.items()}
        position, unravel = ravel_pytree(decode(header["position"], arrays))
        is_one = (
            position.shape == arrays["y.x"].shape[-1:] and position.dtype == arrays["y.x"].dtype
        )
        must(is_one, "its positions have another form")
        stats = {k.removeprefix("stats."): v for k, v in arrays.items() if k.startswith("stats.")}
        fields = {
            **{member: arrays[member] for member in ARRAYS},
            "y": _state(*header["state"], arrays=arrays),
            "stats": stats | header["stats"],
            "kind": header["kind"],
            "unravel": unravel,
            "setup": (
                Kept(restore(header["optimizer"], AbstractOptimizer, arrays)),
                Kept(restore(header["problem"], Problem, arrays)),
            ),
        }
        _must_be_one_run(fields)
        return fields
    except (CorruptFile, InvalidValue):
        raise
    except Exception as error:
        reason = str(error) if isinstance(error, Damage) else type(error).__name__
        raise CorruptFile(
            f"{name} is not a whole trajectory ({reason}); run again and save it anew."
        ) from error


def _read(path: Path) -> bytes:
    """**Raises:** `CorruptFile` for a pipe or a device, and for more bytes than any run has."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise CorruptFile(f"{str(path)!r} is no ordinary file; name one that `save` wrote.")
    size = path.stat().st_size
    if size > LARGEST:
        raise CorruptFile(
            f"{str(path)!r} has {size / 2**30:.0f} GiB, more than the {LARGEST >> 30} of the "
            "longest run; name a file that `save` wrote."
        )
    return path.read_bytes()


def is_header(data: bytes, key: str) -> bool:
    """Whether these are the bytes of an `.npz` file whose `header` is JSON with this key."""
    try:
        return key in json.loads(str(npz.unpack(data)["header"]))
    except Exception:
        return False


def _state(name: str, *fields: str, arrays: dict[str, Any]) -> Any:
    """The points of phase space, in the NamedTuple of their optimizer or in one of that name."""
    kind: Any = getattr(optimizers, name, None)
    if getattr(kind, "_fields", None) != fields:
        kind = namedtuple(name, fields)
    return kind(*(arrays[f"y.{field}"] for field in fields))


# --- the schema


def _must_be_trajectory(header: Any, name: str) -> None:
    if "runs" in header:
        run = next(iter(header["runs"]), "problem.optimizer.map")
        raise CorruptFile(
            f"{name} holds all runs of a command, not one trajectory; read it with "
            f"numpy.load({name})['{run}.x']."
        )
    if header["format"] != FORMAT:
        newer = isinstance(header["format"], int) and header["format"] > FORMAT
        remedy = "install a newer dynopt" if newer else "run again and save it anew"
        raise CorruptFile(
            f"{name} is of format {header['format']!r}, and this dynopt reads {FORMAT}; {remedy}."
        )
    must(header["kind"] in STATS, f"its kind is {header['kind']!r}")
    must(header["state"][1] == "x", "its points do not begin with a position")
    solvers = ("solver",) if header["kind"] == "flow" else ()
    texts = header["stats"]
    is_named = tuple(texts) == solvers and all(isinstance(text, str) for text in texts.values())
    must(is_named, "its solver is not named")


def _must_keep_precision(saved: dict[str, np.ndarray], name: str) -> None:
    """**Raises:** `InvalidValue` if the run is in a precision that JAX is not set to."""
    for member, value in saved.items():
        is_of_run = member in ARRAYS or member.startswith("y.")
        if is_of_run and value.dtype == np.float64 != jnp.result_type(float):
            raise InvalidValue(
                f"{name} holds float64, and JAX is set to float32; call "
                "jax.config.update('jax_enable_x64', True) before you load it."
            )


def _must_be_one_run(fields: dict[str, Any]) -> None:
    """**Raises:** `Damage` if the arrays are not those of one run, or of one batch of runs."""
    x, result = fields["y"].x, np.asarray(fields["result"])
    must(x.ndim >= 2 and 0 not in x.shape[-2:], "its positions have no time axis")
    must(jnp.issubdtype(x.dtype, jnp.floating), f"`x` is in {x.dtype}")
    batch = x.shape[:-2]
    for name in ("t", "loss", "grad_norm"):
        array = fields[name]
        must(array.shape == x.shape[:-1], f"`{name}` has the shape {array.shape}")
        must(array.dtype == x.dtype, f"`{name}` is in {array.dtype}, and `x` in {x.dtype}")
    for name, memory in fields["y"]._asdict().items():
        fits = memory.shape[: x.ndim - 1] == x.shape[:-1]
        must(fits, f"`{name}` has the shape {memory.shape}")
    t = np.asarray(fields["t"], float)
    must(not t[..., 0].any() and (np.diff(t) >= 0).all(), "its times do not increase from 0")
    must(not (fields["grad_norm"] < 0).any(), "a norm is negative")
    is_status = result.dtype.kind == "i" and np.isin(result, [*Status]).all()
    must(is_status and result.shape == batch, "its status is none")
    finite = jnp.isfinite(fields["loss"] + fields["grad_norm"]) & jnp.isfinite(x).all(-1)
    must((finite.all(-1) | (result != Status.ok)).all(), "it is not finite, but its status is ok")
    _must_be_stats(fields["stats"], fields["kind"], batch)
    has_bad_step = np.asarray(fields["stats"]["first_bad_step"]) >= 0
    is_good = np.isin(result, WITHOUT_BAD_STEP)
    must(not (has_bad_step & is_good).any(), "its status contradicts its first bad step")
    _must_fit(fields, batch)


def _must_be_stats(stats: dict[str, Any], kind: str, batch: tuple[int, ...]) -> None:
    numbers = {name: value for name, value in stats.items() if not isinstance(value, str)}
    must(numbers.keys() == STATS[kind].keys(), f"it knows {', '.join(stats)} of a {kind}")
    for name, value in numbers.items():
        must(jnp.issubdtype(value.dtype, STATS[kind][name]), f"`{name}` is in {value.dtype}")
        must(value.shape in ((), batch), f"`{name}` has the shape {value.shape}")
        must((value >= -(name == "first_bad_step")).all(), f"`{name}` is negative")


def _must_fit(fields: dict[str, Any], batch: tuple[int, ...]) -> None:
    """**Raises:** `Damage` if optimizer and problem have other points of phase space."""
    y, (optimizer, problem) = fields["y"], (kept.tree for kept in fields["setup"])
    zeros = jnp.zeros(y.x.shape[-1:], y.x.dtype)
    position = fields["unravel"](zeros)
    if isinstance(problem, Problem):
        try:
            problem.start(position)
        except InvalidValue as error:
            raise Damage("its problem has other positions") from error
    if isinstance(optimizer, AbstractOptimizer) and not batch and is_concrete(optimizer):
        fitted = fit_to_start(optimizer, position, y.x.dtype)
        expected = jax.eval_shape(lambda x: first_step(fitted, x), zeros)
        must(expected._fields == y._fields, "its optimizer has another memory")
        for name, one, memory in zip(y._fields, expected, y, strict=True):
            fits = memory.shape[1:] == one.shape and memory.dtype == one.dtype
            must(fits, f"`{name}` has the shape {memory.shape} and is in {memory.dtype}")
