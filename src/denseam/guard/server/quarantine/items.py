"""Images that were set aside, and what is known about them."""

import datetime as dt
import math
import uuid
from typing import Annotated, Any, get_type_hints

import msgspec
import numpy as np
import torch
from msgspec import Meta
from torch import Tensor

from denseam.data.pixels import to_bytes
from denseam.guard import REASONS, Verdicts

_DTYPES = {torch.uint8: "uint8", torch.float32: "float32"}
_Name = Annotated[str, Meta(max_length=64)]
_Text = Annotated[str, Meta(max_length=128)]
_Time = Annotated[dt.datetime, Meta(tz=True)]
_Reason = Annotated[str, Meta(max_length=32, extra_json_schema={"enum": list(REASONS)})]
_Dtype = Annotated[str, Meta(max_length=16, extra_json_schema={"enum": list(_DTYPES.values())})]


class Source(msgspec.Struct, frozen=True):
    """The origin of a request.

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
    """An image that was set aside, its verdict and its label.

    The journal, the table of the database and the API take its fields from here.

    Attributes:
        id: of the item.
        received_at: UTC.
        model: the name of the guard.
        n_classes: C, where it is known.
        source, request_id, address, key: as in ``Source``.
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
    received_at: _Time
    model: _Name
    n_classes: int | None
    source: _Text | None
    request_id: _Text
    address: _Text | None
    key: _Name | None
    reason: _Reason
    score: float | None
    p_value: float
    detector_label: int
    dtype: _Dtype
    height: int
    width: int
    pixels: bytes
    label: int | None = None
    reviewed_at: _Time | None = None

    def image(self) -> Tensor:
        """Return the image (H, W), uint8 or float32, as it came."""
        flat = np.frombuffer(self.pixels, np.dtype(self.dtype).newbyteorder("<")).copy()
        return torch.from_numpy(flat.astype(self.dtype)).reshape(self.height, self.width)

    def grey(self) -> Tensor:
        """Return a picture (H, W) uint8; what is not finite is black, and the rest is clipped."""
        image = self.image()
        if image.dtype == torch.uint8:
            return image
        levels: Tensor = to_bytes(image.nan_to_num(0, 1, 0), scale="unit")
        return levels


ItemView: type[Any] = msgspec.defstruct(
    "Item",
    [
        ("image" if name == "pixels" else name, kind)
        for name, kind in get_type_hints(Item, include_extras=True).items()
    ],
)
"""An item as the API shows it: its image is a picture of 0..255, in base64."""


def view_of(item: Item) -> Any:
    """Return the ``ItemView`` of an item."""
    facts = msgspec.structs.asdict(item)
    del facts["pixels"]
    return ItemView(**facts, image=item.grey().numpy().tobytes())


def items_of(
    images: Tensor, verdicts: Verdicts, source: Source, *, model: str, n_classes: int | None
) -> dict[int, Item]:
    """Return an item for each rejected one of images (B, H, W), by its place in the batch."""
    now = dt.datetime.now(dt.UTC)
    items = {}
    pixels, dtype = images.numpy(), _DTYPES[images.dtype]
    for i, accepted in enumerate(verdicts.columns["accepted"]):
        if accepted:
            continue
        verdict = verdicts[i]
        items[i] = Item(
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
    return items
