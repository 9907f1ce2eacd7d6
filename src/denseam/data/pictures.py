"""Pictures as people have them: the one reader of PNG, JPEG, TIFF, WebP, GIF and other files.

    (page,) = denseam.data.pictures.pages("scan.png")  # (H, W) or (3, H, W)

Every entrance that takes pictures reads them here: folders, `denseam predict`, the guard and its
page in the browser. A picture is read as a person sees it: turned as its orientation tag says, and
where it is transparent one sees the paper. Its depth stays: 8 bits are uint8, more bits and
floating pixels are float32 in [0, 1]. Files of several pages give all of them.

Pillow does the decoding. It is imported when the first picture is read.
"""

import contextlib
import io
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from denseam.errors import DataUnavailableError, DenseAMError, FileFormatError, InputError

if TYPE_CHECKING:
    from PIL.Image import Image

Source: TypeAlias = "str | os.PathLike[str] | bytes | IO[bytes] | Image"

SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm", ".pbm",
    ".pnm", ".pfm", ".avif", ".jp2", ".tga", ".ico", ".qoi",
)  # fmt: skip
"""What the names of picture files end with, in lower case."""

# Without formats that run other programs (EPS, WMF) or open further files.
_FORMATS = (
    "PNG", "JPEG", "TIFF", "WEBP", "GIF", "BMP", "DIB", "PPM", "AVIF", "JPEG2000", "ICO",
    "TGA", "PCX", "SGI", "QOI", "IM", "XBM",
)  # fmt: skip
_PIXELS = 50_000_000  # of one page: more is a mistake, or a bomb
_PAGES = 20  # times as many pixels have all pages of a file, at most
_TRANSPARENT = ("LA", "La", "PA", "RGBA", "RGBa")
_GREY = ("1", "L")
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# Numbers of TIFF tags.
_SUBFILE, _PHOTOMETRIC, _MOST_SAMPLE, _MOST_SAMPLE_ANY = 254, 262, 281, 341
_SAMPLE_FORMAT = 339
_ORIENTATION = 0x0112  # the EXIF tag
_SCALED = ("PNG", "PPM")  # whose integers Pillow brings to 16 bits
_LUMA = (0.299, 0.587, 0.114)  # of red, green and blue: ITU-R BT.601
_CONTRAST = 0.25  # deviation of grey levels in [0, 1], above which a picture has its own


def pages(
    source: "Source",
    *,
    name: str | None = None,
    colour: bool | None = None,
    most_pixels: int | None = None,
) -> Iterator[Tensor]:
    """Read a picture: its pages one after another, (H, W) grey or (3, H, W) in colour.

    Transparent pixels get the colour of the paper: white, or black where the ink is light. The
    first picture of an MPO file, as cameras write, is its only page.

    Args:
        source: a path, the bytes of a file, a binary file, or a picture of Pillow (its current
            frame).
        name: what to call the picture in messages; the path by default.
        colour: True for colours, False for grey, None for colours where a page has any.
        most_pixels: of a page; 50 million by default. All pages may have 20 times as many.

    Yields:
        uint8, or float32 in [0, 1] where the file holds more than 8 bits a pixel. Floating pixels
        and integers of 32 bits without a scale of their own are scaled by 1, 255, 65535 or their
        largest value; negative ones from their least value to their largest.

    Raises:
        DataUnavailableError: when there is no such file.
        FileFormatError: when it is no picture, is damaged, or is of a kind that is not read.
        InputError: for pages of too many pixels.

    >>> (page,) = pages(b"P2 3 1 255 0 51 255")
    >>> page
    tensor([[  0,  51, 255]], dtype=torch.uint8)
    """
    name = _name(source) if name is None else name
    most = _PIXELS if most_pixels is None else most_pixels
    with contextlib.ExitStack() as stack:
        with _damage(name):
            picture = _opened(name, source, stack)
            _check_size(name, picture.size, most)
            # The other pictures of an MPO file are thumbnails, depths or a second eye's.
            single = picture is source or picture.format == "MPO"
            count = 1 if single else getattr(picture, "n_frames", 1)
        total = 0
        for number in range(count):
            with _damage(name):
                if not single:
                    picture.seek(number)
                if number and _reduced(picture):
                    continue
                total += _check_size(name, picture.size, most)
                if total > _PAGES * most:
                    raise InputError(f"{name}: {count} pages have too many pixels")
                page = _page(name, picture, colour=colour)
            yield torch.from_numpy(
                page.copy()
            )  # PyTorch takes no array that is read-only or runs backwards


