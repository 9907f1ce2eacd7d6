"""Records of epochs, and their file of JSON lines."""

import dataclasses
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from denseam.errors import SaveError
from denseam.files import write_bytes

__all__ = ["EpochRecord", "append_records", "read_records", "write_records"]


@dataclass(frozen=True)
class EpochRecord:
    """The record of one epoch. Errors and shares are fractions of 1."""

    epoch: int  # from 0
    train_error: float  # over the epoch's minibatches, each before its update
    test_error: float | None  # after the epoch; None without a test set
    objective: float  # C of Eq. 2.3, mean over the images of the epoch
    temperature: float  # T
    learning_rate: float  # eps
    saturated: float  # share of class activities with 1 - |Y| < 1e-6, where tanh has no slope left
    dead_memories: int  # memories whose field is positive for no image and class of the last batch
    class_errors: tuple[float, ...]  # (C,) like train_error
    seconds: float  # of this epoch, with its test error, without its checkpoint
    attack: Mapping[str, float | None] | None = None  # of adversarial training, see ``Adversarial``
    # What training has mended by itself until this epoch: see ``health``.
    step_factor: float | None = None  # of the recipe's learning rate
    logit_scale: float | None = None  # of a cross-entropy in the place of the recipe's objective
    held_out_error: float | None = None  # that a recipe with ``keep`` chooses the epoch by

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        fields = dataclasses.asdict(self)
        return {
            name: value for name, value in fields.items()
            if value is not None or name not in ("attack", "held_out_error")
        }  # fmt: skip

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Self:
        """Return the record of a line; an objective of null becomes NaN."""
        objective = math.nan if fields["objective"] is None else fields["objective"]
        errors = tuple(fields["class_errors"])
        return cls(**{**fields, "objective": objective, "class_errors": errors})


def append_records(path: Path, records: list[EpochRecord]) -> None:
    """Append lines and wait until they are on the disk; a crash may leave incomplete lines.

    Raises:
        SaveError: when it cannot be written.
    """
    try:
        with path.open("a") as file:
            file.write("".join(map(_line, records)))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise SaveError(f"{path} could not be written: {error.strerror or error}") from error


def read_records(path: Path, epochs: int) -> list[EpochRecord]:
    """Return the records of the first ``epochs`` epochs, without lines that a crash left."""
    records: list[EpochRecord] = []
    if not path.exists():
        return records
    for line in path.read_text(errors="replace").splitlines():
        try:
            record = EpochRecord.from_json(json.loads(line))
        except (json.JSONDecodeError, TypeError, KeyError):  # cut off in the middle
            break
        if record.epoch != len(records) or record.epoch >= epochs:
            break
        records.append(record)
    return records


def write_records(path: Path, records: list[EpochRecord]) -> None:
    """Replace the file, atomically."""
    write_bytes(path, "".join(map(_line, records)).encode())


def _line(record: EpochRecord) -> str:
    fields = record.to_json()
    if not math.isfinite(record.objective):  # JSON has no infinity
        fields["objective"] = None
    return json.dumps(fields, allow_nan=False) + "\n"
