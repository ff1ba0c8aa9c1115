"""Named arrays as the bytes of an `.npz` file, which are read with care: the file may be anyone's.

Such a file is a zip archive of `.npy` files. It is written without compression, so that nothing in
it can be larger than the file. What does not keep to this is refused before it is unpacked.
"""

import io
import math
import zipfile
from typing import Any

import numpy as np
from numpy.lib import format as npy

HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


class Damage(ValueError):
    """What is wrong with a file, as a clause."""


def must(holds: Any, clause: str) -> None:
    """**Raises:** `Damage` with the clause unless something holds."""
    if not holds:
        raise Damage(clause)


def pack(arrays: dict[str, Any]) -> bytes:
    """Named arrays as the bytes of an uncompressed `.npz` file."""
    buffer = io.BytesIO()
    arrays = {name: np.asarray(value) for name, value in arrays.items()}
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def unpack(data: bytes) -> dict[str, np.ndarray]:
    """The arrays in the bytes of an `.npz` file, which take no more memory than these bytes.

    **Raises:** `Damage` for compressed arrays, for objects of Python, and for arrays of another
    size than the file says; `zipfile.BadZipFile` and others if the bytes are something else.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
        must(
            all(member.compress_type == zipfile.ZIP_STORED for member in members)
            and sum(member.file_size for member in members) <= len(data),
            "its arrays are compressed",
        )
        names = [member.filename.removesuffix(".npy") for member in members]
        must(len(set(names)) == len(names), "it holds two arrays of one name")
        return {
            name: _array(name, archive.read(member))
            for name, member in zip(names, members, strict=True)
        }


def _array(name: str, data: bytes) -> np.ndarray:
    """The array in the bytes of an `.npy` file."""
    stream = io.BytesIO(data)
    shape, is_transposed, dtype = HEADERS[npy.read_magic(stream)](stream)
    start = stream.tell()
    must(not dtype.hasobject, f"`{name}` holds objects of Python")
    must(
        dtype.itemsize * math.prod(shape) == len(data) - start,
        f"`{name}` has another size than its shape {shape}",
    )
    order = "F" if is_transposed else "C"
    array = np.ndarray(shape, dtype, data, start, order=order)
    return array.astype(dtype.newbyteorder("="), copy=False)