def is_picture(value: object) -> bool:
    """Return whether a value is a picture of its own: bytes, a binary file, or one of Pillow."""
    pillow = sys.modules.get("PIL.Image")  # where it was not imported nobody has its pictures
    if pillow is not None and isinstance(value, pillow.Image):
        return True
    return isinstance(value, bytes | bytearray | memoryview) or hasattr(value, "read")


# ---- files ---------------------------------------------------------------------------------------


def _name(source: Any) -> str:
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    stored = getattr(source, "filename", None) or getattr(source, "name", None)
    return stored if isinstance(stored, str) else "picture"


def _opened(name: str, source: Any, stack: contextlib.ExitStack) -> "Image":
    from PIL import Image, UnidentifiedImageError  # noqa: PLC0415

    if isinstance(source, Image.Image):
        return source
    if isinstance(source, bytes | bytearray | memoryview):
        source = io.BytesIO(source)
    elif isinstance(source, str | os.PathLike):
        source = stack.enter_context(Path(source).open("rb"))  # noqa: SIM115
    elif not hasattr(source, "read"):
        raise InputError(
            f"picture is a {type(source).__name__}: wanted a path, bytes, a binary file or a "
            "picture of Pillow"
        )
    if not (hasattr(source, "seekable") and source.seekable()):
        source = io.BytesIO(source.read())
    Image.init()
    try:
        formats = [name for name in _FORMATS if name in Image.OPEN]
        return stack.enter_context(Image.open(source, formats=formats))
    except UnidentifiedImageError as error:
        source.seek(0)
        if source.read(4) in _TIFF:
            raise FileFormatError(
                f"{name} is a TIFF file whose header is damaged, or whose kind of pixels is not "
                "read: wanted integers of up to 16 bits, or 32-bit integers or floats"
            ) from error
        raise FileFormatError(
            f"{name} is not a whole picture, or of a kind that is not read"
        ) from error


@contextlib.contextmanager
def _damage(name: str) -> Iterator[None]:
    """Turn whatever Pillow raises for a file into an error of this package; silence its warnings.

    Pillow raises nearly anything for damaged files: OSError, SyntaxError, struct.error, KeyError...
    """
    from PIL import Image  # noqa: PLC0415

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except DenseAMError:
            raise
        except FileNotFoundError as error:
            raise DataUnavailableError(f"there is no file {name}") from error
        except (IsADirectoryError, PermissionError) as error:
            raise FileFormatError(f"{name} cannot be read: {error.strerror}") from error
        except Image.DecompressionBombError as error:  # Pillow has a larger limit, and looks first
            raise InputError(f"{name}: too many pixels: {error}") from error
        except Exception as error:
            reason = f"{error}" or type(error).__name__
            raise FileFormatError(f"{name} is not a whole picture: {reason}") from error


def _check_size(name: str, size: tuple[int, int], most: int) -> int:
    """Return the number of pixels of a page; raise InputError where they are too many."""
    pixels = size[0] * size[1]
    if pixels > most:
        raise InputError(f"{name}: {size[0]} x {size[1]} pixels are too many")
    return pixels


def _reduced(picture: "Image") -> bool:
    """Return whether a page of a TIFF file is a thumbnail or a mask of another page."""
    return bool(_tags(picture).get(_SUBFILE, 0) & 0b101)


def _tags(picture: "Image") -> Any:
    return getattr(picture, "tag_v2", {})


# ---- pixels --------------------------------------------------------------------------------------


def _page(name: str, picture: "Image", *, colour: bool | None) -> NDArray[Any]:
    """Return the current page, (H, W) or (3, H, W): uint8, or float32 in [0, 1]."""
    picture.load()  # before its tags are asked for: a PNG file may have them at its end
    deep = picture.mode[0] in "IF"
    values, alpha = _deep(name, picture) if deep else _shallow(picture)
    if alpha is not None and float(alpha.min(initial=1)) < 1:
        values = _on_paper(values, alpha)
    values = _turned(values, _orientation(picture))
    if values.ndim == 3 and not colour and (colour is False or _colourless(values)):
        from PIL import Image  # noqa: PLC0415

        values = np.asarray(Image.fromarray(values).convert("L"))
    if values.ndim == 2 and colour:
        values = np.stack([values] * 3, axis=2)
    return values if values.ndim == 2 else values.transpose(2, 0, 1)


