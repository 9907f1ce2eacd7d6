"""Images as a guard takes them: of any usual kind, and with pixels that are no pixels."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from denseam.data import ImageSet
from denseam.data.arrays import to_tensor
from denseam.data.pixels import to_visible
from denseam.data.validate import SLACK
from denseam.errors import InputError

__all__ = ["Samples", "square"]


@dataclass(frozen=True)
class Samples:
    """A batch that has been looked at.

    Attributes:
        visible: (B, N) float32 or float64 in [-1, 1] on the CPU; black where an image is not valid.
        nonfinite: (B,) bool: NaN or infinite pixels.
        out_of_range: (B,) bool: finite pixels that no image has.
        all_valid: whether there is neither.
    """

    visible: Tensor
    nonfinite: Tensor
    out_of_range: Tensor
    all_valid: bool

    @classmethod
    def of(cls, images: object, n_visible: int, shape: tuple[int, int] | None) -> "Samples":
        """Look at a batch.

        Args:
            images: an ``ImageSet``, or an array or tensor: floating (B, N) in visible units
                [-1, 1]; (B, H, W) or (B, 1, H, W), floating in [0, 1]; or uint8 of any of these
                shapes.
            n_visible: N.
            shape: (H, W) that images must have; None takes any with H W = N.

        Raises:
            InputError: for anything of another shape or type.
        """
        if isinstance(images, ImageSet):
            _check_shape(tuple(images.images.shape), n_visible, shape)
            return cls._looked_at(images.visible(_float_of(images.images.dtype)))
        given = to_tensor(images, "images").cpu()
        _check_shape(tuple(given.shape), n_visible, shape)
        flat = given.reshape(len(given), n_visible)
        if given.dtype == torch.uint8:
            never = torch.zeros(len(flat), dtype=torch.bool)
            return cls(to_visible(flat), never, never, all_valid=True)
        if not given.is_floating_point():
            raise InputError(f"images are {given.dtype}: wanted uint8 0..255, or floating")
        pixels = flat.to(_float_of(given.dtype))
        return cls._looked_at(pixels if given.ndim == 2 else to_visible(pixels))

    @classmethod
    def _looked_at(cls, visible: Tensor) -> "Samples":
        never = torch.zeros(len(visible), dtype=torch.bool)
        if not visible.numel():
            return cls(visible, never, never, all_valid=True)
        least, most = visible.aminmax()  # NaN where there is one
        if float(least) >= -1 - SLACK and float(most) <= 1 + SLACK:
            return cls(visible.clamp(-1, 1), never, never, all_valid=True)
        low, high = visible.aminmax(dim=1)
        finite = low.isfinite() & high.isfinite()
        inside = (low >= -1 - SLACK) & (high <= 1 + SLACK)
        usable = torch.where((finite & inside)[:, None], visible.clamp(-1, 1), -1.0)
        return cls(usable, ~finite, finite & ~inside, all_valid=bool(inside.all()))

    @property
    def valid(self) -> Tensor:
        """(B,) bool: what can be shown to a model."""
        return ~(self.nonfinite | self.out_of_range)

    def __len__(self) -> int:
        return len(self.visible)


def square(n_visible: int) -> tuple[int, int] | None:
    """(H, W) of a square image of N pixels; None where N is no square number."""
    side = math.isqrt(n_visible)
    return (side, side) if side * side == n_visible else None


def _float_of(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _check_shape(given: tuple[int, ...], n_visible: int, shape: tuple[int, int] | None) -> None:
    flat = len(given) == 2 and given[1] == n_visible
    image = len(given) == 3 or (len(given) == 4 and given[1] == 1)
    fits = given[-2:] == shape if shape else math.prod(given[-2:]) == n_visible
    if flat or (image and fits):
        return
    wanted = f"(B, {n_visible})"
    if shape:
        wanted += f", (B, {shape[0]}, {shape[1]}) or (B, 1, {shape[0]}, {shape[1]})"
    hint = "; one image is a batch of one: images[None]" if given == shape else ""
    raise InputError(f"images have shape {given}: wanted {wanted}{hint}")
