"""Image set files as the rows of a table: the model each was made against, and its name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from denseam import data
from denseam.checks import exact
from denseam.classifier import Classifier
from denseam.data import ImageSet
from denseam.errors import InputError
from denseam.saved import describe_model

__all__ = ["Row", "first_distinct", "read_rows", "row_names", "samples"]


@dataclass(frozen=True)
class Row:
    """An image set; of a file with several sizes of an attack, the images of one size."""

    file: str
    images: ImageSet
    size: str = ""  # ", eps 0.1"
    source: int | None = None  # position of the model it was made against, if it is one of them


def read_rows(files: Sequence[str], models: Sequence[Classifier]) -> list[Row]:
    """Return the sets in the files, in their order.

    Raises:
        InputError: for a data set with train and test.
        DataUnavailableError, FileFormatError: as ``denseam.data.load``.
    """
    digests = [describe_model(model)["sha256"] for model in models]
    rows = []
    for file in files:
        images = data.load(file)
        if not isinstance(images, ImageSet):
            raise InputError(
                f"{file} is a data set with train and test: wanted an image set, as denseam "
                "boundary, rubbish and attack write it"
            )
        sha = _noted(images, "model", "sha256")
        source = digests.index(sha) if sha in digests else None
        rows += [Row(file, part, size, source) for size, part in _by_size(images)]
    return rows


def row_names(rows: Sequence[Row], models: Sequence[str]) -> tuple[str, ...]:
    """Name rows by the models they were made against; by files where that is not unique."""
    kinds = {
        (_noted(row.images, "made_by"), _noted(row.images, "parameters", "method")) for row in rows
    }
    stems = [Path(row.file).stem for row in rows]
    sources = [
        stem if row.source is None else models[row.source]
        for stem, row in zip(stems, rows, strict=True)
    ]
    choices = [sources if len(kinds) == 1 else stems, stems, [row.file for row in rows]]
    return first_distinct(
        *([name + row.size for name, row in zip(choice, rows, strict=True)] for choice in choices)
    )


def first_distinct(*choices: Sequence[str]) -> tuple[str, ...]:
    """Return the first choice whose names all differ; those of the last one must."""
    return next(tuple(names) for names in choices if all(names) and len(set(names)) == len(names))


def samples(rows: Sequence[Row], count: int) -> Tensor | None:
    """Return up to ``count`` images spread over each set, (R, S, H, W); None if shapes differ."""
    sets = [row.images for row in rows]
    if len({images.input_shape for images in sets}) > 1:
        return None
    S = min(count, *map(len, sets))
    chosen = [each.subset(torch.arange(S) * (len(each) // S)) for each in sets]
    return torch.stack([each.visible().reshape(S, *each.input_shape) for each in chosen])


def _by_size(images: ImageSet) -> list[tuple[str, ImageSet]]:
    """Split the set of an attack by sizes, each with its name; keep any other set whole."""
    if _noted(images, "made_by") != "attack" or "eps" not in images.facts:
        return [("", images)]
    eps = images.facts["eps"]
    sizes = torch.unique(eps).tolist()
    if len(sizes) == 1:
        return [("", images)]
    return [(f", eps {exact(size)}", images.subset(eps == size)) for size in sizes]


def _noted(images: ImageSet, *keys: str) -> Any:
    """Return an entry of a set's metadata; None without one: anybody may write a set."""
    value: Any = images.metadata
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
