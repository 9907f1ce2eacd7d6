"""The file format of the packed digits: images and labels in, bytes out, and back.

Layout, little-endian: 8 bytes magic, CRC-32 of the rest, number, height and
width of the images, length of the LZMA-packed frequency tables, those tables,
then the 16-bit words of the entropy coder up to the end.
"""

import lzma
import struct
import zlib
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from denseam.data import pixelmodel, rans
from denseam.errors import FileFormatError

__all__ = ["pack", "unpack"]

_MAGIC: Final = b"DAMPACK1"
_HEAD: Final = struct.Struct("<8sI")
_SIZES: Final = struct.Struct("<4I")
_LABELS: Final = {"label": (1, 10)}
# Tried 9..14 bits for each table. Beyond these the tables grow faster than the data
# shrink, but for 13 bits of "block": 4 KB less, for a lookup of twice the size.
_BITS: Final = {"label": 12, "block": 12, "rim": 12, "ink": 10}
_FILTERS: Final[list[dict[str, Any]]] = [
    {"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "lc": 0, "lp": 0, "pb": 0}
]

Bytes = NDArray[np.uint8]


def pack(images: Bytes, labels: Bytes) -> bytes:
    """Images (M, H, W), H and W even, and labels (M,) in 0..9, as small as this gets."""
    recorder = rans.Recorder()
    _walk(recorder, *pixelmodel.frame(images), labels)
    tables = {
        name: rans.Table.fit(recorder.counts(name, *size), _BITS[name])
        for name, size in _alphabets().items()
    }
    packed_tables = _pack_tables(tables)
    sizes = _SIZES.pack(*images.shape, len(packed_tables))
    words = rans.encode(recorder.calls, tables).astype("<u2").tobytes()
    body = sizes + packed_tables + words
    return _HEAD.pack(_MAGIC, zlib.crc32(body)) + body


def unpack(data: bytes, source: str) -> tuple[Bytes, Bytes]:
    """Images (M, H, W) and labels (M,) from what :func:`pack` made.

    Raises:
        FileFormatError: naming ``source``, when the bytes are not whole.
    """
    if len(data) < _HEAD.size + _SIZES.size or not data.startswith(_MAGIC):
        raise FileFormatError(f"{source}: not a packed image set ({len(data)} bytes)")
    body = memoryview(data)[_HEAD.size :]
    if zlib.crc32(body) != _HEAD.unpack_from(data)[1]:
        raise FileFormatError(f"{source}: damaged or cut short (its checksum does not match)")
    count, height, width, table_size = _SIZES.unpack_from(body)
    start = _SIZES.size + table_size
    tables = _unpack_tables(bytes(body[_SIZES.size : start]))
    words = np.frombuffer(body[start:], "<u2")
    framed, blocks = pixelmodel.blank(count, height, width)
    labels = np.zeros(count, np.uint8)
    _walk(rans.Decoder(words, tables), framed, blocks, labels)
    return np.ascontiguousarray(framed[1:-1, 1:-1].transpose(2, 0, 1)), labels


def _walk(coder: rans.Coder, framed: Bytes, blocks: Bytes, labels: Bytes) -> None:
    coder.code("label", np.zeros(len(labels), np.uint32), labels)
    pixelmodel.walk(coder, framed, blocks)


def _alphabets() -> dict[str, tuple[int, int]]:
    return {**_LABELS, **pixelmodel.ALPHABETS}


def _pack_tables(tables: dict[str, rans.Table]) -> bytes:
    parts = [
        part
        for table in tables.values()
        for part in (np.packbits(table.used).tobytes(), _split_bytes(table.freq))
    ]
    return lzma.compress(b"".join(parts), lzma.FORMAT_RAW, filters=_FILTERS)


def _unpack_tables(packed: bytes) -> dict[str, rans.Table]:
    data = np.frombuffer(lzma.decompress(packed, lzma.FORMAT_RAW, filters=_FILTERS), np.uint8)
    tables, at = {}, 0
    for name, (contexts, symbols) in _alphabets().items():
        size = (contexts + 7) // 8
        used = np.unpackbits(data[at : at + size], count=contexts).astype(bool)
        at += size
        cells = int(used.sum()) * symbols
        low, high = data[at : at + cells], data[at + cells : at + 2 * cells]
        freq: NDArray[np.uint16] = low + high * np.uint16(256)
        tables[name] = rans.Table(_BITS[name], used, freq.reshape(-1, symbols))
        at += 2 * cells
    return tables


def _split_bytes(freq: NDArray[np.uint16]) -> bytes:
    """Low bytes, then high bytes: LZMA takes 10 % less for that than for pairs."""
    return (freq & 0xFF).astype(np.uint8).tobytes() + (freq >> 8).astype(np.uint8).tobytes()
