"""Arrays, lists and images of people as a batch of inputs, where the meaning is beyond doubt."""

import math

import torch
from torch import Tensor

from denseam.data import Examples
from denseam.data.arrays import to_tensor
from denseam.data.pixels import to_visible
from denseam.errors import InputError

__all__ = ["as_inputs"]


def as_inputs(
    values: object,
    shape: tuple[int, ...] | None,
    n_inputs: int,
    *,
    pixels: bool = True,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Return a batch of inputs, (B, n_inputs).

    Bytes are pixels 0..255, bools black and white; floats are in visible units [-1, 1]. Other
    integers are pixels 0..255 if they are none of -1, 0, 1 alone, which could be either. Whether
    floats lie in [-1, 1] is for the model to check.

    Args:
        values: a set of examples, array, tensor, list or data frame: (B, n_inputs), (B, H, W),
            (B, 1, H, W), one of these without B, or (B, 3, H, W), (B, H, W, 3) for colours.
        shape: (H, W) or (3, H, W) of an image; None takes any (H, W) with H W = n_inputs.
        n_inputs: numbers in one input.
        pixels: whether inputs are pixels; otherwise numbers of any range are taken as they are.
        dtype: of the result.
        device: of the result.

    Raises:
        InputError: for another shape, or numbers whose units are in doubt.

    >>> as_inputs([[0, 51], [255, 0]], (2, 2), 4)
    tensor([[-1.0000, -0.6000,  1.0000, -1.0000]])
    """
    if isinstance(values, Examples):
        return values.inputs(dtype, device)
    numbers = to_tensor(values, "inputs")
    numbers = _numbers(numbers, dtype) if pixels else numbers.to(dtype)
    return _flat(numbers, shape, n_inputs).to(device)


def _numbers(values: Tensor, dtype: torch.dtype) -> Tensor:
    """Return pixels of any dtype in visible units."""
    if values.is_floating_point():
        return values.to(dtype)
    if values.dtype == torch.bool:
        return 2 * values.to(dtype) - 1
    if values.is_complex():
        raise InputError(f"inputs are {values.dtype}: wanted real numbers")
    if values.dtype != torch.uint8:
        values = values.long()
        low, high = (int(x) for x in values.aminmax()) if values.numel() else (0, 255)
        if low < 0 or high > 255 or high <= 1:
            raise InputError(
                f"inputs are integers {low}..{high}: wanted pixels 0..255 (uint8 beyond doubt), or "
                "floats in [-1, 1]"
            )
    return to_visible(values.to(torch.uint8), dtype)


def _flat(values: Tensor, shape: tuple[int, ...] | None, n_inputs: int) -> Tensor:
    """Return (B, n_inputs) of a batch, or of one input, of any layout that fits."""
    sizes = tuple(values.shape)
    if sizes[-1:] == (n_inputs,) and len(sizes) <= 2:
        return values.reshape(-1, n_inputs)
    if shape is None and len(sizes) >= 2 and math.prod(sizes[-2:]) == n_inputs:
        shape = sizes[-2:]
    if shape is not None and len(shape) == 3 and sizes[-3:] == (*shape[1:], shape[0]):
        values = values.movedim(-1, -3)
        sizes = tuple(values.shape)
    if shape is not None and sizes[-len(shape) :] == shape:
        rest = sizes[: -len(shape)]
        if len(rest) <= 1 or (len(shape) == 2 and len(rest) == 2 and rest[1] == 1):
            return values.reshape(-1, n_inputs)
    if shape is None or len(shape) < 2:
        raise InputError(f"visible must have shape (B, {n_inputs}), got {sizes}")
    sides = ", ".join(map(str, shape))
    raise InputError(
        f"inputs have shape {sizes}: wanted (B, {n_inputs}), (B, {sides}) or ({sides})"
    )
