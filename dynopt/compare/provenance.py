"""Files that say where they come from: what is written into each, and which may be replaced."""

import io
import json
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import jax
import numpy as np

from .. import __version__, files
from ..errors import OutputError
from ..explorer import Explorer
from ..figures import Picture
from ..figures.animation import Animation
from ..runs import Ensemble, Status, Trajectory, archive, npz

SEED = "none: nothing is random"
MARKS = {  # what a file of dynopt contains
    ".png": b"Software\0dynopt ",
    ".svg": b"<dc:title>dynopt ",
    ".pdf": b"/Creator (dynopt ",
    ".gif": b"Software: dynopt ",
    ".mp4": b"Software: dynopt ",
    ".html": b'<meta name="generator" content="dynopt ',
}


def software() -> str:
    """The version of dynopt, and of what it is built on."""
    libraries = (f"{name} {version(name)}" for name in ("jax", "optax", "diffrax", "matplotlib"))
    return f"dynopt {__version__} ({', '.join(libraries)})"


def render(
    picture: Picture | Animation | Explorer,
    format: str,
    *,
    title: str,
    command: str,
    dtype: str,
    dpi: float | None = None,
    seed: str = SEED,
) -> bytes:
    """The drawing as the bytes of a file, which are the same every time.

    The file contains a description of the picture in words (`alt`), the software, the command that
    draws it again, dtype and seed; no date, no user and no path.
    """
    if isinstance(picture, Animation):
        facts = {"Software": software(), "Title": title, "Command": command, "Dtype": dtype}
        return picture.encode(format, facts | {"Seed": seed})  # the mark comes first, in one piece
    if isinstance(picture, Explorer):
        facts = {"software": software(), "command": command, "dtype": dtype, "seed": seed}
        return picture.with_facts(facts).html.encode()
    description = {"png": "Description", "svg": "Description", "pdf": "Subject"}[format]
    facts = {"Command": command, "Dtype": dtype, "Seed": seed}
    keywords = [f"{name.lower()}: {fact}" for name, fact in facts.items()]
    metadata = {
        "png": {"Software": software()} | facts,
        "svg": {"Creator": software(), "Date": None, "Source": command, "Keywords": keywords},
        "pdf": {"Creator": software(), "CreationDate": None, "Keywords": "; ".join(keywords)},
    }[format]
    metadata |= {"Title": files.printable(title), description: files.printable(picture.alt)}
    buffer = io.BytesIO()
    picture.savefig(buffer, format=format, dpi=dpi, metadata=metadata)
    return buffer.getvalue()


def pack_runs(
    runs: Mapping[str, Trajectory | Ensemble], *, command: str, seed: str = SEED
) -> bytes:
    """All runs in one `.npz`: arrays such as `rosenbrock.adam.map.x`, and the `header`.

    The header is JSON that says what the arrays are. Those of an ensemble have an axis of the paths
    in front, but for the times; `result` holds a status of each path as a number, whose meaning is
    in the header.
    """
    header = {
        "dynopt": __version__,
        "format": 1,
        "software": software(),
        "command": command,
        "seed": seed,
        "runs": {},
    }
    arrays = {}
    for name, run in runs.items():
        header["runs"][name] = {
            "kind": run.kind,
            "optimizer": repr(run.optimizer),
            "problem": run.problem.name,
            "dtype": str(run.t.dtype),
        }
        if isinstance(run, Ensemble):
            header["runs"][name] |= {"paths": len(run.result), "failed": int((~run.ok).sum())}
            header["statuses"] = {int(status): str(status) for status in Status}
            x = [leaf.reshape(*run.loss.shape, -1) for leaf in jax.tree.leaves(run.x)]
            parts = {"x": np.concatenate(x, -1), "result": run.result}
        else:
            first_bad_step = int(run.stats["first_bad_step"])
            header["runs"][name] |= {"status": str(run.status), "first_bad_step": first_bad_step}
            parts = {**run.y._asdict(), "grad_norm": run.grad_norm}
        parts |= {"t": run.t, "loss": run.loss}
        arrays |= {f"{name}.{part}": value for part, value in parts.items()}
    return npz.pack({"header": json.dumps(header, allow_nan=False)} | arrays)


def is_written_by_dynopt(path: Path) -> bool:
    """Whether dynopt wrote this file, as its contents tell."""
    data = path.read_bytes()
    if path.suffix != ".npz":
        return MARKS[path.suffix] in data
    return archive.is_header(data, "dynopt")


def must_be_writable(path: Path, *, force: bool = False) -> None:
    """Check, before anything is computed, that a file can be written and replaces no other work.

    - `force`: whether it may replace a file that dynopt did not write.

    **Raises:** `OutputError` that says what prevents it.
    """
    name = repr(str(path))
    try:
        for folder in path.parents:
            if folder.exists() and not folder.is_dir():
                raise OutputError(
                    f"{str(folder)!r} is a file, where a folder is wanted; choose another place."
                )
        if path.is_dir():
            raise OutputError(f"{name} is a folder, where a file is wanted; choose another place.")
        files.must_be_ordinary(path)
        if not force and path.is_symlink():
            raise OutputError(
                f"{name} is a link to elsewhere; choose another place, or use --force."
            )
        if not force and path.exists() and not is_written_by_dynopt(path):
            raise OutputError(
                f"{name} was not written by dynopt; choose another place, or use --force."
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(
            f"cannot write {name}: {error.strerror}; choose another place."
        ) from error


def write_if_changed(path: Path, data: bytes) -> bool:
    """Write the file unless it has these contents already; whether it was written."""
    if path.is_file() and path.read_bytes() == data:
        return False
    files.write(path, data)
    return True
