"""The one conversion between bytes 0..255, unit [0, 1] and visible [-1, 1].

    visible = byte / 127.5 - 1 = 2 unit - 1

Every part of the package that changes units does it here, so that all of them see the same bits: on
a CPU, on a card, and from NumPy.
"""

from typing import Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from denseam.errors import InputError

Scale = Literal["visible", "unit", "byte"]
"""Units of pixels: visible [-1, 1], unit [0, 1], byte 0..255."""

Pixels = TypeVar("Pixels", Tensor, NDArray[Any])


def to_visible(
    images: Pixels,
    dtype: torch.dtype | None = None,
    *,
    scale: Scale | None = None,
    out: Tensor | None = None,
) -> Pixels:
    """Return images of any shape in visible units: black is -1, white is +1.

    Args:
        images: tensor or array, (...): uint8 in 0..255, or floating.
        dtype: of the result; by default that of floats, and float32 for bytes.
        scale: units of floating images; [0, 1] by default.
        out: where to write the result, of the same shape and device, where images are a tensor.

    Raises:
        InputError: for integers other than uint8.

    >>> to_visible(torch.tensor([0, 51, 255], dtype=torch.uint8))
    tensor([-1.0000, -0.6000,  1.0000])
    >>> to_visible(np.array([0.0, 0.25, 1.0]))
    array([-1. , -0.5,  1. ])
    """
    if isinstance(images, np.ndarray):
        return to_visible(_tensor(images), dtype, scale=scale).numpy()
    if images.dtype == torch.uint8:
        if out is None:
            out = torch.empty(images.shape, dtype=dtype or torch.float32, device=images.device)
        if images.device.type == "cpu":
            return out.copy_(images).div_(127.5).sub_(1)
        # A card may round a division by a constant otherwise: the numbers of the CPU, looked up.
        table = to_visible(torch.arange(256, dtype=torch.uint8), out.dtype)
        return out.copy_(table.to(images.device)[images.long()])
    if not images.is_floating_point():
        raise InputError(f"images are {images.dtype}: wanted uint8 0..255, or floating")
    if scale == "visible":
        visible = images
    else:
        visible = images / 127.5 - 1 if scale == "byte" else 2 * images - 1
    if out is not None:
        return out.copy_(visible)
    return visible if dtype is None else visible.to(dtype)


def to_unit(images: Pixels) -> Pixels:
    """Return images of any shape in [0, 1], from bytes or visible units.

    >>> to_unit(torch.tensor([-1.0, -0.5, 1.0]))
    tensor([0.0000, 0.2500, 1.0000])
    """
    if isinstance(images, np.ndarray):
        return to_unit(_tensor(images)).numpy()
    return images / 255 if images.dtype == torch.uint8 else images / 2 + 0.5


def to_bytes(images: Pixels, *, scale: Scale = "visible") -> Pixels:
    """Return images of any shape as uint8: the nearest of 256 levels.

    Args:
        images: tensor or array, (...), floating; what lies outside of its range is clipped. Bytes
            stay as they are.
        scale: units of floating images.

    >>> to_bytes(torch.tensor([-1.0, -0.6, 1.0]))
    tensor([  0,  51, 255], dtype=torch.uint8)
    """
    if isinstance(images, np.ndarray):
        return to_bytes(_tensor(images), scale=scale).numpy()
    if images.dtype == torch.uint8:
        return images
    factor = {"visible": 127.5, "unit": 255, "byte": 1}[scale]
    levels = (images + 1 if scale == "visible" else images) * factor
    return levels.round().clamp(0, 255).to(torch.uint8)


def as_written(images: Tensor) -> Tensor:
    """Return images (...) in [-1, 1] as they are after writing them as 8-bit pictures, same dtype.

    >>> as_written(torch.tensor([-1.0, -0.601, 1.0]))
    tensor([-1.0000, -0.6000,  1.0000])
    """
    return to_visible(to_bytes(images.detach()), images.dtype)


def _tensor(array: NDArray[Any]) -> Tensor:
    """Return a copy: PyTorch takes no array that is read-only or runs backwards."""
    return torch.from_numpy(np.array(array))
