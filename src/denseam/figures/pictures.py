"""Picture files read as gray images; ``grid`` writes them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from denseam.errors import DataUnavailableError, FileFormatError, InputError
from denseam.figures.canvas import need_matplotlib

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["SUFFIXES", "read_pictures"]

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm")
# Pillow raises any of these for a damaged file.
_DAMAGE = (OSError, ValueError, SyntaxError, EOFError, MemoryError, RuntimeError)
_PIXELS = 50_000_000  # of one picture: more is a mistake, or a bomb


def read_pictures(
    paths: Sequence[Path], shape: tuple[int, int], *, invert: bool = False, scale: bool = True
) -> Tensor:
    """Read pictures as gray (B, H, W) uint8; transparent pixels are black.

    Args:
        paths: the files.
        shape: (H, W) of the result.
        invert: turn black on white into white on black.
        scale: resize pictures of another size, each side separately; otherwise they are refused.

    Raises:
        InputError: for a picture of over 50 million pixels, or of another size without ``scale``.
        DataUnavailableError: when there is no such file.
        FileFormatError: when a file is no picture, or is damaged.
        MissingPackageError: when Pillow is not installed.
    """
    need_matplotlib()
    read = [_read(path, shape, scale=scale) for path in paths]
    images = torch.stack(read) if read else torch.empty(0, *shape, dtype=torch.uint8)
    return 255 - images if invert else images


def _read(path: Path, shape: tuple[int, int], *, scale: bool) -> Tensor:
    from PIL import Image  # noqa: PLC0415

    height, width = shape
    try:
        with Image.open(path) as picture:
            _check_size(path, picture.size, None if scale else (width, height))
            gray = _gray(picture)
            if gray.size != (width, height):
                gray = gray.resize((width, height), Image.Resampling.BOX)
            return torch.from_numpy(np.array(gray, dtype=np.uint8))
    except FileNotFoundError as error:
        raise DataUnavailableError(f"there is no file {path}") from error
    except (InputError, DataUnavailableError):
        raise
    except _DAMAGE as error:
        raise FileFormatError(f"{path} is not a whole picture: {error}") from error


def _check_size(path: Path, size: tuple[int, int], required: tuple[int, int] | None) -> None:
    if size[0] * size[1] > _PIXELS:
        raise InputError(f"{path}: {size[0]} x {size[1]} pixels are too many")
    if required is not None and required != size:
        raise InputError(
            f"{path}: {size[0]} x {size[1]} pixels, wanted {' x '.join(map(str, required))}"
        )


def _gray(picture: "Image.Image") -> "Image.Image":
    """Return the picture in gray, black where it is transparent."""
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        whole = picture.convert("RGBA")
        gray, alpha = whole.convert("L"), whole.getchannel("A")
        gray.paste(0, mask=alpha.point(lambda a: 255 - a))
        return gray
    if picture.mode.startswith("I;16"):
        return picture.point(lambda v: v / 256).convert("L")
    return picture.convert("L")
