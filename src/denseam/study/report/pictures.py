"""PNG bytes as what an <img> needs: a data URI, and a size, so that nothing jumps."""

import base64
import struct
from typing import NamedTuple

from denseam.errors import InputError

__all__ = ["Picture", "embed"]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_ASSUMED_DPI = 192.0  # of a file that does not say: two dots per CSS pixel
_CSS_DPI = 96.0
_ENLARGED = 1.2  # the 8 points of print are small on a screen
_METRE = 0.0254


class Picture(NamedTuple):
    """A picture inside the page."""

    uri: str
    width: int  # CSS pixels
    height: int


def embed(name: str, png: bytes) -> Picture:
    """A picture that needs no file, as large as its resolution says.

    Raises:
        InputError: when the bytes are not a whole PNG file.
    """
    if png[:8] != _SIGNATURE or png[12:16] != b"IHDR" or png[-8:-4] != b"IEND":
        raise InputError(f"picture {name!r}: {len(png)} bytes that are not a whole PNG file")
    width, height = struct.unpack(">II", png[16:24])
    scale = _ENLARGED * _CSS_DPI / _dots_per_inch(png)
    return Picture(
        uri="data:image/png;base64," + base64.b64encode(png).decode(),
        width=max(1, round(width * scale)),
        height=max(1, round(height * scale)),
    )


def _dots_per_inch(png: bytes) -> float:
    """From the pHYs chunk, which stands before the first IDAT."""
    start = png.find(b"pHYs", 0, png.find(b"IDAT"))
    if start < 0:
        return _ASSUMED_DPI
    across, _, unit = struct.unpack(">IIB", png[start + 4 : start + 13])
    return across * _METRE if unit == 1 and across else _ASSUMED_DPI
