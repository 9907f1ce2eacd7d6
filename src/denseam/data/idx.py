"""IDX files, the format in which MNIST and its relatives are published.

A header (two zero bytes, a type code, the number of axes, each axis as a
big-endian uint32), then the numbers, big-endian. Files may be gzipped; that is
seen from their first bytes, not from their name.
"""

import gzip
import io
import math
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from denseam.errors import DataUnavailableError, FileFormatError, InputError
from denseam.files import write_bytes

__all__ = ["gunzip", "header", "parse", "read", "write"]

_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_CODES = {np.dtype(name): code for code, name in _DTYPES.items()}
_GZIP_MAGIC = b"\x1f\x8b"


def read(path: str | Path) -> NDArray[Any]:
    """The array in an IDX file, plain or gzipped, in native byte order.

    Raises:
        FileFormatError: when the file is truncated, garbled or something else.
        DataUnavailableError: when there is no such file, or it cannot be read.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise DataUnavailableError(f"{path}: cannot be read: {error.strerror}") from error
    return parse(data, str(path))


def parse(data: bytes, source: str) -> NDArray[Any]:
    """The array in the bytes of an IDX file, plain or gzipped; ``source`` is for messages.

    Raises:
        FileFormatError: when the bytes are truncated, garbled or something else.
    """
    data = gunzip(data, source)
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in _DTYPES:
        raise FileFormatError(f"{source}: not an IDX file, it starts with {data[:4].hex(' ')!r}")
    dtype, axes = np.dtype(_DTYPES[data[2]]), data[3]
    start = 4 + 4 * axes
    if len(data) < start:
        raise FileFormatError(f"{source}: ends within the header of an IDX file")
    shape = struct.unpack(f">{axes}I", data[4:start])
    wanted, got = math.prod(shape) * dtype.itemsize, len(data) - start
    if wanted != got:
        what = "truncated" if got < wanted else "too long"
        raise FileFormatError(f"{source}: {what}, shape {shape} takes {wanted} bytes, got {got}")
    array = np.frombuffer(data, dtype, offset=start)
    return array.reshape(shape).astype(dtype.newbyteorder("="))


def gunzip(data: bytes, source: str) -> bytes:
    """Gzipped bytes unpacked; other bytes as they are.

    Raises:
        FileFormatError: when the gzip stream is truncated or garbled.
    """
    if not data.startswith(_GZIP_MAGIC):
        return data
    try:
        return gzip.decompress(data)
    except (EOFError, OSError, zlib.error) as error:
        raise FileFormatError(f"{source}: the gzip stream is damaged: {error}") from error


def header(array: NDArray[Any]) -> bytes:
    """The IDX header that belongs before the big-endian bytes of ``array``.

    Raises:
        InputError: when IDX has no code for its type, or it has too many axes.
    """
    code = _CODES.get(array.dtype.newbyteorder(">"))
    if code is None or array.ndim > 255:
        raise InputError(f"IDX holds u1, i1, i2, i4, f4 and f8 arrays, got {array.dtype}")
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)


def write(path: str | Path, array: NDArray[Any]) -> None:
    """Write ``array`` as an IDX file, gzipped where ``path`` ends in ``.gz``.

    Raises:
        InputError: when IDX has no code for the type of ``array``.
        SaveError: when it cannot be written; what stood at ``path`` is untouched.
    """
    path = Path(path)
    data = header(array) + array.astype(array.dtype.newbyteorder(">")).tobytes()
    if path.suffix == ".gz":
        buffer = io.BytesIO()
        # No name and no time in the header: equal arrays give equal files.
        with gzip.GzipFile("", "wb", fileobj=buffer, mtime=0) as stream:
            stream.write(data)
        data = buffer.getvalue()
    write_bytes(path, data)
