"""Labelled images, wherever they come from."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from denseam.data.arrays import to_facts, to_images, to_labels
from denseam.data.examples import Examples
from denseam.data.pixels import Scale, to_visible
from denseam.data.validate import check_every_class_present, check_images
from denseam.errors import DenseAMWarning, InputError
from denseam.showing import Drawn


@dataclass(frozen=True, eq=False, repr=False)
class ImageSet(Examples, Drawn):
    """Labelled images of one size, checked once when they are put together.

    The tensors are shared, not copied: treat them as read-only. Arrays are taken by `from_arrays`.

    Attributes:
        images: (M, H, W), or (M, 3, H, W) in colour: uint8 0..255, or float32/float64 in visible
            units [-1, 1].
        labels: (M,) int64 in 0 .. n_classes - 1.
        n_classes: C.
        class_names: C distinct strings; the class numbers where none are given.
        name: what to call the set in messages and records.
        metadata: JSON-able facts about the set: where the images come from, how they were made.
        facts: values for each image, by name: tensors (M, ...), bool, integer or floating; NaN
            where there is no value. `subset` and `concatenate` carry them along.

    Raises:
        InputError: for tensors of another shape, type or range, or labels, names and facts that do
            not fit them.

    >>> ImageSet(torch.zeros(2, 3, 3), torch.tensor([1, 0]), n_classes=2, name="blanks")
    ImageSet('blanks', 2x3x3 float32, 2 classes)
    """

    kind: ClassVar[str] = "image set"
    array: ClassVar[str] = "images"

    images: Tensor
    labels: Tensor
    n_classes: int
    class_names: tuple[str, ...] = ()
    name: str = "images"
    metadata: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_images(self.images)
        self._check_common()

    @classmethod
    def from_arrays(
        cls,
        images: object,
        labels: object,
        *,
        name: str = "images",
        shape: tuple[int, ...] | None = None,
        scale: Scale | None = None,
        n_classes: int | None = None,
        class_names: Sequence[str] = (),
        metadata: Mapping[str, Any] | None = None,
        facts: Mapping[str, object] | None = None,
    ) -> "ImageSet":
        """Make a set of NumPy arrays or tensors of the usual shapes.

        Args:
            images: (M, H, W), (M, 1, H, W) or flat (M, N); in colour (M, 3, H, W) or
                (M, H, W, 3); uint8, or floating.
            labels: (M,) integers.
            name: what to call the set.
            shape: of flat images, (H, W), (3, H, W) or (H, W, 3). By default a square where N is a
                square number, else one row (1, N).
            scale: units of ``images``: "visible" [-1, 1] (default for floats), "unit" [0, 1], or
                "byte" 0..255 (always for uint8). Floats are never rescaled on a guess.
            n_classes: C. By default one more than the largest label, and then every class must have
                an example.
            class_names: C names.
            metadata: JSON-able facts to keep with the set.
            facts: values for each image, by name: arrays or tensors (M, ...).

        Raises:
            InputError: for arrays of another shape or type, or pixels outside of the units.

        >>> import numpy as np
        >>> pixels = np.eye(4).reshape(2, 8)
        >>> ImageSet.from_arrays(pixels, [0, 1], shape=(2, 4), scale="unit").images[0]
        tensor([[ 1., -1., -1., -1.],
                [-1.,  1., -1., -1.]], dtype=torch.float64)
        """
        pixels = to_images(images, shape=shape, scale=scale)
        numbers = to_labels(labels)
        count = n_classes
        if count is None:
            count = len(class_names) or _infer_classes(numbers)
        image_set = cls(
            pixels, numbers, count, tuple(class_names), name, dict(metadata or {}), to_facts(facts)
        )
        if n_classes is None:
            check_every_class_present(numbers, count)
        if scale is None:
            _warn_if_unit_scaled(pixels, name)
        return image_set

    _figure: ClassVar[str] = "grid"

    def _thumbnails(self) -> Tensor:
        return self.images

    def _sheet(self, count: int) -> tuple[Tensor, tuple[str, ...], None]:
        names = tuple(self.class_names[c] for c in self.labels[:count].tolist())
        return self.images[:count], names, None

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) of one image."""
        return int(self.images.shape[-2]), int(self.images.shape[-1])

    @property
    def n_visible(self) -> int:
        """N, the number of values of one image: H * W, or 3 * H * W in colour."""
        return self.n_inputs

    def visible(
        self, dtype: torch.dtype = torch.float32, device: torch.device | str | None = None
    ) -> Tensor:
        """Return a copy of the images as (M, N) in [-1, 1]: 0 becomes -1 and 255 becomes +1.

        Args:
            dtype: a floating one.
            device: where the copy lives; by default with the images. Bytes travel as bytes and
                become the same numbers, bit for bit, on every device.

        Raises:
            InputError: when ``dtype`` is not a floating one.

        >>> pixels = torch.tensor([[[0, 51], [102, 255]]], dtype=torch.uint8)
        >>> images = ImageSet.from_arrays(pixels, [0])
        >>> images.visible()
        tensor([[-1.0000, -0.6000, -0.2000,  1.0000]])
        """
        if not dtype.is_floating_point:
            raise InputError(f"visible images are floating, got dtype {dtype}")
        flat = self.images.reshape(len(self), self.n_visible)
        device = flat.device if device is None else torch.device(device)
        if flat.dtype is not torch.uint8:
            return flat.to(device, dtype, copy=True)
        return to_visible(flat.to(device), dtype)

    def inputs(
        self, dtype: torch.dtype = torch.float32, device: torch.device | str | None = None
    ) -> Tensor:
        """Return a copy of the images as networks take them, as ``visible`` does."""
        return self.visible(dtype, device)


def only_pictures(examples: Examples, what: str) -> ImageSet:
    """Return an image set as it is; ``what``, which needs one, is named in the message.

    Raises:
        InputError: for a set of another kind.
    """
    if not isinstance(examples, ImageSet):
        noun = (
            f"{examples.name} has rows of numbers"
            if isinstance(examples, Examples)
            else (f"got {type(examples).__name__}")
        )
        raise InputError(f"{what} works on pictures, an ImageSet: {noun}")
    return examples


def _infer_classes(labels: Tensor) -> int:
    count = max(1, int(labels.max()) + 1) if labels.numel() else 1
    if 0 < len(labels) < count:  # said before one wild label asks for 2**60 names
        check_every_class_present(labels, count)
    return count


def _warn_if_unit_scaled(images: Tensor, name: str) -> None:
    if images.dtype == torch.uint8:
        return
    low, high = (float(x) for x in torch.aminmax(images))
    if low >= 0 and 0 < high <= 1:
        warnings.warn(
            f"{name}: all pixels lie in {low:g}..{high:g}, which looks like [0, 1] images taken "
            "for visible units [-1, 1]; say scale='unit' (--scale unit) if they are, 'visible' if "
            "they are not",
            DenseAMWarning,
            stacklevel=3,
        )
