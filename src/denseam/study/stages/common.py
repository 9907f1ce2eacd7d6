"""Rows that several stages have in common, and image sets of earlier stages."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from denseam import data
from denseam.analysis import TransferTable
from denseam.data import ImageSet
from denseam.errors import InputError
from denseam.evaluation import wilson_interval
from denseam.study.findings import Line, Row, Unit
from denseam.study.stage import Place

SET_FILE = "images.safetensors"


def proportion(id: str, what: str, count: int, total: int, command: str) -> Row:  # noqa: A002
    """Return ``count`` of ``total`` as a row, with its 95 % interval (Wilson)."""
    low, high = wilson_interval(count, total)
    return Row(id, what, count / total, command, "%", low, high, total)


def mean(
    id: str,  # noqa: A002
    what: str,
    values: Tensor,  # (M,)
    command: str,
    unit: Unit = "",
) -> list[Row]:
    """Return one row, the mean of M values with its 95 % interval; no row for no value.

    Fractions stay in [0, 1].
    """
    if not len(values):
        return []
    exact = values.double()
    middle = float(exact.mean())
    if len(exact) == 1:
        return [Row(id, what, middle, command, unit, count=1)]
    half = 1.959964 * float(exact.std()) / len(exact) ** 0.5
    low, high = middle - half, middle + half
    if unit == "%":
        low, high = max(0.0, low), min(1.0, high)
    return [Row(id, what, middle, command, unit, low, high, len(exact))]


def quartiles(
    id: str,  # noqa: A002
    what: str,
    distances: Tensor,  # (M,) visible units
    command: str,
) -> Row:
    """Return the median as a row, with the quartiles as its interval."""
    low, middle, high = torch.quantile(distances.double(), torch.tensor([0.25, 0.5, 0.75]).double())
    return Row(
        id, f"{what}; with the quartiles", float(middle), command, "visible units", float(low),
        float(high), len(distances),
    )  # fmt: skip


def transferred(
    prefix: str,  # of ids
    what: str,  # "error of {victim} on images of {source}"
    table: TransferTable,
    sources: Sequence[str],  # names of the sets in ids
    victims: Sequence[str],  # names of the models in ids
    command: Callable[[int, int], str],  # of a set and a model, by position
) -> tuple[list[Row], tuple[Line, ...]]:
    """Return every cell of a transfer table as a row, and the lines of the table of them."""
    ids = [[f"{prefix}/{source}/{victim}" for victim in victims] for source in sources]
    rows = []
    for r, source in enumerate(table.sources):
        for v, victim in enumerate(table.victims):
            text, value = what.format(victim=victim, source=source), float(table.values[r, v])
            low, high = table.intervals[r, v].tolist()
            count = table.counts[r]
            rows.append(Row(ids[r][v], text, value, command(r, v), "%", low, high, count))
    return rows, tuple(zip(table.sources, map(tuple, ids), strict=True))


def read_set(place: Place, name: str) -> ImageSet:
    """Return the image set that an earlier stage made."""
    images = data.load(place.before[name].folder / SET_FILE)
    if not isinstance(images, ImageSet):
        raise InputError(f"stage {name} left no image set")
    return images


def part_of(
    progress: Callable[[int, int], None], index: int, parts: int
) -> Callable[[int, int], None]:
    """Return a callback that reports progress of one of several equal parts as that of all."""
    return lambda done, total: progress(index * total + done, parts * total)
