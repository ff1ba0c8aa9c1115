"""Files that appear as a whole or not at all, and text that any file can hold."""

import os
import platform
import re
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from .errors import InvalidType, InvalidValue, OutputError

# Characters that XML forbids, that a terminal obeys, or that turn the order of letters around.
UNSAFE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
    "\ud800-\udfff\ufeff\ufff9-\uffff]"
)
PART = f".{re.sub('[^a-z0-9]+', '-', platform.node().casefold())}-dynopt"  # of an unfinished file


def printable(text: str) -> str:
    """The text with each character that no file should hold spelt out, as in a Python string.

    These are control characters other than tabs and line breaks, halves of surrogate pairs,
    noncharacters, and marks that change the direction of writing.

    >>> print(printable("a\\x1b[31m, \\ud800 and \\u202eb, but é"))
    a\\x1b[31m, \\ud800 and \\u202eb, but é
    """
    return UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def as_path(path: Any) -> Path:
    """A path that a system may know.

    **Raises:** `InvalidType` for what is no path; `InvalidValue` for an empty text and for one
    that no system takes, such as one with a NUL.
    """
    if not isinstance(path, str | os.PathLike) or isinstance(os.fspath(path), bytes):
        raise InvalidType(f"`path` must be the name of a file, got {path!r}; pass 'run.npz', say.")
    name = os.fspath(path)
    try:
        is_name = name.strip() and b"\0" not in os.fsencode(name)
    except UnicodeEncodeError:
        is_name = False
    if not is_name:
        raise InvalidValue(f"`path` is {name!r}, which no file is called; pass 'run.npz', say.")
    return Path(path)


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
    A process that is killed leaves its temporary file, which the next one to write there removes.

    **Raises:** `OutputError` that names the path and the reason that the system gives.
    """
    path = as_path(path)
    temporary = None
    try:
        target = Path(os.path.realpath(path))  # the file that a link points to, not the link
        must_be_ordinary(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_parts_of_dead_processes(target.parent)
        handle, temporary = tempfile.mkstemp(
            prefix=f".{path.name[:40]}.", suffix=f"{PART}-{os.getpid()}", dir=target.parent
        )
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


def remove_parts_of_dead_processes(folder: Path) -> None:
    """Remove the temporary files of processes that were killed on this machine as they wrote."""
    for part in folder.glob(f".*{PART}-*"):
        number = part.name.rpartition("-")[2]
        if number.isascii() and number.isdecimal() and not _runs(int(number)):
            with suppress(OSError):  # another process was faster, or the file is not ours
                part.unlink()


def _runs(number: int) -> bool:
    """Whether a process of this number runs; True where that cannot be asked."""
    if os.name != "posix":  # elsewhere the signal 0 is not a question
        return True
    try:
        os.kill(number, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        pass
    return True
