"""Pictures one by one, each with a name; what cannot be read is a row with an error."""

import glob
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from denseam.data import pictures
from denseam.errors import DenseAMError


@dataclass(frozen=True)
class Row:
    """A picture or a row of a table.

    Attributes:
        name: its file, and its page where the file has several.
        inputs: as the model takes it; None where it could not be read.
        error: why not.
    """

    name: str
    inputs: Tensor | None
    error: str | None = None


def expanded(names: Iterable[str | os.PathLike[str]]) -> Iterator[Path]:
    """Yield the files that names stand for: files, pictures anywhere below folders, patterns.

    Names of what is not there come back as they are: reading them says so.
    """
    for name in names:
        text, path = os.fspath(name), Path(name)
        if path.is_dir():
            yield from _below(path)
        elif not path.exists() and glob.has_magic(text):
            matches = sorted(Path(match) for match in glob.glob(text, recursive=True))  # noqa: PTH207
            for match in matches:
                yield from _below(match) if match.is_dir() else (match,)
            if not matches:
                yield path
        else:
            yield path


def _below(folder: Path) -> Iterator[Path]:
    """Yield the pictures below a folder by name, hidden ones too, and folders that are closed."""
    closed = list[Path]()
    files = [
        Path(where, name)
        for where, _, names in os.walk(folder, onerror=lambda e: closed.append(Path(e.filename)))
        for name in names
        if name.lower().endswith(pictures.SUFFIXES)
    ]
    yield from sorted([*files, *closed])


def picture_rows(
    sources: Iterable[Any], prepare: Callable[[Tensor], Tensor], *, colour: bool
) -> Iterator[Row]:
    """Read pictures, a row for each page.

    Args:
        sources: what ``data.pictures.pages`` takes.
        prepare: makes an input of a page, (H, W) or (3, H, W) uint8 or floating in [0, 1].
        colour: whether pages are to have colours.
    """
    for number, source in enumerate(sources):
        named = isinstance(source, str | os.PathLike)
        name = os.fspath(source) if named else f"picture {number}"
        inputs, error = list[Tensor](), None
        try:
            for page in pictures.pages(source, name=name, colour=colour):
                inputs.append(prepare(page))
        except DenseAMError as reason:
            error = str(reason)
        several = len(inputs) + (error is not None) > 1
        for k, each in enumerate(inputs):
            yield Row(f"{name} page {k + 1}" if several else name, each)
        if error is not None:
            yield Row(f"{name} page {len(inputs) + 1}" if several else name, None, error)


def batches(rows: Iterable[Row], size: int = 256) -> Iterator[tuple[list[Row], Tensor | None]]:
    """Yield rows in groups, with the inputs (B, ...) of those that have any."""
    group = list[Row]()
    for row in rows:
        group.append(row)
        if len(group) == size:
            yield group, _stacked(group)
            group = []
    if group:
        yield group, _stacked(group)


def _stacked(rows: list[Row]) -> Tensor | None:
    inputs = [row.inputs for row in rows if row.inputs is not None]
    return torch.stack(inputs) if inputs else None
