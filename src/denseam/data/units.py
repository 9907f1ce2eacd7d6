"""Find the units of pixels from the numbers themselves, and say what was taken."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from denseam.errors import InputError

_FEWEST_PIXELS = 16  # of a flat row that is taken for a picture
_BACKGROUND = 0.02  # share of the entries of pictures that are black, or white
_TOPS = (1, 15, 16, 255, 1023, 4095, 16383, 65535)  # white in integers of 1 to 16 bits; digits: 16


@dataclass(frozen=True)
class Units:
    """The numbers that are black and white in pixels.

    Attributes:
        low: black.
        high: white.
        text: what was taken for what, for people; empty for bytes.
    """

    low: float
    high: float
    text: str = ""

    def apply(self, pixels: NDArray[Any]) -> tuple[NDArray[Any], int]:
        """Return pixels as uint8 (if they are bytes) or in [-1, 1], and how many were clipped."""
        if (self.low, self.high) == (0, 255) and _whole(pixels):
            clipped = pixels.clip(0, 255)
            return clipped.astype(np.uint8), int((clipped != pixels).sum())
        dtype = pixels.dtype if pixels.dtype in (np.float32, np.float64) else np.float32
        if (self.low, self.high) == (-1, 1):
            visible = pixels.astype(dtype, copy=False)
        else:
            scaled = (pixels.astype(np.float64) - self.low) / (self.high - self.low)
            visible = (2 * scaled - 1).astype(dtype)
        outside = int((np.abs(visible) > 1 + 1e-6).sum())
        return visible.clip(-1, 1), outside


def units_of(pixels: NDArray[Any]) -> Units:
    """Return the units of training pixels of any type and range.

    Bytes are 0..255. Other whole numbers are taken to have the white of the smallest usual depth
    that holds them. Floats are [0, 1], [-1, 1], or whole numbers stored as floats; in any other
    range the least number is black and the largest is white.

    Raises:
        InputError: for pixels that are all one number, NaN or infinite, or no numbers.

    >>> units_of(np.array([[0.0, 5.0, 16.0]])).text
    'pixels from 0 to 16: 0 is taken as black, 16 as white'
    """
    if pixels.dtype == np.uint8:
        return Units(0, 255)
    if pixels.dtype == np.bool_:
        return Units(0, 1)
    if pixels.dtype.kind not in "iuf":
        raise InputError(f"images must be numbers, got {pixels.dtype}")
    if pixels.size == 0:
        return Units(0, 255)  # that it is empty is said elsewhere
    low, high = float(pixels.min()), float(pixels.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise InputError("images hold NaN or infinite pixels; every pixel must be finite")
    black, white = _ends(pixels, low, high)
    return Units(
        black, white,
        f"pixels from {low:g} to {high:g}: {black:g} is taken as black, {white:g} as white",
    )  # fmt: skip


def looks_like_pixels(rows: NDArray[Any]) -> bool:
    """Return whether rows (M, N) look like square pictures that were flattened.

    Their sides are 4 or more, their range is one that pixels have, and black or white is frequent:
    a table of measurements has no number that returns in all of its columns.
    """
    side = math.isqrt(rows.shape[1])
    if side * side != rows.shape[1] or rows.shape[1] < _FEWEST_PIXELS or rows.size == 0:
        return False
    if rows.dtype == np.uint8:
        return True
    if rows.dtype.kind not in "iuf":
        return False
    low, high = float(rows.min()), float(rows.max())
    if not low < high or not (low >= 0 or low >= -1 >= -high) or high > _TOPS[-1]:
        return False
    extremes = max(float((rows == low).mean()), float((rows == high).mean()))
    return extremes >= _BACKGROUND and (high <= 1 or _whole(rows))


def _ends(pixels: NDArray[Any], low: float, high: float) -> tuple[float, float]:
    """Return the numbers that are black and white."""
    if low >= 0:
        if high <= 1 and pixels.dtype.kind == "f":
            return 0, 1
        if high <= _TOPS[-1] and (_whole(pixels) or 16 < high <= 255):
            return 0, next(top for top in _TOPS if top >= high)
    elif low >= -1 and high <= 1:
        return -1, 1
    if low == high:
        raise InputError(f"every pixel is {low:g}: wanted pictures that differ")
    return low, high


def _whole(numbers: NDArray[Any]) -> bool:
    return numbers.dtype.kind in "iu" or bool((numbers == np.trunc(numbers)).all())
