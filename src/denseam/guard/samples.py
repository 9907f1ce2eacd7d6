"""Images as a guard takes them: of any usual kind, and with pixels that are no pixels."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from denseam.data import Examples, ImageSet
from denseam.data.arrays import to_tensor
from denseam.data.imageset import only_pictures
from denseam.data.pixels import Scale, to_bytes, to_unit, to_visible
from denseam.data.validate import SLACK
from denseam.errors import InputError


@dataclass(frozen=True)
class Samples:
    """A batch whose pixels have been looked at.

    Attributes:
        given: (B, N) the images as they were given, on their device.
        scale: in which units they are.
        visible: (B, N) float32 or float64 in [-1, 1]; black where an image is not valid.
        nonfinite: (B,) bool on the CPU: NaN or infinite pixels.
        out_of_range: (B,) bool on the CPU: finite pixels that no image has.
        all_valid: whether there is neither.
    """

    given: Tensor
    scale: Scale
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
        if isinstance(images, Examples):
            images = only_pictures(images, "a guard")
        pixels = images.images if isinstance(images, ImageSet) else to_tensor(images, "images")
        _check_shape(tuple(pixels.shape), n_visible, shape)
        flat = pixels.reshape(len(pixels), n_visible)
        never = torch.zeros(len(flat), dtype=torch.bool)
        if flat.dtype == torch.uint8:
            visible = converted(flat, "byte", "visible")
            return cls(flat, "byte", visible, never, never, all_valid=True)
        if not flat.is_floating_point():
            raise InputError(f"images are {flat.dtype}: wanted uint8 0..255, or floating")
        if flat.dtype != torch.float64:
            flat = flat.float()
        scale: Scale = "visible" if pixels.ndim == 2 or isinstance(images, ImageSet) else "unit"
        visible = converted(flat, scale, "visible")
        if not visible.numel():
            return cls(flat, scale, visible, never, never, all_valid=True)
        least, most = visible.aminmax()  # NaN where there is one
        if float(least) >= -1 - SLACK and float(most) <= 1 + SLACK:
            return cls(flat, scale, visible.clamp(-1, 1), never, never, all_valid=True)
        low, high = visible.aminmax(dim=1)
        finite = low.isfinite() & high.isfinite()
        inside = (low >= -1 - SLACK) & (high <= 1 + SLACK)
        usable = torch.where((finite & inside)[:, None], visible.clamp(-1, 1), -1.0)
        return cls(
            flat, scale, usable, ~finite.cpu(), (finite & ~inside).cpu(),
            all_valid=bool(inside.all()),
        )  # fmt: skip

    @property
    def valid(self) -> Tensor:
        """Which images can be shown to a model, (B,) bool."""
        return ~(self.nonfinite | self.out_of_range)

    def __len__(self) -> int:
        return len(self.visible)


def converted(images: Tensor, scale: Scale, wanted: Scale) -> Tensor:
    """Return images in other units; those that are in them already as they are."""
    if scale == wanted:
        return images
    if wanted == "visible":
        return to_visible(images, scale=scale)
    return to_bytes(images, scale=scale) if wanted == "byte" else to_unit(images)


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
