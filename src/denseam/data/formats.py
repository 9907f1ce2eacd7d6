"""Formats in which image sets are published: IDX, LIBSVM and CIFAR's, plain or compressed.

An IDX file is a header (two zero bytes, a type code, the number of axes, each axis as a big-endian
uint32), then the numbers, big-endian. MNIST and its relatives come like that. LIBSVM is the text
format of USPS. CIFAR-10 has records of bytes. Compression is seen from the first bytes, not from
the name.
"""

import bz2
import gzip
import lzma
import math
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from denseam.errors import DataUnavailableError, FileFormatError

_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_COMPRESSIONS: dict[bytes, tuple[str, Callable[[bytes], bytes]]] = {
    b"\x1f\x8b": ("gzip", gzip.decompress),
    b"BZh": ("bzip2", bz2.decompress),
    b"\xfd7zXZ\0": ("xz", lzma.decompress),
}


def read_idx(path: str | Path) -> NDArray[Any]:
    """Return the array in an IDX file, plain or compressed, in native byte order and read-only.

    Raises:
        FileFormatError: when the file is truncated, garbled or something else.
        DataUnavailableError: when there is no such file, or it cannot be read.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise DataUnavailableError(f"{path}: cannot be read: {error.strerror}") from error
    return parse_idx(data, str(path))


def parse_idx(data: bytes, source: str) -> NDArray[Any]:
    """Return the array in the bytes of an IDX file, read-only; ``source`` is for messages.

    Raises:
        FileFormatError: when the bytes are truncated, garbled or something else.
    """
    data = unpack(data, source)
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in _DTYPES:
        raise FileFormatError(f"{source}: not an IDX file, it starts with {data[:4].hex(' ')!r}")
    dtype, axes = np.dtype(_DTYPES[data[2]]), data[3]
    start = 4 + 4 * axes
    if len(data) < start:
        raise FileFormatError(f"{source}: ends within the header of an IDX file")
    shape = struct.unpack(f">{axes}I", data[4:start])
    needed, size = math.prod(shape) * dtype.itemsize, len(data) - start
    if needed != size:
        what = "truncated" if size < needed else "too long"
        raise FileFormatError(f"{source}: {what}, shape {shape} takes {needed} bytes, got {size}")
    array = np.frombuffer(data, dtype, offset=start)
    return array.reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def parse_libsvm(
    data: bytes, n_pixels: int, source: str
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return images (M, n_pixels) and labels (M,) from lines ``label 1:value 2:value ...``.

    Args:
        data: the text, plain or compressed.
        n_pixels: N; indices run from 1 to N, and those left out are 0.
        source: for messages.

    Raises:
        FileFormatError: when the bytes are truncated, garbled or something else.
    """
    try:
        lines = unpack(data, source).decode("ascii").splitlines()
    except UnicodeDecodeError as error:
        raise FileFormatError(f"{source}: not a LIBSVM text file") from error
    images = np.zeros((len(lines), n_pixels), np.float32)
    labels = np.zeros(len(lines), np.int64)
    for row, line in enumerate(lines):
        try:
            label, *entries = line.split()
            pairs = [entry.split(":") for entry in entries]
            columns = np.array([int(index) - 1 for index, _ in pairs], np.int64)
            # Index 0 must not become the last pixel: it is sent out of range instead.
            columns[columns < 0] = n_pixels
            images[row, columns] = [float(value) for _, value in pairs]
            labels[row] = int(float(label))
        except (ValueError, IndexError, OverflowError) as error:
            raise FileFormatError(f"{source}: line {row + 1} is garbled: {error}") from error
    return images, labels


def parse_cifar(
    data: bytes, shape: tuple[int, ...], source: str
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return images (M, *shape) and labels (M,) from records of a label and pixels, bytes all.

    Pixels stand colour by colour, row by row.

    Raises:
        FileFormatError: when the last record is not whole.
    """
    size = 1 + math.prod(shape)
    data = unpack(data, source)
    if len(data) % size:
        raise FileFormatError(f"{source}: {len(data)} bytes are no whole records of {size} bytes")
    records = np.frombuffer(data, np.uint8).reshape(-1, size)
    return records[:, 1:].reshape(-1, *shape), records[:, 0].astype(np.int64)


def unpack(data: bytes, source: str) -> bytes:
    """Return what gzip, bzip2 or xz has compressed; other bytes as they are.

    Raises:
        FileFormatError: when the compressed stream is truncated or garbled.
    """
    for magic, (name, decompress) in _COMPRESSIONS.items():
        if data.startswith(magic):
            try:
                return decompress(data)
            except (EOFError, OSError, ValueError, zlib.error, lzma.LZMAError) as error:
                raise FileFormatError(f"{source}: the {name} stream is damaged: {error}") from error
    return data
