"""Items as an image set, and as pictures."""

import struct
import zlib
from collections.abc import Sequence

import torch
from torch import Tensor

from denseam.data import ImageSet
from denseam.data.pixels import to_visible
from denseam.errors import InputError
from denseam.guard.server.quarantine.items import Item

_BLOCKS = " ░▒▓█"


def image_set(items: Sequence[Item]) -> tuple[ImageSet, int]:
    """Return the items that have a class for a label as an image set.

    Such items are clean data that was set aside: together with the old ones they make a better
    calibration set. uint8 if all of them came as uint8, otherwise floating in [-1, 1]. Score and
    p-value are facts of the set.

    Returns:
        The set, and the number of items that were left out because they have invalid pixels.

    Raises:
        InputError: when there is none, or they have different sizes or numbers of classes.
    """
    labelled = [item for item in items if item.label is not None and item.label >= 0]
    good = [item for item in labelled if item.reason not in ("nonfinite", "out_of_range")]
    if not good:
        raise InputError("no item has a class for a label: label some with `review label`")
    kinds = {(item.height, item.width, item.n_classes) for item in good}
    if len(kinds) > 1:
        raise InputError(
            f"items of {len(kinds)} kinds (height, width, classes): {sorted(kinds, key=str)}: "
            "wanted those of one, choose a model"
        )
    ((*_, n_classes),) = kinds
    bytes_only = all(item.dtype == "uint8" for item in good)
    images = torch.stack([item.image() if bytes_only else _visible(item) for item in good])
    reviewed = ImageSet.from_arrays(
        images,
        [item.label for item in good],
        name="quarantine",
        scale=None if bytes_only else "visible",
        n_classes=n_classes or 1 + max(item.label or 0 for item in good),
        metadata={"ids": [str(item.id) for item in good]},
        facts={
            "score": torch.tensor([_or_nan(item.score) for item in good], dtype=torch.float64),
            "p_value": torch.tensor([item.p_value for item in good], dtype=torch.float64),
        },
    )
    return reviewed, len(labelled) - len(good)


def png(image: Tensor) -> bytes:
    """Return a grey image (H, W) uint8 as a PNG file (its specification: W3C, 2003)."""
    height, width = image.shape
    rows = b"".join(b"\0" + row.numpy().tobytes() for row in image)  # filter 0: as they are
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)  # 8 bits of grey
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in chunks)


def in_blocks(image: Tensor) -> str:
    """Return a grey image (H, W) uint8 for the terminal, two characters a pixel."""
    levels = (image.long() * len(_BLOCKS)) // 256
    return "\n".join("".join(2 * _BLOCKS[level] for level in row) for row in levels.tolist())


def _visible(item: Item) -> Tensor:
    visible: Tensor = to_visible(item.image())
    return visible.clamp(-1, 1)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _or_nan(value: float | None) -> float:
    return torch.nan if value is None else value
