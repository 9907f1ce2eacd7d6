"""Picture files as gray images; beside ``grid``, which writes them."""

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
# What Pillow raises over damage.
_DAMAGE = (OSError, ValueError, SyntaxError, EOFError, MemoryError, RuntimeError)
_PIXELS = 50_000_000  # of one picture: more is a mistake, or a bomb


def read_pictures(
    paths: Sequence[Path], shape: tuple[int, int], *, invert: bool = False, scale: bool = True
) -> Tensor:
    """Pictures as (B, H, W) uint8: gray, what is transparent black.

    Args:
        paths: the files.
        shape: (H, W) that all are to have.
        invert: whether they are black on white.
        scale: make pictures of another size fit, each side for itself; an error otherwise.

    Raises:
        InputError: for an immense picture, or one of another size where that is not to be mended.
        DataUnavailableError: when there is no such file.
        FileFormatError: when it is no picture, or is damaged.
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


def _check_size(path: Path, size: tuple[int, int], wanted: tuple[int, int] | None) -> None:
    if size[0] * size[1] > _PIXELS:
        raise InputError(f"{path}: {size[0]} x {size[1]} pixels are too many")
    if wanted is not None and wanted != size:
        raise InputError(f"{path}: {size[0]} x {size[1]} pixels, wanted {wanted[0]} x {wanted[1]}")


def _gray(picture: "Image.Image") -> "Image.Image":
    """Gray, on black where it is transparent."""
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        whole = picture.convert("RGBA")
        gray, alpha = whole.convert("L"), whole.getchannel("A")
        gray.paste(0, mask=alpha.point(lambda a: 255 - a))
        return gray
    if picture.mode.startswith("I;16"):
        return picture.point(lambda v: v / 256).convert("L")
    return picture.convert("L")
