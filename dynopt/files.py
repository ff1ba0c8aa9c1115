"""A file appears whole or not at all."""

import os
import tempfile
from pathlib import Path

from .errors import OutputError


def must_be_ordinary(path: Path) -> None:
    """**Raises:** `OutputError` if a folder, a pipe or a device stands there, which no file may replace."""
    if path.exists() and not path.is_file():
        raise OutputError(f"{str(path)!r} is no ordinary file; choose another name.")


def write(path: str | Path, data: bytes) -> None:
    """Put `data` under `path` in one move: written beside it, flushed to disk, then renamed over it.

    Missing folders are made. If the disk refuses, the file that stood there stays as it was.

    **Raises:** `OutputError` that names the path and the system's reason.
    """
    path = Path(path)
    scratch = None
    try:
        target = Path(os.path.realpath(path))  # what a link stands for is replaced, not the link
        must_be_ordinary(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, scratch = tempfile.mkstemp(prefix=f".{path.name[:40]}.", dir=target.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(scratch, 0o666 & ~umask)
        os.replace(scratch, target)
        scratch = None
    except OutputError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(
            f"cannot write {str(path)!r}: {reason}; choose another folder or free some space."
        ) from error
    finally:
        if scratch is not None and os.path.exists(scratch):
            os.unlink(scratch)
