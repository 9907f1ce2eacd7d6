"""A writer of IDX files, for tests of their reader."""

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_CODES = {">u1": 0x08, ">i1": 0x09, ">i2": 0x0B, ">i4": 0x0C, ">f4": 0x0D, ">f8": 0x0E}


def write_idx(path: Path, array: NDArray[Any]) -> None:
    """Write an array as an IDX file, gzipped where ``path`` ends in ``.gz``."""
    codes = {np.dtype(name): code for name, code in _CODES.items()}
    dtype = array.dtype.newbyteorder(">")
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, codes[dtype], array.ndim, *array.shape)
    contents = header + array.astype(dtype).tobytes()
    path.write_bytes(gzip.compress(contents, mtime=0) if path.suffix == ".gz" else contents)
