"""Turn the arrays that people have into the tensors that :class:`ImageSet` holds."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from denseam.checks import choice, image_shape, whole
from denseam.data.pixels import Scale, to_visible
from denseam.data.validate import range_hint
from denseam.errors import InputError

_LIMITS: dict[str, tuple[int, int]] = {"unit": (0, 1), "byte": (0, 255)}


def to_images(images: object, *, shape: Sequence[int] | None, scale: Scale | None) -> Tensor:
    """Return images as (M, H, W) or (M, 3, H, W), uint8 or visible units, checked later.

    Args:
        images: (M, H, W), (M, 1, H, W), (M, 3, H, W), (M, H, W, 3) or (M, N), array or tensor.
        shape: of flat images, or None for a square or a row.
        scale: units of ``images``; None is "byte" for uint8 and "visible" for floats.

    Raises:
        InputError: on types, shapes and units that cannot be read that way.
    """
    if scale is not None:
        scale = choice("scale", scale, get_args(Scale))
    return _to_scale(_to_axes(to_tensor(images, "images"), shape), scale)


def to_labels(labels: object) -> Tensor:
    """Return labels as (M,) int64.

    Raises:
        InputError: when they are not whole numbers along one axis.
    """
    numbers = to_tensor(labels, "labels")
    if numbers.is_floating_point() or numbers.is_complex() or numbers.dtype == torch.bool:
        raise InputError(f"labels must be integers, got {numbers.dtype}")
    if numbers.ndim != 1:
        raise InputError(f"labels must have shape (M,), got {tuple(numbers.shape)}")
    return numbers.to(torch.int64)


def to_tensor(values: object, what: str) -> Tensor:
    """Return a tensor as it is, an array of numbers as a copy; ``what`` is for messages.

    Raises:
        InputError: when it is neither.
    """
    if isinstance(values, Tensor):
        return values.detach()
    try:
        # A copy of our own, in native byte order: torch takes neither read-only
        # memory (without a warning) nor the big-endian numbers of IDX files.
        array = np.array(values)
        return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), copy=False))
    except (TypeError, ValueError) as error:
        raise InputError(f"{what} must be an array of numbers or a tensor: {error}") from error


def to_facts(facts: Mapping[str, object] | None) -> dict[str, Tensor]:
    """Return facts as tensors, from arrays or tensors; ``check_facts`` sees whether they fit.

    Raises:
        InputError: when one of them is no array of numbers.
    """
    facts = {} if facts is None else facts
    if not isinstance(facts, Mapping):
        raise InputError(f"facts must map names to tensors, got {type(facts).__name__}")
    return {name: to_tensor(value, f"fact {name!r}") for name, value in facts.items()}


def rows_of(indices: object, count: int, noun: str = "images") -> Tensor | slice:
    """Return an index for the first axis, of ``count`` rows, of a tensor; ``noun`` names them.

    Raises:
        InputError: for anything but a slice, whole numbers in range, or ``count`` bools.
    """
    try:
        if isinstance(indices, slice):
            return _slice(indices, count)
        rows = to_tensor(_index_array(indices), "indices")
        return _mask(rows, count) if rows.dtype is torch.bool else _whole(rows, count)
    except InputError as error:
        raise InputError(f"subset of {count} {noun}: {error}") from error


def _to_axes(images: Tensor, shape: Sequence[int] | None) -> Tensor:
    """Return (M, H, W), or (M, 3, H, W) in colour, whichever axis holds the colours."""
    actual = tuple(images.shape)
    if shape is not None:
        shape = _picture_shape(shape)
    if images.ndim == 2:
        sizes = shape or square(actual[1]) or (1, actual[1])
        if math.prod(sizes) != actual[1]:
            raise InputError(f"shape {tuple(sizes)} does not fit {actual[1]} pixels per image")
        images = images.reshape(actual[0], *sizes)
    if images.ndim == 4:
        channels = next((axis for axis in (1, 3) if images.shape[axis] in (1, 3)), None)
        if channels is None:
            raise InputError(
                f"images must be (M, H, W), (M, 3, H, W) or (M, H, W, 3), got {actual}"
                + ("; drop the fourth channel, transparency, first" if 4 in actual[1::2] else "")
            )
        images = images.movedim(channels, 1)
        images = images[:, 0] if images.shape[1] == 1 else images.contiguous()
    if images.ndim != 3 + (images.ndim == 4):
        raise InputError(f"images must be (M, H, W), (M, 1, H, W) or (M, N), got {actual}")
    if shape is not None and tuple(images.shape[-2:]) != _plane(shape):
        sides = " x ".join(map(str, _plane(shape)))
        raise InputError(f"images must be {sides} pixels, got shape {actual}")
    return images


def _picture_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """Return (H, W), (3, H, W) or (H, W, 3) as whole numbers."""
    if len(shape) == 3 and 3 in (shape[0], shape[2]):
        return tuple(whole("shape", side) for side in shape)
    return image_shape("shape", shape)


def _plane(shape: Sequence[int]) -> tuple[int, ...]:
    """Return (H, W) of a picture's shape."""
    if len(shape) == 2:
        return tuple(shape)
    return tuple(shape[1:] if shape[0] == 3 else shape[:2])


