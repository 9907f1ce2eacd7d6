"""Labelled images, wherever they come from, and the two sets of a data set."""

import hashlib
import math
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from denseam.checks import whole
from denseam.data import setfiles
from denseam.data.arrays import rows_of, to_facts, to_images, to_labels
from denseam.data.pixels import Scale, to_visible
from denseam.data.validate import (
    check_class_names,
    check_every_class_present,
    check_facts,
    check_images,
    check_labels,
)
from denseam.errors import DenseAMWarning, InputError

__all__ = ["Dataset", "ImageSet"]


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Labelled images of one size, checked once when they are put together.

    The tensors are shared, not copied: treat them as read-only. Arrays are taken by `from_arrays`.

    Attributes:
        images: (M, H, W) uint8 0..255, or float32/float64 in visible units [-1, 1].
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

    images: Tensor
    labels: Tensor
    n_classes: int
    class_names: tuple[str, ...] = ()
    name: str = "images"
    metadata: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_images(self.images)
        object.__setattr__(self, "n_classes", whole("n_classes", self.n_classes))
        check_labels(self.labels, self.n_classes, len(self.images))
        names = tuple(self.class_names) or tuple(str(c) for c in range(self.n_classes))
        check_class_names(names, self.n_classes)
        check_facts(self.facts, len(self.images))
        object.__setattr__(self, "class_names", names)
        object.__setattr__(self, "facts", dict(self.facts))  # what was checked stays checked

    @classmethod
    def from_arrays(
        cls,
        images: object,
        labels: object,
        *,
        name: str = "images",
        shape: tuple[int, int] | None = None,
        scale: Scale | None = None,
        n_classes: int | None = None,
        class_names: Sequence[str] = (),
        metadata: Mapping[str, Any] | None = None,
        facts: Mapping[str, object] | None = None,
    ) -> "ImageSet":
        """Make a set of NumPy arrays or tensors of the usual shapes.

        Args:
            images: (M, H, W), (M, 1, H, W) or flat (M, N); uint8, or floating.
            labels: (M,) integers.
            name: what to call the set.
            shape: (H, W) of flat images. By default a square where N is a square number, else one
                row (1, N).
            scale: units of ``images``: "visible" [-1, 1] (default for floats), "unit" [0, 1], or
                "byte" 0..255 (always for uint8). Floats are never rescaled on a guess.
            n_classes: C. By default one more than the largest label, and then every class must have
                an example.
            class_names: C names.
            metadata: JSON-able facts to keep with the set.
            facts: values for each image, by name: arrays or tensors (M, ...).

        Raises:
            InputError: for arrays of another shape or type, or pixels outside of the units.

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

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        size = "x".join(map(str, self.images.shape))
        dtype = str(self.images.dtype).removeprefix("torch.")
        return f"ImageSet({self.name!r}, {size} {dtype}, {self.n_classes} classes)"

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) of one image."""
        return int(self.images.shape[1]), int(self.images.shape[2])

    @property
    def n_visible(self) -> int:
        """N = H * W, the number of pixels of one image."""
        return math.prod(self.shape)

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

        >>> images = ImageSet.from_arrays(np.array([[[0, 51], [102, 255]]], np.uint8), [0])
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

    def class_counts(self) -> Tensor:
        """Count the images of each class, (C,) int64.

        >>> ImageSet(torch.zeros(3, 2, 2), torch.tensor([2, 0, 2]), n_classes=3).class_counts()
        tensor([1, 0, 2])
        """
        return torch.bincount(self.labels, minlength=self.n_classes)

    def subset(
        self, indices: Iterable[int] | Tensor | NDArray[np.integer | np.bool_] | slice
    ) -> "ImageSet":
        """Return some of the images, in the order of the indices; classes and name stay.

        Args:
            indices: whole numbers, where negative ones count from the end; or a mask of M bools; or
                a slice, backwards too.

        Raises:
            InputError: when no image is left, for an index out of range, and for anything other
                than indices, a mask or a slice.

        >>> images = ImageSet(torch.zeros(3, 2, 2), torch.tensor([2, 0, 1]), n_classes=3)
        >>> images.subset([0, -1]).labels, images.subset(images.labels < 2).labels
        (tensor([2, 1]), tensor([0, 1]))
        """
        rows = rows_of(indices, len(self))
        facts = {name: value[rows] for name, value in self.facts.items()}
        return replace(self, images=self.images[rows], labels=self.labels[rows], facts=facts)

    @staticmethod
    def concatenate(parts: "Sequence[ImageSet]") -> "ImageSet":
        """Join sets one after the other; name and metadata are those of the first.

        Raises:
            InputError: when there is no set, or two differ in image shape, dtype or classes, or in
                the names, types or shapes of their facts.

        >>> images = ImageSet(torch.zeros(3, 2, 2), torch.tensor([2, 0, 1]), n_classes=3)
        >>> len(ImageSet.concatenate([images, images.subset([0])]))
        4
        """
        _check_alike(parts)
        first = parts[0]
        return replace(
            first,
            images=torch.cat([part.images for part in parts]),
            labels=torch.cat([part.labels for part in parts]),
            facts={name: torch.cat([part.facts[name] for part in parts]) for name in first.facts},
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the set to one file, ``.safetensors`` or (compressed) ``.npz``, bit for bit.

        `denseam.data.load` reads it back. Metadata come back as JSON has them: a tuple as a list, a
        number used as a key as a string.

        Raises:
            InputError: for another suffix, metadata that are no JSON, or a type of numbers that the
                format does not have (bfloat16 in ``.npz``).
            SaveError: when the file cannot be written; an older file is untouched.
        """
        setfiles.write(vars(self), path)

    def digest(self) -> str:
        """Return the SHA-256 (hex) of shape, type, pixels and labels: the identity of the data.

        Facts do not count: they are about the data.

        >>> ImageSet(torch.zeros(1, 2, 2), torch.tensor([0]), 1).digest()[:12]
        'ed99489a3d24'
        """
        images, labels = (t.detach().cpu().contiguous() for t in (self.images, self.labels))
        sha = hashlib.sha256(f"{tuple(images.shape)} {images.dtype} ".encode())
        sha.update(images.numpy().data)
        sha.update(labels.numpy().data)
        return sha.hexdigest()


@dataclass(frozen=True, eq=False)
class Dataset:
    """A training set and a test set with the same image shape and the same classes.

    Raises:
        InputError: when shape or classes of the two differ.
    """

    name: str
    train: ImageSet
    test: ImageSet

    def __post_init__(self) -> None:
        for what in ("shape", "n_classes", "class_names"):
            train, test = getattr(self.train, what), getattr(self.test, what)
            if train != test:
                raise InputError(f"{self.name}: {what} differs, train {train} and test {test}")

    def hold_out(self, count: int) -> "Dataset":
        """Return a data set whose test images are the last ``count`` training images.

        Tune a recipe on it, so that the real test images play no part.

        Raises:
            InputError: unless 1 <= count < the number of training images.

        >>> images = ImageSet(torch.zeros(10, 2, 2), torch.arange(10) % 2, n_classes=2)
        >>> held_out = Dataset("blanks", images, images).hold_out(3)
        >>> len(held_out.train), len(held_out.test)
        (7, 3)
        """
        total = len(self.train)
        count = whole("count", count, 1, total - 1)
        return Dataset(
            f"{self.name} without the last {count}",
            self.train.subset(slice(0, total - count)),
            self.train.subset(slice(total - count, total)),
        )


def _check_alike(parts: Sequence[ImageSet]) -> None:
    """Raise InputError unless sets have the same kind of images, classes and facts.

    The message names the first difference.
    """
    if not parts:
        raise InputError("nothing to concatenate: wanted one image set or more, got none")
    first = _traits(parts[0])
    for number, part in enumerate(parts[1:], 1):
        other = _traits(part)
        for what in dict.fromkeys([*first, *other]):
            a, b = first.get(what, "absent"), other.get(what, "absent")
            if a != b:
                raise InputError(
                    f"image sets to concatenate must be alike: {what} is {a} in part 0 "
                    f"({parts[0].name!r}) and {b} in part {number} ({part.name!r})"
                )


def _traits(part: ImageSet) -> dict[str, object]:
    return {
        "shape": part.shape,
        "dtype": part.images.dtype,
        "device": part.images.device,
        "n_classes": part.n_classes,
        "class_names": part.class_names,
        **{f"fact {name!r}": _fact_kind(value) for name, value in part.facts.items()},
    }


def _fact_kind(fact: Tensor) -> str:
    """Return type and shape without the number of images, such as ``float64 (M, 28, 28)``."""
    axes = ", ".join(map(str, fact.shape[1:]))
    return f"{str(fact.dtype).removeprefix('torch.')} (M,{axes and f' {axes}'})"


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
