"""Files that know where they come from: what is written into each, and which ones on disk may be replaced."""

import io
import json
import re
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import numpy as np

from .. import __version__, files
from ..errors import OutputError
from ..figures import Picture
from ..runs import archive
from ..runs.trajectory import Trajectory

SEED = "none: nothing is random"
MARK = {".png": b"Software\0dynopt ", ".svg": b"<dc:title>dynopt ", ".pdf": b"/Creator (dynopt "}


def software() -> str:
    """What drew it, and what that stands on."""
    below = (f"{name} {version(name)}" for name in ("jax", "optax", "diffrax", "matplotlib"))
    return f"dynopt {__version__} ({', '.join(below)})"


def render(
    picture: Picture, format: str, *, title: str, command: str, dtype: str, dpi: float | None = None
) -> bytes:
    """The picture as the bytes of a file, the same bytes every time.

    With it go its description in words (`alt`), the software, the command that draws it again, dtype and seed; no date,
    no user, no place.
    """
    words = {"png": "Description", "svg": "Description", "pdf": "Subject"}[format]
    facts = {"Command": command, "Dtype": dtype, "Seed": SEED}
    listed = [f"{name.lower()}: {fact}" for name, fact in facts.items()]
    own = {
        "png": {"Software": software()} | facts,
        "svg": {"Creator": software(), "Date": None, "Source": command, "Keywords": listed},
        "pdf": {"Creator": software(), "CreationDate": None, "Keywords": "; ".join(listed)},
    }[format]
    buffer = io.BytesIO()
    picture.savefig(
        buffer, format=format, dpi=dpi, metadata={"Title": title, words: picture.alt} | own
    )
    return (
        re.sub(rb'(?<= d=")[^"]*', _short, buffer.getvalue())
        if format == "svg"
        else buffer.getvalue()
    )


def _short(path: re.Match[bytes]) -> bytes:
    return shortened(path[0].decode()).encode()


def shortened(path: str) -> str:
    """A path of an SVG to a hundredth of a point, which no eye resolves, each point counted from the one before.

    >>> shortened("M 10.004 20 L 11.5 19.75 L 11.25 19.75 z")
    'm10 20l1.5-.25-.25 0z'
    """
    short, here, start, last = [], (0, 0), (0, 0), ""
    for letter, numbers in re.findall(r"([A-Za-z])([^A-Za-z]*)", path):
        if letter not in "MLQCz":
            return path
        if letter == "z":
            here = start
        hundredths = [round(100 * float(number)) for number in numbers.split()]
        points = list(zip(hundredths[::2], hundredths[1::2], strict=True))
        steps = "".join(
            _signed(a - b) for point in points for a, b in zip(point, here, strict=True)
        )
        short += [
            letter.lower() + steps.removeprefix(" ") if letter != last or letter == "M" else steps
        ]
        here = points[-1] if points else here
        start, last = here if letter == "M" else start, letter
    return "".join(short)


def _signed(hundredths: int) -> str:
    """As in " 1.5" and "-.25": a minus parts two numbers as well as a space does."""
    text = f"{abs(hundredths) / 100:.2f}".rstrip("0").rstrip(".")
    text = text.removeprefix("0") or "0"
    return ("-" if hundredths < 0 else " ") + text


def bundle(runs: Mapping[str, Trajectory], *, command: str) -> bytes:
    """All runs in one `.npz`: arrays `rosenbrock.adam.map.x`, and the `header`, JSON that says what they are."""
    header = {
        "dynopt": __version__,
        "format": 1,
        "software": software(),
        "command": command,
        "seed": SEED,
        "runs": {},
    }
    arrays = {}
    for name, run in runs.items():
        header["runs"][name] = {
            "kind": run.kind,
            "optimizer": run.optimizer,
            "problem": run.problem,
            "status": str(run.status),
        }
        header["runs"][name] |= {
            "first_bad_step": int(run.stats["first_bad_step"]),
            "dtype": str(run.t.dtype),
        }
        seen = {"t": run.t, **run.y._asdict(), "loss": run.loss, "grad_norm": run.grad_norm}
        arrays |= {f"{name}.{part}": value for part, value in seen.items()}
    return archive.npz({"header": json.dumps(header, allow_nan=False)} | arrays)


def ours(path: Path) -> bool:
    """Whether dynopt wrote this file, by what stands in it."""
    data = path.read_bytes()
    if path.suffix != ".npz":
        return MARK[path.suffix] in data
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            return "dynopt" in json.loads(str(file["header"]))
    except Exception:
        return False


def may_write(path: Path, *, force: bool = False) -> None:
    """See, before anything is computed, that a file can be put there and that nobody else's work is lost by it.

    **Raises:** `OutputError` that says what is in the way.
    """
    try:
        for folder in path.parents:
            if folder.exists() and not folder.is_dir():
                raise OutputError(
                    f"{str(folder)!r} is a file, where a folder is to go; choose another place."
                )
        if path.is_dir():
            raise OutputError(
                f"{str(path)!r} is a folder, where a file is to go; choose another place."
            )
        files.must_be_ordinary(path)
        if not force and path.is_symlink():
            raise OutputError(
                f"{str(path)!r} is a link to elsewhere; choose another place, or use --force."
            )
        if not force and path.exists() and not ours(path):
            raise OutputError(
                f"{str(path)!r} was not written by dynopt; choose another place, or use --force."
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(
            f"cannot write {str(path)!r}: {error.strerror}; choose another place."
        ) from error


def put(path: Path, data: bytes) -> bool:
    """Write the file, unless it holds these bytes already; whether it had to be written."""
    if path.is_file() and path.read_bytes() == data:
        return False
    files.write(path, data)
    return True
