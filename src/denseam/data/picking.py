"""Which images of a set are meant: by a slice, by indices, or under a mask."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from denseam.data.arrays import to_tensor
from denseam.errors import InputError

__all__ = ["rows_of"]


def rows_of(indices: object, count: int) -> Tensor | slice:
    """Something to index the first axis of a tensor with, of ``count`` rows.

    Raises:
        InputError: for anything but a slice, whole numbers in range, or ``count`` bools.
    """
    try:
        if isinstance(indices, slice):
            return _slice(indices, count)
        rows = to_tensor(_array(indices), "indices")
        return _mask(rows, count) if rows.dtype is torch.bool else _whole(rows, count)
    except InputError as error:
        raise InputError(f"subset of {count} images: {error}") from error


def _slice(given: slice, count: int) -> Tensor | slice:
    """A slice, which shares memory; indices where it runs backwards, as tensors cannot."""
    try:
        start, stop, step = given.indices(count)
    except (TypeError, ValueError) as error:
        raise InputError(f"{given}: {error}") from error
    return given if step > 0 else torch.arange(start, stop, step)


def _array(indices: object) -> object:
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
