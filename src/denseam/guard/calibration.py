"""The images that a guard was calibrated on: which they were, and how well members knew them."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import torch
from torch import Tensor

from denseam.data import ImageSet
from denseam.data.pixels import to_bytes
from denseam.guard.verdict import JUNK
from denseam.showing import Shown

_KNOWN_WELL = 0.7  # accuracy below which a member is a stranger to the images
ASKED = 2000  # images that the classifier is asked about, at most: it may be far away


@dataclass(frozen=True, repr=False)
class CalibratedOn(Shown):
    """What is known of the images of a calibration.

    Attributes:
        name: of the set.
        count: of images.
        measured: images with labels that the shares below are of.
        detector_accuracy: of its labels; None where it has none.
        classifier_accuracy: of its labels.
        agreement: share of the images with the same label from both; None without a detector's.
        read: where a command had them from, as it keeps it.
    """

    name: str
    count: int
    measured: int
    detector_accuracy: float | None
    classifier_accuracy: float
    agreement: float | None
    read: Mapping[str, Any] | None = None

    @property
    def strangers(self) -> tuple[str, ...]:
        """Return which members are wrong so often that these can hardly be images they know."""
        members = (("detector", self.detector_accuracy), ("classifier", self.classifier_accuracy))
        return tuple(name for name, right in members if right is not None and right < _KNOWN_WELL)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Self:
        """Return what ``to_json`` wrote."""
        return cls(**facts)


def measured(images: ImageSet, rows: Tensor, detected: Tensor, classified: Tensor) -> CalibratedOn:
    """Compare the labels of both members with the right ones.

    Args:
        images: M, with right labels.
        rows: (n,) those of them that both members were asked about.
        detected: (n,) labels of the detector, -1 where it has none.
        classified: (n,) labels of the classifier.
    """
    right = images.labels.cpu()[rows]

    def share(a: Tensor, b: Tensor) -> float:
        return float((a == b).double().mean())

    known = bool((detected != JUNK).all())
    return CalibratedOn(
        images.name, len(images), len(rows),
        share(detected, right) if known else None, share(classified, right),
        share(detected, classified) if known else None, images.metadata.get("read"),
    )  # fmt: skip


def image_digests(visible: Tensor) -> Tensor:
    """Return 64 bits of a digest of each image as 8-bit pixels, (M, N) in [-1, 1] -> (M,) int64.

    An image has the same digest as bytes, as floats and in a copy. Two of a million different
    images are alike with a probability of 3e-8.
    """
    rows = to_bytes(visible.detach().cpu()).contiguous().numpy()
    sums = [hashlib.blake2b(row.data, digest_size=8).digest() for row in rows]
    numbers = [int.from_bytes(each, "little", signed=True) for each in sums]
    return torch.tensor(numbers, dtype=torch.int64)
