"""What people hand to ``predict``, as rows of inputs: pictures, folders, sets, arrays."""

import csv
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from denseam import data
from denseam.classifier import Classifier
from denseam.data import Dataset, Examples, pictures
from denseam.data.arrays import to_tensor
from denseam.data.imageset import only_pictures
from denseam.data.registry import KNOWN
from denseam.errors import DataUnavailableError, DenseAMError, FileFormatError, InputError
from denseam.files import there_is
from denseam.fronts.centring import Invert
from denseam.fronts.preparing import preparation_of, prepared
from denseam.prediction.rows import Row, expanded, picture_rows

_SETS = (".npz", ".npy", ".safetensors", ".csv", ".tsv", ".parquet", ".feather", ".gz")


def rows_of(
    what: object,
    model: Classifier,
    *,
    invert: Invert | None = None,
    centre: bool | Literal["auto"] | None = None,
    part: str = "test",
) -> Iterator[Row]:
    """Yield rows for a model; see ``predict``.

    Raises:
        InputError: for something that is no picture, set or array, or that the model does not take.
    """
    reader = _Reader(model, invert, centre, part)
    several = isinstance(what, list | tuple) and what and all(map(_stands_alone, what))
    for each in what if several else [what]:  # type: ignore[attr-defined]
        yield from reader.rows(each)


def _stands_alone(value: object) -> bool:
    return isinstance(value, str | os.PathLike) or pictures.is_picture(value)


class _Reader:
    """Reads for one model."""

    def __init__(
        self,
        model: Classifier,
        invert: Invert | None,
        centre: bool | Literal["auto"] | None,
        part: str,
    ) -> None:
        self.model, self.part = model, part
        self.options: dict[str, Any] = {"invert": invert, "centre": centre}

    def rows(self, what: object) -> Iterator[Row]:
        """Yield the rows of one thing that was handed over."""
        if isinstance(what, str | os.PathLike):
            yield from self._named(what)
        elif pictures.is_picture(what):
            yield from self._pictures([what])
        elif isinstance(what, Dataset | Examples):
            yield from self._set(what)
        else:
            yield from self._array(what, "")

    def _pictures(self, sources: list[Any]) -> Iterator[Row]:
        prepare = preparation_of(self.model, **self.options)
        return picture_rows(sources, prepare, colour=prepare.colour)

    def _named(self, name: str | os.PathLike[str]) -> Iterator[Row]:
        """Yield what a path or the name of a known set stands for."""
        text, path = os.fspath(name), Path(name)
        known = text in KNOWN and not there_is(path)
        if not known and path.suffix.lower() not in _SETS:
            files = list(expanded([name]))
            if files or not path.is_dir():
                yield from self._pictures(files)
                return
        try:
            array = _unlabelled(path, self.model.n_inputs)
            if array is not None:
                yield from self._array(array, text)
            else:
                yield from self._set(data.load(name), text)
        except DenseAMError as error:
            empty = path.is_dir() and isinstance(error, DataUnavailableError)
            yield Row(text, None, "no picture in this folder" if empty else str(error))

    def _set(self, examples: Dataset | Examples, name: str = "") -> Iterator[Row]:
        """Yield the examples of a set; pictures of another size are prepared."""
        one: Examples = getattr(examples, self.part) if isinstance(examples, Dataset) else examples
        inputs = one.inputs(self.model.input_dtype)
        if inputs.shape[1] == self.model.n_inputs:
            shaped = inputs.reshape(-1, *one.input_shape)
        else:
            pictures_only = only_pictures(one, "denseam predict")
            made = prepared(pictures_only, preparation_of(self.model, **self.options))
            shaped = made.inputs().reshape(-1, *made.input_shape)
        for k, each in enumerate(shaped):
            yield Row(f"{name or one.name} {k}", each)

    def _array(self, values: object, name: str) -> Iterator[Row]:
        """Yield the rows of an array; bytes of another size are pictures to prepare."""
        try:
            rows = self.model.as_inputs(values)
        except InputError:
            prepare = preparation_of(self.model, **self.options)
            pages = _pages(values, colour=prepare.colour)
            if pages is None:
                raise
            rows = torch.stack([prepare(page) for page in pages])
        for k, each in enumerate(rows):
            yield Row(f"{name} {k}".strip(), each)


def _pages(values: object, *, colour: bool) -> Tensor | None:
    """Return bytes as pages (B, H, W) or (B, 3, H, W); None for anything else.

    Args:
        values: (H, W) or (B, H, W), either of them with colours in front or at the end.
        colour: whether (3, H, W) is one picture in colour, rather than three in grey.
    """
    pixels = to_tensor(values, "inputs")
    if pixels.dtype != torch.uint8 or pixels.ndim not in (2, 3, 4):
        return None
    if pixels.ndim > 2 and pixels.shape[-1] in (1, 3):
        pixels = pixels.movedim(-1, -3)
        colour = True
    if pixels.ndim == 4 or (pixels.ndim == 3 and colour and pixels.shape[0] in (1, 3)):
        pixels = pixels.reshape(-1, *pixels.shape[-3:])
        if pixels.shape[1] not in (1, 3):
            return None
        return pixels[:, 0] if pixels.shape[1] == 1 else pixels
    return pixels.reshape(-1, *pixels.shape[-2:])


def _unlabelled(path: Path, n_inputs: int) -> Any:
    """Return the numbers of a file without labels; None for one that may have them."""
    suffix = path.suffix.lower()
    if suffix in (".npy", ".npz"):
        return _lone_array(path)
    return _rows_of_numbers(path, n_inputs) if suffix in (".csv", ".tsv") else None


def _rows_of_numbers(path: Path, n_inputs: int) -> Any:
    """Return a table that has the model's columns and no other; a first line may name them."""
    try:
        with path.open(newline="") as file:
            divider = "," if path.suffix.lower() == ".csv" else "\t"
            lines = [line for line in csv.reader(file, delimiter=divider) if line]
        if not lines or len(lines[0]) != n_inputs:
            return None
        first = 0 if _is_number(lines[0][0]) else 1
        return np.array([[float(cell) for cell in line] for line in lines[first:]])
    except (OSError, ValueError, csv.Error):  # the reader of tables says what is wrong
        return None


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _lone_array(path: Path) -> Any:
    """Return the array of a file without labels; None where a set may be in it."""
    try:
        with path.open("rb") as file:
            contents = np.load(file, allow_pickle=False)
            if isinstance(contents, np.ndarray):
                return contents
            return contents[contents.files[0]] if len(contents.files) == 1 else None
    except OSError as error:
        raise FileFormatError(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:
        raise FileFormatError(f"{path} is no whole file of numbers: {error}") from error
