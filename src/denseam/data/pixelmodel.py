"""What the packed digits are predicted from; see :mod:`denseam.data.rans` for the coding.

Pen strokes are black inside, blurred at the rim and white elsewhere, so each
pixel is of one of three kinds: paper (0), rim (1..249) or ink (250..255). First
come the kinds, in blocks of 2 x 2 pixels, then the exact values of rim and ink
in reading order. The second pass already knows every kind, those to the right
and below included, which is where most of the gain over a plain raster scan
comes from.

All images are coded in step, pixel after pixel, because that is what NumPy can
do fast. Arrays are therefore laid out (row, column, image).
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from denseam.data.rans import Coder

__all__ = ["ALPHABETS", "blank", "frame", "walk"]

Bytes = NDArray[np.uint8]

INK: Final = 250
ALPHABETS: Final = {"block": (81 * 81, 81), "rim": (6 * 6 * 3**2, 250), "ink": (7**5, 6)}
"""Per table: how many contexts and how many symbols."""

_VALUES = np.arange(256)
_KIND = ((_VALUES > 0).astype(np.uint8) + (_VALUES >= INK)).astype(np.uint8)
_SHADE = np.searchsorted([1, 48, 112, 176, INK], _VALUES, side="right").astype(np.uint16)
_INK_NUMBER = np.where(_VALUES >= INK, _VALUES - INK + 1, 0).astype(np.uint16)


def walk(coder: Coder, framed: Bytes, blocks: Bytes) -> None:
    """Code images through ``coder``: a recorder reads both arrays, a decoder fills both in.

    Args:
        coder: see :mod:`denseam.data.rans`.
        framed: (H + 2, W + 2, M), from :func:`frame`.
        blocks: (H / 2 + 1, W / 2 + 2, M), from :func:`frame`.
    """
    _walk_blocks(coder, blocks)
    kinds = np.zeros_like(framed)
    _unblock(blocks[1:, 1:-1], kinds[1:-1, 1:-1])
    _walk_values(coder, framed, kinds)


def frame(images: Bytes) -> tuple[Bytes, Bytes]:
    """Images (M, H, W), H and W even, as the two arrays that :func:`walk` reads."""
    framed, blocks = blank(*images.shape)
    framed[1:-1, 1:-1] = images.transpose(1, 2, 0)
    blocks[1:, 1:-1] = _blocks(_KIND[framed[1:-1, 1:-1]])
    return framed, blocks


def blank(count: int, height: int, width: int) -> tuple[Bytes, Bytes]:
    """The two arrays that :func:`walk` fills in, blank."""
    # A frame of paper all round saves the special cases at the borders.
    framed = np.zeros((height + 2, width + 2, count), np.uint8)
    return framed, np.zeros((height // 2 + 1, width // 2 + 2, count), np.uint8)


def _blocks(kinds: Bytes) -> Bytes:
    """Four kinds as one number 0..80: (H, W, M) -> (H / 2, W / 2, M)."""
    top, bottom = kinds[0::2], kinds[1::2]
    return top[:, 0::2] * 27 + top[:, 1::2] * 9 + bottom[:, 0::2] * 3 + bottom[:, 1::2]


def _unblock(blocks: Bytes, kinds: Bytes) -> None:
    """The inverse of :func:`_blocks`, into ``kinds``."""
    for row, column, place in ((0, 0, 27), (0, 1, 9), (1, 0, 3), (1, 1, 1)):
        kinds[row::2, column::2] = blocks // place % 3


def _walk_blocks(coder: Coder, blocks: Bytes) -> None:
    """Context: the block to the left, and the four pixels above that touch this block's top."""
    for row in range(1, blocks.shape[0]):
        for column in range(1, blocks.shape[1] - 1):
            above = blocks[row - 1]
            context = blocks[row, column - 1].astype(np.uint32)
            context = context * 9 + above[column] % 9
            context = context * 3 + above[column + 1] // 3 % 3
            context = context * 3 + above[column - 1] % 3
            coder.code("block", context, blocks[row, column])


def _walk_values(coder: Coder, framed: Bytes, kinds: Bytes) -> None:
    last_ink = np.zeros(framed.shape[2], np.uint8)
    for row in range(1, framed.shape[0] - 1):
        for column in range(1, framed.shape[1] - 1):
            kind, here = kinds[row, column], framed[row, column]
            left, above = framed[row, column - 1], framed[row - 1]

            rim = np.flatnonzero(kind == 1)
            context = _SHADE[left[rim]] * 6 + _SHADE[above[column][rim]]
            context = context * 3 + kinds[row, column + 1][rim]
            context = context * 3 + kinds[row + 1, column][rim]
            values = here[rim]
            coder.code("rim", context.astype(np.uint32), values)
            here[rim] = values

            # Neighbouring ink, and an image's ink at large, keeps to a few values.
            ink = np.flatnonzero(kind == 2)
            context = _INK_NUMBER[last_ink[ink]]
            for near in (left, above[column], above[column + 1], above[column - 1]):
                context = context * 7 + _INK_NUMBER[near[ink]]
            values = here[ink] - INK
            coder.code("ink", context.astype(np.uint32), values)
            here[ink] = last_ink[ink] = values + INK
