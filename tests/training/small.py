"""A problem that trains in milliseconds: three noisy patterns of 5 x 5 pixels."""

from pathlib import Path

import numpy as np
import torch

from denseam import Callback, Recipe, TrainResult
from denseam.data import Dataset, ImageSet
from denseam.training import EpochRecord

SIDE, CLASSES = 5, 3


def images(count: int = 60, seed: int = 1, flips: float = 0.08, name: str = "toy") -> ImageSet:
    """``count`` images, as many of each class, uint8; another seed gives other noise only."""
    patterns = np.random.default_rng(0).random((CLASSES, SIDE, SIDE)) < 0.4
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    ink = patterns[labels] ^ (rng.random((count, SIDE, SIDE)) < flips)
    pixels = np.where(ink, rng.integers(180, 256, ink.shape), rng.integers(0, 20, ink.shape))
    return ImageSet.from_arrays(pixels.astype(np.uint8), labels, n_classes=CLASSES, name=name)


def dataset() -> Dataset:
    return Dataset("toy", images(60, seed=1), images(30, seed=2))


def recipe(power: float = 2, epochs: int = 6, **fields: object) -> Recipe:
    """The paper's for the size of these images, with few memories and small batches."""
    sizes = {"n_memories": 12, "per_class": 5, **fields}
    return Recipe.paper(power, epochs).for_data(images()).replace(**sizes)


def save_npz(path: Path, data: Dataset | None = None) -> Path:
    """A data set, this one by default, as a file for the command line."""
    data = data or dataset()
    np.savez(
        path,
        x_train=data.train.images.numpy(), y_train=data.train.labels.numpy(),
        x_test=data.test.images.numpy(), y_test=data.test.labels.numpy(),
    )  # fmt: skip
    return path


def without_seconds(records: list[EpochRecord]) -> list[dict[str, object]]:
    return [{k: v for k, v in r.to_json().items() if k != "seconds"} for r in records]


def assert_same_run(one: TrainResult, other: TrainResult) -> None:
    """To the bit, and in everything that was written down."""
    assert torch.equal(one.model.memories, other.model.memories)
    assert without_seconds(one.records) == without_seconds(other.records)


class Stop(Exception):  # noqa: N818
    """What a callback raises to interrupt a run."""


class StopAt(Callback):
    """Interrupts after a batch of an epoch, or after the whole epoch (batch None)."""

    def __init__(self, epoch: int, batch: int | None = None) -> None:
        self.epoch, self.batch = epoch, batch

    def on_batch(self, epoch: int, batch: int) -> None:
        if (epoch, batch) == (self.epoch, self.batch):
            raise Stop

    def on_epoch(self, record: EpochRecord) -> None:
        if record.epoch == self.epoch and self.batch is None:
            raise Stop
