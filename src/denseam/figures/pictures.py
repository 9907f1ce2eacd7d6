"""Picture files read as gray images of one size; ``grid`` writes them."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from denseam.data.pictures import SUFFIXES, pages
from denseam.data.pixels import to_bytes
from denseam.errors import InputError
from denseam.fronts.preparing import Preparation

__all__ = ["SUFFIXES", "read_pictures"]


def read_pictures(
    paths: Sequence[Path], shape: tuple[int, int], *, invert: bool = False, scale: bool = True
) -> Tensor:
    """Read all pages of pictures as gray (B, H, W) uint8, see ``data.pictures``.

    Args:
        paths: the files.
        shape: (H, W) of the result.
        invert: turn black on white into white on black.
        scale: resize pictures of another size in proportion, on the colour of their border;
            otherwise they are refused.

    Raises:
        InputError: for a picture of too many pixels, or of another size without ``scale``.
        DataUnavailableError: when there is no such file.
        FileFormatError: when a file is no picture, or is damaged.
    """
    prepare = Preparation(shape, invert=False, centre=False)
    images = []
    for path in paths:
        for page in pages(path, colour=False):
            if not scale and tuple(page.shape) != shape:
                sizes = [" x ".join(map(str, size[::-1])) for size in (page.shape, shape)]
                raise InputError(f"{path}: {sizes[0]} pixels, wanted {sizes[1]}")
            images.append(to_bytes(prepare(page)))
    read = torch.stack(images) if images else torch.empty(0, *shape, dtype=torch.uint8)
    return 255 - read if invert else read
