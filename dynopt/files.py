"""Writing files so that each appears as a whole or not at all."""

import os
import tempfile
from pathlib import Path

from .errors import OutputError


def must_be_ordinary(path: Path) -> None:
    """Refuse a path at which a folder, a pipe or a device stands, which no file may replace.

    **Raises:** `OutputError`.
    """
    if path.exists() and not path.is_file():
        raise OutputError(f"{str(path)!r} is no ordinary file; choose another name.")


def write(path: str | Path, data: bytes) -> None:
    """Write `data` into the file at `path`, which is replaced in one move.

    The data go into a temporary file in the same folder, are flushed to disk, and that file is
    renamed to `path`. Missing folders are made. If the disk refuses, the old file stays as it was.

    **Raises:** `OutputError` that names the path and the reason that the system gives.
    """
    path = Path(path)
    temporary = None
    try:
        target = Path(
            os.path.realpath(path)
        )  # replace the file that a link points to, not the link
        must_be_ordinary(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name[:40]}.", dir=target.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, target)
        temporary = None
    except OutputError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(
            f"cannot write {str(path)!r}: {reason}; choose another folder or free some space."
        ) from error
    finally:
        if temporary is not None and os.path.exists(temporary):
            os.unlink(temporary)
