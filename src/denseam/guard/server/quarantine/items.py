"""An image that was set aside, and what is known of it."""

import base64
import datetime as dt
import math
import uuid
from typing import Any

import msgspec
import numpy as np
import torch
from torch import Tensor

from denseam.data.pixels import to_bytes
from denseam.guard import Verdicts

__all__ = ["Item", "Source", "items_of", "to_json"]

_DTYPES = {torch.uint8: "uint8", torch.float32: "float32"}


class Source(msgspec.Struct, frozen=True):
    """Where a request came from.

    Attributes:
        source: what the client calls itself; None where it does not say.
        request_id: of the request.
        address: of the client; None on a socket that has none.
        key: the name of its API key, never the key.
    """

    source: str | None
    request_id: str
    address: str | None
    key: str | None


class Item(msgspec.Struct, frozen=True):
    """One of them; label and reviewed_at are the reviewer's.

    Attributes:
        id: of the item.
        received_at: UTC.
        model: the name of the guard.
        n_classes: C, where it is known.
        source, request_id, address, key: as ``Source``.
        reason: of the verdict.
        score: None where it is infinite.
        p_value: of the verdict.
        detector_label: -1 where there is none.
        dtype: of the pixels: "uint8" 0..255, or "float32" in [0, 1] where they are valid.
        height, width: H, W.
        pixels: H W of them as they came, row by row, little-endian.
        label: a class, or -1 for junk; None before review.
        reviewed_at: UTC.
    """

    id: uuid.UUID
    received_at: dt.datetime
    model: str
    n_classes: int | None
    source: str | None
    request_id: str
    address: str | None
    key: str | None
    reason: str
    score: float | None
    p_value: float
    detector_label: int
    dtype: str
    height: int
    width: int
    pixels: bytes
    label: int | None = None
    reviewed_at: dt.datetime | None = None

    def image(self) -> Tensor:
        """(H, W), uint8 or float32, as it came."""
        flat = np.frombuffer(self.pixels, np.dtype(self.dtype).newbyteorder("<")).copy()
        return torch.from_numpy(flat.astype(self.dtype)).reshape(self.height, self.width)

    def grey(self) -> Tensor:
        """(H, W) uint8, to look at: what is not finite is black, and the rest is clipped."""
        image = self.image()
        if image.dtype == torch.uint8:
            return image
        levels: Tensor = to_bytes(image.nan_to_num(0, 1, 0), scale="unit")
        return levels


def to_json(item: Item) -> dict[str, Any]:
    """Plain JSON values; the image is one of 0..255 to look at, in base64."""
    facts = msgspec.structs.asdict(item)
    del facts["pixels"]
    return {**facts, "image": base64.b64encode(item.grey().numpy().tobytes()).decode()}


def items_of(
    images: Tensor, verdicts: Verdicts, source: Source, *, model: str, n_classes: int | None
) -> dict[int, Item]:
    """An item for each rejected one of images (B, H, W), by its place in the batch."""
    now = dt.datetime.now(dt.UTC)
    found = {}
    pixels, dtype = images.numpy(), _DTYPES[images.dtype]
    for i, accepted in enumerate(verdicts.columns["accepted"]):
        if accepted:
            continue
        verdict = verdicts[i]
        found[i] = Item(
            id=uuid.uuid4(),
            received_at=now,
            model=model,
            n_classes=n_classes,
            **msgspec.structs.asdict(source),
            reason=verdict.reason or "",
            score=verdict.score if math.isfinite(verdict.score) else None,
            p_value=verdict.p_value,
            detector_label=verdict.detector_label,
            dtype=dtype,
            height=images.shape[1],
            width=images.shape[2],
            pixels=pixels[i].astype(pixels.dtype.newbyteorder("<")).tobytes(),
        )
    return found