def square(n_pixels: int) -> tuple[int, int] | None:
    """Return (H, W) of a square image of N pixels; None where N is no square number."""
    side = math.isqrt(n_pixels)
    return (side, side) if side * side == n_pixels else None


def _to_scale(images: Tensor, scale: Scale | None) -> Tensor:
    if images.dtype == torch.uint8:
        if scale not in (None, "byte"):
            raise InputError(f"uint8 images are in units of 0..255, got scale={scale!r}")
        return images
    if not images.is_floating_point():
        if scale != "byte" or images.is_complex() or images.dtype == torch.bool:
            raise InputError(
                f"images must be uint8 or floating, got {images.dtype}; integers 0..255 of "
                "another type are taken with scale='byte'"
            )
        images = images.to(torch.float64)
    if images.dtype not in (torch.float32, torch.float64):
        images = images.to(torch.float32)  # half precision is exact in single
    if scale is None or scale == "visible":
        return images
    _check_limits(images, scale)
    if scale == "byte":
        levels = images.to(torch.uint8)
        if torch.equal(levels.to(images.dtype), images):
            return levels
    return to_visible(images, scale=scale)


def _check_limits(images: Tensor, scale: Scale) -> None:
    if images.numel() == 0:
        return  # the emptiness is reported by ImageSet
    low, high = (float(x) for x in torch.aminmax(images))
    bottom, top = _LIMITS[scale]
    if not (math.isfinite(low) and math.isfinite(high)):
        raise InputError(f"images hold NaN or infinite pixels; wanted finite, {bottom}..{top}")
    if low < bottom or high > top:
        hint = range_hint(low, high) if scale == "unit" else ""
        raise InputError(
            f"scale={scale!r} wants pixels in {bottom}..{top}, got {low:g}..{high:g}{hint}"
        )


def _slice(indices: slice, count: int) -> Tensor | slice:
    """Return a slice, which shares memory; indices where it runs backwards, as tensors cannot."""
    try:
        start, stop, step = indices.indices(count)
    except (TypeError, ValueError) as error:
        raise InputError(f"{indices}: {error}") from error
    return indices if step > 0 else torch.arange(start, stop, step)


def _index_array(indices: object) -> object:
    if isinstance(indices, Tensor | np.ndarray):
        return indices
    if isinstance(indices, str) or not isinstance(indices, Iterable):
        raise InputError(f"wanted indices, a mask or a slice, got {type(indices).__name__}")
    return [*indices] or np.empty(0, np.int64)


def _mask(rows: Tensor, count: int) -> Tensor:
    if tuple(rows.shape) != (count,):
        raise InputError(f"wanted a mask ({count},), got {tuple(rows.shape)}")
    return rows


def _whole(rows: Tensor, count: int) -> Tensor:
    if rows.ndim != 1 or rows.is_floating_point() or rows.is_complex():
        shape, dtype = tuple(rows.shape), str(rows.dtype).removeprefix("torch.")
        raise InputError(f"wanted whole numbers (m,) or a mask of bools, got {shape} {dtype}")
    rows = rows.long()
    if len(rows) and not -count <= int(rows.min()) <= int(rows.max()) < count:
        raise InputError(f"indices from {int(rows.min())} to {int(rows.max())} are out of range")
    return rows
