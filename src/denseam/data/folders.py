"""Folders of pictures by class, as they are or in folders for training and test."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate, pad

from denseam.data.assembly import Arrays, Source
from denseam.data.pictures import SUFFIXES, pages
from denseam.errors import DataUnavailableError, DenseAMError

_TRAIN = ("train", "training")
_TEST = ("test", "testing", "val", "valid", "validation", "eval")
_WAITING = 256  # side of pictures in memory until the common size is known, or ``largest``
LARGEST = 64
"""The side of pictures that networks of memories take: larger ones are made smaller."""


def picture_folder(folder: Path, largest: int = LARGEST) -> Source | None:
    """Return the pictures of a folder by class, or None where it has no sub-folders with files.

    ``train/CLASS/…`` and ``test/CLASS/…``, or ``CLASS/…``. Pictures in folders below belong to
    their class too. Files that are hidden, no pictures or unreadable are left out and noted.
    Pictures of different sizes get a common one, in proportion.

    Raises:
        DataUnavailableError: where no picture can be read.
    """
    below = {path.name.lower(): path for path in _folders(folder)}
    if not below:
        return None
    train = next((below[name] for name in _TRAIN if name in below), None)
    test = next((below[name] for name in _TEST if name in below), None)
    roots = {"train": train, "test": test} if train and test else {"all": train or folder}
    skipped: dict[str, str] = {}
    notes: list[str] = []
    read: dict[str, tuple[list[NDArray[Any]], list[str]]] = {}
    sizes: list[tuple[int, ...]] = []
    for what, root in roots.items():
        read[what] = _read(root, skipped, sizes, max(_WAITING, largest))
        if not read[what][0]:
            raise DataUnavailableError(_nothing(root, skipped))
    _note_others(folder, [root for root in roots.values() if root], notes)
    if skipped:
        name, reason = next(iter(skipped.items()))
        notes.append(f"{len(skipped)} files are left out, such as {name} ({reason})")
    pictures = [page for pages_, _ in read.values() for page in pages_]
    everything = one_size(pictures, notes, sizes, largest)
    cuts = np.cumsum([len(pages_) for pages_, _ in read.values()])[:-1]
    parts = {
        what: Arrays(images, np.array(labels))
        for images, (what, (_, labels)) in zip(
            np.split(everything, cuts), read.items(), strict=True
        )
    }
    return Source(folder.resolve().name, "folder", parts, notes, kind="pictures")


def one_size(
    read: Sequence[NDArray[Any]],
    notes: list[str],
    sizes: Sequence[tuple[int, ...]] | None = None,
    largest: int = LARGEST,
) -> NDArray[Any]:
    """Return pictures as one array (M, H, W), or (M, 3, H, W) where one has colours.

    The size is that of most of them, made smaller where it is large. Others are resized in
    proportion, and margins filled with the median of their edges.

    Args:
        read: (H, W) or (3, H, W) each, uint8 or float32 in [0, 1].
        notes: gets a sentence where pictures are resized.
        sizes: (H, W) that each picture had in its file; as it is by default.
        largest: the longer side of the result, at most.
    """
    if any(page.ndim == 3 for page in read):
        read = [page if page.ndim == 3 else np.stack([page] * 3) for page in read]
    sizes = sizes or [page.shape[-2:] for page in read]
    counts = Counter(sizes)
    common, most = counts.most_common(1)[0]
    if most < len(read) / 2:
        common = tuple(int(np.median([each[axis] for each in sizes])) for axis in (0, 1))
    factor = min(1.0, largest / max(common))
    size = (max(1, round(common[0] * factor)), max(1, round(common[1] * factor)))
    if counts.keys() != {size}:
        first = " x ".join(map(str, common))
        had = f"{len(counts)} sizes, mostly about {first}" if len(counts) > 1 else f"{first} pixels"
        notes.append(f"pictures of {had} are resized to {size[0]} x {size[1]} in proportion")
    if any(page.dtype != np.uint8 for page in read):
        read = [page / np.float32(255) if page.dtype == np.uint8 else page for page in read]
    return np.stack([page if page.shape[-2:] == size else _resized(page, size) for page in read])


def _shrunk(page: NDArray[Any], side: int) -> NDArray[Any]:
    """Return a large picture with a longer side of so many pixels: it waits for all others."""
    height, width = page.shape[-2:]
    factor = side / max(height, width)
    if factor >= 1:
        return page
    return _resized(page, (max(1, round(height * factor)), max(1, round(width * factor))))


def _resized(page: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Return a picture (..., H, W) in another size, in proportion, on its edge's colour."""
    values = torch.from_numpy(page.astype(np.float32))
    planes = values if values.ndim == 3 else values[None]
    height, width = planes.shape[-2:]
    scale = min(size[0] / height, size[1] / width)
    inner = [
        max(1, min(side, round(scale * old)))
        for side, old in zip(size, (height, width), strict=True)
    ]
    small = interpolate(
        planes[None], size=inner, mode="bilinear", antialias=True, align_corners=False
    )[0]
    edge = torch.cat([planes[:, 0], planes[:, -1], planes[:, :, 0], planes[:, :, -1]], dim=1)
    paper = edge.median(dim=1).values  # (planes,)
    top, left = ((side - new) // 2 for side, new in zip(size, inner, strict=True))
    margins = (left, size[1] - inner[1] - left, top, size[0] - inner[0] - top)
    framed = pad(small - paper[:, None, None], margins) + paper[:, None, None]
    result: Tensor = framed if values.ndim == 3 else framed[0]
    if page.dtype == np.uint8:
        return result.round().clamp(0, 255).to(torch.uint8).numpy()
    return result.clamp(0, 1).numpy()


def _read(
    root: Path | None, skipped: dict[str, str], sizes: list[tuple[int, ...]], side: int
) -> tuple[list[NDArray[Any]], list[str]]:
    """Return the pictures below a folder, and the classes that its sub-folders are.

    What cannot be read goes to ``skipped``, the sizes (H, W) in the files to ``sizes``.
    """
    read: list[NDArray[Any]] = []
    labels: list[str] = []
    for path in sorted(root.iterdir()) if root else []:
        if path.suffix.lower() in SUFFIXES and path.is_file():
            skipped[path.name] = "in no folder of a class"
    for folder in _folders(root) if root else []:
        for path in _files(folder, skipped):
            try:
                pictures = [page.numpy() for page in pages(path)]
            except DenseAMError as error:
                reason = str(error).removeprefix(str(path)).lstrip(": ")
                skipped[path.name] = reason or "unreadable"
                continue
            read += [_shrunk(page, side) for page in pictures]
            sizes += [page.shape[-2:] for page in pictures]
            labels += [folder.name] * len(pictures)
    return read, labels


def _folders(folder: Path) -> list[Path]:
    return sorted(
        path for path in folder.iterdir()
        if path.is_dir() and not path.name.startswith((".", "__"))
    )  # fmt: skip


def _files(folder: Path, skipped: dict[str, str]) -> list[Path]:
    """Return the picture files below a folder; note the others."""
    chosen = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__")))
        for name in sorted(names):
            if name.startswith(".") or name.lower() in ("thumbs.db", "desktop.ini"):
                skipped[name] = "hidden"
            elif Path(name).suffix.lower() not in SUFFIXES:
                skipped[name] = "no picture"
            else:
                chosen.append(Path(place, name))
    return chosen


def _note_others(folder: Path, roots: list[Path], notes: list[str]) -> None:
    if folder in roots:
        return
    others = [path.name for path in _folders(folder) if path not in roots]
    if others:
        notes.append(f"not used: the folders {', '.join(others)}")


def _nothing(root: Path | None, skipped: dict[str, str]) -> str:
    text = f"{root}: no picture can be read in its folders; wanted CLASS/picture.png"
    if skipped:
        name, reason = next(iter(skipped.items()))
        text += f"; {len(skipped)} files are left out, such as {name} ({reason})"
    return text
