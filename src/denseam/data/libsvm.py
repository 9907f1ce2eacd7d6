"""The text format of LIBSVM, in which USPS is published."""

import bz2

import numpy as np
from numpy.typing import NDArray

from denseam.errors import FileFormatError

__all__ = ["bunzip", "parse"]


def parse(data: bytes, n_pixels: int, source: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Images (M, n_pixels) and labels (M,) from lines ``label 1:value 2:value ...``.

    Args:
        data: the text, plain or packed by bzip2.
        n_pixels: N; indices run from 1 to N, and those left out are 0.
        source: for messages.

    Raises:
        FileFormatError: when the bytes are truncated, garbled or something else.
    """
    try:
        lines = bunzip(data, source).decode("ascii").splitlines()
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


def bunzip(data: bytes, source: str) -> bytes:
    """Bytes packed by bzip2 unpacked; other bytes as they are.

    Raises:
        FileFormatError: when the bzip2 stream is truncated or garbled.
    """
    if not data.startswith(b"BZh"):
        return data
    try:
        return bz2.decompress(data)
    except (OSError, ValueError, EOFError) as error:
        raise FileFormatError(f"{source}: the bzip2 stream is damaged: {error}") from error
