"""From a picture of any size to an input of a model, as its training images were."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from denseam.data import ImageSet
from denseam.data.pixels import to_bytes, to_unit, to_visible
from denseam.data.registry import KNOWN
from denseam.errors import InputError
from denseam.fronts.centring import Invert, centred, signs
from denseam.fronts.pixels import LUMA

_MNIST = (28, 28)


@dataclass(frozen=True)
class Preparation:
    """How pictures become inputs of a model.

    Attributes:
        shape: (H, W) or (3, H, W) of the result.
        invert: True for pictures with dark ink on light paper, "auto" to see of each which it is.
        centre: whether to do as MNIST does: the ink alone, at its size, in the middle. "auto" does
            so with pictures of another size. Without it, the whole picture is resized in proportion
            on the colour of its border.
    """

    shape: tuple[int, ...]
    invert: Invert = "auto"
    centre: bool | Literal["auto"] = "auto"

    @property
    def colour(self) -> bool:
        """Whether inputs have colours."""
        return len(self.shape) == 3

    def __call__(self, page: Tensor) -> Tensor:
        """Return a picture as an input.

        Args:
            page: (H, W) or (3, H, W); uint8, or floating in [0, 1].

        Returns:
            ``shape``, float32 in [-1, 1].
        """
        visible = to_visible(page, torch.float32)
        if self.colour and visible.ndim == 2:
            visible = visible.expand(3, *visible.shape)
        elif not self.colour:
            visible = _grey(visible)
        fits = tuple(visible.shape) == self.shape
        if self.centre is True or (self.centre == "auto" and not fits):
            if self.colour:
                raise InputError("centre: pictures in colour are not centred as digits are")
            return centred(visible[None], (self.shape[0], self.shape[1]), self.invert)[0]
        sign = signs(_grey(visible)[None], self.invert)[0]
        return sign * (visible if fits else _fitted(visible, self.shape))


def preparation_of(
    model: Any,
    *,
    shape: tuple[int, ...] | None = None,
    invert: Invert | None = None,
    centre: bool | Literal["auto"] | None = None,
) -> Preparation:
    """Return how pictures become inputs of a model, by its front and what it was trained on.

    * A model behind a front of pictures gets them at the front's size; the front does the rest.
    * One that was trained on MNIST or EMNIST gets them inverted where their paper is light, and
      centred where they have another size. So does one of 784 inputs that does not know its data.
    * One of other sets of the package gets light paper inverted, and the rest as it is.
    * One of somebody's own pictures gets them as they are, in proportion.

    Args:
        model: a ``Classifier``; None for one that nothing is known of.
        shape: (H, W) or (3, H, W) of its inputs, where it does not say.
        invert: another answer than these; see ``Preparation``.
        centre: the same.

    Raises:
        InputError: for a model that takes no pictures.
    """
    front = getattr(model, "front", None)
    known = getattr(model, "trained_on", None)
    if front is not None and hasattr(front, "input_shape"):
        shape = front.input_shape
        usual = Preparation((), invert=False, centre=False)
    else:
        if shape is None and known is not None:
            shape = known.input_shape
        if shape is None and getattr(model, "n_inputs", None) == _MNIST[0] * _MNIST[1]:
            shape = _MNIST
        handwriting = shape == _MNIST if known is None else known.handwriting
        ours = handwriting or (known is not None and known.data.split(" ")[0] in KNOWN)
        usual = Preparation((), "auto" if ours else False, "auto" if handwriting else False)
    if shape is None or len(shape) < 2:
        raise InputError(f"the model takes no pictures, but rows of {model.n_inputs} numbers")
    return replace(
        usual,
        shape=tuple(shape),
        invert=usual.invert if invert is None else invert,
        centre=usual.centre if centre is None else centre,
    )


def prepared(images: ImageSet, prepare: Preparation) -> ImageSet:
    """Return a set whose images have another size or other colours as inputs of a model.

    >>> from denseam.data import load
    >>> prepared(load("mnist").test.subset(slice(2)), Preparation((14, 14), centre=False)).shape
    (14, 14)
    """
    pages = (page if page.dtype == torch.uint8 else to_unit(page) for page in images.images)
    inputs = torch.stack([to_bytes(prepare(page)) for page in pages])
    return replace(images, images=inputs)


def _grey(visible: Tensor) -> Tensor:
    """Return a picture (H, W) or (3, H, W) in grey, (H, W)."""
    if visible.ndim == 2:
        return visible
    return (visible * torch.tensor(LUMA)[:, None, None]).sum(dim=0)


def _fitted(visible: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return a picture resized in proportion, on the median of its border, in each colour."""
    h, w = shape[-2:]
    H, W = visible.shape[-2:]
    scale = min(h / H, w / W)
    size = [min(most, max(1, round(scale * side))) for most, side in ((h, H), (w, W))]
    layers = visible.reshape(-1, H, W)
    if scale <= 1:  # each pixel the mean of what it covers
        small = interpolate(layers[None], size=size, mode="area")[0]
    else:
        small = interpolate(layers[None], size=size, mode="bilinear", align_corners=False)[0]
    edges = (layers[:, 0], layers[:, -1], layers[:, :, 0], layers[:, :, -1])
    paper = torch.cat(edges, dim=1).median(dim=1).values
    result = paper[:, None, None].expand(-1, h, w).clone()
    top, left = (h - size[0]) // 2, (w - size[1]) // 2
    result[:, top : top + size[0], left : left + size[1]] = small
    return result.clamp(-1, 1).reshape(shape)
