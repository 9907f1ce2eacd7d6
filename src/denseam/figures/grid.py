"""Contact sheets: many images at a whole number of screen pixels each, as PNG."""

import io
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from denseam import files
from denseam.checks import whole
from denseam.data.arrays import square
from denseam.data.pixels import to_bytes
from denseam.data.validate import check_images
from denseam.errors import InputError
from denseam.figures.canvas import as_record, check_shape, need_matplotlib
from denseam.figures.mosaic import folded

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from PIL.Image import Image

_FRAME = (213, 94, 0)  # vermilion: neither black nor white, in gray neither
_FONT_SIZE = 10  # pixels
_LINE = 13  # height of a caption
_EDGE, _COLUMNS = 84, 10  # of ``ContactSheet``: sheet pixels of an image, images in a row


def grid(
    images: Tensor,
    *,
    columns: int | None = None,
    captions: Sequence[str] | None = None,
    scale: int = 1,
    marked: Tensor | None = None,
) -> "Image":
    """Return images row by row on white, as an RGB image of Pillow.

    Args:
        images: (M, H, W), or (M, 3, H, W) in colour; uint8, or floating in visible units [-1, 1].
        columns: images in a row; by default about as many as rows.
        captions: M short texts under the images, cut to their width.
        scale: sheet pixels along the edge of an image pixel.
        marked: (M,) bool: these get a frame.

    Raises:
        InputError: when any of it does not fit together.
        MissingPackageError: when Pillow is not installed.
    """
    check_images(images)
    M, H, W = len(images), *images.shape[-2:]
    wide = math.ceil(math.sqrt(M)) if columns is None else min(whole("columns", columns), M)
    scale = whole("scale", scale)
    if captions is not None and len(captions) != M:
        raise InputError(f"{M} images need {M} captions, got {len(captions)}")
    if marked is not None:
        check_shape("marked", marked, M)
    need_matplotlib()
    from PIL import Image  # noqa: PLC0415

    edge = 2 + scale  # white around each image, in which the frame is drawn
    cell_height = H * scale + 2 * edge + (0 if captions is None else _LINE)
    cell_width = W * scale + 2 * edge
    high = math.ceil(M / wide)
    sheet = np.full((high * cell_height, wide * cell_width, 3), 255, np.uint8)
    for m, pixels in enumerate(_bytes(images).repeat(scale, 1).repeat(scale, 2)):  # (H, W, 1 or 3)
        cell = sheet[(m // wide) * cell_height :, (m % wide) * cell_width :]
        if marked is not None and marked[m]:
            cell[1 : H * scale + 2 * edge - 1, 1 : cell_width - 1] = _FRAME
        cell[edge : edge + H * scale, edge : edge + W * scale] = pixels
        if captions is not None:
            top = H * scale + 2 * edge
            cell[top : top + _LINE, :cell_width] = _caption(captions[m], cell_width)[..., None]
    return Image.fromarray(sheet)


def save_grid(
    images: Tensor,
    path: str | os.PathLike[str],
    *,
    columns: int | None = None,
    captions: Sequence[str] | None = None,
    scale: int = 2,
    marked: Tensor | None = None,
) -> None:
    """Write ``grid`` of the same arguments atomically to a .png file.

    Raises:
        InputError: when any of it does not fit together, or for another suffix.
        MissingPackageError: when Pillow is not installed.
        SaveError: when the file cannot be written; what stood there is untouched.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise InputError(f"{path}: a contact sheet is a .png file, got {path.suffix!r}")
    sheet = grid(images, columns=columns, captions=captions, scale=scale, marked=marked)
    contents = io.BytesIO()
    sheet.save(contents, format="PNG")
    files.write_bytes(path, contents.getvalue())


@dataclass(frozen=True, eq=False)
class ContactSheet:
    """Images with a caption each."""

    images: Tensor  # (M, H, W) or (M, 3, H, W), uint8 or in [-1, 1]
    captions: tuple[str, ...]  # M short ones
    marked: Tensor | None = None  # (M,) bool: these get a frame

    @property
    def scale(self) -> int:
        """Sheet pixels along the edge of an image pixel: an image has place for a caption."""
        return max(1, math.ceil(_EDGE / max(self.images.shape[-2:])))


def record_of(shown: Any, *, count: int = 20) -> ContactSheet:
    """Return the first images of a set, a data set or a descent, with their captions."""
    images, captions, marked = shown._sheet(whole("count", count))  # noqa: SLF001 (see ``_figure``)
    if images.is_floating_point():
        images = images.detach().cpu().clamp(-1, 1)
    pictures = folded(images, square(images.shape[1])) if images.ndim == 2 else images
    if pictures.ndim == 4 and pictures.shape[1] == 1:
        pictures = pictures[:, 0]
    return ContactSheet(pictures, captions, marked)


def plot(record: Any, ax: "Axes") -> None:
    """Draw a ``ContactSheet``, a set of images, or the images that a descent ended with."""
    record = as_record(record, ContactSheet, record_of)
    ax.imshow(np.asarray(_sheet(record)))
    ax.set_axis_off()


def layout(record: ContactSheet) -> dict[str, Any]:
    """Return the size of the figure, inches: a screen pixel for each of the sheet."""
    return {"size": tuple(pixels / 110 for pixels in _sheet(record).size)}


def _sheet(record: ContactSheet) -> "Image":
    columns = min(len(record.images), _COLUMNS)
    return grid(
        record.images, columns=columns, captions=record.captions, scale=record.scale,
        marked=record.marked,
    )  # fmt: skip


def _bytes(images: Tensor) -> NDArray[np.uint8]:
    """Return images as uint8 (M, H, W, 1 or 3): -1 becomes 0 and +1 becomes 255."""
    levels = to_bytes(images.detach().cpu())
    pixels = levels.movedim(1, -1) if levels.ndim == 4 else levels[..., None]
    coloured: NDArray[np.uint8] = pixels.numpy()
    return coloured


def _caption(text: str, width: int) -> NDArray[np.uint8]:
    """Return a text, black in the middle of white, as pixels (_LINE, width)."""
    import matplotlib as mpl  # noqa: PLC0415
    from PIL import Image, ImageDraw, ImageFont  # noqa: PLC0415

    # Matplotlib's own font is always there, and has arrows and Greek.
    name = Path(mpl.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    strip = Image.new("L", (width, _LINE), 255)
    font = ImageFont.truetype(name, _FONT_SIZE)
    ImageDraw.Draw(strip).text((width / 2, 0), text, fill=0, font=font, anchor="ma")
    return np.asarray(strip)