def _shallow(picture: "Image") -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Return a page of 8 bits or less, (H, W) or (H, W, 3) uint8, and its alpha in [0, 1]."""
    if picture.mode in _TRANSPARENT or "transparency" in picture.info:
        if picture.mode == "La":  # premultiplied, and only convertible to its like
            picture = picture.convert("LA")
        rgba = np.asarray(picture.convert("RGBA"))
        return rgba[..., :3], rgba[..., 3] / np.float32(255)
    return np.asarray(picture.convert("L" if picture.mode in _GREY else "RGB")), None


def _deep(name: str, picture: "Image") -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Return a page of more than 8 bits, (H, W) float32 in [0, 1], and its alpha in [0, 1]."""
    stored = np.asarray(picture)
    clear = picture.info.get("transparency")
    alpha = None if clear is None else (stored != clear).astype(np.float32)
    tags = _tags(picture)
    if tags.get(_SAMPLE_FORMAT) == (1,) and stored.dtype == np.int32:
        stored = stored.view(np.uint32)  # Pillow has no mode for it
    values = stored.astype(np.float64)
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise FileFormatError(f"{name} holds NaN or infinite pixels")
    if low < 0:
        values = (values - low) / max(high - low, np.finfo(np.float64).tiny)
    else:
        values = values / _full(picture, values, high)
    if tags.get(_PHOTOMETRIC) == 0:  # white is 0: Pillow inverts up to 8 bits
        values = 1 - values
    return values.astype(np.float32), alpha


def _full(picture: "Image", values: NDArray[Any], high: float) -> float:
    """Return the number that is white in a page of more than 8 bits."""
    tags = _tags(picture)
    most = tags.get(_MOST_SAMPLE_ANY, tags.get(_MOST_SAMPLE))
    most = most[0] if isinstance(most, tuple) and most else most
    if most is not None and most >= max(high, 1):
        return float(most)
    if picture.mode.startswith("I;16") or (picture.mode == "I" and picture.format in _SCALED):
        return 65535.0
    if picture.mode == "F" and high <= 1:
        return 1.0
    if high > 65535 or (picture.mode == "F" and bool((values % 1).any())):
        return high
    return 255.0 if high <= 255 else 65535.0


def _on_paper(values: NDArray[Any], alpha: NDArray[Any]) -> NDArray[Any]:
    """Return a page laid on paper; it has the type of values, (H, W) or (H, W, 3).

    Paper is white, or black where the ink is light, so that ink is never blank. A picture that
    covers most of its paper, and has contrast of its own, goes on as it is at its median.
    """
    most = 255 if values.dtype == np.uint8 else 1
    luma: NDArray[Any] = values / np.float32(most)
    luma = luma @ np.array(_LUMA, np.float32) if luma.ndim == 3 else luma
    total = float(alpha.sum())
    mean = float((alpha * luma).sum()) / total if total else 0.0
    light = mean > 0.5
    if total > 0.5 * alpha.size and (alpha * (luma - mean) ** 2).sum() / total > _CONTRAST**2:
        light = float(np.median(luma[alpha > 0.5])) <= 0.5
    paper = 0 if light else most
    alpha = alpha if values.ndim == 2 else alpha[..., None]
    laid: NDArray[Any] = values * alpha + paper * (1 - alpha)
    return (laid.round() if most == 255 else laid).astype(values.dtype)


def _orientation(picture: "Image") -> int:
    """Return the orientation tag, 1 to 8; 1 where there is none that makes sense."""
    try:
        return int(picture.getexif().get(_ORIENTATION, 1))
    except Exception:  # noqa: BLE001 - the tags are damaged, not the picture
        return 1


def _turned(values: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Return a page (H, W, ...) as it is to be seen, by the numbers of the EXIF standard."""
    turns = {3: 2, 4: 2, 5: 1, 6: -1, 7: -1, 8: 1}.get(orientation, 0)
    if orientation in (2, 4, 5, 7):
        values = values[:, ::-1]
    return np.rot90(values, turns)


def _colourless(values: NDArray[Any]) -> bool:
    """Return whether a page (H, W, 3) is grey everywhere."""
    first = values[..., 0]
    return bool((first == values[..., 1]).all() and (first == values[..., 2]).all())
